"""What operators touch in Airflow itself: forms, links, assets, metrics and lineage."""

import json
from typing import Any

import psycopg
import pytest

from dags.example_dbt import DEFAULT_DBT
from include.ops.local.demo_servers import DEMO_TOKENS
from include.scan import scan_id
from tests.e2e.conftest import DBT, REPORT, STRANGER, Pipeline, dag_of
from tests.support.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.e2e

ACME = dag_of("acme")


@pytest.fixture
def scanned(first_runs: dict[str, str]) -> str:
    """The run id of acme's first scan."""
    return first_runs["acme"]


def test_the_form_offers_the_connection_type_hubspot(pipeline: Pipeline) -> None:
    (form,) = [
        entry
        for entry in pipeline.get("/ui/connections/hook_meta")
        if entry["connection_type"] == "hubspot"
    ]

    assert form["hook_name"] == "HubSpot"
    assert form["standard_fields"]["password"]["title"] == "Token"
    assert form["standard_fields"]["login"]["hidden"]
    assert form["extra_fields"].keys() == {
        "client_id",
        "client_secret",
        "refresh_token",
        "requests_per_10_s",
        "rate_limit_share",
        "api_version",
    }


@pytest.mark.parametrize(
    ("token", "good", "says"),
    [
        pytest.param(DEMO_TOKENS["acme"], True, "HubSpot account 1000001", id="good token"),
        pytest.param("pat-na1-wrong", False, "HubSpot refused the token (401)", id="bad token"),
    ],
)
def test_the_button_tests_a_stored_connection(
    pipeline: Pipeline, token: str, good: bool, says: str
) -> None:
    connection = {
        "connection_id": f"hubspot_tested_{good}".lower(),
        "conn_type": "hubspot",
        "host": pipeline.simulator.base_url,
        "port": 443,
        "password": token,
        # what the form sends of fields that were left alone
        "extra": json.dumps(
            {"requests_per_10_s": None, "rate_limit_share": None, "api_version": None}
        ),
    }
    assert pipeline.call("POST", "/api/v2/connections", connection).status_code == 201

    answer = pipeline.call(
        "POST", "/api/v2/connections/test", {**connection, "password": "***", "login": ""}
    ).json()

    assert answer["status"] is good
    assert says in answer["message"]
    assert token not in answer["message"]


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"window_start": "yesterday"}, id="no date and time"),
        pytest.param({"window_start": "2026-01-31T10:00:00"}, id="no zone"),
        pytest.param({"mode": "all"}, id="no such mode"),
        pytest.param({"checkpoint_pages": 0}, id="out of range"),
    ],
)
def test_invalid_params_are_refused_when_a_run_is_triggered(
    pipeline: Pipeline, conf: dict[str, Any]
) -> None:
    body = {"logical_date": None, "conf": conf}

    answer = pipeline.call("POST", f"/api/v2/dags/{ACME}/dagRuns", body)

    assert answer.status_code == 400
    assert next(iter(conf)) in answer.text


def test_every_task_links_to_the_page_of_its_scan(pipeline: Pipeline, scanned: str) -> None:
    page = f"/plugin/hubspot-scans/hubspot-deals/ui?scan={scan_id(ACME, scanned)}"
    tasks = f"/api/v2/dags/{ACME}/dagRuns/{scanned}/taskInstances"

    links = [
        pipeline.get(f"{tasks}/{task}/links")["extra_links"]
        for task in ("validate_token", "extract_deals", "check_quality")
    ]

    assert links == [{"Status of this scan": page}] * 3


def test_a_scan_that_succeeded_starts_the_dag_that_waits_for_it(
    pipeline: Pipeline, scanned: str
) -> None:
    (run, *_) = until(lambda: pipeline.stack.api.runs(REPORT), "the example's run is there")
    run_id = run["dag_run_id"]
    assert pipeline.stack.wait(REPORT, run_id, TIMEOUT_S) == "success"

    report = pipeline.stack.api.xcom(REPORT, run_id, "report")

    assert run["run_type"] == "asset_triggered"
    assert report["scan_id"] == scan_id(ACME, scanned)
    assert report["deals_written"] == 5
    assert sum(report["live_deals_by_stage"].values()) == 5


@pytest.mark.skipif(not DEFAULT_DBT.exists(), reason="there is no dbt: make dbt")
def test_a_scan_that_succeeded_has_its_dbt_models_built(pipeline: Pipeline, scanned: str) -> None:
    assert scanned
    (run, *_) = until(lambda: pipeline.stack.api.runs(DBT), "dbt's run is there")
    run_id = run["dag_run_id"]
    assert pipeline.stack.wait(DBT, run_id, TIMEOUT_S) == "success"

    assert pipeline.stack.api.xcom(DBT, run_id, "dbt_build") == {"success": 5, "pass": 8}

    with psycopg.connect(pipeline.stack.postgres.dsn("warehouse")) as connection:
        funnel = "select sum(deals) from hubspot_deals_dbt__acme.funnel"
        assert connection.execute(funnel).fetchall() == [(5,)]


@pytest.mark.usefixtures("refused_run")
def test_only_the_scan_that_succeeded_has_an_asset_event(pipeline: Pipeline, scanned: str) -> None:
    events = {
        event["name"]: event["extra"]
        for event in pipeline.get("/api/v2/assets/events?limit=100")["asset_events"]
    }

    assert f"hubspot_deals/{STRANGER}/deals" not in events
    extra = events["hubspot_deals/acme/deals"]
    assert (extra["tenant"], extra["run_id"], extra["mode"]) == ("acme", scanned, "full")
    assert (extra["deals_received"], extra["deals_live"]) == (5, 5)


@pytest.mark.usefixtures("scanned", "refused_run")
def test_metrics_reach_statsd(pipeline: Pipeline) -> None:
    lines = pipeline.statsd.lines
    wanted = [
        "records_received,tenant=acme,mode=auto,object=deals:5|c",
        "records_written,tenant=acme,mode=auto,object=deals:5|c",
        "scans_succeeded,tenant=acme,mode=auto:1|c",
        f"scans_failed,tenant={STRANGER},mode=auto:1|c",
        "deals_live,tenant=acme:5|g",
    ]

    until(lambda: set(wanted) <= set(lines), "all metrics have come", timeout_s=30)

    assert any(line.startswith("scan_duration,tenant=acme,mode=auto:") for line in lines)


def test_openlineage_tells_where_deals_came_from_and_went(pipeline: Pipeline, scanned: str) -> None:
    job = f"{ACME}.extract_deals"

    def events() -> dict[str, dict[str, Any]]:
        lines = pipeline.lineage.read_text().splitlines()
        return {e["eventType"]: e for e in map(json.loads, lines) if e["job"]["name"] == job}

    until(lambda: {"START", "COMPLETE"} <= events().keys(), "both events are there", timeout_s=60)

    complete = events()["COMPLETE"]
    inputs = [(dataset["namespace"], dataset["name"]) for dataset in complete["inputs"]]
    outputs = {dataset["name"] for dataset in complete["outputs"]}
    assert inputs == [("hubspot://1000001", "deals")]
    assert outputs == {"warehouse.hubspot_deals.deals", "warehouse.hubspot_deals__acme.deals"}
    assert DEMO_TOKENS["acme"] not in pipeline.lineage.read_text()
