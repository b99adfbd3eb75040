"""`HubSpotHook` makes a client of one HubSpot account from an Airflow connection.

It is not a subclass of the http provider's `HttpHook`, which opens a session per request, has no
default timeout, sends unknown extras as request headers, logs error bodies and loses status and
Retry-After in its exception. The connection's type is `hubspot`, which include/airflow_provider
adds to Airflow's form; any other type, such as `http`, works as well.
"""

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from airflow.sdk import BaseHook, Connection
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from include.errors import (
    RUNBOOK,
    ConfigError,
    HubSpotDealsError,
    OAuthAppError,
    PlainTextRefusedError,
    TokenMalformedError,
    TokenMissingError,
    naming_tenant,
    runbook_url,
)
from include.hubspot import endpoints
from include.hubspot.client import HubSpotClient
from include.hubspot.endpoints import USEFUL_SCOPES
from include.hubspot.http import RETRY_TIMEOUT_S, TIMEOUT_S, Http, Token
from include.hubspot.oauth import OAuthApp, OAuthToken, TokenStore
from include.hubspot.rate_limit import DEFAULT_SHARE, Limits, Rule
from include.hubspot.retry import token_place
from include.loopback import is_loopback
from include.secret_text import flaw_of, keep_out_of_messages, pasted

_N = TypeVar("_N", int, float)


def description_of(client: HubSpotClient) -> str:
    """Describe the token's account, scopes and daily quota.

    Raises the same errors as a scan: TokenRejectedError, ScopeMissingError …
    """
    account = client.account()
    sentences = [
        f"HubSpot account {account.portal_id}, time zone {account.time_zone}.",
        _of_scopes(client.scopes),
    ]
    if quota := client.transport.daily_quota:
        sentences.append(f"{quota.remaining:,} of {quota.limit:,} API requests are left today.")
    return " ".join(sentences)


def _of_scopes(scopes: frozenset[str]) -> str:
    if not scopes:
        return "Deals can be read; HubSpot does not state the scopes of this kind of token."
    missing = [any_of[0] for any_of in USEFUL_SCOPES if scopes.isdisjoint(any_of)]
    if not missing:
        return "Deals, owners and associations can be read."
    return (
        "Deals can be read. Scans skip the data of these scopes, which the token lacks: "
        f"{', '.join(missing)}."
    )


#: Short, because a person and a thread of the API server wait for the answer.
TEST_RETRY_TIMEOUT_S = 10.0
TEST_TIMEOUT_S = (5.0, 10.0)
#: Of the token endpoint. Short, because a transaction is open meanwhile, on which others may wait.
TOKEN_TIMEOUT_S = (5.0, 10.0)
#: The credentials of an OAuth app in one account.
OAUTH_EXTRAS = ("client_id", "client_secret", "refresh_token")
#: The values that Airflow's form stores for an empty field.
_NOT_FILLED_IN = (None, "")
_CAP = msgspec.Meta(gt=0, description="a whole number of at least 1")
_SHARE = msgspec.Meta(gt=0, le=1, description="a number above 0, and 1 at most")


