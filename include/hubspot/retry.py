"""What an unsuccessful answer of HubSpot means, and trying again what may succeed later.

Status codes and bodies: docs/api-integration.md#errors
"""

import itertools
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from include.errors import (
    AccessDeniedError,
    ContractError,
    DailyLimitError,
    HubSpotDealsError,
    HubSpotUnavailableError,
    PortalMigratingError,
    RateLimitedError,
    ScopeMissingError,
    TokenRejectedError,
)
from include.secret_text import without_secrets

#: How long HubSpot asks to leave a locked record alone.
LOCKED_WAIT_S = 2.0
#: First pause after a 5xx or a broken connection; doubled each time.
BACKOFF_START_S = 1.0
BACKOFF_MAX_S = 30.0
#: What HubSpot's own SDK waits per attempt when a 429 says nothing better.
RATE_POLICY_WAIT_S = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
#: When to come back if the account's time zone is not known, or a 477 does not say.
COME_BACK_S = 3600.0
#: HubSpot asks for no more after a 477.
MIGRATION_MAX_S = 86_400.0
#: A 429 that asks for longer ends the request; everything that shares the limit pauses this long.
RATE_PAUSE_MAX_S = 300.0
#: Statuses that HubSpot's API answers in JSON. In HTML they come from a proxy or from the network
#: edge in front of the API, and say nothing about the token or the request.
EDGE_STATUSES = (400, 401, 403, 405, 409)
#: HubSpot's clock may be behind ours, and other integrations start at midnight too.
MIDNIGHT_JITTER_S = (60.0, 300.0)
_MESSAGE_MAX_CHARS = 300


@dataclass(frozen=True)
class Failure:
    """One unsuccessful answer. ``body`` is read for its error fields only, never logged."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: "GET /crm/…", without the query.
    request: str

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The JSON error body, or {} when the answer is HTML or empty (edge errors are)."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def is_of_the_edge(self) -> bool:
        """Whether a proxy, or the edge of HubSpot's network, answered in the API's place."""
        html = self.body.lstrip()[:1] == b"<"
        return (html and self.status in EDGE_STATUSES) or 300 <= self.status < 400

    @property
    def message(self) -> str:
        """HubSpot's own sentence with its correlation id, for an operator."""
        # before it is cut: half of a secret is not recognised
        text = without_secrets(str(self.fields.get("message") or "no message"))
        text = text[:_MESSAGE_MAX_CHARS]
        correlation_id = self.headers.get("X-HubSpot-Correlation-Id")
        return f"{text!r}" + (f" (correlation id {correlation_id})" if correlation_id else "")


def seconds_to_wait(
    failure: Failure, attempt: int, uniform: Callable[[float, float], float] = random.uniform
) -> float | None:
    """Return how long to pause before try *attempt* + 1, in seconds; None: trying again is no use.

    *attempt* counts from 1. A stated Retry-After wins, otherwise the policy's pause grows with
    each attempt; jitter keeps parallel tasks from coming back together.
    """
    if failure.status == 423:
        return LOCKED_WAIT_S * attempt
    if failure.status == 429:
        if rate_policy(failure) == "DAILY":
            return None
        return rate_pause_s(failure, attempt) + uniform(0.0, 1.0)
    if failure.status >= 500 or failure.status in (408, 409) or failure.is_of_the_edge:
        return backoff_s(attempt, uniform)
    return None


def rate_pause_s(failure: Failure, attempt: int = 1) -> float:
    """Return how long a 429 that is not of the day asks for: by Retry-After, else by policy."""
    asked_s = retry_after_s(failure.headers)
    if asked_s is not None:
        return asked_s
    return RATE_POLICY_WAIT_S.get(rate_policy(failure), 10.0) * attempt


