"""What a scan's tries together did about one object."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from include.extract.position import Position


@dataclass
class Figures:
    """Counts, named as the columns of `scan_objects`, and how far the object is read."""

    pages: int = 0
    #: One that came twice counts twice, until the object is done.
    records_received: int = 0
    duplicates_dropped: int = 0
    restored: int = 0
    merged: int = 0
    vanished: int = 0
    position: Position = field(default_factory=Position)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Figures":
        """Take up what earlier tries left: a row of `scan_objects`."""
        counts = {f.name: row[f.name] for f in fields(cls) if f.name != "position"}
        return cls(**counts, position=Position.from_json(row["position"]))

    def columns(self) -> dict[str, Any]:
        return {**asdict(self), "position": self.position.to_json()}
