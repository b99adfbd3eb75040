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
from datetime import UTC, datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import TypeVar
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import default_headers, get_environ_proxies

from include.errors import (
    CertificateRejectedError,
    ConfigError,
    ContractError,
    DailyLimitError,
    HubSpotUnavailableError,
    TokenMalformedError,
)
from include.hubspot.rate_limit import DEFAULT_SHARE, DailyQuota, RateLimiter
from include.hubspot.retry import (
    NO_RETRY,
    RATE_PAUSE_MAX_S,
    Answer,
    RetryableError,
    as_error,
    backoff_s,
    http_date,
    midnight_after,
    next_midnight,
    rate_pause_s,
    rate_policy,
    retry_call,
    seconds_to_wait,
)
from include.secret_text import flaw_of, keep_out_of_messages

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds to connect, and between two packets of an answer.
TIMEOUT_S = (10.0, 60.0)
#: How long one request may go on failing before the task gives up and leaves it to Airflow.
RETRY_TIMEOUT_S = 180.0
#: As many requests as threads may be under way at once without opening connections anew.
CONNECTIONS = 32
#: A page of 100 records with all their properties has a few megabytes. Without a limit, an answer
#: that never ends would be waited for as long as one byte comes within the time-out.
ANSWER_MAX_S = 300.0
ANSWER_MAX_BYTES = 256 * 1024 * 1024
#: How much the newest answer counts in the average of how long they take.
_NEWEST_WEIGHT = 0.1
_HEADERS = {**default_headers(), "User-Agent": "hubspot-deals-airflow"}


class Token:
    """One that is not renewed here: a private app's, or a service key. Never shows itself.

    Thread-safe. `include.hubspot.oauth.OAuthToken` is the other kind.

    :param read_again: asks where the token is kept; None: that is not known.
    :param limited_as: what has its rate limit, for one of an OAuth app; None: the token itself, as
        far as can be known.
    """

    def __init__(
        self,
        text: str,
        read_again: Callable[[], str] | None = None,
        *,
        limited_as: str | None = None,
    ) -> None:
        self._text = text
        self._limited_as = limited_as
        self._read_again = read_again
        self._lock = threading.Lock()
        #: Gets a new token before it takes another one's place; raises to refuse it.
        self.accept: Callable[[str], object] = lambda text: None
        #: Whether it is an OAuth app's.
        self.oauth = limited_as is not None

    @property
    def text(self) -> str:
        """What to send now. Raises the classes of `include.errors`."""
        return self._text

    @property
    def limited_as(self) -> str:
        """What has the rate limit that requests with this token count for; a secret too."""
        return self._limited_as or self._text

    def replaced(self, refused: str) -> bool:
        """Return whether there is another token than *refused*, which HubSpot answered 401 to.

        Many threads may ask at once: one reads, the others get its answer. Raises what reading
        the new token and `accept` raise.
        """
        with self._lock:
            if self._text != refused:
                return True
            if self._read_again is None:
                return False
            text = self._read_again()
            if text == refused:
                # not asked again for each request that is refused meanwhile
                self._read_again = None
                return False
            self.accept(text)
            self._text = text
            return True


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


def prepared(
    method: str,
    url: str,
    token: str = "",
    *,
    json: object = None,
    form: Mapping[str, str] | None = None,
) -> requests.PreparedRequest:
    """Return a request as it goes over the line. *url* is quoted already; a form is in the body.

    Not by a session, which costs more, and lets .netrc replace the token. Raises
    TokenMalformedError.
    """
    if flaw := flaw_of(token):
        # http.client would show the header in its exception
        raise TokenMalformedError(
            f"the token can't be sent: {flaw}.", remedy="Put it into its connection again."
        )
    headers = dict(_HEADERS)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body: bytes | None = None
    if json is not None:
        body, headers["Content-Type"] = msgspec.json.encode(json), "application/json"
    return requests.Request(method, url, headers=headers, data=form or body).prepare()


def is_untrusted(exc: Exception) -> bool:
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


