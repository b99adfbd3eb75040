"""The memory of a task process does not depend on how many deals an account has."""

from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.report import Line, at_most
from tests.bench.simulator import simulated
from tests.support.scans import BARE

TENANT = "acme"
FEW, MANY, MANY_QUICK = 20_000, 1_000_000, 200_000
MOST_DIFFERENCE_PERCENT, MOST_MB = 20.0, 400.0
#: None but those that are always read: a million deals are 10,000 pages.
SETTINGS = {"properties": ["dealname"], "objects": BARE}


def run(bench: Bench) -> list[Line]:
    many = MANY_QUICK if bench.quick else MANY
    peaks_mb = {deals: _peak_mb(bench, deals) for deals in (FEW, many)}
    difference = abs(peaks_mb[many] / peaks_mb[FEW] - 1) * 100
    highest_mb = max(peaks_mb.values())
    measured = ", ".join(f"{mb:.0f} MB for {deals:,}" for deals, mb in peaks_mb.items())
    return [
        at_most(
            "peak memory of the task: difference",
            f"{difference:.0f} % ({measured})",
            difference,
            MOST_DIFFERENCE_PERCENT,
            " %",
            peaks_mb={str(deals): mb for deals, mb in peaks_mb.items()},
        ),
        at_most("peak memory of the task", f"{highest_mb:.0f} MB", highest_mb, MOST_MB, " MB"),
    ]


def _peak_mb(bench: Bench, deals: int) -> float:
    with simulated(bench.folder, {"deals": deals, "lazy": True}) as (account,):
        scans = bench.scans(account.connection(TENANT))
        peak_mb = scans.extract(Ask(TENANT, "manual__1", SETTINGS)).usage.peak_mb
        bench.server.drop(scans.warehouse)
    return peak_mb
