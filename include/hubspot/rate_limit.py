"""Schedule requests so that no rolling window has more of them than HubSpot allows.

`decide` is a pure function: from a limiter's state and a reservation to the new state and the
times ("slots") at which requests may be sent. A `Limits` stores the state, and so determines which
processes share it. All times are seconds of one clock, that of the process or server with the
state.
docs/api-integration.md#rate-limits, docs/adr/0002-shared-rate-limit.md

`limit` slots are spread evenly over window + margin. HubSpot counts arrivals, so while network
jitter stays below the margin, at most `limit` requests arrive in any window.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import NamedTuple, Protocol

from include.hubspot import endpoints

#: A slot not used within this time is discarded: a late request would add to those of later slots.
LATE_S = 0.15
#: After a window without requests, this share of the limit is granted quickly, and the rest of that
#: window more slowly: a short scan does not wait, and no window has more than the limit.
BURST_SHARE = 0.25
BURST_SPEED = 4
#: A clock that is back by less than this was not set back: stored times have whole microseconds.
CLOCK_NOISE_S = 0.001
#: Never let HubSpot's `Remaining` fall below this share; less use by others is ignored as noise.
RESERVE_SHARE = 0.02

#: Granted slots are counted in buckets of 1/40 window, over 2.5 windows. Looking back needs more
#: than one window; the rest limits how far ahead slots may be granted.
BUCKETS_PER_WINDOW = 40
BUCKETS = 100

#: Above 1 / AHEAD_S requests a second, up to AHEAD_MAX slots are reserved per round trip: one round
#: trip each would cost more than the requests, and unused slots are negligible at that rate.
AHEAD_S = 0.02
AHEAD_MAX = 64
#: Far above every limit that HubSpot sells; a higher number is ignored.
MAX_LIMIT = 10_000_000
#: HubSpot documents intervals of 1 and of 10 seconds; a longer one would stop everything.
MAX_INTERVAL_MS = 60_000
#: A request that needs slots of two limiters at the same time tries this often to get both.
_TRIES_FOR_BOTH = 5


@dataclass(frozen=True)
class Rule:
    """The limit of one limiter: ``requests`` in ``window_s``, until a header states another.

    :param share: of HubSpot's limit, 0 < share <= 1; the rest is for the account's other apps.
    :param cap: never more than this in a window, whatever HubSpot allows.
    """

    requests: int = endpoints.DEFAULT_REQUESTS_PER_WINDOW
    window_s: float = endpoints.RATE_WINDOW_S
    margin_s: float = 0.3
    share: float = 1.0
    cap: int | None = None


#: The rule of searches, whose answers have no rate-limit headers.
SEARCH_RULE = Rule(endpoints.SEARCHES_PER_S, window_s=1.0, margin_s=0.2)


@dataclass(frozen=True)
class State:
    """The state of one limiter. A time of 0 has never been set."""

    #: From HubSpot's headers; None: not yet.
    requests_per_window: int | None = None
    window_s: float | None = None
    updated_at: float = 0.0
    last_slot_at: float = 0.0
    #: No slot before this: HubSpot answered 429.
    held_until: float = 0.0
    #: Requests of others in a window; valid until `others_until`.
    used_by_others: int = 0
    others_until: float = 0.0
    #: Quick slots left, and until when the other slots are slower to compensate.
    start_permits: int = 0
    eased_until: float = 0.0
    #: A low `Remaining` of a request sent before this has already caused a pause.
    corrected_at: float = 0.0
    #: Slots granted in each bucket, the newest last, and the newest one's number.
    granted: list[int] = field(default_factory=list)
    newest_bucket: int = -1


#: The fields of `State` that are times.
TIMES = [f.name for f in fields(State) if f.name.endswith(("_at", "_until"))]


class HeaderSnapshot(NamedTuple):
    """An answer's rate-limit headers, and how long ago it was requested and received."""

    requests_per_window: int
    window_s: float | None
    remaining: int | None
    sent_ago_s: float
    received_ago_s: float


