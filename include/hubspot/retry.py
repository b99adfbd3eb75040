"""The errors for HubSpot's unsuccessful answers, and retries of those that may succeed later.

Status codes and bodies: docs/api-integration.md#errors
"""

import itertools
import json
import logging
import math
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
    naming_tenant,
)
from include.secret_text import without_secrets

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: The wait that HubSpot documents for a locked record (423).
LOCKED_WAIT_S = 2.0
#: First pause after a 5xx or a broken connection; doubled each time.
BACKOFF_START_S = 1.0
BACKOFF_MAX_S = 30.0
#: The wait of HubSpot's own SDK, per attempt, after a 429 without Retry-After.
RATE_POLICY_WAIT_S = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
#: The wait if the account's time zone is unknown, or a 477 states none.
COME_BACK_S = 3600.0
#: The longest wait that HubSpot documents for a 477.
MIGRATION_MAX_S = 86_400.0
#: A 429 that asks for a longer pause ends the request; all that share the limit pause this long.
RATE_PAUSE_MAX_S = 300.0
#: Statuses that HubSpot's API answers in JSON. In HTML they come from a proxy or from the network
#: edge in front of the API, and are not about the token or the request.
EDGE_STATUSES = (400, 401, 403, 405, 409)
#: HubSpot's clock may be behind ours, and other integrations start at midnight too.
MIDNIGHT_JITTER_S = (60.0, 300.0)
#: Tries of one request, however short its pauses are.
TRIES_MAX = 20
#: The pause after a failure that is not retried.
NO_RETRY = math.inf
_MESSAGE_MAX_CHARS = 300


@dataclass(frozen=True)
class Answer:
    """A complete answer. The body of an unsuccessful one is parsed, never logged.

    ``request``: "GET /crm/…", without the query.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
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
        """HubSpot's error message and correlation id, for an operator."""
        # before it is truncated: half of a secret would not be recognised
        text = without_secrets(str(self.fields.get("message") or "no message"))
        correlation_id = self.headers.get("X-HubSpot-Correlation-Id")
        suffix = f" (correlation id {correlation_id})" if correlation_id else ""
        return f"{text[:_MESSAGE_MAX_CHARS]!r}{suffix}"


class RetryableError(Exception):
    """One try failed. ``pause_s``: number of the try → seconds to wait before the next one."""

    def __init__(self, error: HubSpotDealsError, pause_s: Callable[[int], float]) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause_s = pause_s


