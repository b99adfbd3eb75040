"""POST …/deals/batch/read, and associations."""

from typing import Any

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.simulator.caller import DEALS, Caller

BATCH = f"{DEALS}/batch/read"
COMPANIES = "/crm/v4/associations/deals/companies/batch/read"


def inputs(*ids: int) -> list[dict[str, str]]:
    return [{"id": str(deal_id)} for deal_id in ids]


def test_a_batch_answers_in_an_order_of_its_own(caller: Caller, portal: Portal) -> None:
    asked = portal.live_ids()[:100]

    answer = caller.post(BATCH, {"inputs": inputs(*asked), "properties": ["amount"]})

    ids = [int(deal["id"]) for deal in answer.json()["results"]]
    assert answer.status_code == 200
    assert ids != asked
    assert sorted(ids) == asked


def test_a_batch_with_missing_ids_is_207_and_names_them(caller: Caller, portal: Portal) -> None:
    first, archived = portal.live_ids()[0], portal.archived_ids()[0]

    answer = caller.post(BATCH, {"inputs": inputs(first, 1, archived)})

    document = answer.json()
    assert answer.status_code == 207
    assert [deal["id"] for deal in document["results"]] == [str(first)]
    assert document["numErrors"] == 1
    assert document["errors"][0]["context"]["ids"] == ["1", str(archived)]


def test_a_batch_of_archived_deals_has_to_say_so(caller: Caller, portal: Portal) -> None:
    archived = portal.archived_ids()[0]

    answer = caller.post(f"{BATCH}?archived=true", {"inputs": inputs(archived)})

    assert answer.status_code == 200
    assert answer.json()["results"][0]["archivedAt"]


@pytest.mark.parametrize(
    ("extra", "maximum"),
    [
        pytest.param({}, 100, id="values"),
        pytest.param({"propertiesWithHistory": ["amount"]}, 50, id="histories"),
    ],
)
def test_a_batch_can_be_too_large(
    caller: Caller, portal: Portal, extra: dict[str, Any], maximum: int
) -> None:
    ids = portal.live_ids()

    fits = caller.post(BATCH, {"inputs": inputs(*ids[:maximum]), **extra})
    too_large = caller.post(BATCH, {"inputs": inputs(*ids[: maximum + 1]), **extra})

    assert fits.status_code == 200
    assert too_large.status_code == 400
    assert f"is {maximum}." in too_large.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no inputs"),
        pytest.param({"inputs": []}, id="empty"),
        pytest.param({"inputs": [{"id": None}]}, id="null"),
        pytest.param({"inputs": [{"id": "x"}]}, id="text"),
        pytest.param({"inputs": ["1"]}, id="no object"),
        pytest.param([], id="a list"),
    ],
)
@pytest.mark.usefixtures("portal")
def test_a_bad_id_fails_the_whole_batch(caller: Caller, body: Any) -> None:
    assert caller.post(BATCH, body).status_code == 400


def test_associations_page_and_a_deal_without_any_is_a_207(caller: Caller, portal: Portal) -> None:
    first, second = portal.live_ids()[:2]
    portal.associations[first] = {"companies": [(n, 341, None) for n in range(150)]}

    answer = caller.post(COMPANIES, {"inputs": inputs(first, second)})

    (result,) = answer.json()["results"]
    after = result["paging"]["next"]["after"]
    rest = caller.post(COMPANIES, {"inputs": [{"id": str(first), "after": after}]})
    assert answer.status_code == 207
    assert answer.json()["errors"][0]["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert isinstance(result["to"][0]["toObjectId"], int)
    assert len(result["to"]) + len(rest.json()["results"][0]["to"]) == 150


@pytest.mark.parametrize(
    "path",
    [
        "/crm/v4/objects/deals/{}/associations/companies",
        "/crm/objects/2026-03/0-3/{}/associations/0-2",
    ],
)
def test_the_companies_of_one_deal_come_with_all_their_labels(
    caller: Caller, simulator: HubSpotSimulator, path: str
) -> None:
    portal = simulator.add(portals.generated(deals=1, associations=True))

    (company,) = caller.get(path.format(*portal.deals)).json()["results"]

    assert [entry["label"] for entry in company["associationTypes"]] == ["Primary", None]
