"""Creating records, as HubSpot does."""

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.hubspot_simulator.tokens import ALL_SCOPES, DEALS_WRITE
from tests.simulator.caller import DEALS, Caller

ONE = {"properties": {"dealname": "New", "amount": "12.5", "dealstage": "contractsent"}}


@pytest.fixture
def portal(simulator: HubSpotSimulator) -> Portal:
    portal = simulator.add(portals.generated(deals=2))
    portal.tokens[0].scopes = (*ALL_SCOPES, DEALS_WRITE)
    return portal


@pytest.mark.parametrize("path", [DEALS, "/crm/objects/2026-03/deals"])
def test_a_deal_that_was_created_is_listed(portal: Portal, caller: Caller, path: str) -> None:
    answer = caller.post(path, ONE)

    assert answer.status_code == 201, answer.text
    assert answer.json()["properties"]["dealname"] == "New"
    assert int(answer.json()["id"]) in portal.live_ids()


def test_a_batch_is_created_whole(portal: Portal, caller: Caller) -> None:
    answer = caller.post(f"{DEALS}/batch/create", {"inputs": [ONE, ONE]})

    assert answer.status_code == 201, answer.text
    assert len(portal.live_ids()) == 4


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        pytest.param({"no_such": "x"}, "PROPERTY_DOESNT_EXIST", id="unknown property"),
        pytest.param({"hs_object_id": "7"}, "READ_ONLY_VALUE", id="read-only property"),
        pytest.param({"amount": "many"}, "INVALID_DOUBLE", id="no number"),
        pytest.param({"dealstage": "lost and found"}, "INVALID_OPTION", id="no such stage"),
        pytest.param({"pipeline": "oil"}, "INVALID_OPTION", id="no such pipeline"),
    ],
)
def test_nothing_of_a_batch_is_created_if_one_can_not_be(
    portal: Portal, caller: Caller, properties: dict[str, str], code: str
) -> None:
    answer = caller.post(f"{DEALS}/batch/create", {"inputs": [ONE, {"properties": properties}]})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == code
    assert len(portal.live_ids()) == 2


def test_writing_needs_its_own_scope(portal: Portal, caller: Caller) -> None:
    portal.tokens[0].scopes = ALL_SCOPES

    answer = caller.post(f"{DEALS}/batch/create", {"inputs": [ONE]})

    assert answer.status_code == 403
    assert DEALS_WRITE in answer.text
