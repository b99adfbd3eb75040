"""A second full scan that finds nothing changed: it writes nothing, and costs PostgreSQL little."""

import statistics

from psycopg import sql

from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.extraction import Measured
from tests.bench.report import Line, at_most
from tests.bench.shape import SETTINGS, SHAPE
from tests.bench.simulator import simulated
from tests.support.scans import BARE

TENANT = "acme"
MOST_GROWTH_PERCENT, MOST_OF_FIRST = 0.0, 0.5


def run(bench: Bench) -> list[Line]:
    deals, rounds = (20_000, 1) if bench.quick else (50_000, 2)
    settings = {**SETTINGS, "objects": BARE}
    growths, ratios = [], []
    with simulated(bench.folder, {"deals": deals, **SHAPE}) as (account,):
        for _ in range(rounds):
            scans = bench.scans(account.connection(TENANT))
            size = sql.SQL("select pg_total_relation_size({})").format(
                f"{scans.warehouse.schema}.deals"
            )
            ask = Ask(TENANT, "manual__1", settings, "full")
            first_s = _server_cpu_s(scans.extract(ask), received=deals, written=deals)
            scans.check(ask)
            before = bench.server.figure(size)
            again = scans.extract(Ask(TENANT, "manual__2", settings, "full"))
            again_s = _server_cpu_s(again, received=deals, written=0)
            growths.append((bench.server.figure(size) / before - 1) * 100)
            ratios.append(again_s / first_s)
            bench.server.drop(scans.warehouse)
    what = f"second full scan, {deals:,} deals, nothing changed"
    growth, ratio = max(growths), statistics.median(ratios)
    return [
        at_most(f"{what}: table size", f"+{growth:.2f} %", growth, MOST_GROWTH_PERCENT, " %"),
        at_most(
            f"{what}: server CPU / first",
            f"{ratio:.2f} x",
            ratio,
            MOST_OF_FIRST,
            " x",
            ratios=ratios,
        ),
    ]


def _server_cpu_s(measured: Measured, *, received: int, written: int) -> float:
    """Return what PostgreSQL took. A scan that does not read all deals would cost little too."""
    result = measured.usage.result
    found = (result["mode"], result["deals_extracted"], result["deals_written"])
    if found != ("full", received, written):
        raise RuntimeError(f"the scan was {found}, not {('full', received, written)}")
    return measured.server_cpu_s
