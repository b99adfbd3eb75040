"""Access tokens of OAuth apps, which are refreshed before they expire.

One process refreshes a token for all: it is stored, encrypted, in a `TokenStore`. Secrets are only
in the bodies of requests. No text of an answer gets into a message, because HubSpot could quote the
secret that it refuses. docs/api-integration.md#oauth-apps
"""

import base64
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import blake2b
from typing import Annotated, NamedTuple, Protocol, TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from include.errors import OAuthAppError, TransientError
from include.hubspot import endpoints
from include.hubspot.answers import TokenInfo, decoder_of
from include.hubspot.endpoints import OAUTH_REFRESH_AHEAD_S
from include.hubspot.http import Http, Token
from include.hubspot.retry import (
    RetryableError,
    as_error,
    backoff_s,
    rate_policy,
    retry_call,
    seconds_to_wait,
)

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Makes our digests and keys differ from those made elsewhere of the same secrets.
_PURPOSE = b"hubspot_deals.oauth_tokens"
#: How long to use a token that is still valid before trying a failed refresh, or storing it, again.
POSTPONED_S = 30.0
#: Sent in a header, so without blanks and line breaks.
_Bearer = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]


class Grant(msgspec.Struct, frozen=True):
    """HubSpot's answer to a refresh, with its names. Its repr shows no secret.

    ``expires_in``: seconds from the answer on. ``hub_id`` and ``scopes`` are optional.
    """

    access_token: _Bearer
    #: HubSpot's last half an hour. The time of an endless one could not be stored.
    expires_in: Annotated[int, msgspec.Meta(gt=0, le=10**9)]
    #: Empty: keep using the one that was sent.
    refresh_token: str = ""
    hub_id: int | None = None
    scopes: list[str] | None = None

    def __repr__(self) -> str:
        return f"Grant(hub_id={self.hub_id}, expires_in={self.expires_in})"

    @property
    def refresh_ahead_s(self) -> float:
        return min(OAUTH_REFRESH_AHEAD_S, self.expires_in / 3)


@dataclass(frozen=True)
class OAuthApp:
    """The credentials in a connection, with which an app gets access tokens for one account."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @cached_property
    def key(self) -> str:
        """The key of this installation's row in a `TokenStore`.

        A refresh token is too long and random to be guessed from its digest.
        """
        named = msgspec.json.encode([self.client_id, self.refresh_token])
        return blake2b(named, digest_size=16, key=_PURPOSE).hexdigest()

    def seal(self, grant: Grant) -> str:
        """Return *grant* encrypted with this connection's secrets."""
        return self._fernet.encrypt(msgspec.json.encode(grant)).decode("ascii")

    def unseal(self, text: str) -> Grant | None:
        """Decrypt a grant; None if it was encrypted with other secrets, or was changed."""
        try:
            return msgspec.json.decode(self._fernet.decrypt(text), type=Grant)
        except (InvalidToken, msgspec.DecodeError, ValueError):
            return None

    @cached_property
    def _fernet(self) -> Fernet:
        secrets = msgspec.json.encode([self.client_secret, self.refresh_token])
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secrets)
        return Fernet(base64.urlsafe_b64encode(key))


class SealedGrant(NamedTuple):
    """An encrypted grant, and for how many more seconds its access token is valid."""

    sealed: str
    left_s: float


class TokenStore(Protocol):
    """One row for each installation of an app, for all processes.

    Errors: `include.errors.TransientError` when waiting helps; any other ends the scan.
    """

    def read(self, key: str) -> SealedGrant | None:
        """Return the stored grant, without waiting for other processes."""
        ...

    def exclusively(
        self, key: str
    ) -> AbstractContextManager[tuple[SealedGrant | None, Callable[[SealedGrant], None]]]:
        """Lock the row, and yield the stored grant and a function that replaces it.

        The change is committed when the block ends.
        """
        ...


#: HubSpot's codes of refusals, in `error` or in `status`, and what they mean.
_REFUSALS = {
    "BAD_HUB": "the app is not installed in the account any more, or the account is gone",
    "ACCESS_DENIED": "the app is not installed in the account any more, or the account is gone",
    "BAD_CLIENT_ID": "there is no app with this client id",
    "BAD_CLIENT_SECRET": "the client secret is not this app's",
    "INVALID_CLIENT": "client id and client secret are not those of an app",
    "UNAUTHORIZED_CLIENT": "client id and client secret are not those of an app",
    "BAD_REFRESH_TOKEN": "the refresh token was revoked, or is not this app's",
    "INVALID_GRANT": "the refresh token was revoked, or is not this app's",
}
_CODE = re.compile(r"[A-Za-z_]{1,40}")