class Http:
    """Sends requests to one host, by any number of threads. All failures are `RetryableError`s.

    :param timeout_s: to connect, and between two packets of an answer.
    """

    def __init__(
        self, base_url: str, *, tenant_id: str | None = None, timeout_s: tuple[float, float]
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.tenant_id = tenant_id
        self._timeout_s = timeout_s
        self._session = new_session(self.base_url)

    def send(
        self,
        method: str,
        path: str,
        token: str = "",
        *,
        json: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its whole answer, whatever its status."""
        url = self.base_url + path
        # a query can hold hundreds of names
        name = f"{method} {path.partition('?')[0]}"
        try:
            request = prepared(method, url, token, json=json, form=form)
            # Not by the session: it would follow redirects, which take the token to another host,
            # and keep cookies. HubSpot's API has neither.
            response = self._session.get_adapter(url).send(
                request,
                timeout=self._timeout_s,
                proxies=self._session.proxies,
                verify=self._session.verify or True,
                stream=True,
            )
            return Answer(response.status_code, response.headers, _body_of(response), name)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
            if is_untrusted(exc):
                untrusted = CertificateRejectedError(
                    f"the certificate of {self.base_url} can't be trusted at {name}; the token was "
                    "not sent.",
                    tenant_id=self.tenant_id,
                    remedy="Behind a proxy that uses private certificates, set "
                    "REQUESTS_CA_BUNDLE to its authority's file. Otherwise another server answers "
                    "for HubSpot.",
                )
                raise RetryableError(untrusted, lambda attempt: NO_RETRY) from exc
            unreachable = HubSpotUnavailableError(
                f"{self.base_url} can't be reached or broke off ({type(exc).__name__}) at {name}.",
                tenant_id=self.tenant_id,
                remedy="Check the connection's host and the network; the task is retried.",
            )
            raise RetryableError(unreachable, backoff_s) from exc

    def decoded(self, answer: Answer, decode: Callable[[bytes], _T]) -> _T:
        try:
            return decode(answer.body)
        except msgspec.ValidationError as exc:
            unexpected = ContractError(
                f"HubSpot's answer to {answer.request} has another shape than documented: {exc}.",
                tenant_id=self.tenant_id,
                remedy="Report it.",
            )
            # well-formed: a second answer like it is no accident
            raise RetryableError(
                unexpected, lambda attempt: backoff_s(attempt) if attempt == 1 else NO_RETRY
            ) from exc
        except (ValueError, RecursionError) as exc:
            kind = answer.headers.get("Content-Type", "no content type")
            garbled = HubSpotUnavailableError(
                f"HubSpot's answer to {answer.request} is no JSON ({kind}, {len(answer.body)} "
                "bytes).",
                tenant_id=self.tenant_id,
                remedy="The task is retried; if it goes on, look for a proxy in between.",
            )
            raise RetryableError(garbled, backoff_s) from exc


def _body_of(response: requests.Response) -> bytes:
    """Read a body as it comes: `requests` would read 10 kB at a time, which costs more."""
    give_up_at = time.monotonic() + ANSWER_MAX_S
    pieces: list[bytes] = []
    size = 0
    while piece := response.raw.read1(decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_MAX_BYTES or time.monotonic() > give_up_at:
            response.close()
            raise requests.ReadTimeout(f"the answer did not end within {size} bytes")
    return b"".join(pieces)


class Transport(Http):
    """Sends requests and decodes their answers, waiting and retrying as HubSpot asks.

    :param limiter: the limit that every request is subject to.
    :param daily_share: of the account's daily quota: once the rest is all that is left, no more
        requests are sent.
    :param retry_timeout_s: how long one request may keep failing before its error is raised.
    :param sleep: replaced by tests.

    Errors: `call` raises the classes of `include.errors`; nothing of `requests` gets out.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        limiter: RateLimiter,
        *,
        tenant_id: str | None = None,
        daily_share: float = DEFAULT_SHARE,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        timeout_s: tuple[float, float] = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(base_url, tenant_id=tenant_id, timeout_s=timeout_s)
        self._token = token
        self.limiter = limiter
        self._daily_share = daily_share
        self._retry_timeout_s = retry_timeout_s
        self.sleep = sleep
        self._counting = threading.Lock()
        #: Requests sent, and how many of them were answered with 429.
        self.requests = 0
        self.throttled = 0
        #: How long answers took lately, on average, without the wait for a slot.
        self.latency_s = 0.0
        #: As the last answer that had it stated it.
        self.daily_quota: DailyQuota | None = None
        self._zone: ZoneInfo | None = None
        self._date = ""

    @property
    def server_time(self) -> datetime | None:
        """What HubSpot's clock said with the last answer, in whole seconds; None: nothing."""
        return http_date(self._date)

    @property
    def quota_resets_at(self) -> datetime | None:
        """When the day of the quota ends; None: the account's time zone is not known."""
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

        def try_once() -> _T:
            token = self._token.text
            answer = self._paced(method, path, token, json, also)
            if answer.status == 401 and self._token.replaced(token):
                log.info("tenant %s: going on with another token", self.tenant_id)
                answer = self._paced(method, path, self._token.text, json, also)
            if answer.status not in (200, 201, 207):
                raise self._failed(answer, also)
            return self.decoded(answer, decode)

        return retry_call(
            try_once, self._retry_timeout_s, tenant_id=self.tenant_id, sleep=self.sleep
        )

    def _paced(
        self, method: str, path: str, token: str, json: object, also: RateLimiter | None
    ) -> Answer:
        """Send a request when the limits allow it, and learn from its answer's headers."""
        self._leave_quota_to_others()
        self.limiter.acquire(also)
        with self._counting:
            self.requests += 1
        sent_at = time.monotonic()
        answer = self.send(method, path, token, json=json)
        took_s = time.monotonic() - sent_at
        self.limiter.learn(answer.headers, sent_at)
        with self._counting:
            weight = _NEWEST_WEIGHT if self.latency_s else 1
            self.latency_s += (took_s - self.latency_s) * weight
        self.daily_quota = DailyQuota.of(answer.headers) or self.daily_quota
        self._date = answer.headers.get("Date", "")
        return answer

    def _failed(self, answer: Answer, also: RateLimiter | None) -> RetryableError:
        if answer.status == 429:
            with self._counting:
                self.throttled += 1
            policy = rate_policy(answer)
            if policy != "DAILY":
                # all that share the limit pause: one 429 shall not become one for each of them
                limiter = also if also and policy == "SECONDLY" else self.limiter
                limiter.hold(min(rate_pause_s(answer), RATE_PAUSE_MAX_S))
        error = as_error(answer, self.tenant_id, self._zone, oauth=self._token.oauth)
        return RetryableError(error, partial(seconds_to_wait, answer))

    def _leave_quota_to_others(self) -> None:
        quota = self.daily_quota
        if quota and quota.leaves_nothing_of(self._daily_share):
            raise DailyLimitError(
                f"of the HubSpot account's daily API limit of {quota.limit} requests "
                f"{quota.remaining} are left, and daily_quota_share leaves these to other "
                "integrations; it is refilled at midnight in the account's time zone.",
                resume_at=next_midnight(self._zone),
                tenant_id=self.tenant_id,
            )
