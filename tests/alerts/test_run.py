from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from include.alerts.events import Run
from include.scan import scan_id

DAG_ID, RUN_ID = "hubspot_deals__acme", "manual__2026-11-24T19:00:00+00:00"
TI = SimpleNamespace(dag_id=DAG_ID, run_id=RUN_ID, task_id="extract_deals", try_number=2)


@pytest.mark.parametrize(
    ("context", "task_id"),
    [
        pytest.param({"ti": TI, "exception": ValueError()}, "extract_deals", id="of a task"),
        pytest.param(
            {"dag": SimpleNamespace(dag_id=DAG_ID), "run_id": RUN_ID, "reason": "timed_out"},
            None,
            id="of a DAG, with little in it",
        ),
        pytest.param(
            {"ti": None, "dag_run": SimpleNamespace(dag_id=DAG_ID, run_id=RUN_ID)},
            None,
            id="with a run only",
        ),
    ],
)
def test_every_context_of_airflow_tells_which_scan_it_is(
    context: dict[str, object], task_id: str | None
) -> None:
    run = Run.of_context(context)

    assert (run.dag_id, run.run_id, run.task_id) == (DAG_ID, RUN_ID, task_id)
    assert run.scan_id == scan_id(DAG_ID, RUN_ID)


def test_links_lead_below_airflows_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/data/")

    links = Run.of_context({"ti": TI}).links("scan-killed")

    base = "https://airflow.example.com/data"
    run = f"{base}/dags/{DAG_ID}/runs/manual__2026-11-24T19%3A00%3A00%2B00%3A00"
    assert links == {
        "run": run,
        "log": f"{run}/tasks/extract_deals?try_number=2",
        "status": f"{base}/plugin/hubspot-scans/hubspot-deals/ui?scan={scan_id(DAG_ID, RUN_ID)}",
        "runbook": f"{base}/hubspot-deals/help/runbook#scan-killed",
    }


def test_a_setting_moves_the_runbooks_links_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_DEALS_RUNBOOK_URL", "https://wiki.example.com/hubspot")

    links = Run.of_context({"ti": TI}).links("scan-killed")

    assert links["runbook"] == "https://wiki.example.com/hubspot#scan-killed"


def test_a_run_without_a_task_has_no_link_to_a_log() -> None:
    late = Run.of_late_run({"dag_id": DAG_ID, "dag_run_id": RUN_ID, "state": "running"})

    assert set(late.links("")) == {"run", "status"}
    assert late.state == "running"


def test_a_run_whose_states_cannot_be_asked_is_believed_to_have_failed() -> None:
    assert Run.of_context({"ti": TI, "reason": "task_failure"}).is_going_on() is False


def test_a_context_of_a_dag_tells_when_its_run_ended() -> None:
    ended_at = datetime(2026, 11, 24, 19, 5, tzinfo=UTC)
    dag_run = SimpleNamespace(dag_id=DAG_ID, run_id=RUN_ID, end_date=ended_at)

    assert Run.of_context({"ti": TI, "dag_run": dag_run}).ended_at == ended_at
    assert Run.of_context({"ti": TI}).ended_at is None
