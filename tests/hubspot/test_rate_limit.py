from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.hubspot.rate_limit import (
    LATE_S,
    SEARCH_RULE,
    HeaderSnapshot,
    Reservation,
    Rule,
    Schedule,
    State,
    decide,
)

NOW = 1_800_000_000.0
RULE = Rule(190)


def busiest(moments: list[float], window_s: float = 10.0) -> int:
    """The most moments that any rolling window holds."""
    moments = sorted(moments)
    return max(sum(start <= at < start + window_s for at in moments) for start in moments)


def demand(permits: int = 1, rule: Rule = RULE, **more: object) -> Reservation:
    return Reservation("app", rule, permits, **more)  # type: ignore[arg-type]


def headers(limit: int = 190, remaining: int | None = None, ago_s: float = 0.0) -> HeaderSnapshot:
    return HeaderSnapshot(limit, 10.0, remaining, sent_ago_s=ago_s, received_ago_s=ago_s)


def saturated(
    seconds: float, rule: Rule = RULE, state: State | None = None
) -> tuple[State, list[float]]:
    """A state after four clients took turns for *seconds*, and the slots they got."""
    state, slots, now = state or State(), [], NOW
    while now < NOW + seconds:
        state, got = decide(state, now, demand(4, rule))
        slots += got
        now = max(now, got[0])
    return state, slots


@given(
    limit=st.integers(1, 200),
    asked=st.lists(
        st.tuples(
            st.floats(0, 4) | st.just(0.0) | st.floats(9, 25),  # seconds since the one before
            st.integers(1, 20),  # permits
            st.floats(0, 0.29),  # how long its requests are on their way
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_no_window_of_arrivals_ever_holds_more_than_the_limit(
    limit: int, asked: list[tuple[float, int, float]]
) -> None:
    state, now, arrived = State(), NOW, []

    for gap_s, permits, way_s in asked:
        now += gap_s
        state, slots = decide(state, now, demand(permits, Rule(limit)))
        arrived += [slot + way_s for slot in slots]

    assert busiest(arrived) <= limit


@given(
    asked=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 3), st.floats(0, 0.19)), max_size=40)
)
def test_no_second_of_searches_ever_holds_more_than_five(
    asked: list[tuple[float, int, float]],
) -> None:
    state, now, arrived = State(), NOW, [NOW]

    for gap_s, searches, way_s in asked:
        now += gap_s
        state, slots = decide(state, now, demand(searches, SEARCH_RULE))
        arrived += [slot + way_s for slot in slots if slot > NOW]

    assert busiest(arrived, 1.0) <= 5


@given(limit=st.integers(20, 1_000))
def test_under_demand_95_percent_of_the_limit_are_used(limit: int) -> None:
    _, slots = saturated(60, Rule(limit))

    used = sum(NOW + 10 <= slot < NOW + 60 for slot in slots)
    assert used / 5 >= 0.95 * limit


@given(headers_after=st.lists(st.integers(0, 3), min_size=5, max_size=50))
def test_headers_of_an_app_that_is_ours_alone_cost_nothing(headers_after: list[int]) -> None:
    state, now = State(), NOW
    slots: list[float] = []
    while now < NOW + 40:
        arrived = sum(now - 10 < slot <= now for slot in slots)
        said = headers(
            remaining=190 - arrived, ago_s=0.02 * headers_after[len(slots) % len(headers_after)]
        )
        state, got = decide(state, now, demand(4, headers=said))
        slots += got
        now = max(now, got[0])

    used = sum(NOW + 10 <= slot < NOW + 40 for slot in slots)
    assert used / 3 >= 0.95 * 190


def test_after_a_quiet_window_a_short_scan_does_not_wait() -> None:
    _, slots = decide(State(), NOW, demand(40))

    assert slots[-1] - NOW < 1.0


