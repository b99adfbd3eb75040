"""The simulator behaves like HubSpot: over real HTTP, and as HubSpot's own client reads it."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import requests
from hubspot.crm import deals as hubspot_deals
from hubspot.crm import owners as hubspot_owners
from hubspot.crm import pipelines as hubspot_pipelines
from hubspot.crm import properties as hubspot_properties
from hubspot.crm.deals import BatchReadInputSimplePublicObjectId, PublicObjectSearchRequest
from hubspot.crm.deals.exceptions import ApiException

from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, Token, portals

TOKEN = "pat-na1-generated"
SPECIFICATIONS = Path(__file__).parents[3] / "shared" / "hubspot-openapi"


@pytest.fixture
def portal() -> Portal:
    return portals.generated(deals=250, archived=30, seed=3)


@pytest.fixture
def simulator(portal: Portal) -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator([portal]) as running:
        yield running


def call(
    simulator: HubSpotSimulator, method: str, path: str, token: str = TOKEN, **kwargs: Any
) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(
        method, simulator.base_url + path, headers=headers, timeout=10, **kwargs
    )


def walk(simulator: HubSpotSimulator, query: str = "") -> list[list[dict[str, Any]]]:
    """Read every page of the list."""
    pages, after = [], ""
    while True:
        answer = call(simulator, "GET", f"/crm/v3/objects/deals?limit=100{query}{after}").json()
        pages.append(answer["results"])
        if "paging" not in answer:
            return pages
        after = f"&after={answer['paging']['next']['after']}"


# Lists


@pytest.mark.parametrize("cursor", ["id", "opaque"])
def test_a_list_holds_each_live_deal_once_in_the_order_of_ids(
    simulator: HubSpotSimulator, portal: Portal, cursor: Any
) -> None:
    portal.cursor = cursor

    ids = [int(deal["id"]) for page in walk(simulator) for deal in page]

    assert ids == sorted(deal.id for deal in portal.deals.values() if not deal.archived)


def test_archived_deals_are_a_list_of_their_own(simulator: HubSpotSimulator) -> None:
    listed = [deal for page in walk(simulator, "&archived=true") for deal in page]

    assert len(listed) == 30
    assert all(deal["archived"] and deal["archivedAt"] for deal in listed)


@pytest.mark.parametrize("version", ["v3/objects", "objects/2026-03", "objects/2026-09"])
@pytest.mark.parametrize("name", ["deals", "0-3"])
def test_every_version_of_the_path_answers(
    simulator: HubSpotSimulator, version: str, name: str
) -> None:
    assert call(simulator, "GET", f"/crm/{version}/{name}").status_code == 200


def test_asked_properties_come_with_three_more_and_unknown_ones_are_ignored(
    simulator: HubSpotSimulator,
) -> None:
    path = "/crm/v3/objects/deals?limit=1&properties=amount,no_such_property"

    (deal,) = call(simulator, "GET", path).json()["results"]

    assert set(deal["properties"]) == {
        "amount",
        "createdate",
        "hs_lastmodifieddate",
        "hs_object_id",
    }


@pytest.mark.parametrize("limit", ["0", "101", "many"])
def test_a_limit_out_of_range_is_refused(simulator: HubSpotSimulator, limit: str) -> None:
    answer = call(simulator, "GET", f"/crm/v3/objects/deals?limit={limit}")

    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_a_cursor_that_was_never_given_out_is_refused(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.cursor = "opaque"

    assert call(simulator, "GET", "/crm/v3/objects/deals?after=12345").status_code == 400


def test_a_url_that_is_too_long_gets_the_edges_414(simulator: HubSpotSimulator) -> None:
    answer = call(simulator, "GET", f"/crm/v3/objects/deals?properties={'x' * 16_000}")

    assert answer.status_code == 414
    assert answer.headers["Content-Type"].startswith("text/html")


# Batch read, search, associations


def test_a_batch_read_with_missing_ids_is_207_and_names_them(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    first = min(portal.deals)
    body = {"inputs": [{"id": str(first)}, {"id": "1"}], "properties": ["amount"]}

    answer = call(simulator, "POST", "/crm/v3/objects/deals/batch/read", json=body)

    assert answer.status_code == 207
    assert [deal["id"] for deal in answer.json()["results"]] == [str(first)]
    assert answer.json()["errors"][0]["context"]["ids"] == ["1"]


def test_a_batch_of_more_than_100_is_refused(simulator: HubSpotSimulator) -> None:
    body = {"inputs": [{"id": str(number)} for number in range(101)]}

    assert call(simulator, "POST", "/crm/v3/objects/deals/batch/read", json=body).status_code == 400


def search(simulator: HubSpotSimulator, **body: Any) -> requests.Response:
    return call(simulator, "POST", "/crm/v3/objects/deals/search", json=body)


def test_search_filters_sorts_and_pages_by_offset(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    rule = {"propertyName": "hs_object_id", "operator": "GT", "value": str(min(portal.deals))}
    sort = {"propertyName": "hs_object_id", "direction": "ASCENDING"}

    answer = search(simulator, filterGroups=[{"filters": [rule]}], sorts=[sort], limit=200).json()

    ids = [int(deal["id"]) for deal in answer["results"]]
    assert answer["total"] == 249
    assert ids == sorted(ids)
    assert answer["paging"]["next"]["after"] == "200"


def test_search_never_sees_archived_deals(simulator: HubSpotSimulator, portal: Portal) -> None:
    portal.archive(min(portal.deals))

    assert search(simulator).json()["total"] == 249


def test_search_sees_a_change_only_after_the_index_lag(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.index_lag_s = 3_600
    deal_id = min(portal.deals)
    portal.update(deal_id, dealname="changed")
    portal.create(dealname="created")

    rule = {"propertyName": "hs_object_id", "operator": "EQ", "value": str(deal_id)}
    (seen,) = search(simulator, filters=[rule], properties=["dealname"]).json()["results"]

    assert seen["properties"]["dealname"] != "changed"
    assert search(simulator).json()["total"] == 250


def test_search_ends_at_10000_results(simulator: HubSpotSimulator) -> None:
    assert search(simulator, limit=200, after="9900").status_code == 400


def test_search_allows_five_a_second_and_sends_no_rate_headers(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.quota.daily = 1_000

    answers = [search(simulator, limit=1) for _ in range(6)]

    assert answers[5].status_code == 429
    assert answers[5].json()["policyName"] == "SECONDLY"
    assert not [name for name in answers[0].headers if "ratelimit" in name.lower()]


def test_associations_page_and_a_deal_without_any_is_a_207(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    first, second = sorted(portal.deals)[:2]
    portal.associations[first] = {"companies": [(n, 341, None) for n in range(150)]}
    path = "/crm/v4/associations/deals/companies/batch/read"

    answer = call(
        simulator, "POST", path, json={"inputs": [{"id": str(first)}, {"id": str(second)}]}
    )

    (result,) = answer.json()["results"]
    after = result["paging"]["next"]["after"]
    rest = call(simulator, "POST", path, json={"inputs": [{"id": str(first), "after": after}]})
    assert answer.status_code == 207
    assert answer.json()["errors"][0]["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert isinstance(result["to"][0]["toObjectId"], int)
    assert len(result["to"]) + len(rest.json()["results"][0]["to"]) == 150


# Tokens and scopes


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
    simulator: HubSpotSimulator, portal: Portal, token: Token, status: int, category: str
) -> None:
    portal.tokens.append(token)

    answer = call(simulator, "GET", "/crm/v3/objects/deals", token="t")

    assert (answer.status_code, answer.json()["category"]) == (status, category)
    assert answer.headers["X-HubSpot-Correlation-Id"]


def test_a_token_tells_its_account_and_its_scopes(simulator: HubSpotSimulator) -> None:
    path = "/oauth/v2/private-apps/get/access-token-info"

    info = call(simulator, "POST", path, json={"tokenKey": TOKEN}).json()

    assert info["hubId"] == 2_000_001
    assert "crm.objects.deals.read" in info["scopes"]


# Limits


def test_the_rolling_window_answers_429_and_says_what_remains() -> None:
    portal = portals.generated(requests_per_window=3, daily_limit=100)
    with HubSpotSimulator([portal]) as simulator:
        answers = [call(simulator, "GET", "/crm/v3/objects/deals?limit=1") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert answers[0].headers["X-HubSpot-RateLimit-Max"] == "3"
    assert answers[0].headers["X-HubSpot-RateLimit-Remaining"] == "2"
    assert answers[0].headers["X-HubSpot-RateLimit-Daily-Remaining"] == "99"
    assert portal.stats()["max_requests_in_any_window"] == {"app": 3}
    assert portal.stats()["throttled"] == 1


def test_the_daily_limit_is_the_accounts() -> None:
    portal = portals.generated(daily_limit=1)
    portal.tokens.append(Token("second", app="another app"))
    with HubSpotSimulator([portal]) as simulator:
        call(simulator, "GET", "/crm/v3/owners")
        answer = call(simulator, "GET", "/crm/v3/owners", token="second")

    assert (answer.status_code, answer.json()["policyName"]) == (429, "DAILY")


# Faults


@pytest.mark.parametrize("kind", ["500", "502", "503", "504", "423", "429", "477", "401", "403"])
def test_an_answered_fault_strikes_once(
    simulator: HubSpotSimulator, portal: Portal, kind: Any
) -> None:
    portal.faults = [Fault(kind, path="/deals$", retry_after_s=7)]

    first, second = (call(simulator, "GET", "/crm/v3/objects/deals?limit=1") for _ in range(2))

    assert (first.status_code, second.status_code) == (int(kind), 200)
    assert first.headers["Retry-After"] == "7"


@pytest.mark.parametrize("kind", ["reset", "truncated"])
def test_a_broken_connection_is_no_answer(
    simulator: HubSpotSimulator, portal: Portal, kind: Any
) -> None:
    portal.faults = [Fault(kind)]

    with pytest.raises(requests.RequestException):
        call(simulator, "GET", "/crm/v3/objects/deals")


@pytest.mark.parametrize("kind", ["html", "cut_json"])
def test_a_good_status_can_come_with_a_useless_body(
    simulator: HubSpotSimulator, portal: Portal, kind: Any
) -> None:
    portal.faults = [Fault(kind)]

    answer = call(simulator, "GET", "/crm/v3/objects/deals")

    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_a_hanging_server_answers_nothing_in_time(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.faults = [Fault("hang", seconds=1)]

    with pytest.raises(requests.ReadTimeout):
        requests.get(
            f"{simulator.base_url}/crm/v3/objects/deals",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=0.2,
        )


# Changes


def test_archiving_moves_no_modification_time(portal: Portal) -> None:
    deal = portal.deals[min(portal.deals)]
    before = (deal.updated_at, deal.properties["hs_lastmodifieddate"])

    portal.archive(deal.id)

    assert deal.archived
    assert (deal.updated_at, deal.properties["hs_lastmodifieddate"]) == before


def test_an_update_moves_it_and_a_drift_of_calculated_values_does_not(portal: Portal) -> None:
    deal = portal.deals[min(portal.deals)]
    before = deal.updated_at

    portal.drift(deal.id, amount_in_home_currency="1")
    assert deal.updated_at == before

    portal.update(deal.id, amount="2")
    assert deal.updated_at > before


def test_a_merge_makes_a_new_deal_and_the_old_ids_answer_with_it(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    first, second = sorted(portal.deals)[:2]

    survivor = portal.merge(first, second)

    assert survivor.properties["hs_merged_object_ids"] == f"{first};{second}"
    answer = call(simulator, "GET", f"/crm/v3/objects/deals/{first}").json()
    assert answer["id"] == str(survivor.id)
    listed = {deal["id"] for page in walk(simulator) for deal in page}
    assert listed.isdisjoint({str(first), str(second)})


def test_a_change_can_happen_between_two_pages(simulator: HubSpotSimulator, portal: Portal) -> None:
    last = max(deal.id for deal in portal.deals.values() if not deal.archived)
    portal.after_list_request(1, lambda p: p.archive(last))

    listed = [deal["id"] for page in walk(simulator) for deal in page]

    assert str(last) not in listed


def test_the_background_mutator_changes_the_account_until_it_is_stopped(portal: Portal) -> None:
    before = portal.truth()

    with portal.mutating(changes_per_s=500, seed=1):
        while portal.truth() == before:
            pass
    after = portal.truth()

    assert after != before
    assert portal.truth() == after


# Data


def test_the_getting_started_account_holds_its_five_deals() -> None:
    deals = portals.getting_started().truth()

    assert [deal["properties"]["amount"] for deal in deals] == [
        "5000",
        "25000",
        "50000",
        "75000",
        "100000",
    ]
    assert [deal["properties"]["dealstage"] for deal in deals] == [
        "qualifiedtobuy",
        "presentationscheduled",
        "closedwon",
        "closedlost",
        "contractsent",
    ]
    assert not any(deal["archived"] for deal in deals)


def test_a_seed_makes_the_same_account_each_time() -> None:
    assert portals.generated(nasty=True).truth() == portals.generated(nasty=True).truth()


def test_the_demos_accounts_share_deal_ids() -> None:
    _, globex, initech = portals.demo()

    assert len(globex.deals.keys() & initech.deals.keys()) > 1_000


# HubSpot's own client, and HubSpot's own specification


def client(simulator: HubSpotSimulator, module: ModuleType, api: str, token: str = TOKEN) -> Any:
    """Return one of the client package's API classes, pointed at the simulator."""
    configuration = module.Configuration(host=simulator.base_url)
    configuration.access_token = token
    return getattr(module, api)(module.ApiClient(configuration))


