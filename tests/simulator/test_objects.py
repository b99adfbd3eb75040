"""Other objects than deals: contacts, companies, tickets, custom ones."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hubspot_simulator import Fault, Portal, Token
from tests.hubspot_simulator.changes import CrmObject
from tests.simulator.caller import DEALS, Caller

CONTACTS = "/crm/v3/objects/contacts"
CUSTOM = "2-1234567"


@pytest.fixture
def contacts(portal: Portal) -> CrmObject:
    portal.quota.searches_per_second = None
    return portal.add_object("contacts", count=130, archived=5)


def each(caller: Caller, path: str, query: str = "") -> Iterator[dict[str, Any]]:
    for page in caller.pages(query, path):
        yield from page


@pytest.mark.parametrize(
    "path",
    [
        CONTACTS,
        "/crm/v3/objects/0-1",
        "/crm/objects/2026-03/contacts",
        "/crm/objects/2026-09/contact",
    ],
)
def test_contacts_are_listed_under_every_path(
    caller: Caller, contacts: CrmObject, path: str
) -> None:
    names = ",".join(contacts.definitions)
    listed = [
        record
        for archived in ("false", "true")
        for record in each(caller, path, f"&archived={archived}&properties={names}")
    ]

    assert sorted(listed, key=lambda record: int(record["id"])) == contacts.truth()


@pytest.mark.parametrize(
    ("name", "type_id", "always"),
    [
        ("contacts", None, {"createdate", "lastmodifieddate"}),
        ("companies", None, {"createdate", "hs_lastmodifieddate"}),
        ("tickets", None, {"createdate", "hs_lastmodifieddate"}),
        ("line_items", None, {"createdate", "hs_lastmodifieddate"}),
        ("products", None, {"createdate", "hs_lastmodifieddate"}),
        ("quotes", None, {"hs_createdate", "hs_lastmodifieddate"}),
        ("calls", None, {"hs_createdate", "hs_lastmodifieddate"}),
        ("courses", None, {"hs_createdate", "hs_lastmodifieddate"}),
        ("cars", CUSTOM, {"hs_createdate", "hs_lastmodifieddate"}),
    ],
)
def test_every_object_sends_its_own_times_unasked(
    caller: Caller, portal: Portal, name: str, type_id: str | None, always: set[str]
) -> None:
    added = portal.add_object(name, object_type=type_id, count=1)

    path = f"/crm/objects/2026-03/{added.type.type_id}"
    (record,) = caller.get(f"{path}?properties=hs_object_id").json()["results"]

    assert record["properties"].keys() == {*always, "hs_object_id"}
    assert record["properties"][added.type.modified_property] == record["updatedAt"]


@pytest.mark.parametrize(
    "path",
    [
        CONTACTS,
        "/crm/properties/2026-03/contacts",
        "/crm/objects/2026-03/2-1",
        f"{CONTACTS}/1",
    ],
)
@pytest.mark.usefixtures("portal")
def test_an_object_that_the_account_has_not_is_a_404(caller: Caller, path: str) -> None:
    assert caller.get(path).status_code == 404


def test_a_custom_object_needs_its_type_id(portal: Portal) -> None:
    with pytest.raises(ValueError, match="needs an object_type"):
        portal.add_object("cars")


@pytest.mark.parametrize("alias", [CUSTOM, "cars", "p2000001_cars"])
def test_a_custom_object_is_found_by_id_and_by_names(
    caller: Caller, portal: Portal, alias: str
) -> None:
    portal.add_object("cars", object_type=CUSTOM, count=3)

    assert len(caller.get(f"/crm/v3/objects/{alias}").json()["results"]) == 3


def test_a_modification_property_can_be_chosen(portal: Portal) -> None:
    added = portal.add_object("cars", object_type=CUSTOM, modified_property="moved", count=1)

    assert added.truth()[0]["properties"]["moved"] == added.truth()[0]["updatedAt"]


def test_a_seed_makes_the_same_records_each_time(portal: Portal) -> None:
    first = portal.add_object("contacts", count=20, seed=3).truth()

    assert portal.add_object("contacts", count=20, seed=3).truth() == first
    assert portal.add_object("contacts", count=20, seed=4).truth() != first


def test_one_contact_is_read_by_id(caller: Caller, contacts: CrmObject) -> None:
    record_id = contacts.live_ids()[0]

    answer = caller.get(f"{CONTACTS}/{record_id}")

    assert answer.json()["properties"].keys() >= {"firstname", "lastname", "email"}
    assert answer.json()["url"].endswith(f"/record/0-1/{record_id}")


def test_a_batch_of_contacts_comes_with_histories(caller: Caller, contacts: CrmObject) -> None:
    record_id = contacts.live_ids()[0]
    contacts.update(record_id, firstname="Now")
    body = {"inputs": [{"id": str(record_id)}], "propertiesWithHistory": ["firstname"]}

    (record,) = caller.post(f"{CONTACTS}/batch/read", body).json()["results"]

    values = [entry["value"] for entry in record["propertiesWithHistory"]["firstname"]]
    assert values[0] == "Now"
    assert len(values) == 2


def test_a_batch_names_the_object_that_misses(caller: Caller, contacts: CrmObject) -> None:
    answer = caller.post(f"{CONTACTS}/batch/read", {"inputs": [{"id": "1"}]})

    assert answer.status_code == 207
    assert "some CONTACT objects" in answer.json()["errors"][0]["message"]


def test_contacts_are_searched_by_their_own_modification_time(
    caller: Caller, contacts: CrmObject
) -> None:
    record_id = contacts.live_ids()[5]
    since = str(int(time.time() * 1000) - 1)
    contacts.update(record_id, firstname="Found")
    rule = {"propertyName": "lastmodifieddate", "operator": "GTE", "value": since}

    answer = caller.post(
        f"{CONTACTS}/search",
        {"filterGroups": [{"filters": [rule]}], "sorts": ["lastmodifieddate"]},
    ).json()

    assert [record["id"] for record in answer["results"]] == [str(record_id)]
    assert answer["results"][0]["updatedAt"] == contacts.by_id[record_id].updated_at


def test_definitions_are_those_of_the_object(caller: Caller, contacts: CrmObject) -> None:
    listed = caller.get("/crm/properties/2026-03/contacts").json()["results"]

    assert {entry["name"] for entry in listed} == contacts.definitions.keys()
    assert "dealname" not in contacts.definitions
    assert caller.get("/crm/v3/properties/contacts/email").json()["groupName"] == (
        "contactinformation"
    )


def test_changes_of_contacts_leave_deals_alone(portal: Portal, contacts: CrmObject) -> None:
    deals = portal.truth()
    first, second, third, fourth = contacts.live_ids()[:4]

    created = contacts.create(firstname="New")
    contacts.update(first, firstname="Changed")
    contacts.archive(second)
    contacts.purge(third)
    survivor = contacts.merge(first, fourth)

    assert portal.truth() == deals
    assert contacts.by_id[second].archived
    assert created.properties["lastmodifieddate"] == created.updated_at
    assert survivor.properties["hs_merged_object_ids"] == f"{first};{fourth}"
    assert survivor.properties["firstname"] == "Changed"
    assert {first, third, fourth}.isdisjoint(contacts.by_id)


def test_an_id_of_a_deal_can_be_one_of_a_contact_too(caller: Caller, portal: Portal) -> None:
    contacts = portal.add_object("contacts", count=3, seed=3)
    shared = portal.live_ids()[0]

    assert shared in contacts.by_id
    assert caller.get(f"{CONTACTS}/{shared}").json() != caller.get(f"{DEALS}/{shared}").json()


def test_requests_are_counted_by_object(
    caller: Caller, portal: Portal, contacts: CrmObject
) -> None:
    caller.get(CONTACTS)
    caller.get(DEALS)
    caller.post(f"{CONTACTS}/search", {})

    assert portal.requests == {"list": 1, "list:contacts": 1, "search:contacts": 1}
    assert portal.stats()["deals_served"] == 10
    assert portal.stats()["records_served"] == {"deals": 10, "contacts": 20}


@pytest.mark.parametrize(("endpoint", "hit"), [("list", DEALS), ("list:contacts", CONTACTS)])
def test_a_fault_applies_to_one_object_only(
    caller: Caller, portal: Portal, contacts: CrmObject, endpoint: str, hit: str
) -> None:
    portal.add_fault(Fault("500", endpoint=endpoint, count=None))

    statuses = {path: caller.get(path).status_code for path in (DEALS, CONTACTS)}

    assert statuses.pop(hit) == 500
    assert list(statuses.values()) == [200]


def test_searches_of_all_objects_share_their_limit(
    caller: Caller, portal: Portal, contacts: CrmObject
) -> None:
    portal.quota.searches_per_second = 1

    statuses = [
        caller.post(f"{path}/search", {}).status_code for path in (CONTACTS, DEALS, CONTACTS)
    ]

    assert statuses.count(429) >= 1


def test_a_change_can_happen_between_two_pages_of_contacts(
    caller: Caller, contacts: CrmObject
) -> None:
    last = contacts.live_ids()[-1]
    contacts.after_list_request(1, lambda portal: contacts.archive(last))

    caller.get(DEALS)
    assert last in contacts.live_ids()
    listed = [record["id"] for record in each(caller, CONTACTS)]

    assert str(last) not in listed


@pytest.mark.parametrize(
    ("name", "type_id", "scope"),
    [
        ("contacts", "0-1", "crm.objects.contacts.read"),
        ("companies", "0-2", "crm.objects.companies.read"),
        ("line_items", "0-8", "crm.objects.line_items.read"),
        ("tickets", "0-5", "tickets"),
        ("products", "0-7", "e-commerce"),
        ("cars", CUSTOM, "crm.objects.custom.read"),
    ],
)
def test_every_object_is_opened_by_a_scope_of_its_own(
    caller: Caller, portal: Portal, name: str, type_id: str, scope: str
) -> None:
    portal.add_object(name, object_type=type_id)
    portal.tokens += [Token("one", scopes=(scope,)), Token("other", scopes=("oauth",))]

    path = f"/crm/v3/objects/{type_id}"
    refused = caller.get(path, token="other")

    assert caller.get(path).status_code == 200
    assert caller.get(path, token="one").status_code == 200
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["context"]["requiredGranularScopes"] == [scope]


def test_definitions_need_the_scope_of_the_schema_or_of_the_object(
    caller: Caller, portal: Portal, contacts: CrmObject
) -> None:
    portal.tokens += [
        Token("schema", scopes=("crm.schemas.contacts.read",)),
        Token("deals", scopes=("crm.schemas.deals.read", "crm.objects.deals.read")),
    ]
    path = "/crm/v3/properties/contacts"

    statuses = [caller.get(path, token=token).status_code for token in ("schema", "deals")]

    assert statuses == [200, 403]


def test_the_record_limits_know_every_object(
    caller: Caller, portal: Portal, contacts: CrmObject
) -> None:
    entries = caller.get("/crm/v3/limits/records").json()["hubspotDefinedObjectTypes"]

    assert [(entry["objectTypeId"], entry["usage"]) for entry in entries] == [
        ("0-3", 250),
        ("0-1", 130),
    ]
