"""HTTP requests to one HubSpot account, by any number of threads: paced and retried.

Secrets never get into errors or logs. What `requests` would do anew for each request (proxies,
certificates, cookies, netrc) is done once.
"""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers, get_environ_proxies

from include.errors import (
    CertificateRejectedError,
    ConfigError,
    ContractError,
    DailyLimitError,
    HubSpotUnavailableError,
    TokenMalformedError,
)
from include.hubspot import rate_limit
from include.hubspot.rate_limit import DailyQuota, RateLimiter
from include.hubspot.retry import (
    RATE_PAUSE_MAX_S,
    Failure,
    RetryableError,
    as_error,
    backoff_s,
    midnight_after,
    next_midnight,
    no_retry,
    rate_pause_s,
    rate_policy,
    retry_call,
    seconds_to_wait,
)
from include.secret_text import flaw_of, keep_out_of_messages


class AnyToken(Protocol):
    """What a request needs of a token. Thread-safe; never shows itself."""

    @property
    def oauth(self) -> bool:
        """Whether it is an OAuth app's."""
        ...

    @property
    def text(self) -> str:
        """What to send now. Raises the classes of `include.errors`."""
        ...

    @property
    def limited_as(self) -> str:
        """What has the rate limit that requests with this token count for; a secret too."""
        ...

    def replaced(self, refused: str) -> bool:
        """Return whether there is another token than *refused*, which HubSpot answered 401 to."""
        ...


class Token:
    """One that nothing here renews: a private app's, or a service key.

    :param read_again: asks where the token is kept; None: that is not known.
    :param accept: gets a new token before it is used; raises to refuse it.
    :param limited_as: what has its rate limit, for one of an OAuth app; None: the token itself, as
        far as can be known.
    """

    def __init__(
        self,
        text: str,
        read_again: Callable[[], str] | None = None,
        accept: Callable[[str], None] | None = None,
        limited_as: str | None = None,
    ) -> None:
        self._text = text
        self._limited_as = limited_as
        self.oauth = limited_as is not None
        self._read_again = read_again
        self._accept = accept
        self._lock = threading.Lock()
        self._given_up = False

    @property
    def text(self) -> str:
        return self._text

    @property
    def limited_as(self) -> str:
        return self._limited_as or self._text

    def replaced(self, refused: str) -> bool:
        """Return whether there is another token than *refused*, which HubSpot answered 401 to.

        Many threads may ask at once: one reads, the others get its answer. Raises what reading
        the new token and `accept` raise.
        """
        with self._lock:
            if self._text != refused:
                return True
            if self._read_again is None or self._given_up:
                return False
            self._given_up = True
            text = self._read_again()
            if text == refused:
                return False
            if self._accept:
                self._accept(text)
            self._text, self._given_up = text, False
            return True


#: As many requests as threads may be under way at once without opening connections anew.
CONNECTIONS = 32
#: A page of 100 records with all their properties has a few megabytes. Without a limit, an answer
#: that never ends would be waited for as long as one byte comes within the time-out.
ANSWER_MAX_S = 300.0
ANSWER_MAX_BYTES = 256 * 1024 * 1024
_HEADERS = {**default_headers(), "User-Agent": "hubspot-deals-airflow"}


