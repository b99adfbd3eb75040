"""What was asked of a simulated account, and what it gave."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.hubspot_simulator.deal import Deal


@dataclass
class Statistics:
    """``requests``: by endpoint, the names are those of `routes.ROUTES`. ``faults``: by kind."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    pages_served: int = 0
    deals_served: int = 0
    served_ids: set[int] = field(default_factory=set)

    @property
    def throttled(self) -> int:
        """Answers with 429."""
        return self.statuses[429]

    def served(self, deals: Iterable[Deal], *, pages: int = 0) -> None:
        ids = [deal.id for deal in deals]
        self.pages_served += pages
        self.deals_served += len(ids)
        self.served_ids.update(ids)

    def document(self) -> dict[str, Any]:
        return {
            "requests": dict(self.requests),
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "throttled": self.throttled,
            "faults": dict(self.faults),
            "pages_served": self.pages_served,
            "deals_served": self.deals_served,
            "distinct_deals_served": len(self.served_ids),
        }
