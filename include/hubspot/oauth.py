"""Access tokens: a fixed one, or those of an OAuth app, which are replaced before they expire.

One process refreshes a token for all: it is kept, encrypted, in a `TokenStore`. Secrets are in the
bodies of requests only, and no text of an answer gets into a message, as HubSpot's sentences could
quote what they refuse. docs/api-integration.md#oauth-apps
"""

import base64
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import blake2b
from typing import Annotated, NamedTuple, Protocol, TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from include.errors import HubSpotDealsError, OAuthAppError, TransientError
from include.hubspot import endpoints
from include.hubspot.answers import TokenInfo, decoder_of
from include.hubspot.endpoints import OAUTH_REFRESH_AHEAD_S
from include.hubspot.http import Exchange, new_session, prepared_form
from include.hubspot.retry import (
    Failure,
    RetryableError,
    as_error,
    backoff_s,
    rate_policy,
    retry_call,
    seconds_to_wait,
)

#: What separates our digests and keys from any made elsewhere of the same secrets.
_PURPOSE = b"hubspot_deals.oauth_tokens"

#: It goes into a header: no blanks, no line breaks.
_Bearer = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]


class Grant(msgspec.Struct, frozen=True):
    """What HubSpot answers to a refresh; fields have its names. Never shows itself.

    ``expires_in``: seconds from the answer on. ``hub_id`` and ``scopes`` may be left out.
    """

    access_token: _Bearer
    expires_in: Annotated[int, msgspec.Meta(gt=0)]
    #: Empty: go on with the one that was sent.
    refresh_token: str = ""
    hub_id: int | None = None
    scopes: list[str] | None = None

    def __repr__(self) -> str:
        return f"Grant(hub_id={self.hub_id}, expires_in={self.expires_in})"


_grant_decoder = msgspec.json.Decoder(Grant)


@dataclass(frozen=True)
class OAuthApp:
    """What a connection holds of it: enough to get access tokens for one account."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @cached_property
    def key(self) -> str:
        """By what this installation's row is found in a `TokenStore`.

        A refresh token is too long and random to be found by trying; the digest gives nothing away.
        """
        named = msgspec.json.encode([self.client_id, self.refresh_token])
        return blake2b(named, digest_size=16, key=_PURPOSE).hexdigest()

    def seal(self, grant: Grant) -> str:
        """Return *grant* as text that only who has this connection's secrets can read."""
        return self._fernet.encrypt(msgspec.json.encode(grant)).decode("ascii")

    def unseal(self, text: str) -> Grant | None:
        """Return what was sealed; None: by another app, or it was changed since."""
        try:
            return _grant_decoder.decode(self._fernet.decrypt(text))
        except (InvalidToken, msgspec.DecodeError, ValueError):
            return None

    @cached_property
    def _fernet(self) -> Fernet:
        secrets = msgspec.json.encode([self.client_secret, self.refresh_token])
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secrets)
        return Fernet(base64.urlsafe_b64encode(key))


class Kept(NamedTuple):
    """A sealed grant, and for how many more seconds its access token is good."""

    sealed: str
    left_s: float


class TokenRow(Protocol):
    """One installation's row, as long as no other process can have it."""

    @property
    def kept(self) -> Kept | None: ...

    def keep(self, sealed: str, left_s: float) -> None: ...


class TokenStore(Protocol):
    """Errors: `include.errors.TransientError` when waiting helps; any other ends the scan."""

    def read(self, key: str) -> Kept | None:
        """Return what is kept, without waiting for other processes."""
        ...

    def exclusively(self, key: str) -> AbstractContextManager[TokenRow]:
        """Yield the row once no other process has it; it is saved when the block ends."""
        ...


