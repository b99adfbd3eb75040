"""Whose token is it, and may it read deals?"""

from functools import cached_property

from include.errors import ScopeMissingError
from include.hubspot.api import DEALS_READ_SCOPE, SENSITIVITIES, sensitive_scopes
from include.hubspot.client import HubSpotClient


class Identity:
    """What a client's token stands for: the account is asked for at once, scopes when needed.

    Raises TokenRejectedError for a wrong, expired or revoked token.
    """

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client
        self.account = client.account()

    @cached_property
    def scopes(self) -> frozenset[str]:
        """What the token may do; empty when HubSpot does not tell.

        Raises ScopeMissingError when it can't read deals.
        """
        info = self._client.token_info()
        if info is None:
            # Not a private-app token: the only way to learn whether it may read is to read.
            self._client.probe_deals()
            return frozenset()
        if DEALS_READ_SCOPE not in info.scopes:
            raise ScopeMissingError([DEALS_READ_SCOPE], tenant_id=self._client.tenant_id)
        return frozenset(info.scopes)

    def readable_sensitivities(self, object_type: str) -> list[str]:
        """Which kinds of sensitive properties the token may read, besides the usual ones."""
        return [
            kind for kind in SENSITIVITIES if self.scopes & set(sensitive_scopes(object_type, kind))
        ]
