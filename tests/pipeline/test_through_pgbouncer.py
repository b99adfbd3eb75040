"""Scans through a PgBouncer in transaction mode: no two transactions need have the same session."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from include.errors import OutdatedAttemptError, TenantBusyError
from include.hubspot.rate_limit import Reservation, Rule
from include.warehouse.client_state import SharedLimits
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import tenant_lease
from tests.chaos.budget import Budget
from tests.chaos.chaos import environment_of, run_chaos
from tests.chaos.worker_pool import WorkerPool
from tests.conftest import Serve
from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.scans import assert_equals_the_portal, attempt, query, run, scan
from tests.support.sessions import sessions_seen

pytestmark = [pytest.mark.slow, needs_pgbouncer]

POOL_SIZE = 4
SCANS_AT_ONCE = 8


@pytest.fixture
def pooler(database_url: str) -> Iterator[PgBouncer]:
    with PgBouncer(database_url, POOL_SIZE) as pooler:
        yield pooler


@pytest.fixture
def narrow(database_url: str, airflow_environment: pytest.MonkeyPatch) -> Iterator[PgBouncer]:
    """A pooler with a single session of PostgreSQL, which tasks find."""
    with PgBouncer(database_url, pool_size=1, query_wait_timeout_s=10) as pooler:
        airflow_environment.setenv("DATABASE_URL", pooler.url)
        yield pooler


@pytest.mark.usefixtures("narrow", "fast_searches")
def test_a_scan_never_needs_two_sessions_to_get_on(warehouse: Warehouse, serve: Serve) -> None:
    """Or scans at once could each hold one, and wait for ever for another."""
    portal = portals.generated(
        deals=400, archived=20, associations=True, requests_per_window=1_000_000
    )
    serve(acme=portal)

    first = run(scan("1", search_lag_s=0))
    for deal_id in portal.live_ids()[:20]:
        portal.update(deal_id, amount="12.50")
    portal.archive(portal.live_ids()[-1])
    second = run(scan("2", search_lag_s=0))

    assert (first["mode"], second["mode"]) == ("full", "incremental")
    assert_equals_the_portal(warehouse, portal)


def test_scans_that_are_killed_end_with_what_the_accounts_hold(
    warehouse: Warehouse, pooler: PgBouncer, database_url: str, tmp_path: Path
) -> None:
    """Two tenants at once, full and incremental; orphans beside their successors."""
    with sessions_seen(database_url, names="hubspot_deals/%") as seen:
        chaos_run = run_chaos(
            pooler.warehouse(warehouse.schema),
            tmp_path / "chaos",
            Budget(seed=3, kills=2),
            print,
            deals=1_500,
        )

    print(chaos_run, f"at most {seen.most} sessions", sep="\n")
    assert chaos_run.kills == 2 * 2
    assert seen.most <= POOL_SIZE


def test_many_scans_at_once_share_the_few_sessions_of_the_pool(
    warehouse: Warehouse, pooler: PgBouncer, database_url: str, tmp_path: Path
) -> None:
    accounts = [(f"tenant_{n}", small_portal(n)) for n in range(SCANS_AT_ONCE)]
    entries = [({"id": tenant_id, "search_lag_s": 0}, portal) for tenant_id, portal in accounts]
    pooled = pooler.warehouse(warehouse.schema)
    with (
        HubSpotSimulator(portal for _, portal in accounts) as simulator,
        WorkerPool(environment_of(pooled, simulator, entries), tmp_path / "workers") as worker_pool,
        sessions_seen(database_url) as seen,
    ):
        worker_pool.wait()
        for task in ("validate_token", "extract_deals", "check_quality"):
            all_at_once(worker_pool, task, [entry for entry, _ in entries])

    assert seen.most <= POOL_SIZE
    for tenant_id, portal in accounts:
        assert_equals_the_portal(warehouse, portal, tenant_id)


def small_portal(number: int) -> Portal:
    return portals.generated(
        7_000 + number, f"pat-na1-{number}", deals=150, seed=number, requests_per_window=1_000_000
    )


def all_at_once(worker_pool: WorkerPool, task: str, entries: list[dict[str, Any]]) -> None:
    workers = [
        worker_pool.begin(task, tenant=entry, run_id="1", mode="auto", checkpoint_pages=4)
        for entry in entries
    ]
    for worker in workers:
        assert worker_pool.ended(worker, 120.0), "a task does not end"
        assert worker.succeeded, f"{worker.report}\n{worker_pool.last_lines()}"


def test_an_outdated_try_differs_from_the_newest_in_one_session(
    warehouse: Warehouse, narrow: PgBouncer
) -> None:
    older = attempt(narrow.warehouse(warehouse.schema), scan())
    newer = older.next_attempt()

    with older.warehouse.keeping_connections() as old, newer.warehouse.keeping_connections() as new:
        for _ in range(3):
            deletes_all(new)
            with pytest.raises(OutdatedAttemptError):
                deletes_all(old)


def deletes_all(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"delete from {warehouse.schema}.deals")


def test_one_scan_of_a_tenant_waits_for_another(warehouse: Warehouse, narrow: PgBouncer) -> None:
    first, second = (
        attempt(narrow.warehouse(warehouse.schema), scan(run_id)).warehouse for run_id in "12"
    )

    with (
        tenant_lease(first, "acme"),
        pytest.raises(TenantBusyError),
        tenant_lease(second, "acme", wait_s=0.0),
    ):
        pass

    with tenant_lease(second, "acme", wait_s=0.0) as lock:
        assert lock is not None


def test_a_rate_limit_is_kept_by_all(warehouse: Warehouse, pooler: PgBouncer) -> None:
    def reserve(_: int) -> list[float]:
        limits = SharedLimits(pooler.warehouse(warehouse.schema))
        demand = Reservation("app:1", Rule(100), 1)
        return [limits.reserve(demand)[0] + time.monotonic() for _ in range(20)]

    with ThreadPoolExecutor(8) as executor:
        slots = [slot for slots in executor.map(reserve, range(8)) for slot in slots]

    # what remains after the first burst is handed out one by one, to each that asks
    assert max(slots) - min(slots) >= (8 * 20 - 100) * 10 / 100
    (limiter,) = query(warehouse, "select revision, granted from rate_limits")
    assert limiter["revision"] == sum(limiter["granted"]) == 8 * 20


def test_nothing_that_was_set_stays_with_a_session_of_the_pool(
    warehouse: Warehouse, narrow: PgBouncer
) -> None:
    pooled = narrow.warehouse(warehouse.schema)

    SharedLimits(pooled).reserve(Reservation("app:1", Rule(100), 1))

    assert query(pooled, "show synchronous_commit") == [{"synchronous_commit": "on"}]
