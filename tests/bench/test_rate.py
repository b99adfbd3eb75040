"""The figure that says how much of a rate limit was used."""

import pytest

from tests.bench.rate import LIMIT, WINDOW_S, sustained_share


def evenly(requests: int, per_window: float) -> list[float]:
    return [number * WINDOW_S / per_window for number in range(requests)]


def in_bunches(bunches: int, every_s: float) -> list[float]:
    return [number // LIMIT * every_s for number in range(bunches * LIMIT)]


@pytest.mark.parametrize(
    ("accepted_at_s", "share"),
    [
        pytest.param(evenly(600, LIMIT), 1.0, id="evenly at the limit"),
        pytest.param(evenly(600, LIMIT / 2), 0.5, id="evenly at half of it"),
        pytest.param(in_bunches(4, 10.5), 10 / 10.5, id="in bunches"),
        pytest.param(
            evenly(95, LIMIT / 2) + [WINDOW_S + at for at in evenly(600, LIMIT)],
            1.0,
            id="slow at first",
        ),
    ],
)
def test_the_share_is_that_of_the_mean_rate_after_the_first_window(
    accepted_at_s: list[float], share: float
) -> None:
    assert sustained_share(accepted_at_s) == pytest.approx(share, rel=0.01)


def test_too_few_requests_have_no_sustained_rate() -> None:
    with pytest.raises(RuntimeError, match="too few"):
        sustained_share(evenly(LIMIT, LIMIT))