class _Introspection(msgspec.Struct):
    active: bool
    hub_id: int | None = None
    scopes: list[str] = []


def refreshed(http: Http, version: str, app: OAuthApp, refresh_token: str) -> Grant:
    """Request a new access token once; not subject to the rate limit.

    Raises OAuthAppError if HubSpot refuses, RetryableError for any other failure.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    grant = _post(http, endpoints.oauth_token_path(version), app, form, decoder_of(Grant))
    if grant.refresh_token:
        return grant
    return msgspec.structs.replace(grant, refresh_token=refresh_token)


def introspected(http: Http, version: str, app: OAuthApp, access_token: str) -> TokenInfo | None:
    """Return an access token's scopes; None if HubSpot states none. Errors: as `refreshed`."""
    form = {"token": access_token, "token_type_hint": "access_token"}
    path = endpoints.oauth_introspection_path(version)
    found = _post(http, path, app, form, decoder_of(_Introspection))
    if not found.active or found.hub_id is None or not found.scopes:
        return None
    return TokenInfo(found.hub_id, found.scopes)


def _post(
    http: Http, path: str, app: OAuthApp, form: Mapping[str, str], decode: Callable[[bytes], _T]
) -> _T:
    client = {"client_id": app.client_id, "client_secret": app.client_secret}
    answer = http.send("POST", path, form={**form, **client})
    if answer.status == 200:
        return http.decoded(answer, decode)
    # HubSpot's error codes, the most precise one first
    stated = [str(answer.fields.get(key)) for key in ("status", "error") if answer.fields.get(key)]
    codes = [code for code in stated if _CODE.fullmatch(code) and code != "error"]
    meaning = next((_REFUSALS[c.upper()] for c in codes if c.upper() in _REFUSALS), None)
    if answer.status in (401, 403) or (meaning and answer.status == 400):
        raise OAuthAppError(
            f"HubSpot refuses the OAuth app an access token "
            f"({' '.join([str(answer.status), *codes])}): {meaning or 'it gives no reason'}.",
            remedy="Correct client_id and client_secret in the connection, or install the app "
            "in the account again and put the new refresh_token there.",
        )
    policy = {"policyName": rate_policy(answer)} if answer.status == 429 else {}
    discreet = json.dumps({**policy, "message": " ".join(codes) or "no reason"}).encode()
    error = as_error(replace(answer, body=discreet), http.tenant_id)
    raise RetryableError(error, partial(seconds_to_wait, answer))


class _Held(NamedTuple):
    """A grant, and until when its access token is valid, by this process's clock."""

    grant: Grant
    until: float


