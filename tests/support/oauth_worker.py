"""One of several processes that need an access token of the same app at the same moment.

    python -m tests.support.oauth_worker BASE_URL CLIENT_ID CLIENT_SECRET REFRESH_TOKEN SCHEMA

DATABASE_URL is the warehouse's. Prints "ready", waits for a line, and prints the id of the account
that its token opens.
"""

import os
import sys

from include.hubspot.client import HubSpotClient
from include.hubspot.http import Http
from include.hubspot.oauth import OAuthApp, OAuthToken
from include.warehouse.client_state import SharedTokens
from include.warehouse.connection import Warehouse


def main(base_url: str, client_id: str, client_secret: str, refresh: str, schema: str) -> None:
    token = OAuthToken(
        OAuthApp(client_id, client_secret, refresh),
        Http(base_url, timeout_s=(10, 20)),
        "2026-03",
        SharedTokens(Warehouse.from_url(os.environ["DATABASE_URL"], schema)),
        retry_timeout_s=60,
    )
    print("ready", flush=True)
    sys.stdin.readline()
    print(HubSpotClient(base_url, token).account().portal_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
