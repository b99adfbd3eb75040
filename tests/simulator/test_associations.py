"""Associations that change, that lead to any object, and that start at any."""

import random
from typing import Any

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, Token, portals
from tests.simulator.caller import DEALS, Caller

CUSTOM = "2-1234567"


def batch(start: str = "deals", end: str = "companies", version: str = "v4") -> str:
    kind = "v4/associations" if version == "v4" else f"associations/{version}"
    return f"/crm/{kind}/{start}/{end}/batch/read"


def targets(caller: Caller, path: str, record_id: int, **options: Any) -> dict[int, Any]:
    """Associated id → its types, of one record."""
    document = caller.post(path, {"inputs": [{"id": str(record_id)}]}, **options).json()
    return {
        entry["toObjectId"]: entry["associationTypes"]
        for result in document["results"]
        for entry in result["to"]
    }


def test_an_association_comes_and_goes_and_moves_no_modification_time(
    caller: Caller, portal: Portal
) -> None:
    deal_id = portal.live_ids()[0]
    before = portal.truth()

    portal.associate(deal_id, "companies", 7)
    there = targets(caller, batch(), deal_id)
    portal.dissociate(deal_id, "companies", 7)

    plain = {"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None}
    assert there == {7: [plain]}
    assert targets(caller, batch(), deal_id) == {}
    assert portal.truth() == before


def test_each_type_of_association_is_one_of_its_own(caller: Caller, portal: Portal) -> None:
    deal_id = portal.live_ids()[0]
    portal.associate(deal_id, "companies", 7)
    portal.associate(deal_id, "company", 7, type_id=5, label="Primary")
    portal.associate(deal_id, "0-2", 7, type_id=5, label="Main")

    portal.dissociate(deal_id, "companies", 7, type_id=341)

    assert portal.associations_truth()[deal_id] == {"companies": [(7, 5, "Main")]}


def test_what_is_not_associated_can_not_be_dissociated(portal: Portal) -> None:
    with pytest.raises(KeyError, match="not associated"):
        portal.dissociate(portal.live_ids()[0], "companies", 7)


@pytest.mark.parametrize("version", ["v4", "2026-03", "2026-09"])
def test_a_deal_can_be_associated_with_a_custom_object(
    caller: Caller, portal: Portal, version: str
) -> None:
    deal_id = portal.live_ids()[0]
    portal.associate(deal_id, CUSTOM, 9, type_id=12, label="Driver")

    found = targets(caller, batch(end=CUSTOM, version=version), deal_id)

    assert found == {9: [{"category": "USER_DEFINED", "typeId": 12, "label": "Driver"}]}


@pytest.mark.parametrize("end", [CUSTOM, "rockets"])
def test_an_unknown_end_is_a_400(caller: Caller, portal: Portal, end: str) -> None:
    answer = caller.post(batch(end=end), {"inputs": [{"id": str(portal.live_ids()[0])}]})

    assert answer.status_code == 400


def test_a_custom_object_inside_a_record_is_named_with_the_account(
    caller: Caller, portal: Portal
) -> None:
    deal_id = portal.live_ids()[0]
    portal.add_object("cars", object_type=CUSTOM)
    portal.associate(deal_id, "cars", 9)
    portal.associate(deal_id, "line_items", 8)

    found = caller.get(f"{DEALS}/{deal_id}?associations=cars,line_items").json()["associations"]

    assert found.keys() == {f"p{portal.portal_id}_cars", "line items"}


def test_associations_start_at_other_objects_too(caller: Caller, portal: Portal) -> None:
    contacts = portal.add_object("contacts", count=2)
    first = contacts.live_ids()[0]
    contacts.associate(first, "companies", 7)

    found = targets(caller, batch("contacts", version="2026-03"), first)

    assert found[7][0]["typeId"] == 279
    assert contacts.associations_truth()[first] == {"companies": [(7, 279, None)]}
    assert portal.requests["associations:contacts"] == 1


@pytest.mark.parametrize(
    "path", [batch(), "/crm/v4/objects/deals/{}/associations/companies"], ids=["batch", "one"]
)
def test_both_ends_need_their_scope(caller: Caller, portal: Portal, path: str) -> None:
    deal_id = portal.live_ids()[0]
    portal.tokens.append(Token("t", scopes=("crm.objects.deals.read",)))
    method = "GET" if "{}" in path else "POST"
    body = None if method == "GET" else {"inputs": [{"id": str(deal_id)}]}

    refused = caller.send(method, path.format(deal_id), json=body, token="t")

    assert refused.status_code == 403
    (error,) = refused.json()["errors"]
    assert error["context"] == {"requiredGranularScopes": ["crm.objects.companies.read"]}


def test_the_truth_of_associations_is_what_a_client_reads(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    portal = simulator.add(portals.generated(deals=20, archived=2, associations=True))
    for deal_id in portal.live_ids()[1:3]:
        portal.associate(deal_id, "companies", 7)

    truth = portal.associations_truth()

    assert list(truth) == portal.live_ids()
    for deal_id in portal.live_ids()[1:]:
        found = targets(caller, batch(), deal_id)
        links = [
            (to_id, entry["typeId"], entry["label"])
            for to_id, types in found.items()
            for entry in types
        ]
        assert sorted(links) == truth[deal_id].get("companies", [])


def test_purged_deals_have_no_associations_and_archived_ones_keep_theirs(portal: Portal) -> None:
    first, second = portal.live_ids()[:2]
    for deal_id in (first, second):
        portal.associate(deal_id, "companies", 7)

    portal.purge(first)
    portal.archive(second)
    assert not {first, second} & portal.associations_truth().keys()

    portal.restore(second)
    assert portal.associations_truth()[second] == {"companies": [(7, 341, None)]}


def test_random_changes_leave_associations_alone_unless_asked() -> None:
    def after_changes(*, associations: bool) -> tuple[Any, ...]:
        portal, rng = portals.generated(deals=40), random.Random(1)
        for _ in range(60):
            portal.mutate(rng, associations=associations)
        links = [found for found in portal.associations_truth().values() if found]
        return len(portal.deals), sorted(map(str, links))

    assert after_changes(associations=False)[1] == []
    assert after_changes(associations=True)[1]
    assert after_changes(associations=True) == after_changes(associations=True)
