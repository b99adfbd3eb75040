"""HTTP requests to one HubSpot account by any number of threads, rate-limited and retried.

Secrets never appear in errors or logs. Work that `requests` repeats for each request (proxies,
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
#: How long a failing request is retried before the task fails, and Airflow retries it.
RETRY_TIMEOUT_S = 180.0
#: More concurrent requests than this would open new connections each time.
CONNECTIONS = 32
#: A page of 100 records with all their properties has a few megabytes. Without these limits, an
#: endless answer would never time out as long as it brings a byte within the time-out.
ANSWER_MAX_S = 300.0
ANSWER_MAX_BYTES = 256 * 1024 * 1024
#: The weight of the newest answer in the average latency.
_NEWEST_WEIGHT = 0.1
_HEADERS = {**default_headers(), "User-Agent": "hubspot-deals-airflow"}


class Token:
    """The token of a private app, or a service key, which can't be refreshed. Thread-safe.

    `include.hubspot.oauth.OAuthToken` is the other kind.

    :param read_again: reads the token again from where it is stored; None: that is unknown.
    """

    #: Whether it belongs to an OAuth app.
    oauth = False

    def __init__(self, text: str, read_again: Callable[[], str] | None = None) -> None:
        self._text = text
        self._read_again = read_again
        self._lock = threading.Lock()
        #: Called with a new token before it is used; raises to refuse it.
        self.accept: Callable[[str], object] = lambda text: None

    @property
    def text(self) -> str:
        """The token to send now. Raises the classes of `include.errors`."""
        return self._text

    @property
    def limited_as(self) -> str:
        """Identifies the rate limit of requests with this token; a secret too."""
        return self._text

    def replaced(self, refused: str) -> bool:
        """Replace *refused*, which HubSpot answered with 401; return whether there is another.

        If several threads call this at once, only one reads the new token. Raises the errors of
        reading it and of `accept`.
        """
        with self._lock:
            if self._text != refused:
                return True
            if self._read_again is None:
                return False
            text = self._read_again()
            if text == refused:
                # don't read it again for each request that is refused meanwhile
                self._read_again = None
                return False
            self.accept(text)
            self._text = text
            return True


def new_session(base_url: str) -> requests.Session:
    """Return a session for any number of threads, with the environment's proxies and CA files.

    Raises ConfigError for a proxy whose password can't be sent.
    """
    session = requests.Session()
    # Read from the environment once: with `trust_env`, each request would read it.
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
            f"the user or the password of the proxy {parts.hostname} contains a character that is "
            "not allowed in a header.",
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
    """Return a request that is ready to be sent. *url* is quoted already; *form* is the body.

    Not prepared by a session, which costs more CPU time and lets .netrc replace the token. Raises
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
    return requests.Request(method, url, headers=headers, data=form, json=json).prepare()


def is_untrusted(exc: Exception) -> bool:
    """Return whether the certificate of the server, or of a proxy, was refused.

    Retries don't help then, unlike after other failures of a TLS handshake.
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
        # A session's representation shows no password of a proxy.
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
        # without the query, which can have hundreds of names
        name = f"{method} {path.partition('?')[0]}"
        try:
            request = prepared(method, url, token, json=json, form=form)
            # Not through the session: it would keep cookies, and follow redirects, which would send
            # the token to another host. HubSpot's API has neither.
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
                    f"the certificate of {self.base_url} can't be trusted at {name}. The token was "
                    "not sent.",
                    remedy="If a proxy with private certificates is in between, set "
                    "REQUESTS_CA_BUNDLE to the file of its certificate authority. If not, another "
                    "server answers in place of HubSpot.",
                )
                raise RetryableError(untrusted, lambda attempt: NO_RETRY) from exc
            unreachable = HubSpotUnavailableError(
                f"{self.base_url} can't be reached, or the connection broke "
                f"({type(exc).__name__}), at {name}.",
                remedy="Check the connection's host and the network.",
            )
            raise RetryableError(unreachable, backoff_s) from exc

    def decoded(self, answer: Answer, decode: Callable[[bytes], _T]) -> _T:
        try:
            return decode(answer.body)
        except msgspec.ValidationError as exc:
            unexpected = ContractError(
                f"HubSpot's answer to {answer.request} does not have the documented structure: "
                f"{exc}.",
                remedy="Report it.",
            )
            # well-formed JSON: only one retry, because a second answer like it is no accident
            raise RetryableError(
                unexpected, lambda attempt: backoff_s(attempt) if attempt == 1 else NO_RETRY
            ) from exc
        except (ValueError, RecursionError) as exc:
            kind = answer.headers.get("Content-Type", "no content type")
            garbled = HubSpotUnavailableError(
                f"HubSpot's answer to {answer.request} is not JSON ({kind}, {len(answer.body)} "
                "bytes).",
                remedy="If this continues, look for a proxy in between.",
            )
            raise RetryableError(garbled, backoff_s) from exc


def _body_of(response: requests.Response) -> bytes:
    """Read a body as it arrives: `requests` would read 10 kB at a time, which costs more CPU."""
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
    :param daily_share: of the account's daily quota; above it, no more requests are sent.
    :param retry_timeout_s: how long a failing request is retried before its error is raised.
    :param sleep: replaced by tests.

    Errors: `call` raises the classes of `include.errors`, never those of `requests`.
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
        #: The moving average of the latency of answers, without the wait for a slot.
        self.latency_s = 0.0
        #: From the last answer that stated it.
        self.daily_quota: DailyQuota | None = None
        self._zone: ZoneInfo | None = None
        self._date = ""

    @property
    def server_time(self) -> datetime | None:
        """HubSpot's time in the last answer, in whole seconds; None if it had none."""
        return http_date(self._date)

    @property
    def quota_resets_at(self) -> datetime | None:
        """When the daily quota is reset; None if the account's time zone is unknown."""
        return midnight_after(datetime.now(UTC), self._zone) if self._zone else None

    def set_time_zone(self, name: str) -> None:
        """Set the account's time zone: the daily quota is reset at its midnight."""
        try:
            self._zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            log.warning("tenant %s: the account's time zone %r is unknown", self.tenant_id, name)

    def call(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], _T],
        json: object = None,
        *,
        also: RateLimiter | None = None,
        token: str | None = None,
    ) -> _T:
        """Send a request, retry it if that may help, and return the decoded answer.

        :param also: a further limit that this request is subject to.
        :param token: sent in place of the account's current one.
        """

        def try_once() -> _T:
            sent = token or self._token.text
            answer = self._paced(method, path, sent, json, also)
            if answer.status == 401 and token is None and self._token.replaced(sent):
                log.info("tenant %s: the token was replaced; continuing with it", self.tenant_id)
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
                # all that share the limit pause, so that each of them does not get a 429
                limiter = also if also and policy == "SECONDLY" else self.limiter
                limiter.hold(min(rate_pause_s(answer), RATE_PAUSE_MAX_S))
        error = as_error(answer, self.tenant_id, self._zone, oauth=self._token.oauth)
        return RetryableError(error, partial(seconds_to_wait, answer))

    def _leave_quota_to_others(self) -> None:
        quota = self.daily_quota
        if quota and quota.is_used_up(self._daily_share):
            raise DailyLimitError(
                f"{quota.remaining} of {quota.limit} requests of the HubSpot account's daily API "
                "limit are left, which daily_quota_share leaves to other integrations. The limit "
                "is reset at midnight in the account's time zone.",
                resume_at=next_midnight(self._zone),
            )