def test_hubspots_client_reads_all_of_it(simulator: HubSpotSimulator, portal: Portal) -> None:
    ids = [str(deal_id) for deal_id in sorted(portal.deals)[:3]]

    batch = client(simulator, hubspot_deals, "BatchApi").read(
        BatchReadInputSimplePublicObjectId(
            inputs=[{"id": deal_id} for deal_id in ids],
            properties=["amount"],
            properties_with_history=[],
        )
    )
    found = client(simulator, hubspot_deals, "SearchApi").do_search(
        PublicObjectSearchRequest(limit=7)
    )
    page = client(simulator, hubspot_deals, "BasicApi").get_page(limit=100, archived=True)
    definitions = client(simulator, hubspot_properties, "CoreApi").get_all("deals")
    pipelines = client(simulator, hubspot_pipelines, "PipelinesApi").get_all("deals")
    owners = client(simulator, hubspot_owners, "OwnersApi").get_page()

    assert {deal.id for deal in batch.results} == set(ids)
    assert (found.total, len(found.results)) == (250, 7)
    assert len(page.results) == 30
    assert {definition.name for definition in definitions.results} == set(portal.definitions)
    assert pipelines.results[0].stages[5].metadata == {"isClosed": "true", "probability": "1.0"}
    assert owners.results[0].id == "96000001"


