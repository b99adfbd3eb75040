"""The access token of an OAuth app: replaced before it expires, by one process for all.

docs/api-integration.md#oauth-apps
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from include.errors import OAuthAppError, TransientError
from include.hubspot.answers import TokenInfo
from include.hubspot.api import OAUTH_REFRESH_AHEAD_S
from include.hubspot.failures import backoff_s
from include.hubspot.oauth_app import Grant, OAuthApp
from include.hubspot.patience import Setback, patiently
from include.hubspot.token_endpoint import TokenEndpoint
from include.hubspot.token_store import Kept, LocalTokens, TokenStore

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: How long to go on with a token that is still good after a refresh, or its storing, failed.
POSTPONED_S = 30.0


class OAuthToken:
    """Implements `AnyToken`. Thread-safe; never shows itself.

    :param store: shared with all who use the app in this account; None: this process is alone.
    :param read_again: reads the connection again, after HubSpot refused what was in it.
    :param on_secret: told each token that HubSpot gives, before anything is done with it.
    :param patience_s: how long HubSpot may go on failing once no token is left.
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
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._app, self._endpoint = app, endpoint
        self._store: TokenStore = store or LocalTokens(clock)
        self._read_again, self._on_secret = read_again, on_secret
        self._tenant_id = tenant_id
        self._patience_s, self._clock, self._sleep = patience_s, clock, sleep
        #: Told a new token before it takes another one's place; raises to refuse it.
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
                self._renew(self._patience_s, refused)
            return self._held is not None and self._held.grant.access_token != refused

    def info(self) -> TokenInfo | None:
        """Return what the token may do: as its answer said, or HubSpot says when asked."""
        grant = self._good().grant
        if grant.hub_id is not None and grant.scopes:
            return TokenInfo(grant.hub_id, grant.scopes)
        return self._patiently(
            lambda: self._endpoint.introspected(self._app, grant.access_token), self._patience_s
        )

    def _good(self) -> "_Held":
        """Return the token to use now; only when none is good any more does everybody wait."""
        held = self._held
        if held is None or self._clock() >= held.until:
            with self._lock:
                held = self._held
                if held is None or self._clock() >= held.until:
                    held = self._renew(self._patience_s)
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
            return self._renew(patience_s=0.0)
        except TransientError as exc:
            log.warning("tenant %s: %s The old token is still good.", self._tenant_id, exc.what)
            self._renew_at = self._clock() + POSTPONED_S
            return held

    def _renew(self, patience_s: float, refused: str | None = None) -> "_Held":
        try:
            held = self._patiently(lambda: self._obtained(refused), patience_s)
        except OAuthAppError:
            app = self._read_again() if self._read_again else None
            if app is None or app == self._app:
                raise
            log.info("tenant %s: the connection holds another OAuth app now", self._tenant_id)
            self._app, self._unsaved = app, None
            held = self._patiently(lambda: self._obtained(refused), patience_s)
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
                raise Setback(backoff_s, exc) from exc
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

    def _patiently(self, attempt_once: Callable[[], _T], patience_s: float) -> _T:
        return patiently(attempt_once, patience_s, tenant_id=self._tenant_id, sleep=self._sleep)


class _Held(NamedTuple):
    grant: Grant
    #: By this process's clock.
    until: float


def _ahead_s(grant: Grant) -> float:
    return min(OAUTH_REFRESH_AHEAD_S, grant.expires_in / 3)
