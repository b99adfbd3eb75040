"""Thousands of tenants: what reading their DAG files costs, and what each task's start does."""

import json
import shutil
import statistics
from collections.abc import Mapping
from math import ceil
from pathlib import Path

from include.tenants.shards import ADVISED_DAGS, write_shards
from tests.bench.bench import Bench
from tests.bench.child import ROOT, Child, Usage
from tests.bench.report import Line, at_most

MOST_PARSE_S, MOST_START_S = 60.0, 0.5
PARSE_JOB, START_JOB = "tests.bench.parsing:parse", "tests.bench.parsing:start_task"


def run(bench: Bench) -> list[Line]:
    sizes = (10, 100, 1_000) if bench.quick else (10, 100, 1_000, 5_000)
    rounds = 3 if bench.quick else 5
    folder = bench.folder / "tenants"
    return [
        *(_parsing(folder, number) for number in sizes),
        _checking(folder, sizes[-1], "JSON"),
        _checking(folder, sizes[-1], "directory"),
        *(
            _starting(folder, number, kind, rounds)
            for kind, numbers in (
                ("JSON", (sizes[0], sizes[-1])),
                ("directory", (sizes[0], sizes[-1])),
                ("YAML", (sizes[0], 500)),
            )
            for number in numbers
        ),
    ]


def _parsing(folder: Path, number: int) -> Line:
    dags = _dags(folder, number)
    files = sorted(str(path) for path in dags.glob("hubspot_deals*.py"))
    usage = _job(folder, PARSE_JOB, {"files": files}, _tenants(folder, number, "JSON"))
    if usage.result != number:
        raise RuntimeError(f"{usage.result} DAGs of {number} tenants")
    return at_most(
        f"parsing {number:,} tenants in {len(files)} DAG file(s), one process: CPU",
        f"{usage.cpu_s:.2f} s, {usage.cpu_s / number * 1000:.1f} ms a tenant",
        usage.cpu_s,
        MOST_PARSE_S,
        " s",
        wall_s=usage.wall_s,
        peak_mb=usage.peak_mb,
    )


def _checking(folder: Path, number: int, kind: str) -> Line:
    files = [str(_dags(folder, number) / "tenants_file_check.py")]
    usage = _job(folder, PARSE_JOB, {"files": files}, _tenants(folder, number, kind))
    return Line(
        f"checking {number:,} tenants, {kind}: CPU", f"{usage.cpu_s:.2f} s", figures=vars(usage)
    )


def _starting(folder: Path, number: int, kind: str, rounds: int) -> Line:
    """The tenant is one of the middle, and its DAG is in the file that Airflow knows for it."""
    dags, environment = _dags(folder, number), _tenants(folder, number, kind)
    dag_id = f"hubspot_deals__{_id(number // 2)}"
    environment = {**environment, "_AIRFLOW_PARSING_CONTEXT_DAG_ID": dag_id}
    file = str(max(dags.glob("hubspot_deals*.py")))
    usages = [_job(folder, START_JOB, {"file": file}, environment) for _ in range(rounds)]
    if {usage.result for usage in usages} != {1}:
        raise RuntimeError("a task builds other DAGs than its own")
    cpu_s = statistics.median(usage.cpu_s for usage in usages)
    return at_most(
        f"a task finds its DAG among {number:,} tenants, {kind}: CPU, our imports included",
        f"{cpu_s:.2f} s, {min(usage.wall_s for usage in usages):.2f} s of time at best",
        cpu_s,
        MOST_START_S,
        " s",
        wall_s=[usage.wall_s for usage in usages],
        all_cpu_s=[usage.cpu_s for usage in usages],
    )


def _job(
    folder: Path, job: str, arguments: Mapping[str, object], environment: Mapping[str, str]
) -> Usage:
    return Child(folder, job, arguments, {**environment, "HUBSPOT_ACCESS_TOKEN": ""}).wait()


def _dags(folder: Path, number: int) -> Path:
    """Return a copy of dags/ with one file for each 200 tenants."""
    dags = folder / f"dags_{number}"
    if not dags.exists():
        ignored = shutil.ignore_patterns("__pycache__", "hubspot_deals_*_of_*")
        shutil.copytree(ROOT / "dags", dags, ignore=ignored)
        write_shards(dags, ceil(number / ADVISED_DAGS))
    return dags


def _tenants(folder: Path, number: int, kind: str) -> dict[str, str]:
    """Return the environment that names so many tenants."""
    path = folder / f"{kind.lower()}_{number}"
    ids = [_id(each) for each in range(number)]
    if kind == "directory":
        path.mkdir(exist_ok=True)
        for name in ids:
            (path / f"{name}.yaml").write_text(f"portal_id: {100 + len(name)}\n")
    elif kind == "JSON":
        path = path.with_suffix(".json")
        path.write_text(json.dumps({"tenants": [{"id": name} for name in ids]}))
    else:
        path = path.with_suffix(".yaml")
        path.write_text("tenants:\n" + "".join(f"  - id: {name}\n" for name in ids))
    return {"HUBSPOT_DEALS_TENANTS_FILE": str(path)}


def _id(number: int) -> str:
    return f"tenant_{number:05d}"
