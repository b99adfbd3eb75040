"""Waiting for one's turn: the threads of a process at one limiter."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b

from include.hubspot.rate_limit import (
    LATE_S,
    Demand,
    Limits,
    News,
    Pace,
    Rule,
    State,
    decide,
)

#: Slots are reserved ahead only if so many of them come in so short a time that nobody misses
#: those that are not used: asking for each would cost more than the request.
AHEAD_S = 0.02
AHEAD_MAX = 64
#: Far above every limit that HubSpot sells: what is higher is no limit.
MAX_LIMIT = 10_000_000
#: HubSpot documents intervals of 1 and of 10 seconds.
MAX_INTERVAL_MS = 60_000
#: A request that needs two limiters' slots at one moment may miss it, but not for ever.
_TRIES_FOR_BOTH = 5


class LocalLimits:
    """Limits of this process alone: for clients that have no warehouse."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}

    def reserve(self, demand: Demand) -> list[float]:
        with self._lock:
            now = self._clock()
            state = self._states.get(demand.key, State())
            self._states[demand.key], slots = decide(state, now, demand)
        return [slot - now for slot in slots]


class Turns:
    """One limiter, as the threads of this process use it.

    :param key: of the limiter; asked at each reservation, since a rotated token has another one.

    Errors are those of the `Limits`.
    """

    def __init__(
        self,
        limits: Limits,
        key: Callable[[], str],
        rule: Rule,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits, self._key, self._rule = limits, key, rule
        self._clock, self._sleep = clock, sleep
        self._counter = threading.Lock()
        self._waiting = 0
        self._lock = threading.Lock()
        self._slots: deque[float] = deque()
        self._held_until = 0.0
        self._pace = Pace.of(State(), rule, 0.0)
        self._news: tuple[News, float, float] | None = None

    @property
    def per_s(self) -> float:
        """How many requests a second the limit allows, as far as it is known."""
        return 1 / self._pace.even_s

    def wait(self) -> float:
        """Return when one request may be sent, and the slot it has, by the clock."""
        while not self.wait_until(slot := self.take()):
            pass
        return slot

    def wait_with(self, rarer: "Turns") -> None:
        """Return when one request may be sent that takes a turn at *rarer* as well."""
        for _ in range(_TRIES_FOR_BOTH):
            rare = rarer.wait()
            slot = self.take()
            if slot - rare > LATE_S:
                # The queue here is long: by then the other slot will be too old.
                rare = rarer.take(not_before=slot)
            if rare - slot <= LATE_S and self.wait_until(max(rare, slot)):
                return
        # Both are crowded. Whoever used the rarer limit meanwhile did not use this one.
        self.wait()

    def wait_until(self, slot: float) -> bool:
        """Sleep until *slot*, and tell whether it can still be used."""
        self._sleep(max(0.0, slot - self._clock()))
        # Late: this process was suspended, or the machine is busy.
        return self._clock() - slot <= LATE_S and slot >= self._held_until

    def take(self, not_before: float | None = None) -> float:
        """Return the next slot of this process, by the clock; reserve one if there is none."""
        with self._counter:
            self._waiting += 1
        with self._lock:
            with self._counter:
                self._waiting -= 1
            earliest = max(self._clock() - LATE_S, not_before or 0.0)
            while self._slots and self._slots[0] < earliest:
                self._slots.popleft()
            if not self._slots:
                # One for each thread that waits at the lock: they find theirs there.
                ahead = min(AHEAD_MAX, int(AHEAD_S / self._pace.even_s))
                self._reserve(1 + max(self._waiting, ahead), not_before)
            return self._slots.popleft()

    def hold(self, seconds: float) -> None:
        """Let nobody who shares the limit send for so long: HubSpot answered 429."""
        with self._lock:
            self._slots.clear()
            self._held_until = self._clock() + seconds
            self._limits.reserve(Demand(self._key(), self._rule, 0, hold_s=seconds))

    def learn(self, headers: Mapping[str, str], sent_at: float) -> None:
        """Take over what an answer's headers state, if they do. Told on at the next reservation."""
        limit = _int(headers.get("X-HubSpot-RateLimit-Max"))
        if not limit or limit > MAX_LIMIT:
            return
        interval_ms = _int(headers.get("X-HubSpot-RateLimit-Interval-Milliseconds"))
        remaining = _int(headers.get("X-HubSpot-RateLimit-Remaining"))
        if remaining is not None and remaining > MAX_LIMIT:
            remaining = None
        # an interval beyond the documented ones would stop everything that shares the limit
        known = interval_ms is not None and 0 < interval_ms <= MAX_INTERVAL_MS
        window_s = interval_ms / 1000 if interval_ms and known else None
        self._news = (News(limit, window_s, remaining, 0.0, 0.0), sent_at, self._clock())
        self._pace = Pace.of(State(limit, window_s), self._rule, 0.0)

    def _reserve(self, permits: int, not_before: float | None) -> None:
        news = self._fresh_news()
        asked_at = self._clock()
        slots = self._limits.reserve(
            Demand(
                self._key(),
                self._rule,
                permits,
                not_before_s=max(0.0, (not_before or 0.0) - asked_at),
                news=news,
            )
        )
        # From when the answer came: a slot may be met late by the answer's way, never early.
        now = self._clock()
        self._slots.extend(now + slot for slot in slots)

    def _fresh_news(self) -> News | None:
        if self._news is None:
            return None
        (news, sent_at, came_at), self._news = self._news, None
        now = self._clock()
        return News(
            news.requests_per_window,
            news.window_s,
            news.remaining,
            sent_ago_s=now - sent_at,
            came_ago_s=now - came_at,
        )


def app_key(limited_as: str) -> str:
    """Return the limiter of an app: by its token, as far as can be known, or by itself and account.

    A token is too long and random to be found by trying, so its digest gives nothing away; with a
    key of its own it matches no digest made elsewhere either.
    """
    return f"app:{_digest(limited_as)}"


def search_key(limited_as: str, portal_id: int | None) -> str:
    """Return the limiter of searches: the account's, once it is known, for all apps together."""
    return f"search:{_digest(limited_as) if portal_id is None else portal_id}"


def _digest(limited_as: str) -> str:
    return blake2b(
        limited_as.encode(), digest_size=16, key=b"hubspot_deals.rate_limits"
    ).hexdigest()


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
