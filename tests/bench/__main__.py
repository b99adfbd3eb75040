"""`python -m tests.bench [name …]`: run benchmarks, print one table, write it as JSON too.

Each compares two things of one run with each other. CPU times of different machines, and any other
times of a machine that does something else besides, say nothing.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

# Before anything imports Airflow: its home must not be the developer's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="hubspot_deals_bench_airflow_")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from tests.bench import api, cpu, growth, idle, memory, rate, resume, tenants, unchanged, views
from tests.bench.bench import Bench
from tests.bench.postgres import BenchPostgres
from tests.bench.report import Line, table, write_json

BENCHMARKS = {
    "rate": rate.run,
    "cpu": cpu.run,
    "unchanged": unchanged.run,
    "memory": memory.run,
    "growth": growth.run,
    "idle": idle.run,
    "resume": resume.run,
    "views": views.run,
    "api": api.run,
    "tenants": tenants.run,
}
ROOT = Path(__file__).parent.parent.parent
DEFAULT_JSON = ROOT / ".run" / "bench.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="fewer deals and rounds")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON, help="where the figures go")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")

    logging.getLogger("include").setLevel(logging.WARNING)
    lines, broken = run(arguments.names or list(BENCHMARKS), quick=arguments.quick)
    print(table(lines))
    write_json(
        arguments.json,
        lines,
        at=datetime.now(UTC).isoformat(),
        commit=commit(),
        quick=arguments.quick,
        cpus=os.cpu_count(),
    )
    return 1 if broken else 0


def run(names: list[str], *, quick: bool) -> tuple[list[Line], bool]:
    """Run benchmarks one after the other; one that breaks off does not keep the others from it."""
    lines, broken = [], False
    with tempfile.TemporaryDirectory(prefix="hubspot_deals_bench_") as folder:
        server = BenchPostgres(Path(folder))
        try:
            server.start()
            for name in names:
                started = time.monotonic()
                try:
                    lines += BENCHMARKS[name](Bench(server, Path(folder), quick))
                except Exception as exc:  # noqa: BLE001 - the table says so, and so does the status
                    broken = True
                    lines.append(Line(name, f"broke off: {type(exc).__name__}: {exc}"[:300]))
                print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        finally:
            server.remove()
    return lines, broken


def commit() -> str:
    """Return the checked-out commit, with "+" if files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
