"""What was asked of a simulated account, and what it gave."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.hubspot_simulator.record import Record


@dataclass
class Statistics:
    """``requests``: by endpoint, the names are those of `routes.ROUTES`. ``faults``: by kind.

    ``pages_served`` and what follows: of deals. ``records_served``: of every object, by its name.
    ``read_pages``: the ids of each page of deals that was listed, or read as a batch, without its
    histories. ``in_flight``: requests whose answer is not sent yet.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    pages_served: int = 0
    deals_served: int = 0
    records_served: Counter[str] = field(default_factory=Counter)
    served_ids: set[int] = field(default_factory=set)
    read_pages: list[tuple[int, ...]] = field(default_factory=list)
    in_flight: int = 0

    @property
    def throttled(self) -> int:
        """Answers with 429."""
        return self.statuses[429]

    def served(self, name: str, records: Sequence[Record], *, pages: int = 0) -> None:
        self.records_served[name] += len(records)
        if name == "deals":
            self.pages_served += pages
            self.deals_served += len(records)
            self.served_ids.update(record.id for record in records)

    def read(self, name: str, records: Sequence[Record], *, history: bool) -> None:
        """Count a page that was listed, or read as a batch; with histories, or without."""
        self.served(name, records, pages=1)
        if name == "deals" and not history:
            self.read_pages.append(tuple(record.id for record in records))

    def document(self) -> dict[str, Any]:
        return {
            "requests": dict(self.requests),
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "throttled": self.throttled,
            "faults": dict(self.faults),
            "pages_served": self.pages_served,
            "deals_served": self.deals_served,
            "records_served": dict(self.records_served),
            "distinct_deals_served": len(self.served_ids),
        }