def test_hubspots_client_understands_the_errors(simulator: HubSpotSimulator) -> None:
    with pytest.raises(ApiException) as caught:
        client(simulator, hubspot_deals, "BasicApi", token="wrong").get_page()

    assert caught.value.status == 401
    assert json.loads(caught.value.body)["category"] == "INVALID_AUTHENTICATION"


@pytest.mark.skipif(not SPECIFICATIONS.is_dir(), reason="HubSpot's specifications are not here")
@pytest.mark.parametrize(
    ("file", "specified", "method", "path", "body"),
    [
        ("deals.v3.json", "/crm/v3/objects/0-3", "GET", "/crm/v3/objects/0-3", None),
        (
            "deals.v3.json",
            "/crm/v3/objects/0-3/search",
            "POST",
            "/crm/v3/objects/0-3/search",
            {"limit": 5},
        ),
        (
            "properties.v3.json",
            "/crm/v3/properties/{objectType}",
            "GET",
            "/crm/v3/properties/deals",
            None,
        ),
        (
            "pipelines.v3.json",
            "/crm/v3/pipelines/{objectType}",
            "GET",
            "/crm/v3/pipelines/deals",
            None,
        ),
        (
            "accountInfo.v3.json",
            "/account-info/v3/details",
            "GET",
            "/account-info/v3/details",
            None,
        ),
    ],
)
def test_answers_are_what_hubspots_specification_says(
    simulator: HubSpotSimulator, file: str, specified: str, method: str, path: str, body: Any
) -> None:
    document = json.loads((SPECIFICATIONS / file).read_text())
    responses = document["paths"][specified][method.lower()]["responses"]
    content = responses["200"]["content"]
    schema = next(iter(content.values()))["schema"]
    answer = call(simulator, method, path, json=body).json()

    # Values of deals are null in practice; the v3 specification has no word for it.
    for deal in answer.get("results", []):
        if "properties" in deal and isinstance(deal["properties"], dict):
            deal["properties"] = {k: v for k, v in deal["properties"].items() if v is not None}
    jsonschema.validate(
        answer, {**schema, "components": document["components"]}, jsonschema.Draft202012Validator
    )


