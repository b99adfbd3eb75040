"""The deals of an account by id, and the two lists they are in: live and archived."""

import bisect
from collections.abc import MutableMapping

from tests.hubspot_simulator.deal import Deal
from tests.hubspot_simulator.written import Written


class Records:
    """Holds deals. ``version`` grows with every change; ``written`` keeps them as JSON."""

    def __init__(self) -> None:
        self.deals: MutableMapping[int, Deal] = {}
        #: A deal that was merged away → the one it went into.
        self.merged: dict[int, int] = {}
        self.written = Written()
        self.version = 0
        self._live: list[int] = []
        self._archived: list[int] = []
        self._last_id = 1_000

    def ids(self, *, archived: bool) -> list[int]:
        """Return the ascending ids of one list. The caller must not change it."""
        return self._archived if archived else self._live

    def find(self, deal_id: int, *, archived: bool) -> Deal | None:
        """Return a deal of one list; for a merged id its survivor."""
        while deal_id in self.merged:
            deal_id = self.merged[deal_id]
        deal = self.deals.get(deal_id)
        return deal if deal is not None and deal.archived == archived else None

    def next_id(self) -> int:
        """Return an id that no deal ever had."""
        return self._last_id + 1

    def add(self, deal: Deal) -> Deal:
        self._last_id = max(self._last_id, deal.id)
        ids = self.ids(archived=deal.archived)
        if ids and deal.id < ids[-1]:
            bisect.insort(ids, deal.id)
        else:
            ids.append(deal.id)
        self.changed(deal)
        return deal

    def fill(self, deals: MutableMapping[int, Deal], live: list[int], archived: list[int]) -> None:
        """Take deals that are all known by their ascending ids, but need not be made yet."""
        self.deals, self._live, self._archived = deals, live, archived
        self._last_id = max([self._last_id, *live[-1:], *archived[-1:]])
        self.version += 1

    def changed(self, deal: Deal) -> None:
        """Keep a deal's new state, and forget what was written of it before."""
        self.deals[deal.id] = deal
        self.version += 1
        self.written.forget(deal.id)

    def move(self, deal: Deal, archived_at: str | None) -> None:
        """Put a deal into the archived list, or back (None)."""
        self._take_out(deal)
        deal.archived_at = archived_at
        bisect.insort(self.ids(archived=deal.archived), deal.id)
        self.changed(deal)

    def remove(self, deal: Deal) -> None:
        self._take_out(deal)
        self.changed(deal)
        del self.deals[deal.id]

    def page(self, *, archived: bool, start: int | None, size: int) -> tuple[list[Deal], bool]:
        """Return deals from the id *start* on by ascending id, and whether more follow."""
        ids = self.ids(archived=archived)
        first = 0 if start is None else bisect.bisect_left(ids, start)
        chosen = ids[first : first + size]
        return [self.deals[deal_id] for deal_id in chosen], first + size < len(ids)

    def _take_out(self, deal: Deal) -> None:
        ids = self.ids(archived=deal.archived)
        del ids[bisect.bisect_left(ids, deal.id)]
