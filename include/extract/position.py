"""How far an object has been read: what a checkpoint keeps, and a retry goes on from.

Pure, no I/O. docs/how-scans-work.md#checkpoints
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Record ids ``[start, end)``; an end of None is open.
Interval = tuple[int, int | None]


def _everything() -> list[Interval]:
    return [(0, None)]


@dataclass
class ListPosition:
    """What is still to be read of a list: ids, ascending and apart from each other.

    ``after``: where a list goes on whose cursors tell nothing; `remaining` is everything until its
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

    def move_to(self, after: str) -> None:
        """Note that everything before the cursor *after* has been read."""
        self.after = after

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
