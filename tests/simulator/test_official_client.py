"""HubSpot's own client package reads the simulator."""

import json
from types import ModuleType
from typing import Any

import pytest
from hubspot.crm import deals as hubspot_deals  # type: ignore[import-untyped]
from hubspot.crm import owners as hubspot_owners
from hubspot.crm import pipelines as hubspot_pipelines
from hubspot.crm import properties as hubspot_properties
from hubspot.crm.associations import v4 as hubspot_associations  # type: ignore[import-untyped]
from hubspot.crm.deals.exceptions import ApiException  # type: ignore[import-untyped]

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.simulator.caller import TOKEN


def api(simulator: HubSpotSimulator, module: ModuleType, name: str, token: str = TOKEN) -> Any:
    """Return one of the package's API classes, pointed at the simulator."""
    configuration = module.Configuration(host=simulator.base_url)
    configuration.access_token = token
    return getattr(module, name)(module.ApiClient(configuration))


def test_it_walks_a_list_with_histories_and_associations(simulator: HubSpotSimulator) -> None:
    portal = simulator.add(portals.generated(deals=120, associations=True))
    basic = api(simulator, hubspot_deals, "BasicApi")
    found, after = [], None

    while True:
        page = basic.get_page(
            limit=50,
            after=after,
            properties=["amount"],
            properties_with_history=["dealstage"],
            associations=["companies", "contacts"],
        )
        found += page.results
        if page.paging is None:
            break
        after = page.paging.next.after

    assert [int(deal.id) for deal in found] == portal.live_ids()
    assert found[0].properties_with_history["dealstage"][0].source_type == "CRM_UI"
    assert len(found[0].associations["companies"].results) == 2


def test_it_reads_archived_deals(simulator: HubSpotSimulator, portal: Portal) -> None:
    basic = api(simulator, hubspot_deals, "BasicApi")

    page = basic.get_page(limit=100, archived=True)
    deal = basic.get_by_id(page.results[0].id, archived=True)

    assert [int(found.id) for found in page.results] == portal.archived_ids()
    assert deal.archived_at.year == 2025


def test_it_reads_batches(simulator: HubSpotSimulator, portal: Portal) -> None:
    ids = [str(deal_id) for deal_id in portal.live_ids()[:3]]
    body = hubspot_deals.BatchReadInputSimplePublicObjectId(
        inputs=[{"id": deal_id} for deal_id in [*ids, "1"]],
        properties=["amount"],
        properties_with_history=[],
    )

    batch = api(simulator, hubspot_deals, "BatchApi").read(body)

    assert {deal.id for deal in batch.results} == set(ids)
    assert batch.errors[0].context == {"ids": ["1"]}


@pytest.mark.usefixtures("portal")
def test_it_searches(simulator: HubSpotSimulator) -> None:
    request = hubspot_deals.PublicObjectSearchRequest(
        limit=7,
        sorts=[{"propertyName": "hs_object_id", "direction": "DESCENDING"}],
        filter_groups=[
            {"filters": [{"propertyName": "amount", "operator": "GT", "value": "5000"}]}
        ],
    )

    found = api(simulator, hubspot_deals, "SearchApi").do_search(request)

    assert 7 < found.total < 250
    assert all(float(deal.properties["amount"]) > 5_000 for deal in found.results)
    assert found.paging.next.after == "7"


def test_it_reads_definitions_pipelines_and_owners(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    definitions = api(simulator, hubspot_properties, "CoreApi").get_all("deals")
    pipelines = api(simulator, hubspot_pipelines, "PipelinesApi").get_all("deals")
    owners = api(simulator, hubspot_owners, "OwnersApi").get_page()

    assert {definition.name for definition in definitions.results} == set(portal.definitions)
    assert pipelines.results[0].stages[5].metadata == {"isClosed": "true", "probability": "1.0"}
    assert owners.results[0].id == "96000001"


def test_it_reads_associations(simulator: HubSpotSimulator) -> None:
    portal = simulator.add(portals.generated(deals=3, associations=True))
    body = hubspot_associations.BatchInputPublicFetchAssociationsBatchRequest(
        inputs=[{"id": str(deal_id)} for deal_id in portal.deals]
    )

    batch = api(simulator, hubspot_associations, "BatchApi").get_page("deals", "companies", body)

    assert len(batch.results) == 2
    assert [kind.label for kind in batch.results[0].to[0].association_types] == ["Primary", None]
    assert batch.errors[0].sub_category == "crm.associations.NO_ASSOCIATIONS_FOUND"


@pytest.mark.usefixtures("portal")
def test_it_understands_errors(simulator: HubSpotSimulator) -> None:
    with pytest.raises(ApiException) as caught:
        api(simulator, hubspot_deals, "BasicApi", token="wrong").get_page()

    assert caught.value.status == 401
    assert json.loads(caught.value.body)["category"] == "INVALID_AUTHENTICATION"
