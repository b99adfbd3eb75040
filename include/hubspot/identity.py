"""Whose token is it, and may it read deals?"""

from dataclasses import dataclass

from include.errors import ScopeMissingError
from include.hubspot.answers import Account
from include.hubspot.api import DEALS_READ_SCOPE, SENSITIVITIES, sensitive_scopes
from include.hubspot.client import HubSpotClient


@dataclass(frozen=True)
class Identity:
    """What a token stands for. ``scopes`` is empty when HubSpot does not tell them."""

    account: Account
    scopes: frozenset[str] = frozenset()

    def readable_sensitivities(self, object_type: str) -> list[str]:
        """Which kinds of sensitive properties the token may read, besides the usual ones."""
        return [
            kind for kind in SENSITIVITIES if self.scopes & set(sensitive_scopes(object_type, kind))
        ]


def identify(client: HubSpotClient) -> Identity:
    """Ask HubSpot who the token is.

    Raises TokenRejectedError for a wrong, expired or revoked one, ScopeMissingError when it can't
    read deals.
    """
    account = client.account()
    info = client.token_info()
    if info is None:
        # Not a private-app token: the only way to learn whether it may read is to read.
        client.probe_deals()
        return Identity(account)
    if DEALS_READ_SCOPE not in info.scopes:
        raise ScopeMissingError([DEALS_READ_SCOPE], tenant_id=client.tenant_id)
    return Identity(account, frozenset(info.scopes))