class Reservation(NamedTuple):
    """A request for slots, with the headers that were received since the last one.

    :param key: of the limiter.
    :param not_before_s: earliest time of the first slot, in seconds from now.
    :param hold_s: for this long, no request may be sent: HubSpot answered 429.
    """

    key: str
    rule: Rule
    permits: int
    not_before_s: float = 0.0
    headers: HeaderSnapshot | None = None
    hold_s: float | None = None


class Limits(Protocol):
    """Stores the states of limiters."""

    def reserve(self, wanted: Reservation) -> list[float]:
        """Return the slots granted, ascending, as seconds from now; they may lie ahead."""


class Schedule(NamedTuple):
    """``allowed`` slots in each ``span_s`` seconds."""

    span_s: float
    allowed: int

    @classmethod
    def of(cls, state: State, rule: Rule, now: float) -> "Schedule":
        limit = state.requests_per_window or rule.requests
        others = state.used_by_others if now < state.others_until else 0
        allowed = min(math.floor(limit * rule.share), limit - others, rule.cap or limit)
        return cls((state.window_s or rule.window_s) + rule.margin_s, max(1, allowed))

    @property
    def interval_s(self) -> float:
        return self.span_s / self.allowed

    @property
    def burst(self) -> int:
        """How many slots are granted quickly after a window without requests."""
        return math.floor(self.allowed * BURST_SHARE)


def decide(state: State, now: float, wanted: Reservation) -> tuple[State, list[float]]:
    """Return the state after a reservation, and the slots granted, ascending."""
    state = _updated(_by_this_clock(state, now), now, wanted)
    schedule = Schedule.of(state, wanted.rule, now)
    earliest = max(now + wanted.not_before_s, state.held_until)
    last, eased_until = state.last_slot_at, state.eased_until
    quick = min(state.start_permits, schedule.burst)
    if wanted.permits and earliest - last >= schedule.span_s:
        quick, eased_until = schedule.burst, earliest + schedule.span_s
    slots = []
    for _ in range(wanted.permits):
        if quick:
            last = max(earliest, last + schedule.interval_s / BURST_SPEED)
            quick, eased_until = quick - 1, last + schedule.span_s
        elif last < eased_until:
            # while quick slots are in the window, they and these together make the limit
            last = max(earliest, last + schedule.span_s / (schedule.allowed - schedule.burst))
        else:
            last = max(earliest, last + schedule.interval_s)
        slots.append(last)
    state = replace(
        state, updated_at=now, last_slot_at=last, start_permits=quick, eased_until=eased_until
    )
    return _counted(state, slots, wanted.rule), slots


def _by_this_clock(state: State, now: float) -> State:
    """Return *state* for a clock that was set back, as if no time had passed meanwhile."""
    back_s = state.updated_at - now
    if back_s <= CLOCK_NOISE_S:
        return state
    times = {name: getattr(state, name) - back_s for name in TIMES}
    return replace(state, **times, granted=[], newest_bucket=-1)


def _updated(state: State, now: float, wanted: Reservation) -> State:
    if wanted.hold_s is not None:
        until = max(state.held_until, now + wanted.hold_s)
        # `last_slot_at` moves too, otherwise the pause would count as a window without requests
        last = max(state.last_slot_at, until)
        state = replace(state, held_until=until, last_slot_at=last, start_permits=0)
    if wanted.headers is None:
        return state
    limit, window_s, remaining, *_ = wanted.headers
    state = replace(state, requests_per_window=limit)
    if window_s and window_s != (state.window_s or wanted.rule.window_s):
        # the buckets have the old window's length
        state = replace(state, window_s=window_s, granted=[], newest_bucket=-1)
    if remaining is None:
        return state
    return _with_room_for_others(state, now, wanted.rule, wanted.headers, remaining)


