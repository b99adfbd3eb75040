"""Limits that many processes keep together, in a real PostgreSQL."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.errors import WarehouseConfigError, WarehouseUnavailableError
from include.hubspot.client import HubSpotClient
from include.hubspot.rate_limit import HeaderSnapshot, RateLimiter, Reservation, Rule, decide
from include.warehouse.client_state import SharedLimits
from include.warehouse.connection import Warehouse
from tests.hubspot_simulator.process import SimulatorProcess, simulator_process
from tests.support.scans import query

TOKEN = "pat-na1-generated"


def demand(permits: int = 1, key: str = "app:1", **more: Any) -> Reservation:
    return Reservation(key, Rule(100), permits, **more)


def row(warehouse: Warehouse) -> dict[str, Any]:
    (found,) = query(warehouse, "select * from rate_limits")
    return found


def test_two_processes_never_get_the_same_slot(warehouse: Warehouse) -> None:
    one, other = SharedLimits(warehouse), SharedLimits(warehouse)

    one.reserve(demand(30))
    first = one.reserve(demand(1))[0] + time.monotonic()
    second = other.reserve(demand(1))[0] + time.monotonic()

    assert second - first == pytest.approx(10.3 / 75, abs=0.05)


def test_many_at_once_get_slots_in_one_row_without_a_gap(warehouse: Warehouse) -> None:
    def reserve(_: int) -> None:
        limits = SharedLimits(warehouse)
        for _ in range(10):
            limits.reserve(demand(2, headers=HeaderSnapshot(1_000, None, None, 0, 0)))

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(reserve, range(8)))

    assert row(warehouse)["revision"] == 80
    assert sum(row(warehouse)["granted"]) == 160


def test_apps_do_not_wait_for_each_other(warehouse: Warehouse) -> None:
    limits = SharedLimits(warehouse)
    limits.reserve(demand(100))

    assert limits.reserve(demand(1, "app:2"))[0] == pytest.approx(0, abs=0.01)


def test_what_a_process_learned_is_known_to_the_next(warehouse: Warehouse) -> None:
    SharedLimits(warehouse).reserve(demand(headers=HeaderSnapshot(1_000, 10.0, 990, 0, 0)))

    slots = SharedLimits(warehouse).reserve(demand(300))

    assert row(warehouse)["requests_per_window"] == 1_000
    assert min(later - earlier for earlier, later in pairwise(slots)) < 10.3 / 1_000


def test_a_429_in_one_process_holds_back_the_others(warehouse: Warehouse) -> None:
    SharedLimits(warehouse).reserve(demand(0, hold_s=5.0))

    assert SharedLimits(warehouse).reserve(demand())[0] == pytest.approx(5.0, abs=0.5)


def test_connections_that_the_server_closed_are_opened_again(warehouse: Warehouse) -> None:
    with warehouse.keeping_connections() as kept:
        with kept.connect() as one, kept.connect() as other:
            pids = [connection.info.backend_pid for connection in (one, other)]
        with warehouse.connect() as connection:
            connection.execute("select pg_terminate_backend(pid) from unnest(%s) as pid", [pids])

        SharedLimits(kept).reserve(demand())

    assert row(warehouse)["revision"] == 1


def test_a_process_that_was_stopped_between_its_statements_blocks_no_other(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, go_on = threading.Event(), threading.Event()

    def stopping(*arguments: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and not stopped.is_set():
            stopped.set()
            go_on.wait(10)
        return decide(*arguments)

    monkeypatch.setattr("include.warehouse.client_state.decide", stopping)
    with ThreadPoolExecutor(1) as executor:
        late = executor.submit(SharedLimits(warehouse).reserve, demand())
        stopped.wait(10)
        SharedLimits(warehouse).reserve(demand())
        go_on.set()
        late.result()

    assert sum(row(warehouse)["granted"]) == 2


def test_a_server_that_is_gone_is_unavailable(database_url: str) -> None:
    nowhere = {**psycopg.conninfo.conninfo_to_dict(database_url), "port": "9"}
    unreachable = Warehouse(nowhere, tenant_id="acme")

    with pytest.raises(WarehouseUnavailableError, match="tenant acme: "):
        SharedLimits(unreachable).reserve(demand())


def test_a_role_that_may_not_write_learns_what_to_grant(
    warehouse: Warehouse, database_url: str
) -> None:
    with warehouse.connect() as connection:
        connection.execute("create role without_rights login password 'x'")
    try:
        settings = psycopg.conninfo.conninfo_to_dict(database_url)
        login = {"user": "without_rights", "password": "x"}
        limited = Warehouse({**settings, **login}, warehouse.schema)
        with pytest.raises(WarehouseConfigError, match="Grant the warehouse connection's role"):
            SharedLimits(limited).reserve(demand())
    finally:
        with warehouse.connect() as connection:
            connection.execute("drop role without_rights")


def test_limiters_that_are_not_used_any_more_are_forgotten(warehouse: Warehouse) -> None:
    limits = SharedLimits(warehouse)
    limits.reserve(demand())
    with warehouse.connect() as connection:
        connection.execute(
            f"update {warehouse.schema}.rate_limits set updated_at = now() - interval '31 days'"
        )

    limits.reserve(demand(1, "app:2"))

    assert row(warehouse)["limiter"] == "app:2"


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    """A simulated HubSpot in a process of its own."""
    with simulator_process(tmp_path, "--deals", "5") as simulator:
        simulator.set(requests_per_window=190, latency_s=0.02)
        yield simulator


def load(
    simulator: SimulatorProcess, warehouse: Warehouse, database_url: str, processes: int, s: int
) -> list[dict[str, Any]]:
    """Let processes ask as fast as they may, and return what each says."""
    command = [sys.executable, "-m", "tests.support.rate_limit_load", simulator.base_url, TOKEN]
    started = [
        subprocess.Popen(
            [*command, str(s), "3", warehouse.schema],
            env={**os.environ, "DATABASE_URL": database_url},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    return [json.loads(process.communicate()[0]) for process in started]


@pytest.mark.slow
def test_eight_processes_together_keep_the_limit(
    warehouse: Warehouse, database_url: str, asked: SimulatorProcess
) -> None:
    load(asked, warehouse, database_url, processes=8, s=13)

    stats = asked.stats()
    assert stats["max_requests_in_any_window"]["app"] <= 190
    assert stats["throttled"] == 0


@pytest.mark.slow
def test_what_another_app_of_the_customer_uses_is_left_to_it(
    warehouse: Warehouse, database_url: str, asked: SimulatorProcess
) -> None:
    other = HubSpotClient(asked.base_url, TOKEN, rule=Rule(50, cap=50))
    ended = threading.Event()

    def use() -> None:
        while not ended.is_set():
            other.account()

    with ThreadPoolExecutor(1) as executor:
        using = executor.submit(use)
        ours = load(asked, warehouse, database_url, processes=2, s=13)
        ended.set()
        using.result()

    stats = asked.stats()
    assert stats["max_requests_in_any_window"]["app"] <= 190
    assert stats["throttled"] == 0
    assert all(one["requests"] for one in ours)


def test_a_limit_that_is_not_reached_costs_next_to_nothing(warehouse: Warehouse) -> None:
    said = {"X-HubSpot-RateLimit-Max": "1000000", "X-HubSpot-RateLimit-Remaining": "999000"}
    with warehouse.keeping_connections() as kept:
        limiter = RateLimiter(SharedLimits(kept), lambda: "app:1", Rule())
        limiter.learn(said, time.monotonic())
        limiter.acquire()

        started = time.process_time()
        for _ in range(500):
            limiter.acquire()
            limiter.learn(said, time.monotonic())

    assert time.process_time() - started < 0.1
