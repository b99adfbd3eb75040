"""What a scan received, of all objects and in all its tries together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from include.hubspot.json_repair import Repairs


@dataclass
class Tally:
    """Grows page by page and chunk by chunk. ``misfits``: by column, "contacts.updated_at".

    ``requests`` and ``throttled`` are those of earlier tries: the client counts its own.
    """

    pages: int = 0
    records: int = 0
    requests: int = 0
    throttled: int = 0
    misfits: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
    warnings: list[str] = field(default_factory=list)
    drift: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_row(cls, scan_row: Mapping[str, Any]) -> "Tally":
        """Take up what earlier tries counted: a row of `scans`."""
        return cls(
            pages=scan_row["pages"],
            requests=scan_row["requests"],
            throttled=scan_row["throttled"],
            misfits=Counter(scan_row["misfits"]),
            repairs=Repairs(**scan_row["repairs"]),
            warnings=list(scan_row["warnings"]),
            drift=dict(scan_row["schema_drift"]),
        )

    def columns(self, requests: int, throttled: int) -> dict[str, Any]:
        """Return the columns of `scans` that tell of it, with what this try's client counted."""
        return {
            "pages": self.pages,
            "requests": self.requests + requests,
            "throttled": self.throttled + throttled,
            "repairs": asdict(self.repairs),
            "misfits": dict(self.misfits),
            "warnings": self.warnings,
            "schema_drift": self.drift,
        }
