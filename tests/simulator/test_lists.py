"""GET …/deals and …/deals/{id}."""

from typing import Any

import pytest
import requests

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.simulator.caller import DEALS, TOKEN, Caller


@pytest.mark.parametrize("cursor", ["id", "opaque"])
def test_a_list_holds_each_live_deal_once_in_the_order_of_ids(
    caller: Caller, portal: Portal, cursor: Any
) -> None:
    portal.cursor = cursor

    ids = [int(deal["id"]) for deal in caller.deals()]

    assert ids == portal.live_ids()


def test_archived_deals_are_a_list_of_their_own(caller: Caller, portal: Portal) -> None:
    listed = caller.deals("&archived=true")

    assert [int(deal["id"]) for deal in listed] == portal.archived_ids()
    assert all(deal["archived"] and deal["archivedAt"] for deal in listed)


@pytest.mark.parametrize("version", ["v3/objects", "objects/2026-03", "objects/2026-09"])
@pytest.mark.parametrize("name", ["deals", "0-3"])
@pytest.mark.usefixtures("portal")
def test_every_version_of_the_path_answers(caller: Caller, version: str, name: str) -> None:
    assert caller.get(f"/crm/{version}/{name}").status_code == 200


@pytest.mark.usefixtures("portal")
def test_a_page_has_10_deals_unless_asked_otherwise(caller: Caller) -> None:
    assert len(caller.get(DEALS).json()["results"]) == 10


@pytest.mark.usefixtures("portal")
def test_without_names_the_default_properties_come(caller: Caller) -> None:
    deal = caller.get(f"{DEALS}?limit=1").json()["results"][0]

    assert set(deal["properties"]) == {
        "amount",
        "closedate",
        "createdate",
        "dealname",
        "dealstage",
        "hs_lastmodifieddate",
        "hs_object_id",
        "pipeline",
    }


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("properties=amount,dealtype,no_such_property", id="comma list"),
        pytest.param("properties=amount&properties=dealtype", id="repeated"),
    ],
)
@pytest.mark.usefixtures("portal")
def test_asked_properties_come_with_three_more_and_unknown_ones_are_ignored(
    caller: Caller, query: str
) -> None:
    (deal,) = caller.get(f"{DEALS}?limit=1&{query}").json()["results"]

    always = {"createdate", "hs_lastmodifieddate", "hs_object_id"}
    assert set(deal["properties"]) == {"amount", "dealtype", *always}


@pytest.mark.parametrize("limit", ["0", "101", "many", "-1"])
@pytest.mark.usefixtures("portal")
def test_a_limit_out_of_range_is_refused(caller: Caller, limit: str) -> None:
    answer = caller.get(f"{DEALS}?limit={limit}")

    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_a_plain_cursor_is_the_last_id_and_one_more(caller: Caller, portal: Portal) -> None:
    answer = caller.get(f"{DEALS}?limit=5").json()

    assert answer["paging"]["next"]["after"] == str(portal.live_ids()[4] + 1)


@pytest.mark.parametrize("after", ["12345", "bm90aGluZw=="])
def test_an_opaque_cursor_can_not_be_guessed(caller: Caller, portal: Portal, after: str) -> None:
    portal.cursor = "opaque"

    assert caller.get(f"{DEALS}?after={after}").status_code == 400


def test_the_link_to_the_next_page_leads_there(caller: Caller, portal: Portal) -> None:
    link = caller.get(f"{DEALS}?limit=5&properties=amount").json()["paging"]["next"]["link"]

    following = requests.get(link, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5).json()

    assert [int(deal["id"]) for deal in following["results"]] == portal.live_ids()[5:10]


def test_pages_can_be_short_and_empty_and_still_have_a_next_one(
    caller: Caller, portal: Portal
) -> None:
    portal.short_pages_by = 37

    pages = caller.pages()

    assert [len(page) for page in pages] == [0, 63, 63, 63, 61]
    assert [int(deal["id"]) for page in pages for deal in page] == portal.live_ids()


@pytest.mark.usefixtures("portal")
def test_a_url_that_is_too_long_gets_the_edges_414(caller: Caller) -> None:
    answer = caller.get(f"{DEALS}?properties={'x' * 16_000}")

    assert answer.status_code == 414
    assert answer.headers["Content-Type"].startswith("text/html")


def test_all_names_of_a_wide_account_overflow_the_url(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    portal = simulator.add(portals.generated(deals=1, property_count=1_200))

    answer = caller.get(f"{DEALS}?properties={','.join(portal.definitions)}")

    assert len(portal.definitions) == 1_200
    assert answer.status_code == 414


def test_the_history_of_a_property_starts_with_its_newest_value(
    caller: Caller, portal: Portal
) -> None:
    first = portal.live_ids()[0]
    before = portal.deals[first].properties["amount"]
    portal.update(first, amount="7")

    deal = caller.get(f"{DEALS}?limit=1&propertiesWithHistory=amount").json()["results"][0]

    assert [entry["value"] for entry in deal["propertiesWithHistory"]["amount"]] == ["7", before]


@pytest.mark.usefixtures("portal")
def test_a_page_with_histories_has_50_deals_at_most(caller: Caller) -> None:
    path = f"{DEALS}?propertiesWithHistory=amount"

    assert caller.get(f"{path}&limit=50").status_code == 200
    assert caller.get(f"{path}&limit=51").status_code == 400


def test_an_associated_id_is_listed_once_for_each_type(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    simulator.add(portals.generated(deals=3, associations=True))

    first, _, third = caller.get(f"{DEALS}?associations=companies,contacts,rockets").json()[
        "results"
    ]

    one, other = first["associations"]["companies"]["results"]
    assert one["id"] == other["id"]
    assert (one["type"], other["type"]) == ("deal_to_company", "deal_to_company_unlabeled")
    assert "associations" not in third


def test_more_than_100_associated_ids_are_paged_inside_the_record(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    portal = simulator.add(portals.generated(deals=1, associations=True))
    (deal,) = caller.get(f"{DEALS}?associations=contacts").json()["results"]
    contacts = deal["associations"]["contacts"]

    body = {"inputs": [{"id": deal["id"], "after": contacts["paging"]["next"]["after"]}]}
    answer = caller.post("/crm/v4/associations/deals/contacts/batch/read", body).json()

    found = [entry["id"] for entry in contacts["results"]]
    found += [str(entry["toObjectId"]) for entry in answer["results"][0]["to"]]
    linked = portal.associations[int(deal["id"])]["contacts"]
    assert found == [str(to_id) for to_id, _, _ in linked]


def test_one_deal_is_found_in_the_list_it_is_in_only(caller: Caller, portal: Portal) -> None:
    live, archived = portal.live_ids()[0], portal.archived_ids()[0]

    statuses = [
        caller.get(f"{DEALS}/{deal_id}{query}").status_code
        for deal_id in (live, archived, 1)
        for query in ("", "?archived=true")
    ]

    assert statuses == [200, 404, 404, 200, 404, 404]


def test_which_deals_each_page_held_is_known_afterwards(caller: Caller, portal: Portal) -> None:
    listed = caller.pages()
    caller.post(f"{DEALS}/batch/read", {"inputs": [{"id": str(portal.live_ids()[0])}]})

    pages = portal.statistics.read_pages
    assert pages[:-1] == [tuple(int(deal["id"]) for deal in page) for page in listed]
    assert pages[-1] == (portal.live_ids()[0],)
    assert portal.statistics.in_flight == 0
