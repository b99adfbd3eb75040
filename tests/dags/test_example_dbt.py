"""The example that runs dbt after a scan, with dbt itself on real PostgreSQL."""

import subprocess
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException
from psycopg import sql
from psycopg.rows import dict_row

from dags.example_dbt import DEFAULT_DBT, PROJECT, environment
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
from tests.hubspot_simulator.record import now_iso
from tests.support.scans import run, scan
from tests.support.waiting import until

pytestmark = pytest.mark.slow

needs_dbt = pytest.mark.skipif(not DEFAULT_DBT.exists(), reason="there is no dbt: make dbt")

PASSWORD = "a'pass word\"%"
MODELS = "hubspot_deals_dbt__acme"


@pytest.fixture
def build(tmp_path: Path, airflow_environment: pytest.MonkeyPatch, project_root: Path) -> Any:
    """The function of the task."""
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{id: acme}]")
    airflow_environment.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))
    airflow_environment.setenv("HUBSPOT_DEALS_EXAMPLE_DAGS", "true")
    bag = DagBag(project_root / "dags")
    return bag.dags["example_dbt"].get_task("dbt_build").python_callable


@pytest.fixture
def portal(serve: Serve) -> Portal:
    """Deals of which some moved on: a stage set again, one entered twice, closed ones, archived."""
    portal = portals.generated(deals=120, archived=10)
    serve(acme=portal)
    run(scan("1"))
    for stage in ("qualifiedtobuy", "qualifiedtobuy", "contractsent", "qualifiedtobuy"):
        enter(portal, portal.live_ids()[:6], stage)
    enter(portal, portal.live_ids()[6:12], "closedwon")
    run(scan("2"))
    return portal


def enter(portal: Portal, deal_ids: list[int], stage: str) -> None:
    for deal_id in deal_ids:
        portal.update(deal_id, dealstage=stage, pipeline="default")
    # the next change must have a time of its own: HubSpot's resolution is a millisecond
    until(lambda: now_iso() > portal.deals[deal_ids[-1]].updated_at, "a millisecond has passed")


def rows(warehouse: Warehouse, statement: str) -> list[dict[str, Any]]:
    with warehouse.connect() as connection:
        return connection.cursor(row_factory=dict_row).execute(statement).fetchall()


@needs_dbt
def test_all_models_are_built_and_hold_what_the_tenants_views_hold(
    warehouse: Warehouse, portal: Portal, build: Any
) -> None:
    assert build() == {"success": 5, "pass": 8}

    live = rows(warehouse, "select * from hubspot_deals__acme.deals")
    assert len(live) == len(portal.live_ids())
    _is_the_funnel(rows(warehouse, f"select * from {MODELS}.funnel"), live)
    _is_the_win_rate(rows(warehouse, f"select * from {MODELS}.win_rate"), live, warehouse)
    _is_the_time_in_stage(warehouse)


def _is_the_funnel(funnel: list[dict[str, Any]], live: list[dict[str, Any]]) -> None:
    deals: Counter[tuple[str, str]] = Counter()
    amounts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for deal in live:
        deals[deal["pipeline"], deal["dealstage"]] += 1
        amounts[deal["pipeline"], deal["dealstage"]] += deal["amount"] or 0
    of = {(row["pipeline_id"], row["stage_id"]): row for row in funnel}
    assert len(of) == len(funnel)
    assert {stage: row["deals"] for stage, row in of.items() if row["deals"]} == deals
    assert {stage: of[stage]["amount"] for stage in deals} == {s: amounts[s] for s in deals}


def _is_the_win_rate(
    win_rate: list[dict[str, Any]], live: list[dict[str, Any]], warehouse: Warehouse
) -> None:
    stages = {
        (stage["pipeline_id"], stage["stage_id"]): stage
        for stage in rows(warehouse, "select * from hubspot_deals__acme.deal_stages")
    }
    closed: Counter[Any] = Counter()
    won: Counter[Any] = Counter()
    for deal in live:
        stage = stages[deal["pipeline"], deal["dealstage"]]
        if stage["is_closed"] and deal["closedate"]:
            month = deal["closedate"].date().replace(day=1)
            closed[deal["pipeline"], month] += 1
            won[deal["pipeline"], month] += stage["probability"] == 1
    assert sum(won.values()) >= 6
    found = {(row["pipeline_id"], row["close_month"]): row for row in win_rate}
    assert {key: row["closed"] for key, row in found.items()} == closed
    assert {key: row["won"] for key, row in found.items()} == won
    for row in win_rate:
        assert row["win_rate"] == round(Decimal(row["won"]) / row["closed"], 4)


