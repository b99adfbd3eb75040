import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from include.hubspot.rate_limit import (
    LATE_S,
    SEARCH_RULE,
    LocalLimits,
    RateLimiter,
    Reservation,
    Rule,
    app_key,
)

HEADERS = {
    "X-HubSpot-RateLimit-Max": "190",
    "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
    "X-HubSpot-RateLimit-Remaining": "150",
}


class Clock:
    """Time that passes only by sleeping, or when it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.oversleep_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds + (self.oversleep_s.pop() if self.oversleep_s else 0)


class Recorded(LocalLimits):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.demands: list[Reservation] = []

    def reserve(self, wanted: Reservation) -> list[float]:
        self.demands.append(wanted)
        return super().reserve(wanted)


def limiter_of(
    clock: Clock, limits: LocalLimits | None = None, rule: Rule | None = None
) -> RateLimiter:
    return RateLimiter(
        limits or LocalLimits(clock),
        lambda: "app",
        rule or Rule(),
        clock=clock,
        sleep=clock.sleep,
    )


def test_waits_for_its_slot() -> None:
    clock = Clock()
    limiter = limiter_of(clock, rule=Rule(2))

    limiter.acquire()
    limiter.acquire()

    assert clock.now_s - 1000 == pytest.approx(10.3 / 2)


def test_a_slot_met_late_is_thrown_away_for_a_new_one() -> None:
    clock = Clock()
    limits = Recorded(clock)
    limiter = limiter_of(clock, limits)
    clock.oversleep_s = [LATE_S + 0.01]

    slot = limiter.acquire()

    assert len(limits.demands) == 2
    assert clock.now_s - slot <= LATE_S


def test_what_headers_say_goes_along_with_the_next_reservation() -> None:
    clock = Clock()
    limits = Recorded(clock)
    limiter = limiter_of(clock, limits)
    limiter.acquire()
    sent_at = clock.now_s
    clock.now_s += 0.2

    limiter.learn(HEADERS, sent_at)
    clock.now_s += 1.0
    limiter.acquire()
    limiter.acquire()

    first, second, third = (demand.headers for demand in limits.demands)
    assert (first, third) == (None, None)
    assert second is not None
    assert (second.requests_per_window, second.window_s, second.remaining) == (190, 10.0, 150)
    assert second.sent_ago_s == pytest.approx(1.2)
    assert second.received_ago_s == pytest.approx(1.0)
    assert limiter.requests_per_s == pytest.approx(190 / 10.3)


@pytest.mark.parametrize("value", ["", "-1", "0", "many", "١٢", "9" * 20])
def test_a_senseless_header_changes_nothing(value: str) -> None:
    clock = Clock()
    limits = Recorded(clock)
    limiter = limiter_of(clock, limits)

    limiter.learn({"X-HubSpot-RateLimit-Max": value}, clock.now_s)
    limiter.acquire()

    assert limits.demands[0].headers is None


@pytest.mark.parametrize("value", ["0", "-5", "9" * 20, "61000"])
def test_an_interval_that_would_stop_everything_is_not_believed(value: str) -> None:
    clock = Clock()
    limits = Recorded(clock)
    limiter = limiter_of(clock, limits)
    headers = {"X-HubSpot-RateLimit-Max": "190"}

    limiter.learn({**headers, "X-HubSpot-RateLimit-Interval-Milliseconds": value}, clock.now_s)
    limiter.acquire()

    assert limits.demands[0].headers is not None
    assert limits.demands[0].headers.window_s is None


def test_a_limit_far_above_our_pace_is_asked_for_once_for_many_requests() -> None:
    clock = Clock()
    limits = Recorded(clock)
    limiter = limiter_of(clock, limits)
    limiter.learn({**HEADERS, "X-HubSpot-RateLimit-Max": "1000000"}, clock.now_s)

    for _ in range(500):
        limiter.acquire()
        clock.now_s += 0.001

    assert len(limits.demands) <= 10


def test_a_limit_that_is_used_up_is_not_reserved_ahead() -> None:
    clock = Clock()
    limits = Recorded(clock)
    limiter = limiter_of(clock, limits)
    limiter.learn(HEADERS, clock.now_s)

    for _ in range(5):
        limiter.acquire()

    assert [demand.permits for demand in limits.demands] == [1] * 5


def test_a_429_throws_away_what_was_reserved() -> None:
    clock = Clock()
    limiter = limiter_of(clock)
    slot = limiter.take()

    limiter.hold(10.0)

    assert not limiter.wait_until(slot)
    limiter.acquire()
    assert clock.now_s >= 1010


def test_a_search_takes_a_turn_at_both_limits() -> None:
    clock = Clock()
    limits = Recorded(clock)
    app = limiter_of(clock, limits)
    searches = RateLimiter(limits, lambda: "search", SEARCH_RULE, clock=clock, sleep=clock.sleep)
    sent = []

    for _ in range(20):
        app.acquire(also=searches)
        sent.append(clock.now_s)

    assert {demand.key for demand in limits.demands} == {"app", "search"}
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(sent[1:]))


def test_a_search_that_waited_for_the_app_meets_a_slot_of_the_search_limit() -> None:
    clock = Clock()
    limits = Recorded(clock)
    app = limiter_of(clock, limits)
    searches = RateLimiter(limits, lambda: "search", SEARCH_RULE, clock=clock, sleep=clock.sleep)
    limits.reserve(Reservation("app", Rule(), 60))

    app.acquire(also=searches)

    assert [d.not_before_s > 1 for d in limits.demands if d.key == "search"] == [False, True]


def test_threads_that_wait_reserve_together_and_each_gets_a_slot_of_its_own() -> None:
    inside, go_on = threading.Event(), threading.Event()
    permits: list[int] = []

    class Slow(LocalLimits):
        def reserve(self, wanted: Reservation) -> list[float]:
            permits.append(wanted.permits)
            inside.set()
            go_on.wait(10)
            return super().reserve(wanted)

    limits = Slow()
    limiter = RateLimiter(limits, lambda: "app", Rule(100))
    with ThreadPoolExecutor(20) as executor:
        first = executor.submit(limiter.take)
        inside.wait(10)
        others = [executor.submit(limiter.take) for _ in range(19)]
        while limiter._waiting < 19:
            threading.Event().wait(0.001)
        go_on.set()
        slots = [future.result() for future in (first, *others)]

    assert permits == [1, 19]
    assert len(set(slots)) == 20


def test_a_token_is_not_to_be_seen_in_its_key() -> None:
    key = app_key("pat-na1-secret")

    assert "secret" not in key
    assert key != app_key("pat-na1-other")
    assert key == app_key("pat-na1-secret")