def _with_room_for_others(
    state: State, now: float, rule: Rule, headers: HeaderSnapshot, remaining: int
) -> State:
    limit, window_s = headers.requests_per_window, state.window_s or rule.window_s
    sent_at, received_at = now - headers.sent_ago_s, now - headers.received_ago_s
    reserve = math.floor(limit * RESERVE_SHARE)
    # Count too many of our requests rather than too few: those of others slow us down.
    ours = _granted_between(state, sent_at - window_s - LATE_S, received_at, window_s)
    if ours is not None:
        others = limit - remaining - ours
        state = replace(
            state,
            used_by_others=others if others > reserve else 0,
            others_until=received_at + window_s + rule.margin_s,
        )
    if remaining < reserve and sent_at >= state.corrected_at:
        pause_s = (reserve - remaining) * Schedule.of(state, rule, now).interval_s
        last = max(state.last_slot_at, now) + pause_s
        state = replace(state, last_slot_at=last, corrected_at=last, start_permits=0)
    return state


def _granted_between(state: State, start: float, end: float, window_s: float) -> int | None:
    """Count the slots in all buckets that overlap the time; None: some are no longer stored."""
    width_s = window_s / BUCKETS_PER_WINDOW
    oldest = state.newest_bucket - len(state.granted) + 1
    first, last = math.floor(start / width_s), math.floor(end / width_s)
    if first < oldest and len(state.granted) == BUCKETS:
        return None
    return sum(state.granted[max(0, first - oldest) : max(0, last - oldest + 1)])


def _counted(state: State, slots: list[float], rule: Rule) -> State:
    width_s = (state.window_s or rule.window_s) / BUCKETS_PER_WINDOW
    granted, newest = list(state.granted), state.newest_bucket
    for slot in slots:
        bucket = math.floor(slot / width_s)
        if bucket > newest:
            granted = (granted + [0] * min(bucket - newest, BUCKETS))[-BUCKETS:]
            newest = bucket
        granted[bucket - newest - 1] += 1
    return replace(state, granted=granted, newest_bucket=newest)


class LocalLimits:
    """Limits of this process only: for clients that have no warehouse."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}

    def reserve(self, wanted: Reservation) -> list[float]:
        with self._lock:
            now = self._clock()
            state = self._states.get(wanted.key, State())
            self._states[wanted.key], slots = decide(state, now, wanted)
        return [slot - now for slot in slots]


class RateLimiter:
    """One limiter, as the threads of this process use it.

    :param key: returns the limiter's key, at each reservation: a rotated token has another one.

    Raises the errors of *limits*.
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
        self._schedule = Schedule.of(State(), rule, 0.0)
        #: Returns the newest answer's headers, with ages at the given time.
        self._learned: Callable[[float], HeaderSnapshot] | None = None

    @property
    def requests_per_s(self) -> float:
        """How many requests a second the limit allows, as currently known."""
        return 1 / self._schedule.interval_s

    def acquire(self, also: "RateLimiter | None" = None) -> float:
        """Wait until one request may be sent; return its slot, by the clock.

        :param also: a second limit, of which the request takes a slot too.
        """
        tries = _TRIES_FOR_BOTH
        while also and tries:
            tries -= 1
            theirs = also.acquire()
            ours = self.take()
            if ours - theirs > LATE_S:
                # The queue here is long: the other slot would be too old by then.
                theirs = also.take(not_before=ours)
            if theirs - ours <= LATE_S and self.wait_until(max(theirs, ours)):
                return max(theirs, ours)
        # With two limits, both are crowded: wait for this one only. The slots of the other one from
        # the failed tries were not used.
        while not self.wait_until(slot := self.take()):
            pass
        return slot

    def wait_until(self, slot: float) -> bool:
        """Sleep until *slot*, and return whether it can still be used."""
        self._sleep(max(0.0, slot - self._clock()))
        # Late: this process was suspended, or the machine is busy.
        return self._clock() - slot <= LATE_S and slot >= self._held_until

    def take(self, not_before: float = 0.0) -> float:
        """Return the next slot of this process, by the clock; reserve one if there is none."""
        with self._counter:
            self._waiting += 1
        with self._lock:
            with self._counter:
                self._waiting -= 1
            earliest = max(self._clock() - LATE_S, not_before)
            while self._slots and self._slots[0] < earliest:
                self._slots.popleft()
            if not self._slots:
                # One for each thread that waits for the lock: they will find theirs.
                ahead = min(AHEAD_MAX, int(AHEAD_S / self._schedule.interval_s))
                self._reserve(1 + max(self._waiting, ahead), not_before)
            return self._slots.popleft()

    def hold(self, seconds: float) -> None:
        """Stop all that share the limit from sending for *seconds*: HubSpot answered 429."""
        with self._lock:
            self._slots.clear()
            self._held_until = self._clock() + seconds
            self._limits.reserve(Reservation(self._key(), self._rule, 0, hold_s=seconds))

    def learn(self, headers: Mapping[str, str], sent_at: float) -> None:
        """Keep an answer's rate-limit headers, if it has any, for the next reservation."""
        limit = _number(headers.get("X-HubSpot-RateLimit-Max"), MAX_LIMIT)
        if not limit:
            return
        interval_ms = _number(
            headers.get("X-HubSpot-RateLimit-Interval-Milliseconds"), MAX_INTERVAL_MS
        )
        window_s = interval_ms / 1000 if interval_ms else None
        remaining = _number(headers.get("X-HubSpot-RateLimit-Remaining"), MAX_LIMIT)
        received_at = self._clock()
        self._learned = lambda now: HeaderSnapshot(
            limit, window_s, remaining, now - sent_at, now - received_at
        )
        self._schedule = Schedule.of(State(limit, window_s), self._rule, 0.0)

    def _reserve(self, permits: int, not_before: float) -> None:
        learned, self._learned = self._learned, None
        now = self._clock()
        slots = self._limits.reserve(
            Reservation(
                self._key(),
                self._rule,
                permits,
                not_before_s=max(0.0, not_before - now),
                headers=learned(now) if learned else None,
            )
        )
        # From when the reply arrived: the network can make a slot late, never early.
        now = self._clock()
        self._slots.extend(now + slot for slot in slots)


