"""The DAGs in real Airflow processes: from a simulated HubSpot into PostgreSQL, row by row."""

import json

import pytest

from tests.e2e.conftest import STRANGER, TENANTS, Pipeline, dag_of

pytestmark = pytest.mark.e2e


def test_each_task_hands_on_what_it_found(pipeline: Pipeline, first_runs: dict[str, str]) -> None:
    run = (dag_of("globex"), first_runs["globex"])

    validated, extracted, checked = (
        pipeline.stack.api.xcom(*run, task)
        for task in ("validate_token", "extract_deals", "check_quality")
    )

    assert set(validated) == {"scan_id", "portal_id"}
    assert {"scan_id", "pages", "deals_extracted", "deals_loaded", "deals_archived"} <= set(
        extracted
    )
    figures = {"checks", "failed", "warned", "no_rows"}
    assert set(checked) == {"scan_id", "passed", "scan", *figures}
    assert validated["scan_id"] == extracted["scan_id"] == checked["scan_id"]
    assert checked["passed"]


def test_airflow_shows_how_far_an_extraction_is(
    pipeline: Pipeline, first_runs: dict[str, str]
) -> None:
    path = f"dags/{dag_of('globex')}/dagRuns/{first_runs['globex']}/taskInstances/extract_deals"

    entries = pipeline.stack.api.call("GET", f"{path}/state-store")["task_state_store"]

    (checkpoint,) = [entry["value"] for entry in entries if entry["key"] == "checkpoint"]
    checkpoint = json.loads(checkpoint) if isinstance(checkpoint, str) else checkpoint
    assert checkpoint["object"] == "deals"
    assert checkpoint["pages"] >= 5
    assert checkpoint["position"]["live"]["remaining"] == []


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_table_holds_exactly_what_the_account_has(
    pipeline: Pipeline, first_runs: dict[str, str], tenant: str
) -> None:
    rows, truth = pipeline.rows_of(tenant), pipeline.truth_of(tenant)

    assert any(archived for archived, _ in truth.values()) == (tenant != "acme")
    assert rows.keys() == truth.keys()
    assert [deal_id for deal_id in truth if rows[deal_id] != truth[deal_id]] == []
    extracted = pipeline.stack.api.xcom(dag_of(tenant), first_runs[tenant], "extract_deals")
    assert extracted["deals_loaded"] == len(truth)


def test_a_refused_token_fails_at_the_first_try_and_the_log_names_the_tenant(
    pipeline: Pipeline, refused_run: str
) -> None:
    run = (dag_of(STRANGER), refused_run)

    tasks = {task["task_id"]: task for task in pipeline.stack.api.tasks(*run)}

    assert {name: task["state"] for name, task in tasks.items()} == {
        "validate_token": "failed",
        "extract_deals": "upstream_failed",
        "check_quality": "upstream_failed",
    }
    assert tasks["validate_token"]["try_number"] == 1
    log = pipeline.task_log(*run, "validate_token")
    assert f"TokenRejectedError: tenant {STRANGER}: HubSpot refused the token" in log
    assert pipeline.rows_of(STRANGER) == {}
