"""HTTP to one HubSpot account, by any number of threads: paced, patient, and discreet."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from include.errors import DailyLimitError
from include.hubspot import daily_quota
from include.hubspot.daily_quota import DailyQuota
from include.hubspot.failures import (
    RATE_PAUSE_MAX_S,
    Failure,
    as_error,
    midnight_after,
    next_midnight,
    rate_pause_s,
    rate_policy,
    seconds_to_wait,
)
from include.hubspot.patience import Setback, patiently
from include.hubspot.session import Answer, new_session, prepared
from include.hubspot.token import AnyToken
from include.hubspot.turns import Turns
from include.hubspot.wire import Wire

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds to connect, and between two packets of an answer.
TIMEOUT_S = (10.0, 60.0)
#: How long one request may go on failing before the task gives up and leaves it to Airflow.
PATIENCE_S = 180.0
#: How much the newest answer counts in the average of how long they take.
_NEWEST_WEIGHT = 0.1


class Transport:
    """Sends requests and decodes their answers, waiting and retrying as HubSpot wishes.

    :param turns: the limit that every request is subject to.
    :param daily_share: of the account's daily quota: once all but the rest is used up, by whomever,
        no more requests are sent.
    :param patience_s: how long one request may keep failing before its error is raised.
    :param sleep: replaced by tests.

    Errors: `call` raises the classes of `include.errors`; nothing of `requests` gets out.
    """

    def __init__(
        self,
        base_url: str,
        token: AnyToken,
        turns: Turns,
        *,
        tenant_id: str | None = None,
        daily_share: float = daily_quota.DEFAULT_SHARE,
        patience_s: float = PATIENCE_S,
        timeout_s: tuple[float, float] = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tenant_id = tenant_id
        #: Requests sent, and how many of them were answered with 429.
        self.requests = 0
        self.throttled = 0
        self.sleep = sleep
        self._date: str | None = None
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._turns = turns
        self._daily_share = daily_share
        self._daily: DailyQuota | None = None
        self._zone: ZoneInfo | None = None
        self._counting = threading.Lock()
        #: How long answers took lately, on average.
        self.latency_s = 0.0
        self._patience_s = patience_s
        self._wire = Wire(self.base_url, new_session(self.base_url), timeout_s, tenant_id)

    @property
    def server_time(self) -> datetime | None:
        """What HubSpot's clock said with the last answer, in whole seconds; None: nothing."""
        try:
            moment = parsedate_to_datetime(self._date) if self._date else None
        except ValueError:
            return None
        return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment

    @property
    def requests_per_s(self) -> float:
        return self._turns.per_s

    @property
    def daily_quota(self) -> DailyQuota | None:
        """What the last answer that told it said of the account's daily quota."""
        return self._daily

    @property
    def quota_resets_at(self) -> datetime | None:
        return midnight_after(datetime.now(UTC), self._zone) if self._zone else None

    def set_time_zone(self, name: str) -> None:
        """Say where the account is: its midnight ends the day of the daily quota."""
        try:
            self._zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            log.warning("tenant %s: HubSpot's time zone %r is unknown", self.tenant_id, name)

    def call(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], _T],
        json: object = None,
        *,
        rarer: Turns | None = None,
    ) -> _T:
        """Send a request until it is answered well, and return the decoded answer.

        :param rarer: a further limit that this request is subject to.
        """
        what = _Call(method, path, json, rarer)
        return patiently(
            lambda: self._attempt(what, decode),
            self._patience_s,
            tenant_id=self.tenant_id,
            sleep=self.sleep,
        )

    def _attempt(self, what: "_Call", decode: Callable[[bytes], _T]) -> _T:
        token = self._token.text
        answer = self._answer(what, token)
        if answer.status_code == 401 and self._token.replaced(token):
            log.info("tenant %s: going on with another token", self.tenant_id)
            answer = self._answer(what, self._token.text)
        if answer.status_code not in (200, 201, 207):
            raise self._setback(what, answer)
        return self._wire.decoded(answer, what.name, decode)

    def _answer(self, what: "_Call", token: str) -> Answer:
        self._leave_quota_to_others()
        request = prepared(what.method, self.base_url + what.path, token, what.json)
        if what.rarer:
            self._turns.wait_with(what.rarer)
        else:
            self._turns.wait()
        with self._counting:
            self.requests += 1
        sent_at = time.monotonic()
        answer = self._wire.answer(request, what.name)
        self._turns.learn(answer.headers, sent_at)
        self._learn_latency(time.monotonic() - sent_at)
        self._daily = DailyQuota.of(answer.headers) or self._daily
        self._date = answer.headers.get("Date")
        return answer

    def _setback(self, what: "_Call", answer: Answer) -> Setback:
        failure = Failure(answer.status_code, answer.headers, answer.content, what.name)
        if failure.status == 429:
            with self._counting:
                self.throttled += 1
            self._hold_back(what, failure)
        error = as_error(failure, self.tenant_id, self._zone, oauth=self._token.oauth)
        return Setback(partial(seconds_to_wait, failure), error)

    def _hold_back(self, what: "_Call", failure: Failure) -> None:
        """Let all who share the limit pause: one 429 shall not become one for each of them."""
        policy = rate_policy(failure)
        if policy != "DAILY":
            turns = what.rarer if what.rarer and policy == "SECONDLY" else self._turns
            turns.hold(min(rate_pause_s(failure), RATE_PAUSE_MAX_S))

    def _learn_latency(self, took_s: float) -> None:
        with self._counting:
            self.latency_s += (took_s - self.latency_s) * (_NEWEST_WEIGHT if self.latency_s else 1)

    def _leave_quota_to_others(self) -> None:
        daily = self._daily
        if daily and daily.leaves_nothing_of(self._daily_share):
            raise DailyLimitError(
                f"of the HubSpot account's daily API limit of {daily.limit} requests "
                f"{daily.remaining} are left, and daily_quota_share leaves these to other "
                "integrations; it is refilled at midnight in the account's time zone.",
                resume_at=next_midnight(self._zone),
                tenant_id=self.tenant_id,
            )


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    json: object
    rarer: Turns | None

    @property
    def name(self) -> str:
        """For messages: a query can hold hundreds of names."""
        return f"{self.method} {self.path.partition('?')[0]}"
