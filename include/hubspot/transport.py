"""HTTP to one HubSpot account: paced, patient, and never telling the token to anybody."""

import itertools
import logging
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec
import requests
from requests.auth import AuthBase

from include.errors import ContractError, HubSpotDealsError, HubSpotUnavailableError
from include.hubspot.failures import Failure, as_error, backoff_s, seconds_to_wait
from include.hubspot.rate_limit import Pacer

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds to connect, and between two packets of an answer.
TIMEOUT_S = (10.0, 60.0)
#: How long one request may go on failing before the task gives up and leaves it to Airflow.
PATIENCE_S = 180.0


class BearerToken(AuthBase):
    """Sets the Authorization header; as an auth object no .netrc can replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """Sends requests and decodes their answers, waiting and retrying as HubSpot wishes.

    :param patience_s: how long one request may keep failing before its error is raised.
    :param sleep: replaced by tests.

    Errors: `call` raises the classes of `include.errors`; nothing of `requests` gets out.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        tenant_id: str | None = None,
        pacer: Pacer | None = None,
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
        self._pacer = pacer or Pacer(sleep=sleep)
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.auth = BearerToken(token)
        self._session.headers["User-Agent"] = "hubspot-deals-airflow"

    @property
    def server_time(self) -> datetime | None:
        """What HubSpot's clock said with the last answer, in whole seconds; None: nothing."""
        try:
            return parsedate_to_datetime(self._date) if self._date else None
        except ValueError:
            return None

    def call(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], _T],
        json: object = None,
        *,
        pacer: Pacer | None = None,
    ) -> _T:
        """Send a request until it is answered well, and return the decoded answer.

        :param pacer: a further limit that this request is subject to.
        """
        spent_s = 0.0
        for attempt in itertools.count(1):
            started = time.monotonic()
            try:
                if pacer:
                    pacer.wait_for_turn()
                return self._attempt(method, path, decode, json, attempt)
            except _Setback as setback:
                spent_s += time.monotonic() - started
                if setback.pause_s is None or spent_s + setback.pause_s > self._patience_s:
                    raise setback.error from None
                log.warning(
                    "tenant %s: %s Trying again in %.1f s.",
                    self.tenant_id,
                    setback.error.what,
                    setback.pause_s,
                )
                self.sleep(setback.pause_s)
                spent_s += setback.pause_s
        raise AssertionError("itertools.count does not end")

    def _attempt(
        self, method: str, path: str, decode: Callable[[bytes], _T], json: object, attempt: int
    ) -> _T:
        request = f"{method} {path.partition('?')[0]}"
        self._pacer.wait_for_turn()
        self.requests += 1
        try:
            # A redirect would take the token to another host: HubSpot's API has none.
            answer = self._session.request(
                method,
                self.base_url + path,
                json=json,
                timeout=self._timeout_s,
                allow_redirects=False,
            )
        except requests.RequestException as exc:
            raise _Setback(backoff_s(attempt), self._unreachable(request, exc)) from exc
        self._pacer.learn(answer.headers)
        self._date = answer.headers.get("Date")
        if answer.status_code not in (200, 207):
            failure = Failure(answer.status_code, answer.headers, answer.content, request)
            self.throttled += answer.status_code == 429
            raise _Setback(seconds_to_wait(failure, attempt), as_error(failure, self.tenant_id))
        try:
            return decode(answer.content)
        except msgspec.ValidationError as exc:
            # Well-formed, but not what is documented: asking again would bring the same.
            raise _Setback(None, self._unexpected(request, exc)) from exc
        except ValueError as exc:
            raise _Setback(backoff_s(attempt), self._garbled(request, answer)) from exc

    def _unreachable(self, request: str, exc: requests.RequestException) -> HubSpotUnavailableError:
        return HubSpotUnavailableError(
            f"{self.base_url} can't be reached or broke off ({type(exc).__name__}) at {request}.",
            tenant_id=self.tenant_id,
            remedy="Check the connection's host and the network; the task is retried.",
        )

    def _garbled(self, request: str, answer: requests.Response) -> HubSpotUnavailableError:
        kind = answer.headers.get("Content-Type", "no content type")
        return HubSpotUnavailableError(
            f"HubSpot's answer to {request} is no JSON ({kind}, {len(answer.content)} bytes).",
            tenant_id=self.tenant_id,
            remedy="The task is retried; if it goes on, look for a proxy in between.",
        )

    def _unexpected(self, request: str, exc: msgspec.ValidationError) -> ContractError:
        return ContractError(
            f"HubSpot's answer to {request} has another shape than documented: {exc}.",
            tenant_id=self.tenant_id,
            remedy="Report it.",
        )


class _Setback(Exception):
    """One try failed. ``pause_s``: wait this long before the next; None: there is no use in one."""

    def __init__(self, pause_s: float | None, error: HubSpotDealsError) -> None:
        self.pause_s = pause_s
        self.error = error
        super().__init__(str(error))