class Answer(NamedTuple):
    """An answer that has come as a whole."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


def new_session(base_url: str) -> requests.Session:
    """Return a session for any number of threads; proxies and CA files are the environment's.

    Raises ConfigError for a proxy whose password can't be sent.
    """
    session = requests.Session()
    # Asked of the environment here: `trust_env` would ask at each request.
    session.proxies = get_environ_proxies(base_url, no_proxy=None)
    for proxy in session.proxies.values():
        _keep_secret(proxy)
    session.verify = (
        os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    )
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.mount(base_url, HTTPAdapter(pool_maxsize=CONNECTIONS))
    return session


def _keep_secret(proxy: str) -> None:
    try:
        parts = urlsplit(proxy)
        password = parts.password or ""
    except ValueError:  # a proxy that can't be used is an error of each request
        return
    keep_out_of_messages(password)
    keep_out_of_messages(unquote(password))
    try:
        unquote(f"{parts.username}{password}").encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(
            f"the user or the password of the proxy {parts.hostname} holds a character that no "
            "header can hold.",
            remedy="Correct HTTPS_PROXY or HTTP_PROXY.",
        ) from None


def prepared(method: str, url: str, token: str, json: object = None) -> requests.PreparedRequest:
    """Return a request as it goes over the line. *url* is quoted already.

    `requests` would parse the URL again and merge settings and cookies there are none of: that
    costs more than all the rest of a request. .netrc has no chance to replace the token.
    Raises TokenMalformedError.
    """
    if flaw := flaw_of(token):
        # http.client would show the header in its exception
        raise TokenMalformedError(
            f"the token can't be sent: {flaw}.", remedy="Put it into its connection again."
        )
    request = _plain(method, url)
    request.headers["Authorization"] = f"Bearer {token}"
    if json is not None:
        request.body = msgspec.json.encode(json)
        request.headers["Content-Type"] = "application/json"
    if method != "GET":
        request.headers["Content-Length"] = str(len(request.body or b""))
    return request


def prepared_form(url: str, fields: Mapping[str, str]) -> requests.PreparedRequest:
    """Return the POST of a form, as it goes over the line. What it holds is in its body only."""
    request = _plain("POST", url)
    body = urlencode(fields).encode()
    request.body = body
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    request.headers["Content-Length"] = str(len(body))
    return request


def _plain(method: str, url: str) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.method, request.url = method, url
    request.headers = CaseInsensitiveDict(_HEADERS)
    request.hooks = default_hooks()
    return request


def answer_to(
    request: requests.PreparedRequest, session: requests.Session, timeout_s: tuple[float, float]
) -> Answer:
    """Send a request and read its answer. Raises requests.RequestException.

    :param timeout_s: to connect, and between two packets of the answer.
    """
    # Not by the session: it would follow redirects, which take the token to another host, and keep
    # cookies. HubSpot's API has neither.
    answer = session.get_adapter(str(request.url)).send(
        request,
        timeout=timeout_s,
        proxies=session.proxies,
        verify=session.verify or True,
        stream=True,
    )
    try:
        content = _content(answer)
    except urllib3.exceptions.HTTPError as exc:
        raise requests.ConnectionError(exc) from exc
    return Answer(answer.status_code, answer.headers, content)


def _content(answer: requests.Response) -> bytes:
    """Read a body as it comes: `requests` would read 10 kB at a time, which costs more."""
    give_up_at = time.monotonic() + ANSWER_MAX_S
    pieces: list[bytes] = []
    size = 0
    while piece := answer.raw.read1(decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_MAX_BYTES or time.monotonic() > give_up_at:
            answer.close()
            raise requests.ReadTimeout(f"the answer did not end within {size} bytes")
    return b"".join(pieces)


def is_untrusted(exc: requests.RequestException) -> bool:
    """Whether the server's certificate was refused: no time heals that, unlike a broken handshake.

    Of a request, or of a proxy on the way.
    """
    cause: object = exc
    while isinstance(cause, BaseException):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        reason = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        cause = reason if isinstance(reason, BaseException) else cause.__cause__
    return False


_T = TypeVar("_T")


def _once_more(attempt: int) -> float | None:
    """Well-formed, but not what is documented: a second answer like it is no accident."""
    return backoff_s(attempt) if attempt == 1 else None


@dataclass(frozen=True)
class Exchange:
    """To one host, for any number of threads.

    ``timeout_s``: to connect, and between two packets of an answer. The ``name`` of a request is
    for messages. Everything that goes wrong is a `RetryableError`.
    """

    base_url: str
    session: requests.Session = field(repr=False)
    timeout_s: tuple[float, float]
    tenant_id: str | None = None

    def answer(self, request: requests.PreparedRequest, name: str) -> Answer:
        try:
            return answer_to(request, self.session, self.timeout_s)
        except requests.RequestException as exc:
            if is_untrusted(exc):
                raise RetryableError(no_retry, self._untrusted(name)) from exc
            raise RetryableError(backoff_s, self._unreachable(name, exc)) from exc

    def decoded(self, answer: Answer, name: str, decode: Callable[[bytes], _T]) -> _T:
        try:
            return decode(answer.content)
        except msgspec.ValidationError as exc:
            raise RetryableError(_once_more, self._unexpected(name, exc)) from exc
        except (ValueError, RecursionError) as exc:
            raise RetryableError(backoff_s, self._garbled(name, answer)) from exc

    def _unreachable(self, request: str, exc: requests.RequestException) -> HubSpotUnavailableError:
        return HubSpotUnavailableError(
            f"{self.base_url} can't be reached or broke off ({type(exc).__name__}) at {request}.",
            tenant_id=self.tenant_id,
            remedy="Check the connection's host and the network; the task is retried.",
        )

    def _untrusted(self, request: str) -> CertificateRejectedError:
        return CertificateRejectedError(
            f"the certificate of {self.base_url} can't be trusted at {request}; the token was not "
            "sent.",
            tenant_id=self.tenant_id,
            remedy="Behind a proxy that uses certificates of its own, set REQUESTS_CA_BUNDLE to "
            "its authority's file. Otherwise another server answers for HubSpot.",
        )

    def _garbled(self, request: str, answer: Answer) -> HubSpotUnavailableError:
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


log = logging.getLogger(__name__)


#: Seconds to connect, and between two packets of an answer.
TIMEOUT_S = (10.0, 60.0)
#: How long one request may go on failing before the task gives up and leaves it to Airflow.
RETRY_TIMEOUT_S = 180.0
#: How much the newest answer counts in the average of how long they take.
_NEWEST_WEIGHT = 0.1


class Transport:
    """Sends requests and decodes their answers, waiting and retrying as HubSpot wishes.

    :param limiter: the limit that every request is subject to.
    :param daily_share: of the account's daily quota: once all but the rest is used up, by whomever,
        no more requests are sent.
    :param retry_timeout_s: how long one request may keep failing before its error is raised.
    :param sleep: replaced by tests.

    Errors: `call` raises the classes of `include.errors`; nothing of `requests` gets out.
    """

    def __init__(
        self,
        base_url: str,
        token: AnyToken,
        limiter: RateLimiter,
        *,
        tenant_id: str | None = None,
        daily_share: float = rate_limit.DEFAULT_SHARE,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
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
        self._limiter = limiter
        self._daily_share = daily_share
        self._daily: DailyQuota | None = None
        self._zone: ZoneInfo | None = None
        self._counting = threading.Lock()
        #: How long answers took lately, on average.
        self.latency_s = 0.0
        self._retry_timeout_s = retry_timeout_s
        self._wire = Exchange(self.base_url, new_session(self.base_url), timeout_s, tenant_id)

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
        return self._limiter.per_s

    @property
    def daily_quota(self) -> DailyQuota | None:
        """The account's daily quota, as the last answer that had it stated it."""
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
        also: RateLimiter | None = None,
    ) -> _T:
        """Send a request until it is answered well, and return the decoded answer.

        :param also: a further limit that this request is subject to.
        """
        what = _Call(method, path, json, also)
        return retry_call(
            lambda: self._attempt(what, decode),
            self._retry_timeout_s,
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
        if what.also:
            self._limiter.wait_with(what.also)
        else:
            self._limiter.wait()
        with self._counting:
            self.requests += 1
        sent_at = time.monotonic()
        answer = self._wire.answer(request, what.name)
        self._limiter.learn(answer.headers, sent_at)
        self._learn_latency(time.monotonic() - sent_at)
        self._daily = DailyQuota.of(answer.headers) or self._daily
        self._date = answer.headers.get("Date")
        return answer

    def _setback(self, what: "_Call", answer: Answer) -> RetryableError:
        failure = Failure(answer.status_code, answer.headers, answer.content, what.name)
        if failure.status == 429:
            with self._counting:
                self.throttled += 1
            self._hold_back(what, failure)
        error = as_error(failure, self.tenant_id, self._zone, oauth=self._token.oauth)
        return RetryableError(partial(seconds_to_wait, failure), error)

    def _hold_back(self, what: "_Call", failure: Failure) -> None:
        """Let all who share the limit pause: one 429 shall not become one for each of them."""
        policy = rate_policy(failure)
        if policy != "DAILY":
            limiter = what.also if what.also and policy == "SECONDLY" else self._limiter
            limiter.hold(min(rate_pause_s(failure), RATE_PAUSE_MAX_S))

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
    also: RateLimiter | None

    @property
    def name(self) -> str:
        """For messages: a query can hold hundreds of names."""
        return f"{self.method} {self.path.partition('?')[0]}"