def test_slots_are_evenly_spaced_once_the_window_is_full() -> None:
    _, slots = saturated(30)

    gaps = [later - earlier for earlier, later in pairwise(s for s in slots if s > NOW + 12)]
    assert min(gaps) == pytest.approx(max(gaps), abs=1e-5)
    assert min(gaps) == pytest.approx(10.3 / 190, abs=1e-5)


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        pytest.param(Rule(share=0.5), 95, id="share"),
        pytest.param(Rule(cap=50), 50, id="cap"),
        pytest.param(Rule(cap=500), 190, id="a cap above the limit"),
        pytest.param(Rule(share=0.001), 1, id="never nothing"),
    ],
)
def test_the_settings_of_a_connection_stay_below_what_hubspot_allows(
    rule: Rule, allowed: int
) -> None:
    state, _ = decide(State(), NOW, demand(rule=rule, headers=headers(190)))

    assert Schedule.of(state, rule, NOW).allowed == allowed


def test_what_was_learned_holds_for_the_next_process() -> None:
    learned, _ = decide(State(), NOW, demand(headers=headers(250)))

    assert Schedule.of(learned, Rule(), NOW).allowed == 250


def test_what_others_use_is_left_to_them() -> None:
    state, slots = saturated(20)
    now = slots[-1]
    ours = sum(now - 10 < slot <= now for slot in slots)

    state, _ = decide(state, now, demand(headers=headers(remaining=190 - ours - 5)))
    slightly = Schedule.of(state, RULE, now).allowed
    state, _ = decide(State(190, 10.0), now, demand(headers=headers(remaining=190 - 60)))
    much = Schedule.of(state, RULE, now).allowed

    assert (slightly, much) == (190, 130)


def test_others_take_from_their_share_first() -> None:
    rule = Rule(190, share=0.5)

    state, _ = decide(State(), NOW, demand(rule=rule, headers=headers(remaining=190 - 90)))

    assert Schedule.of(state, rule, NOW).allowed == 95


def test_the_rate_recovers_when_the_others_have_ended() -> None:
    state, _ = decide(State(), NOW, demand(headers=headers(remaining=100)))
    assert Schedule.of(state, RULE, NOW).allowed == 100

    learned, _ = decide(state, NOW + 1, demand(headers=headers(remaining=188)))

    assert Schedule.of(learned, RULE, NOW + 1).allowed == 190
    assert Schedule.of(state, RULE, NOW + 11).allowed == 190, "no header said anything for a window"


def test_others_are_not_guessed_when_slots_lie_too_far_ahead() -> None:
    state, _ = decide(State(), NOW, demand(500))

    state, _ = decide(state, NOW + 1, demand(headers=headers(remaining=100)))

    assert state.used_by_others == 0


def test_a_window_that_is_nearly_full_is_answered_by_one_pause() -> None:
    state, slots = saturated(20)
    now = slots[-1]

    state, (first,) = decide(state, now, demand(headers=headers(remaining=0)))
    state, (second,) = decide(state, now + 0.01, demand(headers=headers(remaining=0)))

    assert first - now == pytest.approx(4 * 10.3 / 190, abs=0.001)
    assert second - first == pytest.approx(10.3 / 190, abs=0.001)


def test_after_a_429_no_request_is_sent_for_a_while_and_none_hurries_then() -> None:
    state, _ = decide(State(), NOW, demand(0, hold_s=10.0))

    _, slots = decide(state, NOW + 1, demand(3))

    assert slots[0] >= NOW + 10
    assert slots[1] - slots[0] == pytest.approx(10.3 / 190, abs=1e-5)


def test_slots_can_be_asked_for_later() -> None:
    _, slots = decide(State(), NOW, demand(not_before_s=2.0))

    assert slots == [NOW + 2.0]


def test_a_clock_that_is_set_back_stops_no_process_and_makes_no_window_fuller() -> None:
    state, _ = saturated(20)
    last_s = state.last_slot_at - state.updated_at

    _, (following,) = decide(state, state.updated_at - 3_600, demand())

    since_s = following - (state.updated_at - 3_600)
    assert since_s - last_s == pytest.approx(10.3 / 190, abs=1e-5)


def test_a_slot_is_thrown_away_before_it_could_use_up_the_margin() -> None:
    assert min(Rule().margin_s, SEARCH_RULE.margin_s) > LATE_S
