"""When to interrupt: at a request, after some time, at a step of a load, behind a chunk."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.steps import COPY, MERGE, MERGED, Progress, progress_of
from tests.chaos.worker_pool import Worker
from tests.hubspot_simulator import Portal

#: Longer than a request takes.
LATER_S = 0.04
#: Of a scan: what comes before and after its chunks is left to every attempt.
LEAST_LEFT = 0.4


class Scene:
    """What is seen of an attempt from outside.

    :param chunks: counts those of its scan that are written down in PostgreSQL.
    """

    def __init__(self, worker: Worker, portal: Portal, chunks: Callable[[], int]) -> None:
        self.worker = worker
        self.portal = portal
        self.progress = Progress(None, 0)
        #: Loads of the attempt that are over, whether or not their files are still there.
        self.loads = 0
        self._chunks = chunks
        self._chunks_before = chunks()
        self._requests_before = Counter(portal.requests)

    def look(self) -> None:
        """See how far loads are."""
        before, self.progress = self.progress, progress_of(self.worker.working_directory)
        self.loads += max(0, self.progress.loaded - before.loaded)

    @property
    def asked(self) -> Counter[str]:
        """The requests of the attempt that were answered, by endpoint."""
        return self.portal.requests - self._requests_before

    @property
    def requests(self) -> int:
        return self.asked.total()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.worker.started_at

    @property
    def chunks_written(self) -> int:
        """The chunks of the attempt that are written down."""
        return self._chunks() - self._chunks_before


@dataclass(frozen=True)
class Span:
    """How long a scan of its kind takes if nothing happens to it."""

    requests: int
    seconds: float
    chunks: int

    def left(self, chunks: int) -> "Span":
        """Return what is left for an attempt that goes on after so many chunks."""
        share = max(LEAST_LEFT, 1 - chunks / max(1, self.chunks))
        return Span(
            max(1, round(self.requests * share)),
            self.seconds * share,
            max(1, round(self.chunks * share)),
        )


#: Until an attempt has shown it.
SPANS = {"full": Span(55, 3.5, 8), "incremental": Span(20, 1.0, 1)}


class Moment(Protocol):
    def reached(self, scene: Scene) -> bool: ...


@dataclass
class AtRequest:
    """When so many requests of the attempt were answered, and a little later."""

    number: int
    later_s: float
    _answered_at: float | None = None

    def reached(self, scene: Scene) -> bool:
        if self._answered_at is None and scene.requests >= self.number:
            self._answered_at = scene.seconds
        return self._answered_at is not None and scene.seconds >= self._answered_at + self.later_s


@dataclass(frozen=True)
class After:
    seconds: float

    def reached(self, scene: Scene) -> bool:
        return scene.seconds >= self.seconds


@dataclass
class AtStep:
    """When dlt is seen in a step of a load for the *nth* time."""

    step: str
    nth: int
    _seen: int = 0
    _there: bool = False

    def reached(self, scene: Scene) -> bool:
        there = scene.progress.step == self.step
        self._seen += there and not self._there
        self._there = there
        return self._seen >= self.nth


@dataclass(frozen=True)
class AtLoaded:
    """When the *nth* load is over: what it loaded is not written down yet."""

    nth: int

    def reached(self, scene: Scene) -> bool:
        return scene.loads >= self.nth


@dataclass(frozen=True)
class AtChunk:
    """When the attempt's *nth* chunk is written down."""

    nth: int

    def reached(self, scene: Scene) -> bool:
        return scene.chunks_written >= self.nth


def any_moment(rng: random.Random, span: Span) -> Moment:
    """Choose a moment in the life of an attempt that lives for about *span*."""
    load = rng.randint(1, span.chunks)
    kinds = {"request": 30, "time": 25, COPY: 12, MERGE: 12, MERGED: 12, "chunk": 9}
    kind = rng.choices(list(kinds), weights=list(kinds.values()))[0]
    if kind == "request":
        return AtRequest(rng.randint(1, span.requests), rng.uniform(0.0, LATER_S))
    if kind == "time":
        return After(rng.uniform(0.0, span.seconds))
    if kind in (COPY, MERGE):
        return AtStep(kind, load)
    return AtChunk(load) if kind == "chunk" else AtLoaded(load)
