"""Trying again what failed, for as long as it is reasonable to wait."""

import itertools
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from include.errors import HubSpotDealsError

log = logging.getLogger(__name__)

_T = TypeVar("_T")


#: However short the pauses are that HubSpot asks for.
TRIES_MAX = 20


class Setback(Exception):
    """One try failed. ``pause_s`` of the attempt: how long to wait before the next, if at all."""

    def __init__(self, pause_s: Callable[[int], float | None], error: HubSpotDealsError) -> None:
        self.pause_s = pause_s
        self.error = error
        super().__init__(str(error))


def no_use(attempt: int) -> None:
    """Don't try again."""


def patiently(
    attempt_once: Callable[[], _T],
    patience_s: float,
    *,
    tenant_id: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return what *attempt_once* returns, trying again after each `Setback`.

    Raises the error of the last setback once the next pause would go beyond *patience_s*, or after
    TRIES_MAX tries.
    """
    spent_s = 0.0
    for attempt in itertools.count(1):
        started = time.monotonic()
        try:
            return attempt_once()
        except Setback as setback:
            spent_s += time.monotonic() - started
            pause_s = setback.pause_s(attempt)
            if pause_s is None or spent_s + pause_s > patience_s or attempt == TRIES_MAX:
                raise setback.error from None
            log.warning(
                "tenant %s: %s Trying again in %.1f s.", tenant_id, setback.error.what, pause_s
            )
            sleep(pause_s)
            spent_s += pause_s
    raise AssertionError("itertools.count does not end")
