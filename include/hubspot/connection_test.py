"""What the test of a connection tells a person about the token in it."""

from include.hubspot.api import USEFUL_SCOPES
from include.hubspot.client import HubSpotClient
from include.hubspot.identity import Identity


def description_of(client: HubSpotClient) -> str:
    """Ask HubSpot whose token it is and what it may do.

    Raises what a scan would: TokenRejectedError, ScopeMissingError …
    """
    identity = Identity(client)
    scopes = identity.scopes
    sentences = [
        f"HubSpot account {identity.account.portal_id}, time zone {identity.account.time_zone}.",
        _of_scopes(scopes),
    ]
    if quota := client.transport.daily_quota:
        sentences.append(f"{quota.remaining:,} of {quota.limit:,} API requests are left today.")
    return " ".join(sentences)


def _of_scopes(scopes: frozenset[str]) -> str:
    if not scopes:
        return "Deals can be read; HubSpot does not tell the scopes of this kind of token."
    missing = [any_of[0] for any_of in USEFUL_SCOPES if scopes.isdisjoint(any_of)]
    if not missing:
        return "Deals, owners and associations can be read."
    return f"Deals can be read. Scans will do without what these scopes open: {', '.join(missing)}."
