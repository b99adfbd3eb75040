"""Concurrent requests, as many as the rate limit allows, and a limit of pages not yet stored."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from include.hubspot.client import HubSpotClient

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MAX_REQUESTS_AT_ONCE = 20
#: About as many pages of 100 records as one process can store: more requests would only wait.
PAGES_PER_S = 200.0
#: Times the average latency, because some answers take longer.
RESERVE = 1.5


def requests_wanted(client: HubSpotClient) -> int:
    """Return how many requests at once use up a client's rate limit."""
    requests_per_s = min(client.transport.limiter.requests_per_s, PAGES_PER_S)
    busy = client.transport.latency_s * requests_per_s * RESERVE
    return max(1, min(MAX_REQUESTS_AT_ONCE, math.ceil(busy) + 1))


def map_concurrently(
    client: HubSpotClient, ask: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Yield ``ask(item)`` for every item, in their order; the next ones run concurrently."""
    pending: deque[Future[_Result]] = deque()
    executor = ThreadPoolExecutor(MAX_REQUESTS_AT_ONCE, thread_name_prefix="hubspot")
    try:
        for item in items:
            pending.append(executor.submit(ask, item))
            while len(pending) > requests_wanted(client):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class PageBudget:
    """Lets the reading be at most *pages* ahead of the last commit. Thread-safe."""

    def __init__(self, pages: int) -> None:
        self._pages = self._free = pages
        self._changed = threading.Condition()

    def acquire(self, given_up: Callable[[], bool], *, wait: bool = True) -> bool:
        """Return whether one more page may be read; with *wait*, once it may.

        False: not yet, or *given_up* came first.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._free > 0 or given_up())
            if self._free <= 0 or given_up():
                return False
            self._free -= 1
            return True

    def release(self, pages: int = 1) -> None:
        """Return pages to the budget: they have been stored, or discarded."""
        with self._changed:
            self._free += pages
            self._changed.notify_all()

    def resize(self, pages: int) -> None:
        """Reduce the budget to *pages*, if it is larger."""
        with self._changed:
            if pages < self._pages:
                self._free -= self._pages - pages
                self._pages = pages

    def wake(self) -> None:
        """Make those that wait check *given_up* again."""
        with self._changed:
            self._changed.notify_all()
