"""The HTTP session with HubSpot: what `requests` would do anew for each request, done once."""

import os
import ssl
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers, get_environ_proxies

from include.errors import ConfigError, TokenMalformedError
from include.secret_text import flaw_of, keep_out_of_messages

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
