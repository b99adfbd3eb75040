"""How much of HubSpot's rate limit a full scan uses, and that it never asks for more.

190 requests in any 10 s, which is what private apps of most accounts may send. The simulator's log
of accepted requests shows the rate. 429s are not in it, so a scan that provokes them gets no
better figure.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.child import Child
from tests.bench.extraction import EXTRACT_JOB, Scans
from tests.bench.report import Line
from tests.bench.simulator import Account, simulated
from tests.support.scans import BARE

LIMIT, WINDOW_S = 190, 10.0
LEAST_SHARE = 0.95
DEALS = 50_000
LATENCIES_S = (0.1, 0.25)
SETTINGS = {"objects": BARE}


def run(bench: Bench) -> list[Line]:
    """Measure one scan at each latency, two of different apps, and two of one app."""
    lines = []
    with simulated(bench.folder, {"deals": DEALS}, {"deals": DEALS, "seed": 2}) as accounts:
        one, other = accounts
        for account in accounts:
            account.set(requests_per_window=LIMIT, searches_per_second=5)
        for latency_s in LATENCIES_S[: 1 if bench.quick else None]:
            what = f"full scan, {DEALS:,} deals, {latency_s * 1000:.0f} ms"
            lines += _measured(bench, what, latency_s, {"acme": one})
        if not bench.quick:
            pair = {"acme": one, "globex": other}
            lines += _measured(bench, "two apps at once, 100 ms", LATENCIES_S[0], pair)
            shared = {"acme": one, "globex": one}
            lines += _measured(bench, "two processes, one app, 100 ms", LATENCIES_S[0], shared)
    return lines


def _measured(
    bench: Bench, what: str, latency_s: float, accounts: dict[str, Account]
) -> list[Line]:
    """Scan the tenants' accounts at once."""
    apps = {id(account): account for account in accounts.values()}
    for app in apps.values():
        app.set(latency_s=latency_s)
    before = {key: (app.request_count(), app.throttled()) for key, app in apps.items()}
    wall_s = _scan_all(bench, accounts)
    lines = []
    for number, (key, app) in enumerate(apps.items()):
        accepted, throttled = before[key]
        name = f"{what}, app {number + 1}" if len(apps) > 1 else what
        lines.append(
            _line(name, app.accepted_at_s()[accepted:], app.throttled() - throttled, wall_s)
        )
    return lines


def _scan_all(bench: Bench, accounts: dict[str, Account]) -> float:
    connections = {
        name: value
        for tenant_id, account in accounts.items()
        for name, value in account.connection(tenant_id).items()
    }
    scans = bench.scans(connections)
    asks = [Ask(tenant_id, "manual__1", SETTINGS) for tenant_id in accounts]
    for ask in asks:
        scans.validate(ask)
    children = [_start(scans, ask) for ask in asks]
    wall_s = max(child.wait().wall_s for child in children)
    bench.server.drop(scans.warehouse)
    return wall_s


def _start(scans: Scans, ask: Ask) -> Child:
    return scans.start(EXTRACT_JOB, **asdict(ask))


def _line(what: str, accepted_at_s: Sequence[float], throttled: int, wall_s: float) -> Line:
    share = sustained_share(accepted_at_s)
    return Line(
        what,
        f"{share:.1%} of {LIMIT}/10 s, {throttled} x 429, {wall_s:.0f} s",
        f">= {LEAST_SHARE:.0%}, no 429",
        share >= LEAST_SHARE and throttled == 0,
        {
            "share": share,
            "throttled": throttled,
            "wall_s": wall_s,
            "requests": len(accepted_at_s),
            "span_s": accepted_at_s[-1] - accepted_at_s[0],
        },
    )


def sustained_share(accepted_at_s: Sequence[float]) -> float:
    """Return how much of the limit was used after the first 10 s: 1.0 is all of it.

    The mean time from each request to the one that comes *limit* requests later is never less than
    the window, however the requests are bunched. Dividing a count by a time would depend on where
    in a bunch the log ends.
    """
    first_s = accepted_at_s[0] + WINDOW_S
    laps_s = [
        later - earlier
        for earlier, later in zip(accepted_at_s, accepted_at_s[LIMIT:], strict=False)
        if earlier >= first_s
    ]
    if not laps_s:
        raise RuntimeError(f"{len(accepted_at_s)} requests are too few for a sustained rate")
    return WINDOW_S / statistics.fmean(laps_s)
