"""OAuth apps of simulated portals, and the product's view of them.

The fixtures are those of every folder whose conftest.py imports them.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from include.hubspot.http import Http
from include.hubspot.oauth import OAuthApp, OAuthToken, TokenStore
from tests import hubspot_simulator
from tests.hubspot_simulator import HubSpotSimulator, Portal, portals


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def portal() -> Portal:
    return portals.getting_started()


@pytest.fixture
def simulator(empty_simulator: HubSpotSimulator, portal: Portal) -> HubSpotSimulator:
    empty_simulator.add(portal)
    return empty_simulator


@pytest.fixture
def installed(portal: Portal) -> hubspot_simulator.OAuthApp:
    return install(portal)


@pytest.fixture
def app(installed: hubspot_simulator.OAuthApp) -> OAuthApp:
    return seen_from_here(installed)


def install(portal: Portal, **fields: Any) -> hubspot_simulator.OAuthApp:
    """Install an app in a portal, on the simulator's side."""
    app = hubspot_simulator.OAuthApp(**fields)
    portal.oauth_apps.append(app)
    return app


def seen_from_here(app: hubspot_simulator.OAuthApp) -> OAuthApp:
    return OAuthApp(app.client_id, app.client_secret, app.refresh_token)


def token_of(
    simulator: HubSpotSimulator,
    app: OAuthApp,
    store: TokenStore | None = None,
    *,
    retry_timeout_s: float = 60.0,
    sleep: Callable[[float], None] = lambda _: None,
    **more: Any,
) -> OAuthToken:
    http = Http(simulator.base_url, tenant_id="acme", timeout_s=(5, 5))
    return OAuthToken(
        app, http, "2026-03", store, retry_timeout_s=retry_timeout_s, sleep=sleep, **more
    )


def connect_app(
    monkeypatch: pytest.MonkeyPatch,
    simulator: HubSpotSimulator,
    app: hubspot_simulator.OAuthApp,
    tenant_id: str = "acme",
    **extra: Any,
) -> None:
    """Make a tenant's Airflow connection hold the app."""
    connection = {
        "conn_type": "hubspot",
        "host": simulator.base_url,
        "extra": {
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "refresh_token": app.refresh_token,
            **extra,
        },
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_HUBSPOT_{tenant_id.upper()}", json.dumps(connection))
