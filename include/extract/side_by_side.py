"""Sending several requests at once: as many as it takes to use the limit, and not more."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from include.hubspot.client import HubSpotClient

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MAX_READERS = 20
#: About as many pages of 100 records as one process can digest: more readers would only wait.
PAGES_PER_S = 200.0
#: More than it takes on average: answers don't all take the same time.
RESERVE = 1.5


def readers_wanted(latency_s: float, requests_per_s: float) -> int:
    """Return how many readers, each waiting *latency_s* for every answer, use up a limit."""
    busy = latency_s * min(requests_per_s, PAGES_PER_S) * RESERVE
    return max(1, min(MAX_READERS, math.ceil(busy) + 1))


def in_order(
    client: HubSpotClient, ask: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Yield ``ask(item)`` for every item, in their order; the next ones are asked meanwhile."""
    pending: deque[Future[_Result]] = deque()
    executor = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="hubspot")
    try:
        for item in items:
            pending.append(executor.submit(ask, item))
            while len(pending) > readers_wanted(client.latency_s, client.requests_per_s):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