class LocalTokens:
    """In this process alone, for one client that has no warehouse."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, tuple[str, float]] = {}

    def read(self, key: str) -> Kept | None:
        if key not in self._rows:
            return None
        sealed, until = self._rows[key]
        return Kept(sealed, until - self._clock())

    @contextmanager
    def exclusively(self, key: str) -> Iterator[TokenRow]:
        yield _LocalRow(self, key)

    def keep(self, key: str, sealed: str, left_s: float) -> None:
        self._rows[key] = (sealed, self._clock() + left_s)


class _LocalRow:
    def __init__(self, tokens: LocalTokens, key: str) -> None:
        self._tokens, self._key = tokens, key

    @property
    def kept(self) -> Kept | None:
        return self._tokens.read(self._key)

    def keep(self, sealed: str, left_s: float) -> None:
        self._tokens.keep(self._key, sealed, left_s)


_T = TypeVar("_T")

#: What HubSpot calls a refusal, in `error` or in `status`, and what it means for a person.
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


class TokenEndpoint:
    """One try each: what goes wrong is a `RetryableError`, but for a refusal.

    Takes no turn at any rate limit: it is asked once in half an hour.
    """

    def __init__(
        self,
        base_url: str,
        api_version: str,
        *,
        tenant_id: str | None = None,
        timeout_s: tuple[float, float],
    ) -> None:
        base_url = base_url.rstrip("/")
        self._version = api_version
        self._tenant_id = tenant_id
        self._wire = Exchange(base_url, new_session(base_url), timeout_s, tenant_id)

    def refreshed(self, app: OAuthApp, refresh_token: str) -> Grant:
        """Return a new access token. Raises OAuthAppError when HubSpot refuses."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        grant = self._post(endpoints.oauth_token_path(self._version), app, form, decoder_of(Grant))
        if grant.refresh_token:
            return grant
        return msgspec.structs.replace(grant, refresh_token=refresh_token)

    def introspected(self, app: OAuthApp, access_token: str) -> TokenInfo | None:
        """Return what an access token may do; None: HubSpot does not say."""
        form = {"token": access_token, "token_type_hint": "access_token"}
        path = endpoints.oauth_introspection_path(self._version)
        found = self._post(path, app, form, decoder_of(_Introspection))
        if not found.active or found.hub_id is None or not found.scopes:
            return None
        return TokenInfo(found.hub_id, found.scopes)

    def _post(
        self, path: str, app: OAuthApp, form: Mapping[str, str], decode: Callable[[bytes], _T]
    ) -> _T:
        name = f"POST {path}"
        client = {"client_id": app.client_id, "client_secret": app.client_secret}
        answer = self._wire.answer(
            prepared_form(self._wire.base_url + path, {**form, **client}), name
        )
        if answer.status_code == 200:
            return self._wire.decoded(answer, name, decode)
        failure = Failure(answer.status_code, answer.headers, answer.content, name)
        if refusal := self._refusal(failure):
            raise refusal
        raise RetryableError(partial(seconds_to_wait, failure), self._error(failure))

    def _refusal(self, failure: Failure) -> OAuthAppError | None:
        codes = _codes(failure)
        meaning = next((_REFUSALS[c.upper()] for c in codes if c.upper() in _REFUSALS), None)
        if failure.status not in (401, 403) and not (meaning and failure.status == 400):
            return None
        return OAuthAppError(
            f"HubSpot gives the OAuth app no access token "
            f"({' '.join([str(failure.status), *codes])}): {meaning or 'it does not say why'}.",
            tenant_id=self._tenant_id,
            remedy="Correct client_id and client_secret in the connection, or install the app "
            "in the account again and put the new refresh_token there. Then clear the task.",
        )

    def _error(self, failure: Failure) -> HubSpotDealsError:
        codes = _codes(failure)
        policy = {"policyName": rate_policy(failure)} if failure.status == 429 else {}
        discreet = json.dumps({**policy, "message": " ".join(codes) or "no reason"}).encode()
        return as_error(
            Failure(failure.status, failure.headers, discreet, failure.request), self._tenant_id
        )


def _codes(failure: Failure) -> list[str]:
    """Return the names that HubSpot gives to what went wrong, the most telling one first."""
    named = [str(failure.fields.get(key)) for key in ("status", "error") if failure.fields.get(key)]
    return [name for name in named if _CODE.fullmatch(name) and name != "error"]


log = logging.getLogger(__name__)


#: How long to go on with a token that is still good after a refresh, or its storing, failed.
POSTPONED_S = 30.0


