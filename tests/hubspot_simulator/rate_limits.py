"""HubSpot's limits: a rolling window per app; per account a day, and a second for search."""

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from zoneinfo import ZoneInfo

from tests.hubspot_simulator.errors import rate_limited

WINDOW_S = 10.0
SEARCHES_PER_SECOND = 5
#: Announced when there is no limit: a client that paces itself by headers is not slowed.
NO_LIMIT = 1_000_000


@dataclass
class App:
    """What a token belongs to. The burst limit is the app's. None: no limit."""

    name: str
    requests_per_window: int | None = None
    #: When each accepted request arrived, in seconds of the monotonic clock.
    accepted: list[float] = field(default_factory=list)
    _window: deque[float] = field(default_factory=deque)

    def require_room(self, now: float) -> None:
        """Raise the 429 of the rolling window when it is full."""
        while self._window and now - self._window[0] >= WINDOW_S:
            self._window.popleft()
        if self.requests_per_window is not None and len(self._window) >= self.requests_per_window:
            raise rate_limited("TEN_SECONDLY_ROLLING")

    def count(self, now: float) -> None:
        self._window.append(now)
        self.accepted.append(now)

    @property
    def remaining(self) -> int:
        return max(0, self.announced - len(self._window))

    @property
    def announced(self) -> int:
        return NO_LIMIT if self.requests_per_window is None else self.requests_per_window

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
    """The account's limits, shared by its apps: a day's requests, and a second's searches.

    A day ends at midnight in the account's own time zone.
    """

    daily: int | None = None
    used_today: int = 0
    searches_per_second: int | None = SEARCHES_PER_SECOND
    _day: date | None = None
    _searches: deque[float] = field(default_factory=deque)

    def require_room(self, today: date) -> None:
        if self._day is not None and today != self._day:
            self.used_today = 0
        self._day = today
        if self.daily is not None and self.used_today >= self.daily:
            raise rate_limited("DAILY")

    def require_room_for_search(self, now: float) -> None:
        while self._searches and now - self._searches[0] >= 1.0:
            self._searches.popleft()
        limit = self.searches_per_second
        if limit is not None and len(self._searches) >= limit:
            raise rate_limited("SECONDLY")

    def count(self) -> None:
        self.used_today += 1

    def count_search(self, now: float) -> None:
        self._searches.append(now)


def today_in(time_zone: str) -> date:
    return datetime.now(ZoneInfo(time_zone)).date()


def next_midnight(time_zone: str) -> datetime:
    """Return when the daily count starts anew, in UTC."""
    tomorrow = today_in(time_zone) + timedelta(days=1)
    return datetime.combine(tomorrow, time_of_day(), ZoneInfo(time_zone)).astimezone(UTC)


def headers(app: App, quota: Quota, *, with_daily: bool = True) -> dict[str, str]:
    """Return the rate-limit headers of an answer that is not a search's.

    ``with_daily``: tokens of OAuth apps get no daily ones.
    """
    found = {
        "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(WINDOW_S * 1000)),
        "X-HubSpot-RateLimit-Max": str(app.announced),
        "X-HubSpot-RateLimit-Remaining": str(app.remaining),
    }
    if quota.daily is not None and with_daily:
        found |= {
            "X-HubSpot-RateLimit-Daily": str(quota.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, quota.daily - quota.used_today)),
        }
    return found


def now() -> float:
    return time.monotonic()
