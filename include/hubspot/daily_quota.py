"""The account's API quota of a day, and the share of it that scans leave to others."""

from collections.abc import Mapping
from dataclasses import dataclass

#: What scans may use up of a day's quota, together with everything else, before they stop.
DEFAULT_SHARE = 0.9
#: Far above every quota that HubSpot sells: what is higher is no quota.
MAX_LIMIT = 10**12


@dataclass(frozen=True)
class DailyQuota:
    """As an answer's headers told it; tokens of OAuth apps are told nothing."""

    limit: int
    remaining: int

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "DailyQuota | None":
        try:
            limit = int(headers["X-HubSpot-RateLimit-Daily"])
            remaining = int(headers["X-HubSpot-RateLimit-Daily-Remaining"])
        except (KeyError, ValueError):
            return None
        is_quota = 0 < limit <= MAX_LIMIT and abs(remaining) <= MAX_LIMIT
        return cls(limit, remaining) if is_quota else None

    def leaves_nothing_of(self, share: float) -> bool:
        """Tell whether all that is left of the day is the part outside of *share*."""
        return self.remaining < self.limit * (1 - share)
