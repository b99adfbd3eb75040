"""Random changes to an account, in an order that a seed decides."""

import random
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hubspot_simulator.portal import Portal

CHANGES = ("create", "update", "update", "drift", "archive", "restore", "merge", "purge")
LINKING = ("associate", "dissociate")
#: Fewer live deals than this, and only creating one makes sense.
MIN_LIVE = 3


def mutate(portal: "Portal", rng: random.Random, *, associations: bool = False) -> None:
    """Do one change. The same seed on the same account makes the same ones.

    ``associations``: sometimes of what deals are associated with.
    """
    with portal.lock:
        live, archived = portal.live_ids(), portal.archived_ids()
        change = rng.choice((*CHANGES, *LINKING) if associations else CHANGES)
        value = str(rng.randint(1, 9_999))
        if change == "create" or len(live) < MIN_LIVE:
            portal.create(dealname=f"created {value}", amount=value)
        elif change == "update":
            portal.update(rng.choice(live), amount=value)
        elif change == "drift":
            portal.drift(rng.choice(live), amount_in_home_currency=value)
        elif change == "archive":
            portal.archive(rng.choice(live))
        elif change == "merge":
            first, second = rng.sample(live, 2)
            portal.merge(first, second)
        elif change in LINKING:
            _link(portal, rng, rng.choice(live), change)
        elif archived:
            (portal.restore if change == "restore" else portal.purge)(rng.choice(archived))


def _link(portal: "Portal", rng: random.Random, deal_id: int, change: str) -> None:
    """End one of a deal's associations, or make one where it has none."""
    known = [
        (end, link) for end, links in portal.associations.get(deal_id, {}).items() for link in links
    ]
    if change == "dissociate" and known:
        end, (to_id, type_id, _) = rng.choice(known)
        portal.dissociate(deal_id, end, to_id, type_id)
    else:
        end = rng.choice(("companies", "contacts"))
        portal.associate(deal_id, end, rng.randint(1, 9_999))


class Mutator:
    """Changes an account in a thread of its own until it is stopped."""

    def __init__(
        self, portal: "Portal", changes_per_s: float, seed: int, *, associations: bool = False
    ) -> None:
        self._portal, self._pause_s = portal, 1 / changes_per_s
        self._rng, self._associations = random.Random(seed), associations
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            mutate(self._portal, self._rng, associations=self._associations)
