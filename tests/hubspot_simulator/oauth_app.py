"""OAuth apps that are installed in an account."""

import itertools
import time
from dataclasses import dataclass, field
from typing import Literal

from tests.hubspot_simulator.tokens import ALL_SCOPES, Token


@dataclass
class OAuthApp:
    """One installation: its refresh token buys access tokens.

    ``state`` "revoked": the refresh token is dead, access tokens live on; "uninstalled": these are
    dead too. ``rotates``: each refresh gives a new refresh token and ends the one before.
    ``states_account``: whether answers hold account and scopes; those of older versions don't.
    ``refreshes``: how many were answered with an access token.
    """

    client_id: str = "client-1"
    client_secret: str = "secret-of-client-1"
    refresh_token: str = "refresh-token-1"
    scopes: tuple[str, ...] = ALL_SCOPES
    expires_in_s: int = 1_800
    rotates: bool = False
    states_account: bool = True
    state: Literal["installed", "revoked", "uninstalled"] = "installed"
    refreshes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(2)
        self._first_refresh_token = self.refresh_token

    def issue(self, portal_id: int) -> Token:
        """Return a new access token, and rotate the refresh token if it is so."""
        self.refreshes += 1
        number = next(self._numbers)
        if self.rotates:
            self.refresh_token = f"{self._first_refresh_token}-{number}"
        return Token(
            f"access-token-{portal_id}-{self.client_id}-{self._first_refresh_token}-{number}",
            scopes=self.scopes,
            app=self.client_id,
            kind="oauth",
            expires_at=time.monotonic() + self.expires_in_s,
        )