class HubSpotHook(BaseHook):
    """Reads one tenant's HubSpot account through the connection ``hubspot_<tenant>``.

    Connection: password = token, or extras ``client_id``, ``client_secret`` and ``refresh_token``
    of an installed OAuth app; host = base URL (default https://api.hubapi.com); extra
    ``requests_per_10_s`` (a cap below HubSpot's limit), ``rate_limit_share`` (of that limit),
    ``api_version`` (default 2026-03) and ``allow_plain_http`` (default false).
    The tenant `default` may use HUBSPOT_ACCESS_TOKEN and HUBSPOT_API_BASE_URL instead.
    """

    conn_name_attr = "hubspot_conn_id"
    default_conn_name = "hubspot_default"
    conn_type = "hubspot"
    hook_name = "HubSpot"

    def __init__(
        self, hubspot_conn_id: str = default_conn_name, tenant_id: str | None = None
    ) -> None:
        super().__init__()
        self.hubspot_conn_id = hubspot_conn_id
        self.tenant_id = tenant_id or _tenant_of(hubspot_conn_id)

    def get_conn(
        self,
        limits: Limits | None = None,
        tokens: TokenStore | None = None,
        *,
        daily_quota_share: float = DEFAULT_SHARE,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        timeout_s: tuple[float, float] = TIMEOUT_S,
    ) -> HubSpotClient:
        """Return a client. Raises TokenMissingError or ConfigError; sends nothing yet.

        :param limits: stores the state of rate limits; None: in this process only.
        :param tokens: stores access tokens of OAuth apps; None: in this process only.
        :param daily_quota_share: of the account's daily quota, for all integrations together.
        :param retry_timeout_s: how long a failing request is retried.
        """
        with naming_tenant(self.tenant_id):
            connection = self._connection()
            extra = connection.extra_dejson
            self._require_encryption(connection)
            api_version = str(extra.get("api_version") or endpoints.DEFAULT_API_VERSION)
            token: Token
            if app := self._app_of(connection):
                token = OAuthToken(
                    app,
                    Http(base_url(connection), tenant_id=self.tenant_id, timeout_s=TOKEN_TIMEOUT_S),
                    api_version,
                    tokens,
                    app_again=lambda: self._app_of(self._connection()),
                    on_secret=mask,
                    retry_timeout_s=retry_timeout_s,
                )
            else:
                token = Token(
                    self._token_of(connection), lambda: self._token_of(self._connection())
                )
            return HubSpotClient(
                base_url(connection),
                token,
                tenant_id=self.tenant_id,
                api_version=api_version,
                limits=limits,
                rule=self._rule(extra),
                daily_quota_share=daily_quota_share,
                retry_timeout_s=retry_timeout_s,
                timeout_s=timeout_s,
            )

    def test_connection(self) -> tuple[bool, str]:
        """Test the token, for the button *Test* of Airflow's connection form."""
        try:
            return True, description_of(
                self.get_conn(retry_timeout_s=TEST_RETRY_TIMEOUT_S, timeout_s=TEST_TIMEOUT_S)
            )
        except HubSpotDealsError as exc:
            # without the remedy, which assumes that a task failed
            airflow = conf.get("api", "base_url", fallback="").rstrip("/")
            heading = exc.runbook_heading
            page = runbook_url(airflow, heading) if airflow else f"{RUNBOOK}#{heading}"
            return False, f"{exc.what} See {page}"

    def _connection(self) -> Connection:
        try:
            return self.get_connection(self.hubspot_conn_id)
        except AirflowNotFoundException:
            token = os.environ.get("HUBSPOT_ACCESS_TOKEN")
            if not token or self.hubspot_conn_id != self.default_conn_name:
                raise self._token_missing() from None
            mask(token)
            return Connection(
                conn_id=self.hubspot_conn_id,
                conn_type=self.conn_type,
                host=os.environ.get("HUBSPOT_API_BASE_URL"),
                password=token,
                extra=json.dumps({"allow_plain_http": os.environ.get("HUBSPOT_ALLOW_PLAIN_HTTP")}),
            )

    def _require_encryption(self, connection: Connection) -> None:
        """Refuse to send the token in plain text over a network, unless that was allowed."""
        url = urlsplit(base_url(connection))
        allowed = str(connection.extra_dejson.get("allow_plain_http")).lower() == "true"
        if url.scheme.lower() == "https" or allowed or is_loopback(url.hostname or ""):
            return
        raise PlainTextRefusedError(
            f"connection {self.hubspot_conn_id}: requests to {url.hostname}, and the token with "
            "them, would be sent in plain text.",
            remedy="Write the host with https://. If no third party can read or change the "
            "traffic, set the extra allow_plain_http (HUBSPOT_ALLOW_PLAIN_HTTP) to true.",
        )

    def _token_of(self, connection: Connection) -> str:
        token = mask(connection.password or "")
        if not token:
            raise self._token_missing()
        if flaw := flaw_of(token):
            raise TokenMalformedError(
                f"the HubSpot token in {token_place(self.tenant_id)} is malformed: {flaw}.",
                remedy="Copy the token from HubSpot again, and nothing else.",
            )
        return token

    def _app_of(self, connection: Connection) -> OAuthApp | None:
        """Return the connection's OAuth app, or None."""
        extra = connection.extra_dejson
        given = {name: _text(extra.get(name)) for name in OAUTH_EXTRAS}
        # client_id is not a secret: it is part of the app's install URL
        given = {name: text if name == "client_id" else mask(text) for name, text in given.items()}
        missing = [name for name, value in given.items() if not value]
        if len(missing) == len(OAUTH_EXTRAS):
            return None
        if missing or mask(connection.password or ""):
            wrong = f"lacks {', '.join(missing)}" if missing else "has a token as well"
            raise OAuthAppError(
                f"connection {self.hubspot_conn_id} holds an OAuth app, but {wrong}.",
                remedy="Fill in either the token, or client_id, client_secret and refresh_token.",
            )
        for name, value in given.items():
            if flaw := flaw_of(value):
                raise OAuthAppError(
                    f"connection {self.hubspot_conn_id} holds an OAuth app, but {name} is "
                    f"malformed: {flaw}.",
                    remedy="Copy it from HubSpot again, and nothing else.",
                )
        return OAuthApp(**given)

    def _token_missing(self) -> TokenMissingError:
        place = token_place(self.tenant_id)
        remedy = "Put a token there, or an OAuth app into the connection's extras."
        variable = f"AIRFLOW_CONN_{self.hubspot_conn_id.upper()}"
        if os.environ.get(variable):  # Airflow takes a plain token, or broken JSON, for no password
            remedy += f' Write {variable} as {{"conn_type": "hubspot", "password": "<token>"}}.'
        return TokenMissingError(f"there is no HubSpot token in {place}.", remedy=remedy)

    def _rule(self, extra: Mapping[str, Any]) -> Rule:
        cap = self._number(extra, "requests_per_10_s", int, _CAP)
        share = self._number(extra, "rate_limit_share", float, _SHARE)
        return Rule(cap=cap, share=share or 1.0)

    def _number(
        self, extra: Mapping[str, Any], name: str, kind: type[_N], allowed: msgspec.Meta
    ) -> _N | None:
        """Return an extra as a number; None if it is empty."""
        value = extra.get(name)
        if value in _NOT_FILLED_IN:
            return None
        try:
            number: _N = msgspec.convert(value, Annotated[kind, allowed], strict=False)
        except msgspec.ValidationError:
            raise ConfigError(
                f"connection {self.hubspot_conn_id}: extra {name} is {value!r}.",
                remedy=f"It must be {allowed.description}.",
            ) from None
        return number


