"""HubSpot's limits: a rolling window per app; per account a day, and a second for search."""

import time
from collections import deque
from dataclasses import dataclass, field

from tests.hubspot_simulator.errors import rate_limited

WINDOW_S = 10.0
SEARCHES_PER_SECOND = 5


@dataclass
class App:
    """What a token belongs to. The burst limit is the app's. None: no limit."""

    name: str
    requests_per_window: int | None = None
    #: When each accepted request arrived, in seconds of the monotonic clock.
    accepted: list[float] = field(default_factory=list)
    _window: deque[float] = field(default_factory=deque)

    def accept(self, now: float) -> None:
        """Count a request, or raise the 429 of the rolling window."""
        while self._window and now - self._window[0] >= WINDOW_S:
            self._window.popleft()
        if self.requests_per_window is not None and len(self._window) >= self.requests_per_window:
            raise rate_limited("TEN_SECONDLY_ROLLING")
        self._window.append(now)
        self.accepted.append(now)

    @property
    def remaining(self) -> int:
        return max(0, (self.requests_per_window or 0) - len(self._window))

    def max_in_any_window(self, window_s: float = WINDOW_S) -> int:
        """Return the most accepted requests that any rolling window held."""
        most, start = 0, 0
        for end, at in enumerate(self.accepted):
            while at - self.accepted[start] >= window_s:
                start += 1
            most = max(most, end - start + 1)
        return most


@dataclass
class Quota:
    """The account's daily limit, shared by its apps, and its search limit."""

    daily: int | None = None
    used_today: int = 0
    searches_per_second: int | None = SEARCHES_PER_SECOND
    _searches: deque[float] = field(default_factory=deque)

    def accept(self) -> None:
        if self.daily is not None and self.used_today >= self.daily:
            raise rate_limited("DAILY")
        self.used_today += 1

    def accept_search(self, now: float) -> None:
        while self._searches and now - self._searches[0] >= 1.0:
            self._searches.popleft()
        limit = self.searches_per_second
        if limit is not None and len(self._searches) >= limit:
            raise rate_limited("SECONDLY")
        self._searches.append(now)


def headers(app: App, quota: Quota) -> dict[str, str]:
    """Return the rate-limit headers of an answer that is not a search's."""
    found: dict[str, str] = {}
    if app.requests_per_window is not None:
        found |= {
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(WINDOW_S * 1000)),
            "X-HubSpot-RateLimit-Max": str(app.requests_per_window),
            "X-HubSpot-RateLimit-Remaining": str(app.remaining),
        }
    if quota.daily is not None:
        found |= {
            "X-HubSpot-RateLimit-Daily": str(quota.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(quota.daily - quota.used_today),
        }
    return found


def now() -> float:
    return time.monotonic()
