"""Pacing: never send more requests in a rolling window than HubSpot allows.

The pacer learns the limit from the answers' headers. Headers are hints: search answers carry none,
and a missing header means "unknown", not "unlimited". docs/api-integration.md#rate-limits
"""

import time
from collections import deque
from collections.abc import Callable, Mapping

from include.hubspot.api import DEFAULT_REQUESTS_PER_WINDOW, RATE_WINDOW_S

#: HubSpot counts when a request arrives, we count when it leaves: the window is stretched by what
#: the two moments may drift apart.
WINDOW_MARGIN_S = 0.25


class Pacer:
    """A sliding window over the moments at which requests were sent, for one process.

    :param max_requests_per_window: never go above this, whatever HubSpot allows (None: no own cap).
    :param requests_per_window: the limit until an answer's headers say otherwise.
    """

    def __init__(
        self,
        max_requests_per_window: int | None = None,
        *,
        requests_per_window: int = DEFAULT_REQUESTS_PER_WINDOW,
        window_s: float = RATE_WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cap = max_requests_per_window
        self._limit = min(requests_per_window, self._cap or requests_per_window)
        self._window_s = window_s
        self._sent: deque[float] = deque()
        self._used_by_others = 0
        self._clock = clock
        self._sleep = sleep

    @property
    def limit(self) -> int:
        """Requests per window that are allowed now."""
        return self._limit

    def wait_for_turn(self) -> None:
        """Return when one more request may be sent, and count it as sent."""
        while (pause_s := self._seconds_to_wait()) > 0:
            self._sleep(pause_s)
        self._sent.append(self._clock())

    def _seconds_to_wait(self) -> float:
        now, window_s = self._clock(), self._window_s + WINDOW_MARGIN_S
        while self._sent and now - self._sent[0] >= window_s:
            self._sent.popleft()
        allowed = max(1, self._limit - self._used_by_others)
        if len(self._sent) < allowed:
            return 0.0
        return self._sent[len(self._sent) - allowed] + window_s - now

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over what an answer's headers state, if they state it.

        `Remaining` also counts what other processes send with this app's tokens: what is missing
        beyond our own requests is left to them.
        """
        limit = _int(headers.get("X-HubSpot-RateLimit-Max"))
        interval_ms = _int(headers.get("X-HubSpot-RateLimit-Interval-Milliseconds"))
        if interval_ms:
            self._window_s = interval_ms / 1000
        if not limit:
            return
        self._limit = min(limit, self._cap or limit)
        remaining = _int(headers.get("X-HubSpot-RateLimit-Remaining"))
        if remaining is not None:
            since = self._clock() - self._window_s
            ours = sum(sent_at > since for sent_at in self._sent)
            self._used_by_others = max(0, limit - remaining - ours)


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