# The control interface


def test_a_portal_can_be_driven_over_http(simulator: HubSpotSimulator, portal: Portal) -> None:
    base = f"{simulator.base_url}/_simulator/portals/{portal.portal_id}"
    first = min(portal.deals)

    changed = requests.post(f"{base}/mutations", json=[["archive", first]], timeout=5)
    requests.post(f"{base}/faults", json=[{"kind": "500"}], timeout=5)
    requests.post(f"{base}/settings", json={"cursor": "opaque"}, timeout=5)
    requests.post(f"{base}/tokens", json={"text": TOKEN, "state": "revoked"}, timeout=5)

    assert changed.json() == {"changes": 1}
    assert portal.deals[first].archived
    assert portal.faults[0].kind == "500"
    assert portal.cursor == "opaque"
    assert call(simulator, "GET", "/crm/v3/owners").status_code == 401
    lines = requests.get(f"{base}/truth", timeout=5).text.split("\n")
    assert [json.loads(line) for line in lines] == portal.truth()


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("mutations", [["explode", 1]], 400),
        ("settings", {"deals": {}}, 400),
        ("nothing", {}, 404),
    ],
)
def test_a_wrong_control_is_refused(
    simulator: HubSpotSimulator, what: str, body: Any, status: int
) -> None:
    url = f"{simulator.base_url}/_simulator/portals/2000001/{what}"

    assert requests.post(url, json=body, timeout=5).status_code == status
