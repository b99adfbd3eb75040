"""Two tenants that are scanned at the same time, and interrupted, over and over."""

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from include.ops.local.demo_servers import connections
from include.warehouse.connection import Warehouse
from tests.chaos import accounts
from tests.chaos.budget import Budget
from tests.chaos.chaos_run import ChaosRun, StoppedError
from tests.chaos.proof import nothing_is_held
from tests.chaos.result import ChaosResult
from tests.chaos.worker_pool import WorkerPool
from tests.hubspot_simulator import HubSpotSimulator, Portal

#: Their entries in the tenants file. One reads everything around its deals in each scan.
TIDY: dict[str, Any] = {"id": "chaos_tidy", "search_lag_s": 0, "refresh_after_s": 0}
NASTY: dict[str, Any] = {
    "id": "chaos_nasty",
    "search_lag_s": 0,
    "objects": {"deal_property_history": False},
}


def run_chaos(
    warehouse: Warehouse,
    directory: Path,
    budget: Budget,
    say: Callable[[str], None],
    deals: int = accounts.DEALS,
) -> ChaosResult:
    """Do it until the budget (of each tenant) is spent; raise if something does not hold.

    :param directory: for working directories and logs.
    :param say: gets a line about each scan.
    :param deals: of each account.
    """
    rng = random.Random(budget.seed)
    portals = [(TIDY, accounts.tidy(rng, deals)), (NASTY, accounts.nasty(rng, deals))]
    stop = threading.Event()
    with ExitStack() as stack:
        simulator = stack.enter_context(HubSpotSimulator(portal for _, portal in portals))
        environment = environment_of(warehouse, simulator, portals)
        worker_pools = [
            stack.enter_context(WorkerPool(environment, directory / entry["id"]))
            for entry, _ in portals
        ]
        chaos_runs = [
            ChaosRun(entry, portal, warehouse, worker_pool, budget, stop, say)
            for (entry, portal), worker_pool in zip(portals, worker_pools, strict=True)
        ]
        _run_all(chaos_runs, stop)
    nothing_is_held(warehouse)
    first, second = (chaos_run.result for chaos_run in chaos_runs)
    return first + second


def _run_all(chaos_runs: list[ChaosRun], stop: threading.Event) -> None:
    def run(chaos_run: ChaosRun) -> None:
        try:
            chaos_run.run()
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(len(chaos_runs)) as pool:
        try:
            running = [pool.submit(run, chaos_run) for chaos_run in chaos_runs]
            errors = [error for future in running if (error := future.exception())]
            errors = [error for error in errors if not isinstance(error, StoppedError)]
        finally:
            # also when Ctrl-C ends the waiting
            stop.set()
    if errors:
        raise BaseExceptionGroup("scans did not survive", errors)


def environment_of(
    warehouse: Warehouse,
    simulator: HubSpotSimulator,
    portals: list[tuple[dict[str, Any], Portal]],
) -> dict[str, str]:
    """Return the environment in which a task finds the warehouse and the accounts."""
    tokens = {entry["id"]: portal.tokens[0].text for entry, portal in portals}
    return {
        **os.environ,
        "DATABASE_URL": warehouse.url,
        "DLT_DATABASE_SCHEMA": warehouse.schema,
        **connections(simulator.base_url, tokens, tokens),
    }
