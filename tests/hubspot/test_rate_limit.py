import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.hubspot.rate_limit import WINDOW_MARGIN_S, Pacer


class Clock:
    """Time that passes only by sleeping, or when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s += seconds


def pacer_of(clock: Clock, cap: int | None = None) -> Pacer:
    return Pacer(cap, clock=clock, sleep=clock.sleep)


def test_waits_until_the_oldest_request_leaves_the_window() -> None:
    clock = Clock()
    pacer = pacer_of(clock, cap=2)

    for _ in range(3):
        pacer.wait_for_turn()

    assert clock.slept_s == pytest.approx(10 + WINDOW_MARGIN_S)


@given(
    limit=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=80),
)
def test_no_rolling_window_ever_holds_more_requests_than_the_limit(
    limit: int, gaps: list[float]
) -> None:
    clock, sent = Clock(), []
    pacer = pacer_of(clock, cap=limit)

    for gap_s in gaps:
        clock.now_s += gap_s
        pacer.wait_for_turn()
        sent.append(clock.now_s)

    assert all(sum(start <= at < start + 10 for at in sent) <= limit for start in sent)


def test_learns_the_limit_and_the_window_from_the_headers() -> None:
    pacer = pacer_of(Clock())

    pacer.learn(
        {"X-HubSpot-RateLimit-Max": "190", "X-HubSpot-RateLimit-Interval-Milliseconds": "10000"}
    )

    assert pacer.limit == 190


def test_the_own_cap_stays_below_what_hubspot_allows() -> None:
    pacer = pacer_of(Clock(), cap=50)

    pacer.learn({"X-HubSpot-RateLimit-Max": "190"})

    assert pacer.limit == 50


@pytest.mark.parametrize("value", ["", "-1", "0", "many", "١٢"])
def test_a_senseless_header_changes_nothing(value: str) -> None:
    pacer = pacer_of(Clock())

    pacer.learn({"X-HubSpot-RateLimit-Max": value})

    assert pacer.limit == 100


def test_what_other_processes_use_is_left_to_them() -> None:
    clock = Clock()
    pacer = pacer_of(clock)
    pacer.wait_for_turn()

    pacer.learn({"X-HubSpot-RateLimit-Max": "10", "X-HubSpot-RateLimit-Remaining": "3"})
    for _ in range(3):
        pacer.wait_for_turn()
    assert clock.slept_s == 0
    pacer.wait_for_turn()

    assert clock.slept_s == pytest.approx(10 + WINDOW_MARGIN_S)


def test_a_lowered_limit_holds_for_what_was_already_sent() -> None:
    clock = Clock()
    pacer = pacer_of(clock)
    random.seed(1)
    for _ in range(20):
        clock.now_s += random.random() / 10
        pacer.wait_for_turn()
    last = clock.now_s

    pacer.learn({"X-HubSpot-RateLimit-Max": "1"})
    pacer.wait_for_turn()

    assert clock.now_s - last == pytest.approx(10 + WINDOW_MARGIN_S)