class OAuthToken:
    """Implements `AnyToken`. Thread-safe; never shows itself.

    :param store: shared with all who use the app in this account; None: this process is alone.
    :param read_again: reads the connection again, after HubSpot refused what was in it.
    :param on_secret: gets each token that HubSpot issues, before anything is done with it.
    :param retry_timeout_s: how long HubSpot may go on failing once no token is left.
    """

    oauth = True

    def __init__(
        self,
        app: OAuthApp,
        endpoint: TokenEndpoint,
        store: TokenStore | None = None,
        *,
        read_again: Callable[[], OAuthApp | None] | None = None,
        on_secret: Callable[[str], object] | None = None,
        tenant_id: str | None = None,
        retry_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._app, self._endpoint = app, endpoint
        self._store: TokenStore = store or LocalTokens(clock)
        self._read_again, self._on_secret = read_again, on_secret
        self._tenant_id = tenant_id
        self._retry_timeout_s, self._clock, self._sleep = retry_timeout_s, clock, sleep
        #: Gets a new token before it takes another one's place; raises to refuse it.
        self.accept: Callable[[str], None] | None = None
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._renew_at = 0.0
        #: Given by HubSpot, and not known to be in the store yet: it may hold the only refresh
        #: token that is still good.
        self._unsaved: _Held | None = None

    @property
    def text(self) -> str:
        return self._good().grant.access_token

    @property
    def limited_as(self) -> str:
        # The account's id outlives an installation; it is known once anything was sent.
        account = self._held.grant.hub_id if self._held else None
        return f"{self._app.client_id} {account or self._app.key}"

    def replaced(self, refused: str) -> bool:
        """Refresh at once, unless another thread or process has. Else as `AnyToken`."""
        with self._lock:
            if self._held is None or self._held.grant.access_token == refused:
                self._renew(self._retry_timeout_s, refused)
            return self._held is not None and self._held.grant.access_token != refused

    def info(self) -> TokenInfo | None:
        """Return what the token may do: as its answer said, or HubSpot says when asked."""
        grant = self._good().grant
        if grant.hub_id is not None and grant.scopes:
            return TokenInfo(grant.hub_id, grant.scopes)
        return self._retrying(
            lambda: self._endpoint.introspected(self._app, grant.access_token),
            self._retry_timeout_s,
        )

    def _good(self) -> "_Held":
        """Return the token to use now; only when none is good any more does everybody wait."""
        held = self._held
        if held is None or self._clock() >= held.until:
            with self._lock:
                held = self._held
                if held is None or self._clock() >= held.until:
                    held = self._renew(self._retry_timeout_s)
        elif self._clock() >= self._renew_at and self._lock.acquire(blocking=False):
            try:
                held = self._renew_early(held)
            finally:
                self._lock.release()
        return held

    def _renew_early(self, held: "_Held") -> "_Held":
        if self._clock() < self._renew_at:
            return self._held or held
        try:
            return self._renew(retry_timeout_s=0.0)
        except TransientError as exc:
            log.warning("tenant %s: %s The old token is still good.", self._tenant_id, exc.what)
            self._renew_at = self._clock() + POSTPONED_S
            return held

    def _renew(self, retry_timeout_s: float, refused: str | None = None) -> "_Held":
        try:
            held = self._retrying(lambda: self._obtained(refused), retry_timeout_s)
        except OAuthAppError:
            app = self._read_again() if self._read_again else None
            if app is None or app == self._app:
                raise
            log.info("tenant %s: the connection holds another OAuth app now", self._tenant_id)
            self._app, self._unsaved = app, None
            held = self._retrying(lambda: self._obtained(refused), retry_timeout_s)
        text = held.grant.access_token
        if self._held and self._held.grant.access_token != text and self.accept:
            self.accept(text)
        self._held = held
        self._renew_at = held.until - _ahead_s(held.grant)
        if self._unsaved:
            self._renew_at = min(self._renew_at, self._clock() + POSTPONED_S)
        return held

    def _obtained(self, refused: str | None) -> "_Held":
        """Return a token that is not *refused*: from the store, or else from HubSpot."""
        try:
            found = self._opened(self._store.read(self._app.key))
            if self._unsaved is None and found and self._serves(found, refused):
                return found
            with self._store.exclusively(self._app.key) as row:
                found = self._unsaved or self._opened(row.kept)
                if found is None or not self._serves(found, refused):
                    found = self._unsaved = self._refreshed(found)
                if self._unsaved:
                    row.keep(self._app.seal(found.grant), found.until - self._clock())
            self._unsaved = None
        except TransientError as exc:
            found = self._unsaved
            if found is None or not self._serves(found, refused):
                raise RetryableError(backoff_s, exc) from exc
            log.warning("tenant %s: a new token is not stored yet: %s", self._tenant_id, exc.what)
        return found

    def _serves(self, held: "_Held", refused: str | None) -> bool:
        is_young = self._clock() < held.until - _ahead_s(held.grant)
        return is_young and held.grant.access_token != refused

    def _refreshed(self, before: "_Held | None") -> "_Held":
        asked_at = self._clock()
        own = self._app.refresh_token
        newest = before.grant.refresh_token if before else own
        try:
            grant = self._endpoint.refreshed(self._app, newest)
        except OAuthAppError:
            if newest == own:
                raise
            grant = self._endpoint.refreshed(self._app, own)
        self._tell(grant)
        log.info(
            "tenant %s: HubSpot gave the OAuth app an access token for %d s, account %s",
            self._tenant_id,
            grant.expires_in,
            grant.hub_id,
        )
        return _Held(grant, asked_at + grant.expires_in)

    def _opened(self, kept: Kept | None) -> "_Held | None":
        grant = self._app.unseal(kept.sealed) if kept else None
        if kept is None or grant is None:
            return None
        self._tell(grant)
        return _Held(grant, self._clock() + kept.left_s)

    def _tell(self, grant: Grant) -> None:
        if self._on_secret:
            self._on_secret(grant.access_token)
            self._on_secret(grant.refresh_token)

    def _retrying(self, attempt_once: Callable[[], _T], retry_timeout_s: float) -> _T:
        return retry_call(
            attempt_once, retry_timeout_s, tenant_id=self._tenant_id, sleep=self._sleep
        )


class _Held(NamedTuple):
    grant: Grant
    #: By this process's clock.
    until: float


def _ahead_s(grant: Grant) -> float:
    return min(OAUTH_REFRESH_AHEAD_S, grant.expires_in / 3)
