"""Random changes to an account, in an order that a seed decides."""

import random
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hubspot_simulator.portal import Portal

CHANGES = ("create", "update", "update", "drift", "archive", "restore", "merge", "purge")
#: Fewer live deals than this, and only creating one makes sense.
MIN_LIVE = 3


def mutate(portal: "Portal", rng: random.Random) -> None:
    """Do one change. The same seed on the same account makes the same ones."""
    with portal.lock:
        live, archived = portal.live_ids(), portal.archived_ids()
        change = rng.choice(CHANGES)
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
        elif archived:
            (portal.restore if change == "restore" else portal.purge)(rng.choice(archived))


class Mutator:
    """Changes an account in a thread of its own until it is stopped."""

    def __init__(self, portal: "Portal", changes_per_s: float, seed: int) -> None:
        self._portal, self._pause_s = portal, 1 / changes_per_s
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            mutate(self._portal, self._rng)
