"""POST …/deals/search."""

from typing import Any

import pytest

from tests.hubspot_simulator import Portal
from tests.simulator.caller import Caller

#: Name → property values of the deals that filters are tried on.
DEALS = {
    "cheap": {"amount": "9", "dealtype": "newbusiness", "closedate": "2025-03-01T00:00:00Z"},
    "dear": {"amount": "100", "dealtype": "newbusiness", "closedate": "2025-03-02T00:00:00.000Z"},
    "vague": {"dealtype": "existingbusiness"},
}


@pytest.fixture
def few(portal: Portal) -> Portal:
    """Only the deals above; the others are archived, and searches have no limit."""
    portal.quota.searches_per_second = None
    for deal_id in portal.live_ids():
        portal.archive(deal_id)
    for name, properties in DEALS.items():
        portal.create(dealname=f"the {name} one", **properties)
    return portal


def names(caller: Caller, **body: Any) -> set[str]:
    results = caller.search(properties=["dealname"], **body).json()["results"]
    return {deal["properties"]["dealname"].split()[1] for deal in results}


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (("amount", "EQ", {"value": "9.0"}), {"cheap"}),
        (("amount", "NEQ", {"value": "9"}), {"dear", "vague"}),
        (("amount", "GT", {"value": "9"}), {"dear"}),
        (("amount", "GTE", {"value": 9}), {"cheap", "dear"}),
        (("amount", "LT", {"value": "100"}), {"cheap"}),
        (("amount", "LTE", {"value": "100"}), {"cheap", "dear"}),
        (("amount", "HAS_PROPERTY", {}), {"cheap", "dear"}),
        (("amount", "NOT_HAS_PROPERTY", {}), {"vague"}),
        (("dealtype", "IN", {"values": ["newbusiness"]}), {"cheap", "dear"}),
        (("dealtype", "NOT_IN", {"values": ["newbusiness"]}), {"vague"}),
        (("dealname", "CONTAINS_TOKEN", {"value": "dear"}), {"dear"}),
        (("dealname", "NOT_CONTAINS_TOKEN", {"value": "dear"}), {"cheap", "vague"}),
        (("amount", "BETWEEN", {"value": "9", "highValue": "10"}), {"cheap"}),
        (
            ("closedate", "BETWEEN", {"value": "1740787200000", "highValue": "1740787200000"}),
            {"cheap"},
        ),
        (
            (
                "closedate",
                "BETWEEN",
                {"value": "2025-03-01T12:00:00Z", "highValue": "2025-03-02T00:00:00Z"},
            ),
            {"dear"},
        ),
    ],
)
@pytest.mark.usefixtures("few")
def test_an_operator_finds_what_it_says(
    caller: Caller, rule: tuple[str, str, dict[str, Any]], found: set[str]
) -> None:
    name, operator, values = rule

    assert names(caller, filters=[{"propertyName": name, "operator": operator, **values}]) == found


@pytest.mark.usefixtures("few")
def test_groups_are_ored_and_filters_inside_one_anded(caller: Caller) -> None:
    new = {"propertyName": "dealtype", "operator": "EQ", "value": "newbusiness"}
    dear = {"propertyName": "amount", "operator": "GT", "value": "50"}
    vague = {"propertyName": "amount", "operator": "NOT_HAS_PROPERTY"}

    found = names(caller, filterGroups=[{"filters": [new, dear]}, {"filters": [vague]}])

    assert found == {"dear", "vague"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"limit": 201}, id="page too large"),
        pytest.param({"after": "soon"}, id="offset no number"),
        pytest.param({"limit": 200, "after": "9900"}, id="beyond 10,000"),
        pytest.param({"query": "x" * 3_001}, id="long query"),
        pytest.param({"sorts": ["amount", "createdate"]}, id="two sorts"),
        pytest.param({"sorts": [{}]}, id="sort by nothing"),
        pytest.param({"filters": [{"propertyName": "amount", "operator": "LIKE"}]}, id="operator"),
        pytest.param({"filters": [{"propertyName": "amount", "operator": "EQ"}]}, id="no value"),
        pytest.param({"filters": [{"operator": "HAS_PROPERTY"}]}, id="no name"),
        pytest.param({"filterGroups": [{"filters": []}] * 6}, id="six groups"),
        pytest.param({"filterGroups": "all"}, id="groups no list"),
        pytest.param({"properties": "amount"}, id="properties no list"),
        pytest.param(
            {"filters": [{"propertyName": "amount", "operator": "HAS_PROPERTY"}] * 7},
            id="seven filters",
        ),
    ],
)
@pytest.mark.usefixtures("few")
def test_a_search_that_hubspot_refuses_is_a_400(caller: Caller, body: dict[str, Any]) -> None:
    answer = caller.search(**body)

    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
def test_ids_sort_as_numbers_and_pages_are_offsets(
    caller: Caller, portal: Portal, direction: str
) -> None:
    sort = {"propertyName": "hs_object_id", "direction": direction}

    first = caller.search(sorts=[sort], limit=200).json()
    second = caller.search(sorts=[sort], limit=200, after="200").json()

    ids = [int(deal["id"]) for deal in first["results"] + second["results"]]
    assert first["total"] == 250
    assert first["paging"]["next"]["after"] == "200"
    assert ids == sorted(portal.live_ids(), reverse=direction == "DESCENDING")
    assert "paging" not in second


def test_search_never_sees_archived_deals(caller: Caller, portal: Portal) -> None:
    assert caller.search().json()["total"] == 250

    portal.archive(min(portal.deals))

    assert caller.search().json()["total"] == 249


def test_search_sees_a_change_only_after_the_index_lag(caller: Caller, portal: Portal) -> None:
    portal.index_lag_s = 3_600
    deal_id = min(portal.deals)
    portal.update(deal_id, dealname="changed")
    portal.create(dealname="created")

    rule = {"propertyName": "hs_object_id", "operator": "EQ", "value": str(deal_id)}
    (seen,) = caller.search(filters=[rule], properties=["dealname"]).json()["results"]

    assert seen["properties"]["dealname"] != "changed"
    assert seen["updatedAt"] < portal.deals[deal_id].updated_at
    assert caller.search().json()["total"] == 250


def test_a_second_change_within_the_lag_shows_nothing_of_the_first(
    caller: Caller, portal: Portal
) -> None:
    portal.index_lag_s = 3_600
    known, created = min(portal.deals), portal.create(dealname="created").id
    for deal_id in (known, created):
        portal.update(deal_id, amount="1234567")
        portal.update(deal_id, amount="7654321")

    rule = {"propertyName": "amount", "operator": "IN", "values": ["1234567", "7654321"]}

    assert caller.search(filters=[rule]).json()["total"] == 0
    assert caller.search().json()["total"] == 250


def test_search_sees_a_change_when_the_lag_is_over(caller: Caller, portal: Portal) -> None:
    portal.index_lag_s = 3_600
    created = portal.create(dealname="created")
    assert caller.search().json()["total"] == 250

    created.indexed_at -= 3_600

    assert caller.search().json()["total"] == 251


def test_search_allows_five_a_second_and_sends_no_rate_headers(
    caller: Caller, portal: Portal
) -> None:
    portal.quota.daily = 1_000

    answers = [caller.search(limit=1) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[5].json()["policyName"] == "SECONDLY"
    assert not [name for name in answers[0].headers if "ratelimit" in name.lower()]
    assert portal.quota.used_today == 5
