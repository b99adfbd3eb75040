"""Waiting for a condition."""

import time
from collections.abc import Callable
from typing import Any

#: How long something may take that real processes have to do, on a busy machine.
TIMEOUT_S = 300.0


def until(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Wait for *condition* to become true, and return what it returned.

    :param what: named by the AssertionError if it stays false for *timeout_s*.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.1)
    return found
