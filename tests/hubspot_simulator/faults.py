"""Faults by script: which requests go wrong, and how."""

import random
import re
from dataclasses import dataclass, field
from typing import Literal

from tests.hubspot_simulator.errors import (
    Answer,
    ApiError,
    error,
    expired,
    html,
    missing_scopes,
    rate_limited,
)

Kind = Literal[
    "401",
    "403",
    "429",
    "423",
    "477",
    "500",
    "502",
    "503",
    "504",
    "reset",
    "truncated",
    "cut_json",
    "html",
    "hang",
]
#: Done to the connection, not answered.
TRANSPORT_KINDS = ("reset", "truncated", "hang")


@dataclass
class Fault:
    """Goes wrong on requests whose path matches, from the *nth* such request on, *count* times.

    ``path``: a regular expression searched in the path. ``probability`` < 1 uses the seed.
    ``policy``: of a 429. ``retry_after_s``: sent as Retry-After. ``seconds``: how long to hang.
    """

    kind: Kind
    path: str = ""
    nth: int = 1
    count: int = 1
    probability: float = 1.0
    seed: int = 0
    policy: str = "TEN_SECONDLY_ROLLING"
    retry_after_s: int | None = None
    seconds: float = 5.0
    _seen: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self, path: str) -> bool:
        """Count a request, and tell whether it goes wrong."""
        if self._done >= self.count or not re.search(self.path, path):
            return False
        self._seen += 1
        if self._seen < self.nth or self._random.random() >= self.probability:
            return False
        self._done += 1
        return True

    def answer(self) -> Answer:
        """Return the error answer of a fault that is answered."""
        answer = _answer(self.kind, self.policy)
        if self.retry_after_s is not None:
            answer.headers["Retry-After"] = str(self.retry_after_s)
        return answer


def _answer(kind: str, policy: str) -> Answer:
    if kind == "html":
        return html(200, "Just a moment...")
    if kind == "cut_json":
        return Answer(200, b'{"results":[{"id":"1","properties":{"dealna')
    if kind == "401":
        return expired("2026-03-10T23:04:41.164Z").answer
    if kind == "403":
        return missing_scopes(["crm.objects.deals.read"]).answer
    if kind == "429":
        return rate_limited(policy).answer
    if kind in ("502", "504"):
        return html(int(kind), "Bad gateway")
    raised: ApiError = error(int(kind), "INTERNAL_ERROR", "internal error")
    return raised.answer
