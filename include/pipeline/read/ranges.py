"""How far an object has been read, and which range of ids each request reads.

A checkpoint stores a position, and a retry resumes from it. No I/O; not thread-safe.
docs/how-scans-work.md#checkpoints, docs/how-scans-work.md#reading-in-parallel
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Record ids ``[start, end)``; an end of None is open.
Interval = tuple[int, int | None]


def _everything() -> list[Interval]:
    return [(0, None)]


@dataclass
class ListPosition:
    """The part of a list that is still to be read: ranges of ids, ascending and disjoint.

    ``after``: the next cursor of a list with opaque cursors, whose `remaining` is everything until
    its last page has been read. ``not_found``: ids that search returned, and that were not found by
    id a moment later.
    """

    remaining: list[Interval] = field(default_factory=_everything)
    after: str | None = None
    not_found: set[int] = field(default_factory=set)

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
        """Remove ``[start, end)`` from what remains."""
        kept: list[Interval] = []
        for low, high in self.remaining:
            if low < start:
                kept.append((low, start if high is None else min(high, start)))
            if end is not None and (high is None or end < high):
                kept.append((max(low, end), high))
        self.remaining, self.after = kept, None

    def follow(self, after: str) -> None:
        """Continue at the cursor *after*."""
        self.after = after

    def restart(self) -> None:
        """Start over, because the covered ranges may be incomplete."""
        self.remaining, self.after = _everything(), None


@dataclass
class Position:
    """Positions in the lists of one object. ``associations``: object type → last record id read."""

    live: ListPosition = field(default_factory=ListPosition)
    archived: ListPosition = field(default_factory=ListPosition)
    associations: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        # not to_builtins: it leaves tuples, which Airflow's task state refuses as JSON
        document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> "Position":
        return msgspec.convert(document or {}, cls)


#: A range with fewer records left, by estimate, is not split.
SPLIT_MIN_RECORDS = 200


@dataclass(eq=False)
class IdRange:
    """A range that is read page by page, below ``position`` so far. ``end``: None is open.

    ``after``: HubSpot's cursor of the next page, if it sent one. ``records_per_id``: the density of
    the ids read so far. ``halvings``: the next split is at this many halvings of the range above
    its position; it doubles if the part above a split was empty. ``split_from``: the range that
    this one was split from, until its first page has been read.
    """

    position: int
    end: int | None
    after: str | None = None
    records_per_id: float = 1.0
    halvings: int = 1
    split_from: "IdRange | None" = None
    _records: int = 0
    _first: int | None = None

    @property
    def cursor(self) -> str | None:
        """The cursor of the next page; None: the start of the list."""
        return self.after or (str(self.position - 1) if self.position else None)

    def note(self, ids: list[int], position: int) -> None:
        """Note that a page of ascending *ids*, and everything below *position*, has been read."""
        if ids and self._first is None:
            self._first = ids[0]
        if self._first is not None:
            self._records += len(ids)
            self.records_per_id = self._records / max(1, position - self._first)
        self.position = position


class IdRanges:
    """The ranges that are still to be read: those of which a page is requested, and the others.

    :param above_all: an id above all known ones; only used to estimate and to split.
    """

    def __init__(self, remaining: Iterable[Interval], above_all: int) -> None:
        self._waiting = [IdRange(low, high) for low, high in remaining]
        self._requested: list[IdRange] = []
        self._above_all = above_all

    def __bool__(self) -> bool:
        return bool(self._waiting or self._requested)

    def take(self) -> IdRange | None:
        """Return a range to request the next page of: a waiting one, or part of the largest.

        None: no range is large enough to be split.
        """
        if self._waiting:
            taken = self._waiting.pop(0)
        else:
            known = filter(self._is_known, self._requested)
            largest = max(known, key=self._records_left, default=None)
            if largest is None or self._records_left(largest) < SPLIT_MIN_RECORDS:
                return None
            middle = largest.position + max(1, self._width(largest) >> largest.halvings)
            taken = IdRange(
                middle,
                largest.end,
                records_per_id=largest.records_per_id,
                halvings=largest.halvings,
                split_from=largest,
            )
            largest.end = middle
        self._requested.append(taken)
        return taken

    def advance(
        self, of: IdRange, ids: list[int], position: int | None, after: str | None = None
    ) -> Interval:
        """Note a page of *ids*; all below *position* has been read (None: to the list's end).

        Returns the part of the range that the page covers: it may have been split meanwhile.
        """
        start, end = of.position, of.end
        self._requested.remove(of)
        self._learn_from_split(of, empty=not ids or (end is not None and ids[0] >= end))
        if position is None or (end is not None and position >= end):
            return start, end
        of.note(ids, position)
        of.after = after
        self._waiting.append(of)
        return start, position

    def _learn_from_split(self, of: IdRange, *, empty: bool) -> None:
        """Real ids lie in clusters far apart, and each split inside a gap costs a page."""
        if of.split_from is not None:
            halvings = of.halvings * 2 if empty else max(1, of.halvings // 2)
            of.halvings = of.split_from.halvings = halvings
            of.split_from = None

    def _width(self, of: IdRange) -> int:
        return max(0, (self._above_all if of.end is None else of.end) - of.position)

    def _records_left(self, of: IdRange) -> float:
        return self._width(of) * of.records_per_id

    def _is_known(self, of: IdRange) -> bool:
        """Return whether the first pages of the range, and of its last split, have been read."""
        return of.split_from is None and all(each.split_from is not of for each in self._requested)
