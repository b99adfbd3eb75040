"""Which of Airflow's hooks the alerts hang on."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

TENANTS = "tenants: [{id: acme, deadline_s: 90}, {id: globex}]"


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> dict[str, Any]:
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))
    return DagBag(project_root / "dags").dags


def named(callbacks: Any) -> list[str]:
    return [c.__name__ for c in (callbacks if isinstance(callbacks, list) else [callbacks])]


def test_a_failed_run_and_every_failed_task_are_alerted_by_the_tenants_own_callbacks(
    dags: dict[str, Any],
) -> None:
    dag = dags["hubspot_deals__globex"]

    assert named(dag.on_failure_callback) == ["run_failed"]
    assert dag.on_failure_callback.__self__.tenant.id == "globex"
    for task in dag.tasks:
        assert named(task.on_failure_callback) == ["task_failed"]


def test_a_success_is_alerted_by_the_last_task_not_by_the_dag(dags: dict[str, Any]) -> None:
    dag = dags["hubspot_deals__acme"]

    assert not dag.on_success_callback
    assert named(dag.get_task("check_quality").on_success_callback) == ["scan_succeeded"]


def test_a_deadline_is_airflows_own_and_only_there_if_wanted(dags: dict[str, Any]) -> None:
    (alert,) = dags["hubspot_deals__acme"].deadline

    assert alert.interval == timedelta(seconds=90)
    assert alert.callback.path == "include.alerts.callbacks.deadline_missed"
    assert alert.callback.kwargs == {"tenant_id": "acme"}
    assert not dags["hubspot_deals__globex"].deadline
