"""OAuth apps: access tokens for refresh tokens, and what becomes of them."""

from typing import Any

import pytest
import requests

from tests.hubspot_simulator import Fault, HubSpotSimulator, OAuthApp, Portal, portals
from tests.simulator.caller import DEALS, Caller


@pytest.fixture
def app(portal: Portal) -> OAuthApp:
    portal.oauth_apps.append(OAuthApp())
    return portal.oauth_apps[0]


def refresh(
    caller: Caller, app: OAuthApp, version: str = "2026-03", **changed: str
) -> requests.Response:
    form = {
        "grant_type": "refresh_token",
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "refresh_token": app.refresh_token,
        **changed,
    }
    return caller.form(f"/oauth/{version}/token", form)


def introspect(caller: Caller, app: OAuthApp, token: str) -> Any:
    form = {"client_id": app.client_id, "client_secret": app.client_secret, "token": token}
    return caller.form("/oauth/v3/token/introspect", form).json()


@pytest.mark.parametrize("version", ["v1", "v3", "2026-03", "2026-09"])
def test_a_refresh_token_buys_an_access_token(
    caller: Caller, portal: Portal, app: OAuthApp, version: str
) -> None:
    answer = refresh(caller, app, version).json()

    assert (answer["expires_in"], answer["hub_id"]) == (1_800, portal.portal_id)
    assert answer["refresh_token"] == app.refresh_token
    assert caller.get(DEALS, token=answer["access_token"]).status_code == 200
    assert portal.stats()["refreshes"] == {"client-1": 1}


def test_an_access_token_expires(caller: Caller, portal: Portal, app: OAuthApp) -> None:
    app.expires_in_s = 0
    token = refresh(caller, app).json()["access_token"]

    answer = caller.get(DEALS, token=token)

    assert (answer.status_code, answer.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")


@pytest.mark.parametrize(
    ("changed", "error", "status"),
    [
        pytest.param({"client_id": "x"}, "invalid_client", "BAD_CLIENT_ID", id="client id"),
        pytest.param({"client_secret": "x"}, "invalid_client", "BAD_CLIENT_ID", id="secret"),
        pytest.param(
            {"refresh_token": "x"}, "invalid_grant", "BAD_REFRESH_TOKEN", id="refresh token"
        ),
        pytest.param(
            {"grant_type": "password"}, "unsupported_grant_type", "BAD_GRANT_TYPE", id="grant type"
        ),
    ],
)
def test_a_wrong_form_is_refused_in_hubspots_words(
    caller: Caller, app: OAuthApp, changed: dict[str, str], error: str, status: str
) -> None:
    answer = refresh(caller, app, **changed)

    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["status"]) == (error, status)


@pytest.mark.parametrize(
    ("state", "status", "of_old_token"),
    [("revoked", "BAD_REFRESH_TOKEN", 200), ("uninstalled", "BAD_HUB", 401)],
)
def test_without_the_app_there_are_no_tokens(
    caller: Caller, app: OAuthApp, state: Any, status: str, of_old_token: int
) -> None:
    token = refresh(caller, app).json()["access_token"]
    app.state = state

    assert refresh(caller, app).json()["status"] == status
    assert caller.get(DEALS, token=token).status_code == of_old_token


def test_a_refresh_token_that_rotates_is_good_once(caller: Caller, app: OAuthApp) -> None:
    app.rotates = True
    first = app.refresh_token

    second = refresh(caller, app).json()["refresh_token"]

    assert second != first
    assert refresh(caller, app, refresh_token=first).json()["status"] == "BAD_REFRESH_TOKEN"
    assert refresh(caller, app, refresh_token=second).status_code == 200


def test_introspection_tells_account_and_scopes_of_a_token_that_is_good(
    caller: Caller, portal: Portal, app: OAuthApp
) -> None:
    app.states_account, app.scopes = False, ("crm.objects.deals.read",)
    answer = refresh(caller, app).json()

    introspected = introspect(caller, app, answer["access_token"])

    assert "hub_id" not in answer
    assert (introspected["active"], introspected["hub_id"]) == (True, portal.portal_id)
    assert introspected["scopes"] == ["crm.objects.deals.read"]
    assert introspect(caller, app, "x")["active"] is False


def test_each_installation_of_an_app_has_an_account_of_its_own(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    for number in (1, 2):
        portal = simulator.add(portals.getting_started(number, f"pat-{number}"))
        portal.oauth_apps.append(OAuthApp(refresh_token=f"of-{number}"))

    hubs = [
        refresh(caller, simulator.portal(number).oauth_apps[0]).json()["hub_id"]
        for number in (1, 2)
    ]

    assert hubs == [1, 2]


def test_refreshes_count_against_no_limit_and_meet_faults(
    caller: Caller, portal: Portal, app: OAuthApp
) -> None:
    portal.requests_per_window = 1
    portal.add_fault(Fault("503", endpoint="oauth_token"))

    answers = [refresh(caller, app) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert "X-HubSpot-RateLimit-Max" not in answers[1].headers
    assert portal.requests["oauth_token"] == 3


def test_apps_are_installed_and_changed_by_control(caller: Caller, portal: Portal) -> None:
    caller.control(portal.portal_id, "oauth_apps", {"client_id": "c", "expires_in_s": 3})
    caller.control(portal.portal_id, "oauth_apps", {"client_id": "c", "state": "revoked"})

    (app,) = portal.oauth_apps

    assert (app.expires_in_s, app.state) == (3, "revoked")
