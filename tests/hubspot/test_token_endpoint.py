"""What HubSpot's token endpoint answers, by real HTTP."""

from dataclasses import replace
from typing import Any

import pytest

from include.errors import (
    ContractError,
    DailyLimitError,
    HubSpotUnavailableError,
    OAuthAppError,
    PortalMigratingError,
    RateLimitedError,
)
from include.hubspot.http import Http
from include.hubspot.oauth import OAuthApp, introspected, refreshed
from include.hubspot.retry import NO_RETRY, RetryableError
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal

VERSION = "2026-03"


def http_of(simulator: HubSpotSimulator) -> Http:
    return Http(simulator.base_url, tenant_id="acme", timeout_s=(5, 0.5))


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_a_refresh_states_token_account_and_scopes(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, version: str
) -> None:
    grant = refreshed(http_of(simulator), version, app, app.refresh_token)

    assert (grant.hub_id, grant.expires_in) == (portal.portal_id, 1_800)
    assert grant.refresh_token == app.refresh_token
    assert "crm.objects.deals.read" in (grant.scopes or [])


def test_introspection_states_account_and_scopes(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    http = http_of(simulator)
    token = refreshed(http, VERSION, app, app.refresh_token).access_token

    info = introspected(http, VERSION, app, token)

    assert info is not None
    assert info.hub_id == portal.portal_id
    assert introspected(http, VERSION, app, "unknown") is None


@pytest.mark.parametrize(
    ("changed", "state", "said"),
    [
        pytest.param({"client_id": "x"}, "installed", "BAD_CLIENT_ID", id="client id"),
        pytest.param({"client_secret": "x"}, "installed", "BAD_CLIENT_ID", id="client secret"),
        pytest.param({"refresh_token": "x"}, "installed", "BAD_REFRESH_TOKEN", id="refresh token"),
        pytest.param({}, "revoked", "BAD_REFRESH_TOKEN", id="revoked"),
        pytest.param({}, "uninstalled", "BAD_HUB", id="uninstalled"),
    ],
)
def test_a_refusal_is_for_a_person_and_shows_no_secret(
    simulator: HubSpotSimulator,
    portal: Portal,
    app: OAuthApp,
    changed: dict[str, str],
    state: Any,
    said: str,
) -> None:
    portal.oauth_apps[0].state = state
    app = replace(app, **changed)

    with pytest.raises(OAuthAppError) as caught:
        refreshed(http_of(simulator), VERSION, app, app.refresh_token)

    message = str(caught.value)
    assert f"(400 {said}" in message
    assert message.endswith("docs/runbook.md#oauth-app")
    assert not any(secret in message for secret in ("secret-of", "refresh-token-1"))


@pytest.mark.parametrize(
    ("fault", "error", "again"),
    [
        pytest.param(Fault("503"), HubSpotUnavailableError, True, id="503"),
        pytest.param(Fault("502"), HubSpotUnavailableError, True, id="HTML of the edge"),
        pytest.param(Fault("reset"), HubSpotUnavailableError, True, id="reset"),
        pytest.param(Fault("hang", seconds=1), HubSpotUnavailableError, True, id="silence"),
        pytest.param(Fault("html"), HubSpotUnavailableError, True, id="a page instead of JSON"),
        pytest.param(Fault("cut_json"), HubSpotUnavailableError, True, id="half of the JSON"),
        pytest.param(Fault("429", retry_after_s=3), RateLimitedError, True, id="429"),
        pytest.param(Fault("429", policy="DAILY"), DailyLimitError, False, id="429 of the day"),
        pytest.param(Fault("477"), PortalMigratingError, False, id="477"),
        pytest.param(Fault("404"), ContractError, False, id="404"),
        pytest.param(Fault("400"), ContractError, False, id="400 without a reason"),
    ],
)
def test_a_failure_is_as_any_requests(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, fault: Fault, error: Any, again: Any
) -> None:
    portal.add_fault(fault)

    with pytest.raises(RetryableError) as caught:
        refreshed(http_of(simulator), VERSION, app, app.refresh_token)

    assert type(caught.value.error) is error
    assert (caught.value.pause_s(1) < NO_RETRY) == again


@pytest.mark.parametrize("kind", ["401", "403"])
def test_a_refusal_without_a_reason_that_is_known_is_for_a_person_too(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, kind: str
) -> None:
    portal.add_fault(Fault(kind))

    with pytest.raises(OAuthAppError, match="it gives no reason"):
        refreshed(http_of(simulator), VERSION, app, app.refresh_token)


def test_an_answer_of_another_shape_is_for_a_developer(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    portal.oauth_apps[0].expires_in_s = -1

    with pytest.raises(RetryableError) as caught:
        refreshed(http_of(simulator), VERSION, app, app.refresh_token)

    assert isinstance(caught.value.error, ContractError)
    assert "access-token" not in str(caught.value.error)
