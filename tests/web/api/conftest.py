"""Two real API servers over one Airflow database and one warehouse, for all tests in here."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest

from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate
from tests.support.status_rows import (
    add_check,
    add_deals,
    add_object,
    add_scan,
    insert,
    run_of,
)
from tests.web.api.servers import FAB, SIMPLE, Server, environment, seed, serving, wait_until_up

SCHEMA = "deals_of_the_api"
DEALS = 1_203
#: What the check `values_fit` found: deal, detail.
WRONG = ((2, "amount: a lot"), (3, '=cmd|" /C calc"!A0'), (5_000, None))
COUNTED = {"records_received": DEALS, "rows_written": DEALS, "records_archived": 3}


@dataclass(frozen=True)
class Site:
    """``simple``: users admin, viewer; finds the warehouse by DATABASE_URL. ``fab``: users of
    `airflow_seed.PERMISSIONS`; finds it by an Airflow connection.
    """

    simple: Server
    fab: Server
    warehouse: Warehouse


@pytest.fixture(scope="session")
def site(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("api_servers")
    url = postgres.dsn("warehouse")
    warehouse = Warehouse.from_url(url, SCHEMA)
    migrate(warehouse)
    fill(warehouse)
    env = environment(folder, postgres.dsn("airflow"), DLT_DATABASE_SCHEMA=SCHEMA)
    env.pop("DATABASE_URL", None)
    seed(env, url)
    with ExitStack() as stack:
        simple, fab = (
            stack.enter_context(serving(folder, {**env, **more}))
            for more in (
                # a connection of that name is found first, so this server must not know it
                {
                    "AIRFLOW__CORE__AUTH_MANAGER": SIMPLE,
                    "AIRFLOW_CONN_WAREHOUSE": url,
                },
                {"AIRFLOW__CORE__AUTH_MANAGER": FAB},
            )
        )
        wait_until_up(simple, fab)
        yield Site(simple, fab, warehouse)


def fill(warehouse: Warehouse) -> None:
    for tenant in ("acme", "initech"):
        add_all_kinds(warehouse, tenant)
    add_scan(warehouse, "globex", 1, deals=COUNTED)
    add_deals(warehouse, "globex", 1, 5)


def add_all_kinds(warehouse: Warehouse, tenant: str) -> None:
    """Add a scan that succeeded with warnings, and one that failed after it."""
    add_scan(
        warehouse,
        tenant,
        1,
        age=timedelta(days=1),
        deals={
            **COUNTED,
            "live_rows": 1_200,
            "warehouse_live": 1_200,
            "portal_live": 1_200,
            "expected": 1_190,
        },
        warnings=["owners were not read"],
        misfits={"close_date": 1, "deals.my_number": 20},
        requests=40,
        throttled=2,
        quota_limit=250_000,
        quota_remaining=249_000,
    )
    add_object(warehouse, tenant, 1, "contacts", records_received=7)
    add_check(warehouse, tenant, 1, "every_deal_is_there", "passed", severity="block", observed=0)
    add_check(warehouse, tenant, 1, "values_fit", "warned")
    add_deals(warehouse, tenant, 1, DEALS)
    for number, (deal_id, detail) in enumerate(WRONG, start=1):
        row = {"scan_id": run_of(tenant, 1)[0], "tenant_id": tenant, "check_name": "values_fit"}
        wrong = {"number": number, "object": "deals", "record_id": deal_id, "detail": detail}
        insert(warehouse, "quality_records", {**row, **wrong})
    add_scan(
        warehouse,
        tenant,
        2,
        state="failed",
        error=f"TokenRejectedError: tenant {tenant}: HubSpot refused the token (401). Rotate it."
        " See docs/runbook.md#token-rejected",
        remedy="Rotate it.",
    )


@pytest.fixture(scope="session")
def simple(site: Site) -> Server:
    return site.simple


@pytest.fixture(scope="session")
def fab(site: Site) -> Server:
    return site.fab


@pytest.fixture(scope="session")
def acme_scan(site: Site) -> str:
    return run_of("acme", 1)[0]


@pytest.fixture(scope="session")
def failed_scan(site: Site) -> str:
    return run_of("acme", 2)[0]


@pytest.fixture(scope="session")
def globex_scan(site: Site) -> str:
    return run_of("globex", 1)[0]


@pytest.fixture
def timed_is_stale(site: Site, postgres: EmbeddedPostgres) -> Iterator[None]:
    """Airflow has deactivated the DAG of `timed` a week ago: its file can't be read."""
    change = (
        "update dag set is_stale = %s, next_dagrun_create_after = now() + %s"
        " where dag_id = 'hubspot_deals__timed'"
    )
    with psycopg.connect(postgres.dsn("airflow"), autocommit=True) as connection:
        connection.execute(change, [True, timedelta(days=-7)])
        yield
        connection.execute(change, [False, timedelta(days=1)])


@pytest.fixture
def nothing_runs(simple: Server) -> Iterator[None]:
    """End the runs that a test has started."""
    yield
    active = simple.airflow("GET", "/dags/~/dagRuns?state=queued&state=running&limit=1000").json()
    for run in active["dag_runs"]:
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}"
        simple.airflow("PATCH", path, json={"state": "failed"}).raise_for_status()


@contextmanager
def tenants_file(server: Server, entries: list[dict[str, str]]) -> Iterator[None]:
    """Replace the tenants for the block."""
    path = server.log.parent / "tenants.yaml"
    before = path.read_text()
    path.write_text(json.dumps({"tenants": entries}))
    try:
        yield
    finally:
        path.write_text(before)
