"""The accounts that are scanned: what they hold, what goes wrong in them, how they change."""

import random

from tests.hubspot_simulator import Fault, Portal, portals

DEALS, ARCHIVED = 3_000, 230
LATENCY_S = (0.005, 0.02)
#: Kind → in how many of 1,000 requests.
FAULTS = {
    "500": 2.0,
    "503": 2.0,
    "429": 2.0,
    "reset": 3.0,
    "close": 2.0,
    "truncated": 3.0,
    "cut_json": 2.0,
    "html": 2.0,
    "slow": 3.0,
}
SLOW_S = 0.3
#: How many changes there are between two scans, mostly and sometimes; and between two attempts.
FEW, MANY, LITTLE = (0, 60), (600, 1_200), (1, 20)


def tidy(rng: random.Random, deals: int) -> Portal:
    """Ids in dense clusters far apart, cursors that are ids."""
    return _served(rng, portals.generated(
        3_000_001, "pat-na1-chaos-tidy", deals=deals, archived=ARCHIVED, seed=7,
        associations=True, skewed=True,
    ))  # fmt: skip


def nasty(rng: random.Random, deals: int) -> Portal:
    """The same ids; values that break loads; opaque cursors."""
    return _served(rng, portals.generated(
        3_000_002, "pat-na1-chaos-nasty", deals=deals, archived=ARCHIVED, seed=7,
        associations=True, skewed=True, nasty=True, cursor="opaque",
    ))  # fmt: skip


def _served(rng: random.Random, portal: Portal) -> Portal:
    portal.requests_per_window = 1_000_000
    portal.quota.searches_per_second = None
    portal.latency_s = rng.uniform(*LATENCY_S)
    portal.faults = [
        Fault(
            kind,
            count=None,
            probability=of_a_thousand / 1_000,
            seed=rng.randint(0, 10**6),
            policy="SECONDLY",
            seconds=SLOW_S,
        )
        for kind, of_a_thousand in FAULTS.items()
    ]
    return portal


def change(portal: Portal, rng: random.Random) -> None:
    _mutate(portal, rng, MANY if rng.random() < 0.25 else FEW)


def change_little(portal: Portal, rng: random.Random) -> None:
    _mutate(portal, rng, LITTLE)


def _mutate(portal: Portal, rng: random.Random, how_often: tuple[int, int]) -> None:
    for _ in range(rng.randint(*how_often)):
        portal.mutate(rng, associations=True)
    # Purging outpaces archiving: without more of them, none would be left in the end.
    while len(portal.archived_ids()) < ARCHIVED // 2:
        portal.create(dealname="a late one")
        portal.archive(rng.choice(portal.live_ids()))