def mask(secret: str) -> str:
    """Mask *secret* in Airflow's logs and our messages; return it without space around it."""
    text = pasted(secret)
    for form in {secret, text, repr(text)[1:-1], quote(text, safe="", errors="surrogatepass")} - {
        ""
    }:
        mask_secret(form)
    keep_out_of_messages(text)
    return text


def _text(value: object) -> str:
    return "" if value is None else pasted(str(value))


def _tenant_of(conn_id: str) -> str | None:
    """Return the tenant of a connection; None for the made-up id with which Airflow tests one."""
    tenant_id = conn_id.removeprefix("hubspot_")
    return tenant_id if tenant_id != conn_id else None


def base_url(connection: Connection) -> str:
    """Return a connection's base URL; its host may be a URL or a host name.

    Raises ConfigError, which does not quote the host: it may contain a password.
    """
    host = pasted(connection.host or "") or endpoints.DEFAULT_BASE_URL
    if "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"{connection.schema or 'https'}://{host}{port}"
    if wrong := _wrong_with_url(host):
        raise ConfigError(
            f"connection {connection.conn_id}: its host is not a base URL: {wrong}.",
            remedy="Write it as https://api.hubapi.com, or leave it empty.",
        )
    return host.rstrip("/")


def _wrong_with_url(url: str) -> str | None:
    if flaw := flaw_of(url):  # before urlsplit, which takes line breaks out
        return flaw
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it can't be parsed"
    if not parts.hostname or port == 0:
        return "it has no host"
    if "@" in url:
        return "it contains a user or a password"
    if "?" in url or "#" in url:
        return "it contains a query or a fragment"
    return None
