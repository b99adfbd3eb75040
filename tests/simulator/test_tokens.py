"""Tokens, scopes, and what an account states about itself."""

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, Token, portals
from tests.simulator.caller import DEALS, TOKEN, Caller

TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"


@pytest.mark.parametrize(
    ("token", "status", "category"),
    [
        pytest.param(Token("t", state="expired"), 401, "EXPIRED_AUTHENTICATION", id="expired"),
        pytest.param(Token("t", state="revoked"), 401, "INVALID_AUTHENTICATION", id="revoked"),
        pytest.param(Token("other"), 401, "INVALID_AUTHENTICATION", id="unknown"),
        pytest.param(Token("t", scopes=("oauth",)), 403, "MISSING_SCOPES", id="no scope"),
    ],
)
def test_a_token_is_judged_before_anything_else(
    caller: Caller, portal: Portal, token: Token, status: int, category: str
) -> None:
    portal.tokens.append(token)

    answer = caller.get(DEALS, token="t")

    assert (answer.status_code, answer.json()["category"]) == (status, category)
    assert answer.headers["X-HubSpot-Correlation-Id"]


def test_missing_scopes_are_named(caller: Caller, portal: Portal) -> None:
    portal.tokens.append(Token("t", scopes=("oauth", "crm.objects.contacts.read")))

    (error,) = caller.get(DEALS, token="t").json()["errors"]

    assert error["context"] == {"requiredGranularScopes": ["crm.objects.deals.read"]}


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/crm/v3/owners", "crm.objects.owners.read"),
        ("/crm/v3/properties/deals", "crm.schemas.deals.read"),
        ("/crm/v3/pipelines/deals", "crm.objects.deals.read"),
        ("/account-info/v3/details", "oauth"),
    ],
)
def test_one_fitting_scope_is_enough(caller: Caller, portal: Portal, path: str, scope: str) -> None:
    portal.tokens.append(Token("t", scopes=(scope,)))

    assert caller.get(path, token="t").status_code == 200


def test_a_token_tells_its_account_and_its_scopes(caller: Caller, portal: Portal) -> None:
    info = caller.post(TOKEN_INFO, {"tokenKey": TOKEN}).json()

    assert info["hubId"] == portal.portal_id
    assert set(info["scopes"]) == set(portal.tokens[0].scopes)


def test_an_oauth_token_is_not_introspected_and_gets_no_daily_headers(
    caller: Caller, portal: Portal
) -> None:
    portal.tokens.append(Token("t", kind="oauth"))
    portal.quota.daily = 10

    answer = caller.post(TOKEN_INFO, {"tokenKey": "t"}, token="t")

    assert answer.status_code == 404
    assert "X-HubSpot-RateLimit-Daily" not in answer.headers


def test_each_token_opens_its_own_account(caller: Caller, simulator: HubSpotSimulator) -> None:
    for number in (1, 2):
        simulator.add(portals.getting_started(portal_id=number, token=f"of-{number}"))

    answers = [
        caller.get(f"/account-info/{version}/details", token=token).json()["portalId"]
        for version, token in (("v3", "of-1"), ("2026-03", "of-2"), ("2026-09", "of-1"))
    ]

    assert answers == [1, 2, 1]


def test_an_account_tells_its_time_zone_and_where_it_is_hosted(
    caller: Caller, portal: Portal
) -> None:
    portal.time_zone, portal.data_hosting = "Asia/Kolkata", "eu1"

    details = caller.get("/account-info/v3/details").json()

    assert (details["utcOffset"], details["utcOffsetMilliseconds"]) == ("+05:30", 19_800_000)
    assert details["uiDomain"] == "app-eu1.hubspot.com"


@pytest.mark.parametrize("path", ["/crm/v3/limits/records", "/crm/limits/2026-09/records"])
@pytest.mark.usefixtures("portal")
def test_the_record_limits_count_live_deals(caller: Caller, path: str) -> None:
    (entry,) = caller.get(path).json()["hubspotDefinedObjectTypes"]

    assert (entry["objectTypeId"], entry["usage"]) == ("0-3", 250)


@pytest.mark.usefixtures("portal")
def test_an_unknown_path_is_a_404(caller: Caller) -> None:
    assert caller.get("/crm/v3/objects/rockets").status_code == 404