def app_key(limited_as: str) -> str:
    """Return the key of an app's limiter: a digest of its token, or of OAuth app and account.

    A token is too long and random to be guessed from its digest. The digest has a key of its own,
    so it does not match digests made elsewhere.
    """
    return f"app:{_digest(limited_as)}"


def search_key(limited_as: str, portal_id: int | None) -> str:
    """Return the key of the limiter of searches, which all apps of a known account share."""
    return f"search:{_digest(limited_as) if portal_id is None else portal_id}"


def _digest(limited_as: str) -> str:
    return blake2b(
        limited_as.encode(), digest_size=16, key=b"hubspot_deals.rate_limits"
    ).hexdigest()


def _number(text: str | None, at_most: int) -> int | None:
    number = int(text) if text and text.isascii() and text.isdigit() else None
    return number if number is not None and number <= at_most else None


#: Share of a day's quota, including the use by other integrations, at which scans stop.
DEFAULT_SHARE = 0.9
#: Far above every quota that HubSpot sells; a higher number, for which PostgreSQL's column has no
#: room, is ignored.
MAX_DAILY_LIMIT = 2**31 - 1


class DailyQuota(NamedTuple):
    """From an answer's headers, which requests of OAuth apps don't get."""

    limit: int
    remaining: int

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "DailyQuota | None":
        try:
            limit = int(headers["X-HubSpot-RateLimit-Daily"])
            remaining = int(headers["X-HubSpot-RateLimit-Daily-Remaining"])
        except (KeyError, ValueError):
            return None
        is_quota = 0 < limit <= MAX_DAILY_LIMIT and abs(remaining) <= MAX_DAILY_LIMIT
        return cls(limit, remaining) if is_quota else None

    def is_used_up(self, share: float) -> bool:
        """Return whether *share* of the quota is used up, so that only the rest is left."""
        return self.remaining < self.limit * (1 - share)
