import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.hubspot.client import HubSpotClient
from include.pipeline.read.concurrency import (
    MAX_REQUESTS_AT_ONCE,
    map_concurrently,
    requests_wanted,
)


def client(latency_s: float = 0.25, requests_per_s: float = 19.0) -> HubSpotClient:
    return cast(
        "HubSpotClient",
        SimpleNamespace(
            transport=SimpleNamespace(
                latency_s=latency_s, limiter=SimpleNamespace(requests_per_s=requests_per_s)
            )
        ),
    )


@pytest.mark.parametrize(
    ("latency_s", "requests_per_s", "readers"),
    [
        (0.0, 19, 1),
        (0.1, 19, 4),
        (0.25, 19, 9),
        (0.25, 25, 11),
        (5.0, 19, MAX_REQUESTS_AT_ONCE),
        # no limit to speak of: as many as one process can digest the pages of
        (0.01, 100_000, 4),
    ],
)
def test_there_are_as_many_readers_as_latency_and_limit_need(
    latency_s: float, requests_per_s: float, readers: int
) -> None:
    assert requests_wanted(client(latency_s, requests_per_s)) == readers


def test_answers_come_in_the_order_of_what_was_asked() -> None:
    second_was_asked = threading.Event()

    def ask(number: int) -> int:
        if number == 1:
            second_was_asked.set()
        else:
            assert second_was_asked.wait(10), "asked one after the other"
        return number

    assert list(map_concurrently(client(), ask, range(2))) == [0, 1]


def test_no_more_is_asked_ahead_than_there_are_readers() -> None:
    asked = 0

    def items() -> Any:
        nonlocal asked
        for number in range(100):
            asked += 1
            yield number

    answers = map_concurrently(client(), lambda number: number, items())

    next(answers)

    assert asked == requests_wanted(client()) + 1
    answers.close()


def test_an_error_of_one_call_reaches_the_caller() -> None:
    def ask(number: int) -> int:
        if number == 3:
            raise ValueError("the third")
        return number

    answers = map_concurrently(client(), ask, range(10))

    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(answers)
