import pytest

from include.errors import HubSpotUnavailableError
from include.hubspot.retry import NO_RETRY, RetryableError, retry_call


class Failing:
    """Fails so many times, each time asking for a longer pause; then answers."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise RetryableError(
                HubSpotUnavailableError("it broke off."), lambda attempt: 2.0 * attempt
            )
        return "answer"


def test_what_fails_is_tried_again_after_the_pause_that_it_asks_for() -> None:
    slept: list[float] = []

    assert retry_call(Failing(3), 60.0, sleep=slept.append) == "answer"
    assert slept == [2.0, 4.0, 6.0]


def test_a_pause_that_goes_beyond_the_time_out_is_not_begun() -> None:
    slept: list[float] = []

    with pytest.raises(HubSpotUnavailableError, match="tenant acme: it broke off"):
        retry_call(Failing(9), 7.0, tenant_id="acme", sleep=slept.append)

    assert slept == [2.0, 4.0]


def test_what_can_not_be_healed_is_not_tried_again() -> None:
    slept: list[float] = []

    def fail() -> None:
        raise RetryableError(HubSpotUnavailableError("it is hopeless."), lambda _: NO_RETRY)

    with pytest.raises(HubSpotUnavailableError):
        retry_call(fail, 60.0, sleep=slept.append)

    assert slept == []