def _is_the_time_in_stage(warehouse: Warehouse) -> None:
    history = rows(
        warehouse,
        "select h.record_id, h.value, h.changed_at, d.pipeline"
        " from hubspot_deals__acme.deal_property_history h"
        " join hubspot_deals__acme.deals d on d.deal_id = h.record_id"
        " where h.property = 'dealstage' order by h.record_id, h.changed_at",
    )
    days = defaultdict(list)
    entered: dict[int, dict[str, Any]] = {}
    for change in history:
        before = entered.get(change["record_id"])
        if before and before["value"] == change["value"]:
            continue
        if before:
            time = change["changed_at"] - before["changed_at"]
            days[change["pipeline"], before["value"]].append(time / timedelta(days=1))
        entered[change["record_id"]] = change
    found = {
        (row["pipeline_id"], row["stage_id"]): row
        for row in rows(warehouse, f"select * from {MODELS}.time_in_stage")
    }
    assert {stage: row["visits"] for stage, row in found.items()} == {
        stage: len(times) for stage, times in days.items()
    }
    assert len(days["default", "qualifiedtobuy"]) >= 6
    for stage, row in found.items():
        assert float(row["mean_days"]) == pytest.approx(mean(days[stage]), abs=0.01)
        assert float(row["median_days"]) == pytest.approx(median(days[stage]), abs=0.01)


@needs_dbt
def test_the_source_is_fresh_after_a_scan_and_stale_two_days_later(
    warehouse: Warehouse, portal: Portal, tmp_path: Path
) -> None:
    assert _freshness(tmp_path) == 0

    with warehouse.connect() as connection:
        connection.run("update {scans} set finished_at = finished_at - interval '49 hours'")

    assert _freshness(tmp_path) == 1


def _freshness(tmp_path: Path) -> int:
    env, _ = environment(Tenant(id="acme"))
    work = {"DBT_TARGET_PATH": str(tmp_path / "target"), "DBT_LOG_PATH": str(tmp_path)}
    command = [str(DEFAULT_DBT), "source", "freshness", "--project-dir", str(PROJECT)]
    return subprocess.run(command, env={**env, **work}, check=False).returncode


@needs_dbt
def test_a_failed_dbt_says_for_which_tenant_and_shows_no_password(
    warehouse: Warehouse,
    database_url: str,
    build: Any,
    airflow_environment: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # a login that may not make the schema of the models; roles belong to the server
    with psycopg.connect(database_url, autocommit=True) as connection:
        create = sql.SQL("create role dbt_reports login password {}").format(PASSWORD)
        connection.execute("drop role if exists dbt_reports")
        connection.execute(create)
    where = urlsplit(database_url)
    login = f"dbt_reports:{quote(PASSWORD, safe='')}"
    url = f"postgresql://{login}@{where.hostname}:{where.port}{where.path}"
    airflow_environment.setenv("DATABASE_URL", url)

    with caplog.at_level("INFO"), pytest.raises(AirflowFailException) as failure:
        build()

    # where Airflow logs to depends on what was imported before
    log = capfd.readouterr().out + caplog.text
    assert "tenant acme: dbt failed with exit status 2" in str(failure.value)
    assert "permission denied for database" in log
    assert PASSWORD not in log + str(failure.value)


def test_without_dbt_the_task_says_how_to_get_it(
    build: Any, airflow_environment: pytest.MonkeyPatch
) -> None:
    airflow_environment.setenv("HUBSPOT_DEALS_DBT", "/nowhere/dbt")

    with pytest.raises(AirflowFailException, match="there is no dbt at /nowhere/dbt"):
        build()
