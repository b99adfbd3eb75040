"""How far an object has been read, and which ids each of several readers reads.

A checkpoint keeps a position, and a retry goes on from it. Decisions only, no I/O; not thread-safe.
docs/how-scans-work.md#checkpoints, docs/how-scans-work.md#reading-in-parallel
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Record ids ``[start, end)``; an end of None is open.
Interval = tuple[int, int | None]


def _everything() -> list[Interval]:
    return [(0, None)]


@dataclass
class ListPosition:
    """What is still to be read of a list: ids, ascending and apart from each other.

    ``after``: where a list goes on whose cursors are opaque; `remaining` is everything until its
    last page has come.
    """

    remaining: list[Interval] = field(default_factory=_everything)
    after: str | None = None

    @property
    def done(self) -> bool:
        return not self.remaining

    @property
    def by_id(self) -> bool:
        """Whether parts of it have been read by id, in any order."""
        return self.remaining != _everything()

    @property
    def first(self) -> int:
        """The lowest id that has not been read."""
        return self.remaining[0][0]

    def cover(self, start: int, end: int | None) -> None:
        """Take ``[start, end)`` out of what remains."""
        kept: list[Interval] = []
        for low, high in self.remaining:
            if low < start:
                kept.append((low, start if high is None else min(high, start)))
            if end is not None and (high is None or end < high):
                kept.append((max(low, end), high))
        self.remaining, self.after = kept, None

    def restart(self) -> None:
        """Read everything again: what seemed to be covered may not be."""
        self.remaining, self.after = _everything(), None

    def to_json(self) -> dict[str, Any]:
        return {"remaining": [list(part) for part in self.remaining], "after": self.after}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ListPosition":
        return cls([(low, high) for low, high in document["remaining"]], document["after"])


@dataclass
class Position:
    """The parts of one object's scan. ``associations``: what is read → the last record id done."""

    live: ListPosition = field(default_factory=ListPosition)
    archived: ListPosition = field(default_factory=ListPosition)
    associations: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "live": self.live.to_json(),
            "archived": self.archived.to_json(),
            "associations": self.associations,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> "Position":
        if not document:
            return cls()
        return cls(
            ListPosition.from_json(document["live"]),
            ListPosition.from_json(document["archived"]),
            dict(document["associations"]),
        )


#: A range with fewer records left, as far as is known, is not worth a second reader.
SPLIT_MIN_RECORDS = 200


@dataclass(eq=False)
class IdRange:
    """One reader's part: it has read below ``position`` and stops at ``end`` (None: at the end).

    ``records_per_id``: how dense its ids are, as far as it has read. ``halvings``: how near to
    its position it is cut next; more after a cut had nothing above it. ``cut_from``: of which
    range this was the upper part, until its first page has come; ``waits_for``: the other way.
    """

    position: int
    end: int | None
    records_per_id: float = 1.0
    halvings: int = 1
    cut_from: "IdRange | None" = None
    waits_for: "IdRange | None" = None
    _records: int = 0
    _first: int | None = None

    def note(self, ids: list[int], position: int) -> None:
        """Take over that a page of ascending *ids* was read, and everything below *position*."""
        if ids and self._first is None:
            self._first = ids[0]
        if self._first is not None:
            self._records += len(ids)
            self.records_per_id = self._records / max(1, position - self._first)
        self.position = position


class IdRanges:
    """The ranges that are still to be read, and who reads them.

    :param remaining: what is to be read.
    :param above_all: an id above all that are known; only used to estimate and to split.
    """

    def __init__(self, remaining: Iterable[Interval], above_all: int) -> None:
        self._waiting = [IdRange(low, high) for low, high in remaining]
        self._active: list[IdRange] = []
        self._above_all = above_all

    def take(self) -> IdRange | None:
        """Give an idle reader a range: one that waits, or the upper half of the largest.

        None: nothing is left that is worth one more reader.
        """
        if self._waiting:
            taken = self._waiting.pop(0)
        else:
            largest = max(filter(_is_known, self._active), key=self._records_left, default=None)
            if largest is None or self._records_left(largest) < SPLIT_MIN_RECORDS:
                return None
            cut = largest.position + max(1, self._width(largest) >> largest.halvings)
            taken = IdRange(
                cut, largest.end, largest.records_per_id, largest.halvings, cut_from=largest
            )
            largest.end, largest.waits_for = cut, taken
        self._active.append(taken)
        return taken

    def advance(self, of: IdRange, ids: list[int], position: int | None) -> Interval:
        """Note a page of *ids*; *position*: all below it has been read, None: to the list's end.

        Returns what the page covers of the range, which may have been cut while it was read.
        """
        start, end = of.position, of.end
        self._learn_from_cut(of, empty=not ids or (end is not None and ids[0] >= end))
        if position is None or (end is not None and position >= end):
            self._active.remove(of)
            return start, end
        of.note(ids, position)
        return start, position

    def _learn_from_cut(self, of: IdRange, *, empty: bool) -> None:
        """Real ids lie in clusters far apart: to halve a gap again and again costs a page each."""
        if of.cut_from is not None:
            halvings = of.halvings * 2 if empty else max(1, of.halvings // 2)
            of.halvings = of.cut_from.halvings = halvings
            of.cut_from.waits_for = None
            of.cut_from = None

    def _width(self, of: IdRange) -> int:
        return max(0, (self._above_all if of.end is None else of.end) - of.position)

    def _records_left(self, of: IdRange) -> float:
        return self._width(of) * of.records_per_id


def _is_known(of: IdRange) -> bool:
    """Return whether it was seen what the range, and what was last cut from it, begin with."""
    return of.cut_from is None and of.waits_for is None