def retry_call(
    try_once: Callable[[], _T],
    retry_timeout_s: float,
    *,
    tenant_id: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return what *try_once* returns, trying again after each `RetryableError`.

    Raises the error of the last try once the next pause would go beyond *retry_timeout_s*, or after
    TRIES_MAX tries.
    """
    spent_s = 0.0
    with naming_tenant(tenant_id):
        for attempt in itertools.count(1):
            started = time.monotonic()
            try:
                return try_once()
            except RetryableError as failed:
                error, pause_s = failed.error, failed.pause_s(attempt)
                spent_s += time.monotonic() - started + pause_s
                if spent_s > retry_timeout_s or attempt == TRIES_MAX:
                    raise error from None
                log.warning("tenant %s: %s Retrying in %.1f s.", tenant_id, error.what, pause_s)
                sleep(pause_s)
    raise AssertionError("itertools.count does not end")


def seconds_to_wait(
    answer: Answer, attempt: int, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """Return how long to pause before try *attempt* + 1, in seconds, or NO_RETRY.

    *attempt* counts from 1. A stated Retry-After wins, otherwise the policy's pause grows with
    each attempt; jitter keeps parallel tasks from coming back together.
    """
    if answer.status == 423:
        return LOCKED_WAIT_S * attempt
    if answer.status == 429 and rate_policy(answer) != "DAILY":
        return rate_pause_s(answer, attempt) + uniform(0.0, 1.0)
    if answer.status >= 500 or answer.status in (408, 409) or answer.is_of_the_edge:
        return backoff_s(attempt, uniform)
    return NO_RETRY


def rate_pause_s(answer: Answer, attempt: int = 1) -> float:
    """Return the pause after a 429 other than DAILY: Retry-After, or else the policy's."""
    asked_s = retry_after_s(answer.headers)
    if asked_s is not None:
        return asked_s
    return RATE_POLICY_WAIT_S.get(rate_policy(answer), 10.0) * attempt


def backoff_s(attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return 1, 2, 4 … 30 s for attempt 1, 2, 3 …, each between half and all of it."""
    full: float = min(BACKOFF_START_S * 2 ** (attempt - 1), BACKOFF_MAX_S)
    return full * uniform(0.5, 1.0)


def rate_policy(answer: Answer) -> str:
    """Return DAILY, SECONDLY or TEN_SECONDLY_ROLLING, the default."""
    policy = str(answer.fields.get("policyName") or "").upper()
    if policy:
        return policy
    message = str(answer.fields.get("message") or "").lower()
    if "daily" in message:
        return "DAILY"
    return "SECONDLY" if "limit" in message and " secondly" in message else "TEN_SECONDLY_ROLLING"


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the Retry-After header in seconds; it may be a number or an HTTP date."""
    text = headers.get("Retry-After") or ""
    try:
        return max(0.0, float(text))
    except ValueError:
        moment = http_date(text)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()) if moment else None


def http_date(text: str) -> datetime | None:
    """Return the time in a header, in whole seconds; None if it is not an HTTP date."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def next_midnight(zone: ZoneInfo | None) -> datetime:
    """Return a time shortly after the daily quota is reset, in UTC; unknown zone: in an hour."""
    now = datetime.now(UTC)
    if zone is None:
        return now + timedelta(seconds=COME_BACK_S)
    return midnight_after(now, zone) + timedelta(seconds=random.uniform(*MIDNIGHT_JITTER_S))


def midnight_after(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the next midnight in *zone*, in UTC."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time_of_day(), zone).astimezone(UTC)


def as_error(
    answer: Answer, tenant_id: str | None, zone: ZoneInfo | None = None, *, oauth: bool = False
) -> HubSpotDealsError:
    """Return the error to raise for an answer that is not retried, or no longer.

    :param tenant_id: whose token was sent, for the remedy.
    :param zone: the account's; the daily limit is reset at its midnight.
    :param oauth: the token was issued to an OAuth app, so it is in no connection.
    """
    if answer.is_of_the_edge:
        return HubSpotUnavailableError(
            f"a proxy or the edge of HubSpot's network answered {answer.status} to "
            f"{answer.request}, not HubSpot's API.",
            remedy="If this continues, look for a proxy or a firewall between "
            "Airflow and HubSpot, and check the connection's host.",
        )
    if answer.status == 401:
        return _token_rejected(answer, tenant_id, oauth=oauth)
    if answer.status == 403:
        return _access_denied(answer)
    if answer.status == 429:
        return _out_of_quota(answer, zone)
    if answer.status == 477:
        return _migrating(answer)
    if answer.status in (408, 409, 423) or answer.status >= 500:
        return HubSpotUnavailableError(
            f"HubSpot kept answering {answer.status} to {answer.request}: {answer.message}.",
            remedy="If this continues, look at HubSpot's status page.",
        )
    error = ContractError(
        f"HubSpot answered {answer.status} to {answer.request}: {answer.message}.",
        remedy="Report it with the correlation id.",
    )
    error.status = answer.status
    return error


def missing_scopes(fields: dict[str, Any]) -> list[str]:
    """Return the scopes that a 403 names, in ``errors[].context`` under one of two keys."""
    errors = fields.get("errors")
    places = [fields, *(errors if isinstance(errors, list) else [])]
    contexts = [place.get("context") for place in places if isinstance(place, dict)]
    named: dict[str, None] = {}
    for context in contexts:
        for key in ("requiredGranularScopes", "requiredScopes"):
            scopes = context.get(key) if isinstance(context, dict) else None
            named.update(dict.fromkeys(map(str, scopes if isinstance(scopes, list) else [])))
    return list(named)


def _access_denied(answer: Answer) -> AccessDeniedError:
    scopes = missing_scopes(answer.fields)
    if scopes or str(answer.fields.get("category")).upper() == "MISSING_SCOPES":
        return ScopeMissingError(scopes)
    return AccessDeniedError(
        f"HubSpot denies access to {answer.request} (403): {answer.message}.",
        remedy="Do in HubSpot what its message asks for.",
    )


def _token_rejected(answer: Answer, tenant_id: str | None, *, oauth: bool) -> TokenRejectedError:
    expired = answer.fields.get("category") == "EXPIRED_AUTHENTICATION"
    state = "has expired" if expired else "is wrong, or was revoked or rotated"
    return TokenRejectedError(
        f"HubSpot refused the token (401): it {state}. HubSpot says {answer.message}.",
        remedy="HubSpot had just issued it to the OAuth app: check that the app is still installed "
        "in the account."
        if oauth
        else f"Put a valid token into {token_place(tenant_id)}.",
    )


def token_place(tenant_id: str | None) -> str:
    """Name the place where a tenant's token is kept, for a remedy."""
    connection = f"the password of the Airflow connection hubspot_{tenant_id or '<tenant>'}"
    return f"{connection} or HUBSPOT_ACCESS_TOKEN" if tenant_id == "default" else connection


def _migrating(answer: Answer) -> PortalMigratingError:
    asked_s = min(retry_after_s(answer.headers) or COME_BACK_S, MIGRATION_MAX_S)
    return PortalMigratingError(
        "HubSpot is moving this account to another data region (477) and asks for a retry in "
        f"{asked_s:.0f} s.",
        resume_at=datetime.now(UTC) + timedelta(seconds=asked_s),
    )


def _out_of_quota(answer: Answer, zone: ZoneInfo | None) -> HubSpotDealsError:
    if rate_policy(answer) == "DAILY":
        return DailyLimitError(
            "the HubSpot account's daily API limit is used up (429 DAILY). It is reset at midnight "
            "in the account's time zone.",
            resume_at=next_midnight(zone),
        )
    return RateLimitedError(
        f"HubSpot kept answering 429 ({rate_policy(answer)}) to {answer.request}.",
        remedy="Another integration may be using this app's quota.",
    )