def backoff_s(attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return 1, 2, 4 … 30 s for attempt 1, 2, 3 …, each between half and all of it."""
    full: float = min(BACKOFF_START_S * 2 ** (attempt - 1), BACKOFF_MAX_S)
    return full * uniform(0.5, 1.0)


def rate_policy(failure: Failure) -> str:
    """Return DAILY, SECONDLY or TEN_SECONDLY_ROLLING (also when the body does not say)."""
    policy = str(failure.fields.get("policyName") or "").upper()
    if policy:
        return policy
    message = str(failure.fields.get("message") or "").lower()
    if "daily" in message:
        return "DAILY"
    return "SECONDLY" if "limit" in message and " secondly" in message else "TEN_SECONDLY_ROLLING"


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the Retry-After header in seconds; it may be a number or an HTTP date."""
    text = headers.get("Retry-After")
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def next_midnight(
    zone: ZoneInfo | None,
    now: datetime | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> datetime:
    """Return when the day's quota is refilled, a little later, in UTC; unknown zone: in an hour."""
    now = now or datetime.now(UTC)
    if zone is None:
        return now + timedelta(seconds=COME_BACK_S)
    return midnight_after(now, zone) + timedelta(seconds=uniform(*MIDNIGHT_JITTER_S))


def midnight_after(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the next midnight in *zone*, in UTC."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time_of_day(), zone).astimezone(UTC)


def as_error(
    failure: Failure,
    tenant_id: str | None,
    zone: ZoneInfo | None = None,
    *,
    oauth: bool = False,
) -> HubSpotDealsError:
    """Return the error to raise for an answer that is not worth waiting for, or no longer.

    :param zone: the account's; its midnight ends the day of the daily limit.
    :param oauth: the token was an OAuth app's: it is in no connection.
    """
    if failure.is_of_the_edge:
        return HubSpotUnavailableError(
            f"a proxy or the edge of HubSpot's network answered {failure.status} to "
            f"{failure.request}, not HubSpot's API.",
            tenant_id=tenant_id,
            remedy="The task is retried; if it goes on, look for a proxy or a firewall between "
            "Airflow and HubSpot, and check the connection's host.",
        )
    if failure.status == 401:
        return _token_rejected(failure, tenant_id, oauth=oauth)
    if failure.status == 403:
        return _access_denied(failure, tenant_id)
    if failure.status == 429:
        return _out_of_quota(failure, tenant_id, zone)
    if failure.status == 477:
        return _migrating(failure, tenant_id)
    if failure.status in (408, 409, 423) or failure.status >= 500:
        return HubSpotUnavailableError(
            f"HubSpot kept answering {failure.status} to {failure.request}: {failure.message}.",
            tenant_id=tenant_id,
            remedy="The task is retried; if it goes on, look at HubSpot's status page.",
        )
    error = ContractError(
        f"HubSpot answered {failure.status} to {failure.request}: {failure.message}.",
        tenant_id=tenant_id,
        remedy="Report it with the correlation id.",
    )
    error.status = failure.status
    return error


def missing_scopes(fields: dict[str, Any]) -> list[str]:
    """Return the scopes a 403 names: they sit in ``errors[].context``, under one of two keys."""
    errors = fields.get("errors")
    listed = errors if isinstance(errors, list) else []
    contexts = [fields.get("context")]
    contexts += [error.get("context") for error in listed if isinstance(error, dict)]
    named: dict[str, None] = {}
    for context in contexts:
        for key in ("requiredGranularScopes", "requiredScopes"):
            scopes = context.get(key) if isinstance(context, dict) else None
            named.update(dict.fromkeys(map(str, scopes if isinstance(scopes, list) else [])))
    return list(named)


def _access_denied(failure: Failure, tenant_id: str | None) -> AccessDeniedError:
    scopes = missing_scopes(failure.fields)
    if scopes or str(failure.fields.get("category")).upper() == "MISSING_SCOPES":
        return ScopeMissingError(scopes, tenant_id=tenant_id)
    return AccessDeniedError(
        f"HubSpot denies access to {failure.request} (403): {failure.message}.",
        tenant_id=tenant_id,
        remedy="Do in HubSpot what this sentence asks for, then clear the task.",
    )


def _token_rejected(failure: Failure, tenant_id: str | None, *, oauth: bool) -> TokenRejectedError:
    expired = failure.fields.get("category") == "EXPIRED_AUTHENTICATION"
    state = "has expired" if expired else "is wrong, or was revoked or rotated"
    return TokenRejectedError(
        f"HubSpot refused the token (401): it {state}. HubSpot says {failure.message}.",
        tenant_id=tenant_id,
        remedy="It is one that the OAuth app had just been given: check that the app is still "
        "installed in the account, then clear the task."
        if oauth
        else f"Put a valid token into {token_place(tenant_id)}, then clear the task.",
    )


def token_place(tenant_id: str | None) -> str:
    """Name the place where a tenant's token is kept, for a remedy."""
    connection = f"the password of the Airflow connection hubspot_{tenant_id or '<tenant>'}"
    return f"{connection} or HUBSPOT_ACCESS_TOKEN" if tenant_id == "default" else connection


def _migrating(failure: Failure, tenant_id: str | None) -> PortalMigratingError:
    asked_s = min(retry_after_s(failure.headers) or COME_BACK_S, MIGRATION_MAX_S)
    return PortalMigratingError(
        "HubSpot is moving this account to another data region (477) and asks to come back in "
        f"{asked_s:.0f} s.",
        resume_at=datetime.now(UTC) + timedelta(seconds=asked_s),
        tenant_id=tenant_id,
    )


def _out_of_quota(
    failure: Failure, tenant_id: str | None, zone: ZoneInfo | None
) -> HubSpotDealsError:
    if rate_policy(failure) == "DAILY":
        return DailyLimitError(
            "the HubSpot account's daily API limit is used up (429 DAILY); it is refilled at "
            "midnight in the account's time zone.",
            resume_at=next_midnight(zone),
            tenant_id=tenant_id,
        )
    return RateLimitedError(
        f"HubSpot kept answering 429 ({rate_policy(failure)}) to {failure.request}.",
        tenant_id=tenant_id,
        remedy="Another integration may be using this app's quota; the task is retried.",
    )


log = logging.getLogger(__name__)

_T = TypeVar("_T")


#: However short the pauses are that HubSpot asks for.
TRIES_MAX = 20


class RetryableError(Exception):
    """One try failed. ``pause_s`` of the attempt: how long to wait before the next, if at all."""

    def __init__(self, pause_s: Callable[[int], float | None], error: HubSpotDealsError) -> None:
        self.pause_s = pause_s
        self.error = error
        super().__init__(str(error))


def no_retry(attempt: int) -> None:
    """Don't try again."""


def retry_call(
    attempt_once: Callable[[], _T],
    retry_timeout_s: float,
    *,
    tenant_id: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return what *attempt_once* returns, trying again after each `RetryableError`.

    Raises the error of the last try once the next pause would go beyond *retry_timeout_s*, or after
    TRIES_MAX tries.
    """
    spent_s = 0.0
    for attempt in itertools.count(1):
        started = time.monotonic()
        try:
            return attempt_once()
        except RetryableError as failed_try:
            spent_s += time.monotonic() - started
            pause_s = failed_try.pause_s(attempt)
            if pause_s is None or spent_s + pause_s > retry_timeout_s or attempt == TRIES_MAX:
                raise failed_try.error from None
            log.warning(
                "tenant %s: %s Trying again in %.1f s.", tenant_id, failed_try.error.what, pause_s
            )
            sleep(pause_s)
            spent_s += pause_s
    raise AssertionError("itertools.count does not end")
