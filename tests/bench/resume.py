"""A full scan that is killed at 80 % of its requests: how many the next try sends."""

import time
from dataclasses import asdict

from psycopg import sql

from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.child import Child
from tests.bench.extraction import EXTRACT_JOB, Scans
from tests.bench.report import Line, at_most
from tests.bench.simulator import Account, simulated
from tests.support.scans import BARE

TENANT = "acme"
KILL_AT, MOST_SENT_AGAIN = 0.8, 0.25
LOOK_EVERY_S = 0.02
#: So that there is time to look, and requests are under way when the process dies.
LATENCY_S, REQUESTS_PER_10_S = 0.05, 600
DEALS, DEALS_QUICK = 50_000, 30_000


def run(bench: Bench) -> list[Line]:
    deals = DEALS_QUICK if bench.quick else DEALS
    with simulated(bench.folder, {"deals": deals}) as (account,):
        account.set(latency_s=LATENCY_S, requests_per_window=REQUESTS_PER_10_S)
        whole = _requests_of_whole_scan(bench, account)
        killed_at, again = _requests_after_kill(bench, account, deals, whole)
    share = again / whole
    return [
        at_most(
            f"resume after SIGKILL at {killed_at / whole:.0%}, {deals:,} deals",
            f"{share:.0%} ({again} of {whole} requests)",
            share * 100,
            MOST_SENT_AGAIN * 100,
            " %",
            killed_at=killed_at,
            requests=whole,
        )
    ]


def _requests_of_whole_scan(bench: Bench, account: Account) -> int:
    scans = bench.scans(account.connection(TENANT))
    scans.validate(_ask())
    before = account.request_count()
    _start_extraction(scans).wait()
    bench.server.drop(scans.warehouse)
    return account.request_count() - before


def _requests_after_kill(bench: Bench, account: Account, deals: int, whole: int) -> tuple[int, int]:
    """Return how many requests were sent before the kill, and by the try after it."""
    scans = bench.scans(account.connection(TENANT))
    scans.validate(_ask())
    before = account.request_count()
    child = _start_extraction(scans)
    while (sent := account.request_count() - before) < KILL_AT * whole:
        if not child.running:
            child.wait()
            raise RuntimeError("the scan ended before it could be killed")
        time.sleep(LOOK_EVERY_S)
    child.kill()
    # Requests that were under way still arrive.
    time.sleep(2 * LATENCY_S)
    before = account.request_count()
    # Airflow would run this task again, not `validate_token`.
    _start_extraction(scans).wait()
    again = account.request_count() - before
    held = bench.server.figure(
        sql.SQL("select count(*) from {}").format(sql.Identifier(scans.warehouse.schema, "deals"))
    )
    if held != deals:
        raise RuntimeError(f"{held} of {deals} deals are there after the second try")
    bench.server.drop(scans.warehouse)
    return sent, again


def _ask() -> Ask:
    return Ask(TENANT, "manual__1", {"objects": BARE})


def _start_extraction(scans: Scans) -> Child:
    """Start a process; its directory for temporary files is new and empty."""
    return scans.start(EXTRACT_JOB, **asdict(_ask()))
