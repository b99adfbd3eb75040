"""Access tokens of OAuth apps that processes share through a real PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.errors import WarehouseUnavailableError
from include.hubspot.oauth import OAuthApp, SealedGrant
from include.warehouse.client_state import SharedTokens
from include.warehouse.connection import Warehouse
from tests import hubspot_simulator
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal
from tests.support.oauth import seen_from_here, token_of
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer

pytestmark = pytest.mark.slow


def rows(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        query = sql.SQL("select installation, sealed from {} order by 1").format(_table(warehouse))
        return connection.execute(query).fetchall()


def change(warehouse: Warehouse, statement: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(sql.SQL(statement).format(_table(warehouse)))


def _table(warehouse: Warehouse) -> sql.Identifier:
    return sql.Identifier(warehouse.schema, "oauth_tokens")


def test_what_was_kept_is_read_with_the_time_that_is_left(warehouse: Warehouse) -> None:
    tokens = SharedTokens(warehouse)
    with tokens.exclusively("k") as (before, keep):
        assert before is None
        keep(SealedGrant("sealed", 100.0))

    kept = tokens.read("k")

    assert kept is not None
    assert kept.sealed == "sealed"
    assert 60 < kept.left_s < 100
    assert tokens.read("another") is None


def test_of_two_who_want_a_row_the_second_finds_what_the_first_kept(warehouse: Warehouse) -> None:
    def second() -> SealedGrant | None:
        with SharedTokens(warehouse).exclusively("k") as (kept, _):
            return kept

    with ThreadPoolExecutor(1) as executor:
        with SharedTokens(warehouse).exclusively("k") as (_, keep):
            waiting = executor.submit(second)
            _wait_for_a_waiter(warehouse)
            keep(SealedGrant("sealed", 100.0))
        found = waiting.result(10)

    assert found is not None
    assert found.sealed == "sealed"


def test_rows_of_other_apps_do_not_wait(warehouse: Warehouse) -> None:
    tokens = SharedTokens(warehouse)

    with tokens.exclusively("k") as mine, tokens.exclusively("another") as theirs:
        assert (mine[0], theirs[0]) == (None, None)


def test_who_fails_leaves_the_row_as_it_was_and_free(warehouse: Warehouse) -> None:
    tokens = SharedTokens(warehouse)

    def fail() -> None:
        with tokens.exclusively("k") as (_, keep):
            keep(SealedGrant("half done", 100.0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with tokens.exclusively("k") as (kept, _):
        assert kept is None


@pytest.fixture(params=["direct", pytest.param("pgbouncer", marks=needs_pgbouncer)])
def address(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """How processes reach PostgreSQL."""
    if request.param == "direct":
        yield database_url
        return
    with PgBouncer(database_url, pool_size=3) as pooler:
        yield pooler.url


def test_eight_processes_that_start_together_refresh_once(
    warehouse: Warehouse,
    address: str,
    simulator: HubSpotSimulator,
    portal: Portal,
    app: OAuthApp,
) -> None:
    portal.add_fault(Fault("slow", endpoint="oauth_token", seconds=0.5))
    secrets = (app.client_id, app.client_secret, app.refresh_token)
    command = [
        *(sys.executable, "-m", "tests.support.oauth_worker", simulator.base_url),
        *secrets,
        warehouse.schema,
    ]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, "DATABASE_URL": address},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}

    assert answers == {str(portal.portal_id)}
    assert portal.requests["oauth_token"] == 1


def test_threads_of_two_processes_that_meet_a_401_refresh_once(
    warehouse: Warehouse, simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    workers = [token_of(simulator, app, SharedTokens(warehouse)) for _ in range(4)]
    refused = {worker.text for worker in workers}
    (old,) = refused

    with ThreadPoolExecutor(4) as executor:
        replaced = list(executor.map(lambda worker: worker.replaced(old), workers))

    assert replaced == [True] * 4
    assert len({worker.text for worker in workers}) == 1
    assert portal.requests["oauth_token"] == 2


def test_a_worker_that_starts_anew_takes_the_token_that_is_there(
    warehouse: Warehouse, simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    first = token_of(simulator, app, SharedTokens(warehouse)).text

    assert token_of(simulator, app, SharedTokens(warehouse)).text == first
    assert portal.requests["oauth_token"] == 1


def test_a_rotated_refresh_token_is_there_for_the_next_worker(
    warehouse: Warehouse,
    simulator: HubSpotSimulator,
    installed: hubspot_simulator.OAuthApp,
    app: OAuthApp,
) -> None:
    installed.rotates = True
    for _ in range(3):
        _ = token_of(simulator, app, SharedTokens(warehouse)).text
        change(warehouse, "update {} set expires_at = now()")

    assert installed.refreshes == 3


def test_the_row_shows_no_secret_and_no_other_connection_can_read_it(
    warehouse: Warehouse, simulator: HubSpotSimulator, app: OAuthApp
) -> None:
    text = token_of(simulator, app, SharedTokens(warehouse)).text

    ((key, sealed),) = rows(warehouse)

    assert not any(
        secret in f"{key} {sealed}" for secret in (text, app.client_secret, app.refresh_token)
    )
    assert key == app.key
    assert app.unseal(sealed) is not None
    for other in ("client_secret", "refresh_token"):
        assert replace(app, **{other: "of another tenant"}).unseal(sealed) is None


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("update {} set sealed = 'x' || sealed", id="changed"),
        pytest.param("update {} set sealed = ''", id="emptied"),
        pytest.param("delete from {}", id="gone"),
        pytest.param("update {} set expires_at = 'infinity', sealed = 'x'", id="for ever"),
    ],
)
def test_a_row_that_was_tampered_with_costs_a_refresh_only(
    warehouse: Warehouse, simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, statement: str
) -> None:
    _ = token_of(simulator, app, SharedTokens(warehouse)).text
    change(warehouse, statement)

    assert token_of(simulator, app, SharedTokens(warehouse)).text.startswith("access-token")
    assert portal.requests["oauth_token"] == 2
    assert app.unseal(rows(warehouse)[0][1]) is not None


def test_a_client_secret_that_was_replaced_costs_a_refresh_only(
    warehouse: Warehouse,
    simulator: HubSpotSimulator,
    installed: hubspot_simulator.OAuthApp,
    app: OAuthApp,
) -> None:
    _ = token_of(simulator, app, SharedTokens(warehouse)).text
    installed.client_secret = "another"

    _ = token_of(simulator, seen_from_here(installed), SharedTokens(warehouse)).text

    assert installed.refreshes == 2
    assert len(rows(warehouse)) == 1


def test_a_warehouse_that_breaks_off_after_hubspot_answered_loses_no_refresh_token(
    warehouse: Warehouse,
    database_url: str,
    simulator: HubSpotSimulator,
    portal: Portal,
    installed: hubspot_simulator.OAuthApp,
    app: OAuthApp,
) -> None:
    installed.rotates = True
    own = Warehouse(
        {**warehouse.parameters, "application_name": "breaks-off"}, schema=warehouse.schema
    )
    now = [0.0]
    token = token_of(simulator, app, SharedTokens(own), clock=lambda: now[0])
    portal.add_fault(Fault("slow", endpoint="oauth_token", seconds=1.0))

    with ThreadPoolExecutor(1) as executor:
        asking = executor.submit(lambda: token.text)
        while not portal.statistics.in_flight and not asking.done():
            pass
        _end_connections(database_url, "breaks-off")
        first = asking.result(20)
    assert rows(warehouse) == []
    now[0] += 31
    assert token.text == first

    assert token_of(simulator, app, SharedTokens(warehouse)).text == first
    assert installed.refreshes == 1


def test_an_unreachable_warehouse_is_waited_for_like_hubspot(
    simulator: HubSpotSimulator, app: OAuthApp
) -> None:
    nowhere = Warehouse.from_url("postgresql://x:y@127.0.0.1:1/x")
    slept: list[float] = []

    with pytest.raises(WarehouseUnavailableError):
        _ = token_of(
            simulator, app, SharedTokens(nowhere), retry_timeout_s=5, sleep=slept.append
        ).text

    assert slept


def _wait_for_a_waiter(warehouse: Warehouse) -> None:
    with warehouse.connect(autocommit=True) as connection:
        query = "select 1 from pg_locks where locktype = 'transactionid' and not granted"
        while connection.execute(query).fetchone() is None:
            pass


def _end_connections(database_url: str, application_name: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
            [application_name],
        ).fetchall()
    assert ended
