"""Records as bytes, kept: a page of records that were sent before is then joining bytes."""

from collections.abc import Iterable

from tests.hubspot_simulator.record import Record, to_json

#: Bytes kept per object type. A page of 100 deals with 60 properties each has about 400,000.
BUDGET_BYTES = 100_000_000

Names = tuple[str, ...]


class Written:
    """What was written of records, by selection of properties. Forgets all when it gets too big."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._size = 0
        self._kept: dict[Names, dict[int, bytes]] = {}

    def all_of(self, records: Iterable[Record], names: Names) -> list[bytes]:
        """Return each record with the properties *names* as JSON."""
        if self._size > self._budget:
            self._kept.clear()
            self._size = 0
        kept = self._kept.setdefault(names, {})
        found = []
        for record in records:
            text = kept.get(record.id)
            if text is None:
                # A copy: orjson's own bytes hold on to more than three times the memory.
                text = kept[record.id] = bytes(memoryview(to_json(record.document(names))))
                self._size += len(text)
            found.append(text)
        return found

    def forget(self, record_id: int) -> None:
        for kept in self._kept.values():
            kept.pop(record_id, None)