class OAuthToken(Token):
    """The access token of an OAuth app, refreshed when necessary.

    :param http: for the token endpoint; its time-outs are short.
    :param store: shared by all processes with this app and account; None: only this process.
    :param app_again: reads the connection again after HubSpot refused its credentials.
    :param on_secret: called with each token that HubSpot issues, before it is used.
    :param retry_timeout_s: how long a failing refresh is retried if no valid token is left.
    """

    oauth = True

    def __init__(
        self,
        app: OAuthApp,
        http: Http,
        api_version: str,
        store: TokenStore | None = None,
        *,
        app_again: Callable[[], OAuthApp | None] = lambda: None,
        on_secret: Callable[[str], object] = lambda secret: None,
        retry_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__("")
        self._app, self._http, self._version, self._store = app, http, api_version, store
        self._app_again, self._on_secret = app_again, on_secret
        self._retry_timeout_s, self._clock, self._sleep = retry_timeout_s, clock, sleep
        self._held: _Held | None = None
        self._renew_at = 0.0
        #: Issued by HubSpot, but maybe not stored yet. It may hold the only valid refresh token.
        self._unsaved: _Held | None = None

    @property
    def text(self) -> str:
        return self._valid().grant.access_token

    @property
    def limited_as(self) -> str:
        # The account's id, known after the first answer, stays if the app is installed again.
        account = self._held.grant.hub_id if self._held else None
        return f"{self._app.client_id} {account or self._app.key}"

    def replaced(self, refused: str) -> bool:
        """Refresh now, unless another thread or process has. Otherwise like `Token.replaced`."""
        with self._lock:
            held = self._held
            if held is None or held.grant.access_token == refused:
                held = self._renew(self._retry_timeout_s, refused)
            return held.grant.access_token != refused

    def info(self) -> TokenInfo | None:
        """Return the token's scopes: from the grant, or else from HubSpot's introspection."""
        grant = self._valid().grant
        if grant.hub_id is not None and grant.scopes:
            return TokenInfo(grant.hub_id, grant.scopes)
        return self._retrying(
            lambda: introspected(self._http, self._version, self._app, grant.access_token),
            self._retry_timeout_s,
        )

    def _valid(self) -> _Held:
        """Return the token to use now; threads wait only if none is valid any more."""
        held = self._held
        if held is None or self._clock() >= held.until:
            with self._lock:
                held = self._held
                if held is None or self._clock() >= held.until:
                    held = self._renew(self._retry_timeout_s)
        elif self._clock() >= self._renew_at and self._lock.acquire(blocking=False):
            try:
                held = self._held or held
                if self._clock() >= self._renew_at:
                    held = self._renew(retry_timeout_s=0.0)
            except TransientError as exc:
                log.warning(
                    "tenant %s: %s The old token is still valid.", self._http.tenant_id, exc.what
                )
                self._renew_at = self._clock() + POSTPONED_S
            finally:
                self._lock.release()
        return held

    def _renew(self, retry_timeout_s: float, refused: str | None = None) -> _Held:
        try:
            held = self._retrying(lambda: self._obtained(refused), retry_timeout_s)
        except OAuthAppError:
            app = self._app_again()
            if app is None or app == self._app:
                raise
            log.info("tenant %s: using the connection's new OAuth app", self._http.tenant_id)
            self._app, self._unsaved = app, None
            held = self._retrying(lambda: self._obtained(refused), retry_timeout_s)
        text = held.grant.access_token
        if self._held and self._held.grant.access_token != text:
            self.accept(text)
        self._held = held
        self._renew_at = held.until - held.grant.refresh_ahead_s
        if self._unsaved:
            self._renew_at = min(self._renew_at, self._clock() + POSTPONED_S)
        return held

    def _obtained(self, refused: str | None) -> _Held:
        """Return a token that is not *refused*: from the store, or else from HubSpot."""
        if self._store is None:
            return self._refreshed(self._held)
        try:
            found = self._opened(self._store.read(self._app.key))
            if self._unsaved is None and found and self._serves(found, refused):
                return found
            with self._store.exclusively(self._app.key) as (kept, keep):
                found = self._unsaved or self._opened(kept)
                if found is None or not self._serves(found, refused):
                    found = self._unsaved = self._refreshed(found)
                if self._unsaved:
                    keep(SealedGrant(self._app.seal(found.grant), found.until - self._clock()))
            self._unsaved = None
        except TransientError as exc:
            found = self._unsaved
            if found is None or not self._serves(found, refused):
                raise RetryableError(exc, backoff_s) from exc
            log.warning(
                "tenant %s: the new token could not be stored: %s", self._http.tenant_id, exc.what
            )
        return found

    def _serves(self, held: _Held, refused: str | None) -> bool:
        is_young = self._clock() < held.until - held.grant.refresh_ahead_s
        return is_young and held.grant.access_token != refused

    def _refreshed(self, before: _Held | None) -> _Held:
        asked_at = self._clock()
        given = self._app.refresh_token
        newest = before.grant.refresh_token if before else given
        try:
            grant = refreshed(self._http, self._version, self._app, newest)
        except OAuthAppError:
            if newest == given:
                raise
            grant = refreshed(self._http, self._version, self._app, given)
        self._show(grant)
        log.info(
            "tenant %s: HubSpot issued an access token for %d s to the OAuth app, account %s",
            self._http.tenant_id,
            grant.expires_in,
            grant.hub_id,
        )
        return _Held(grant, asked_at + grant.expires_in)

    def _opened(self, kept: SealedGrant | None) -> _Held | None:
        grant = self._app.unseal(kept.sealed) if kept else None
        if kept is None or grant is None:
            return None
        self._show(grant)
        return _Held(grant, self._clock() + kept.left_s)

    def _show(self, grant: Grant) -> None:
        self._on_secret(grant.access_token)
        self._on_secret(grant.refresh_token)

    def _retrying(self, try_once: Callable[[], _T], retry_timeout_s: float) -> _T:
        return retry_call(
            try_once, retry_timeout_s, tenant_id=self._http.tenant_id, sleep=self._sleep
        )
