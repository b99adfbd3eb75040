"""Answers are what HubSpot's own specifications say, where copies of those are at hand."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.hubspot_simulator import HubSpotSimulator, OAuthApp, portals
from tests.hubspot_simulator.tokens import ALL_SCOPES, DEALS_WRITE
from tests.simulator.caller import TOKEN, Caller

SPECIFICATIONS = Path(__file__).parents[3] / "shared" / "hubspot-openapi"
FIRST = portals.generated(deals=1).live_ids()[0]

pytestmark = pytest.mark.skipif(
    not SPECIFICATIONS.is_dir(), reason="HubSpot's specifications are not here"
)


@pytest.fixture(autouse=True)
def account(simulator: HubSpotSimulator) -> None:
    """Histories, associations, short lists of everything; nothing that no client could read."""
    portal = simulator.add(portals.generated(deals=120, archived=3, associations=True))
    portal.quota.daily = 1_000
    portal.tokens[0].scopes = (*ALL_SCOPES, DEALS_WRITE)
    portal.oauth_apps = [OAuthApp()]


def cases() -> list[Any]:
    """File, path in it, method, query or body, status."""
    history = f"{FIRST}?propertiesWithHistory=amount&associations=companies,contacts"
    one, missing = {"inputs": [{"id": str(FIRST)}]}, {"inputs": [{"id": "1"}]}
    new = {"properties": {"dealname": "New", "amount": "7"}, "associations": []}
    deals = []
    for file, base, deal in (
        ("deals.v3.json", "/crm/v3/objects/0-3", "/{dealId}"),
        ("deals.2026-09.json", "/crm/objects/2026-09/{objectType}", "/{objectId}"),
    ):
        deals += [
            (file, base, "GET", "?limit=100&associations=contacts", 200),
            (file, base, "GET", "?archived=true", 200),
            (file, base + deal, "GET", history, 200),
            (file, base + "/batch/read", "POST", one, 200),
            (file, base + "/batch/read", "POST", {**one, "propertiesWithHistory": ["amount"]}, 200),
            (file, base + "/search", "POST", {"limit": 5}, 200),
            (file, base, "POST", new, 201),
            (file, base + "/batch/create", "POST", {"inputs": [new]}, 201),
        ]
    associations = "/crm/v4/associations/{fromObjectType}/{toObjectType}/batch/read"
    return [
        *deals,
        ("deals.v3.json", "/crm/v3/objects/0-3/batch/read", "POST", missing, 207),
        ("associations.v4.json", associations, "POST", one, 200),
        ("associations.v4.json", associations, "POST", missing, 207),
        ("properties.v3.json", "/crm/v3/properties/{objectType}", "GET", "", 200),
        ("pipelines.v3.json", "/crm/v3/pipelines/{objectType}", "GET", "", 200),
        ("crmOwners.v3.json", "/crm/v3/owners", "GET", "?limit=1", 200),
        ("accountInfo.v3.json", "/account-info/v3/details", "GET", "", 200),
        (
            "accountInfo.v3.json",
            "/account-info/v3/api-usage/daily/private-apps",
            "GET",
            "",
            200,
        ),
    ]


@pytest.mark.parametrize(
    ("file", "specified", "method", "asked", "status"),
    cases(),
    ids=lambda value: str(value)[:60],
)
def test_an_answer_fits_its_schema(
    caller: Caller, file: str, specified: str, method: str, asked: Any, status: int
) -> None:
    specification = json.loads((SPECIFICATIONS / file).read_text())
    responses = specification["paths"][specified][method.lower()]["responses"]
    (content,) = responses[str(status)]["content"].values()

    answer = caller.send(
        method, target_of(specified, asked), json=asked if method == "POST" else None, token=TOKEN
    )

    assert answer.status_code == status, answer.text
    document = as_specified(answer.json())
    # The specifications demand fields of a batch's errors that real answers do not have.
    document.pop("errors", None)
    schema = {**content["schema"], "components": specification["components"]}
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)


def test_the_answers_of_oauth_fit_their_schemas(caller: Caller) -> None:
    specification = json.loads((SPECIFICATIONS / "oauth.v3.json").read_text())
    app = OAuthApp()
    client = {"client_id": app.client_id, "client_secret": app.client_secret}
    refresh = {"grant_type": "refresh_token", "refresh_token": app.refresh_token, **client}

    granted = caller.form("/oauth/v3/token", refresh).json()
    introspected = caller.form(
        "/oauth/v3/token/introspect", {"token": granted["access_token"], **client}
    ).json()

    for path, document in (
        ("/oauth/v3/token", granted),
        ("/oauth/v3/token/introspect", introspected),
    ):
        answer = specification["paths"][path]["post"]["responses"]["200"]
        schema = answer["content"]["application/json"]["schema"]
        schema = {**schema, "components": specification["components"]}
        jsonschema.validate(document, schema, jsonschema.Draft202012Validator)


def target_of(specified: str, asked: Any) -> str:
    path = specified.replace("{objectType}", "deals").replace("{fromObjectType}", "deals")
    path = path.replace("{toObjectType}", "companies")
    stem, brace, _ = path.partition("{")
    return (stem if brace else path) + (asked if isinstance(asked, str) else "")


def as_specified(document: Any) -> Any:
    """Undo what HubSpot does although its specifications have no word for it.

    Values and labels are null, and an id of associations is a number.
    """
    if isinstance(document, list):
        return [as_specified(entry) for entry in document]
    if isinstance(document, dict):
        return {
            key: str(value) if key == "toObjectId" else as_specified(value)
            for key, value in document.items()
            if value is not None
        }
    return document
