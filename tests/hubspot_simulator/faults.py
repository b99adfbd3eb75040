"""Faults by script: which requests go wrong, and how."""

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.hubspot_simulator.errors import (
    Answer,
    error,
    expired,
    html,
    missing_scopes,
    rate_limited,
)

#: The connection breaks without an answer: by RST, by FIN, after a silence.
SILENT_KINDS = ("reset", "close", "hang")
#: The true answer is sent in part: with its full Content-Length, or as a whole body of cut JSON.
PARTIAL_KINDS = ("truncated", "cut_json")
#: A page of the edge with status 200; the true answer, late; the true answer, changed by `rewrite`.
OTHER_KINDS = ("html", "slow", "rewritten")
#: Answered by the edge in HTML, not by the API in JSON.
EDGE_STATUSES = {
    "414": "Request-URI Too Large",
    "502": "Bad Gateway",
    "504": "Gateway Time-out",
    "520": "Web Server Returned an Unknown Error",
    "521": "Web Server Is Down",
    "522": "Connection Timed Out",
    "523": "Origin Is Unreachable",
    "524": "A Timeout Occurred",
}


@dataclass
class Fault:
    """Goes wrong on requests that match, from the *nth* such request on, *count* times.

    ``kind``: a status ("401", "429", "503", …), or one of the kinds named above.
    ``path``, ``query``: regular expressions, searched. ``endpoint``: a name of `routes.ROUTES`.
    ``count``: None for ever. ``probability`` < 1 uses the seed. ``policy``: of a 429.
    ``retry_after_s``: sent as Retry-After. ``seconds``: how long to hang, or to be slow; a slow
    answer comes at once when it is set to 0 meanwhile.
    ``rewrite``: what a "rewritten" answer becomes.
    """

    kind: str
    path: str = ""
    nth: int = 1
    count: int | None = 1
    probability: float = 1.0
    seed: int = 0
    policy: str = "TEN_SECONDLY_ROLLING"
    retry_after_s: int | None = None
    seconds: float = 5.0
    endpoint: str = ""
    query: str = ""
    rewrite: Callable[[Answer], Answer] | None = None
    _seen: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        known = (*SILENT_KINDS, *PARTIAL_KINDS, *OTHER_KINDS)
        if self.kind not in known and not re.fullmatch("[45][0-9][0-9]", self.kind):
            raise ValueError(f"unknown kind of fault {self.kind!r}; statuses, or {known}")
        self._random = random.Random(self.seed)

    async def pause(self) -> None:
        """Wait as long as a slow answer takes."""
        started = time.monotonic()
        while (left := started + self.seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(0.1, left))

    def applies(self, path: str, query: str = "", endpoint: str = "") -> bool:
        """Count a request, and return whether it fails."""
        if self.count is not None and self._done >= self.count:
            return False
        if self.endpoint not in ("", endpoint):
            return False
        if not (re.search(self.path, path) and re.search(self.query, query)):
            return False
        self._seen += 1
        if self._seen < self.nth or self._random.random() >= self.probability:
            return False
        self._done += 1
        return True

    @property
    def replaces_answer(self) -> bool:
        return self.kind == "html" or self.kind.isdigit()

    def answer(self) -> Answer:
        """Return the answer that is given instead of the true one."""
        answer = self._answer()
        if self.retry_after_s is not None:
            answer.headers["Retry-After"] = str(self.retry_after_s)
        return answer

    def _answer(self) -> Answer:
        if self.kind == "html":
            return html(200, "Just a moment...")
        if self.kind in EDGE_STATUSES:
            return html(int(self.kind), EDGE_STATUSES[self.kind])
        if self.kind == "401":
            return expired().answer
        if self.kind == "403":
            return missing_scopes(["crm.objects.deals.read"]).answer
        if self.kind == "429":
            return rate_limited(self.policy).answer
        if self.kind == "477":
            return error(477, "MIGRATION_IN_PROGRESS", "This account is being migrated.").answer
        return error(int(self.kind), "INTERNAL_ERROR", "internal error").answer


def cut(body: bytes) -> bytes:
    """Return the first half of a body."""
    return body[: max(1, len(body) // 2)]
