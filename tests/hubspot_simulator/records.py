"""The records of one CRM object by id, and the two lists they are in: live and archived."""

import bisect
from collections.abc import MutableMapping

from tests.hubspot_simulator.record import Record
from tests.hubspot_simulator.written import Written


class Records:
    """Holds records. ``version`` grows with every change; ``written`` keeps them as JSON."""

    def __init__(self) -> None:
        self.by_id: MutableMapping[int, Record] = {}
        #: A record that was merged away → the one it went into.
        self.merged: dict[int, int] = {}
        self.written = Written()
        self.version = 0
        self._live: list[int] = []
        self._archived: list[int] = []
        self._last_id = 1_000

    def ids(self, *, archived: bool) -> list[int]:
        """Return the ascending ids of one list. The caller must not change it."""
        return self._archived if archived else self._live

    def find(self, record_id: int, *, archived: bool) -> Record | None:
        """Return a record of one list; for a merged id its survivor."""
        while record_id in self.merged:
            record_id = self.merged[record_id]
        record = self.by_id.get(record_id)
        return record if record is not None and record.archived == archived else None

    def next_id(self) -> int:
        """Return an id that no record ever had."""
        return self._last_id + 1

    def add(self, record: Record) -> Record:
        self._last_id = max(self._last_id, record.id)
        ids = self.ids(archived=record.archived)
        if ids and record.id < ids[-1]:
            bisect.insort(ids, record.id)
        else:
            ids.append(record.id)
        self.changed(record)
        return record

    def fill(
        self, records: MutableMapping[int, Record], live: list[int], archived: list[int]
    ) -> None:
        """Take records that are all known by their ascending ids, but need not be made yet."""
        self.by_id, self._live, self._archived = records, live, archived
        self._last_id = max([self._last_id, *live[-1:], *archived[-1:]])
        self.version += 1

    def changed(self, record: Record) -> None:
        """Keep a record's new state, and forget what was written of it before."""
        self.by_id[record.id] = record
        self.version += 1
        self.written.forget(record.id)

    def move(self, record: Record, archived_at: str | None) -> None:
        """Put a record into the archived list, or back (None)."""
        self._take_out(record)
        record.archived_at = archived_at
        bisect.insort(self.ids(archived=record.archived), record.id)
        self.changed(record)

    def remove(self, record: Record) -> None:
        self._take_out(record)
        self.changed(record)
        del self.by_id[record.id]

    def page(self, *, archived: bool, start: int | None, size: int) -> tuple[list[Record], bool]:
        """Return records from the id *start* on by ascending id, and whether more follow."""
        ids = self.ids(archived=archived)
        first = 0 if start is None else bisect.bisect_left(ids, start)
        chosen = ids[first : first + size]
        return [self.by_id[record_id] for record_id in chosen], first + size < len(ids)

    def _take_out(self, record: Record) -> None:
        ids = self.ids(archived=record.archived)
        del ids[bisect.bisect_left(ids, record.id)]
