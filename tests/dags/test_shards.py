"""The tenants' DAGs in several files, parsed by Airflow itself."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import structlog
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.task_runner import parse

from include.tenants.shards import write_shards

IDS = [f"t{number}" for number in range(40)]
DAG_IDS = {f"hubspot_deals__{name}" for name in IDS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> Path:
    """A copy of dags/ with three shards."""
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps({"tenants": [{"id": name} for name in IDS]}))
    monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))
    folder = tmp_path / "dags"
    shutil.copytree(project_root / "dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    write_shards(folder, 3)
    return folder


def dags_of(path: Path) -> set[str]:
    bag = DagBag(path)
    assert bag.import_errors == {}
    return set(bag.dags)


def test_all_files_together_have_every_tenants_dag_once(folder: Path) -> None:
    files = sorted(folder.glob("hubspot_deals*.py"))
    parts = [dags_of(file) for file in files]

    assert [file.name for file in files] == [
        "hubspot_deals.py",
        "hubspot_deals_02_of_03.py",
        "hubspot_deals_03_of_03.py",
    ]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(DAG_IDS)
    assert set().union(*parts) == DAG_IDS
    assert dags_of(folder) == DAG_IDS


def test_airflow_finds_the_files_by_what_is_in_them(folder: Path) -> None:
    bag = DagBag(folder, safe_mode=True)

    assert set(bag.dags) == DAG_IDS


def test_a_dag_is_of_its_shards_file(folder: Path) -> None:
    file = folder / "hubspot_deals_02_of_03.py"

    assert {dag.fileloc for dag in DagBag(file).dags.values()} == {str(file)}


def test_a_task_finds_its_dag_in_any_of_the_files_and_builds_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "hubspot_deals__t7")

    # a task that was queued before the tenants were divided anew asks for the file it knows
    for file in folder.glob("hubspot_deals*.py"):
        assert dags_of(file) == {"hubspot_deals__t7"}


def test_another_number_of_files_loses_no_dag(folder: Path) -> None:
    for number in (5, 2, 1):
        write_shards(folder, number)

        assert dags_of(folder) == DAG_IDS


def test_a_lost_file_is_an_import_error_of_the_check_and_loses_no_dag(folder: Path) -> None:
    (folder / "hubspot_deals_02_of_03.py").unlink()

    bag = DagBag(folder)

    assert set(bag.dags) == DAG_IDS
    ((file, error),) = bag.import_errors.items()
    assert Path(file).name == "tenants_file_check.py"
    assert "hubspot_deals_03_of_03.py build no DAGs" in error


def test_airflows_task_runner_finds_the_dag_of_a_shard(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = {
        "name": "sharded",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    file = folder / "hubspot_deals_03_of_03.py"
    dag_id = min(dags_of(file))
    startup: Any = SimpleNamespace(
        ti=TaskInstance(
            id=uuid4(),
            task_id="extract_deals",
            dag_id=dag_id,
            run_id="manual__1",
            try_number=1,
            dag_version_id=uuid4(),
        ),
        dag_rel_path=file.name,
        bundle_info=SimpleNamespace(name="sharded", version=None),
        ti_context=SimpleNamespace(max_tries=0, task_reschedule_count=0),
        start_date=datetime.now(UTC),
        sentry_integration="",
    )

    # Airflow's own manager of this context leaves it behind
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
    runtime = parse(startup, structlog.get_logger())

    assert runtime.task.dag.dag_id == dag_id
    assert runtime.task.dag.fileloc == str(file)
