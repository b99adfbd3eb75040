"""`make seed-test-deals`: five deals in a HubSpot test account, to try the pipeline on.

The only command of this project that writes to HubSpot. It recognises its deals by their
description in the list of live deals, because search lags behind.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from include.errors import HubSpotUnavailableError, ScopeMissingError
from include.hubspot import endpoints
from include.hubspot.answers import Account, Page, Pipeline, decode_page
from include.hubspot.client import HubSpotClient
from include.hubspot.hook import HubSpotHook
from include.ops.local.checks import REQUEST_TIMEOUT_S
from include.ops.local.processes import LocalError

MARK: Final = "Made by `make seed-test-deals` to try the pipeline on; delete it when you like."
#: Name, stage, amount, close date: as in the demo's tenant acme.
TEST_DEALS: Final = (
    ("Starter package", "qualifiedtobuy", "5000", "2027-01-29"),
    ("Team rollout", "presentationscheduled", "25000", "2027-02-26"),
    ("Regional licence", "closedwon", "50000", "2026-10-30"),
    ("Platform migration", "closedlost", "75000", "2026-09-30"),
    ("Enterprise agreement", "contractsent", "100000", "2027-03-31"),
)
TEST_ACCOUNT_TYPES: Final = frozenset({"DEVELOPER_TEST", "SANDBOX", "APP_DEVELOPER"})
MAY_NOT_WRITE: Final = (
    f"The token lacks the scope {endpoints.DEALS_WRITE_SCOPE}: nothing was created."
)
ADD_THE_SCOPE: Final = (
    "Add it temporarily to the service key or private app in HubSpot; scans need only "
    "crm.objects.deals.read."
)


def seed_test_deals(tenant_id: str, agreed: Callable[[Account], bool]) -> list[str]:
    """Create the missing ones of the five deals; return the ids of the created ones.

    Raises LocalError, before anything is written, if the token lacks the scope or the user does not
    agree, and the errors of `HubSpotHook`.

    :param tenant_id: whose connection is used.
    :param agreed: asks the user before writing to an account that is not a test account.
    """
    # no retries, which could create a deal twice
    client = HubSpotHook(f"hubspot_{tenant_id}").get_conn(
        retry_timeout_s=0, timeout_s=REQUEST_TIMEOUT_S
    )
    account = client.account()
    info = client.token_info()
    if info is not None and endpoints.DEALS_WRITE_SCOPE not in info.scopes:
        raise LocalError(MAY_NOT_WRITE, ADD_THE_SCOPE)
    present = dict(_present(client))
    for name, deal_id in present.items():
        print(f"  = {name}: exists, {deal_id}")
    missing = [deal for deal in TEST_DEALS if deal[0] not in present]
    if not missing:
        print(f"HubSpot account {account.portal_id} has all five test deals.")
        return []
    if account.account_type not in TEST_ACCOUNT_TYPES and not agreed(account):
        raise LocalError("Nothing was created.", "To create the deals without a question: YES=1")
    pipelines = client.pipelines("deals")
    created = _create(client, [_properties(deal, pipelines) for deal in missing])
    for name, deal_id in created.items():
        print(f"  + {name}: created, {deal_id}")
    print(f"HubSpot account {account.portal_id}: {len(created)} test deals created.")
    return list(created.values())


def _present(client: HubSpotClient) -> Iterator[tuple[str, str]]:
    """Yield (name, id) of the test deals that are live."""
    after: str | None = ""
    while after is not None:
        listed = client.record_page(
            "deals", ["dealname", "description"], after or None, archived=False
        )
        for record in listed.page.results:
            properties = msgspec.json.decode(record.properties)
            if properties.get("description") == MARK:
                yield properties["dealname"], record.id
        after = listed.after


def _properties(deal: tuple[str, str, str, str], pipelines: list[Pipeline]) -> dict[str, str]:
    """Return a deal's properties; the first stage replaces one that the account does not have."""
    name, stage_id, amount, closes_on = deal
    pipeline = next((found for found in pipelines if found.id == "default"), pipelines[0])
    stage_ids = [stage.id for stage in pipeline.stages or ()]
    return {
        "dealname": name,
        "pipeline": pipeline.id,
        "dealstage": stage_id if stage_id in stage_ids else stage_ids[0],
        "amount": amount,
        "closedate": f"{closes_on}T12:00:00.000Z",
        "description": MARK,
    }


def _create(client: HubSpotClient, deals: list[dict[str, str]]) -> dict[str, str]:
    """Create deals in one request; return name → id."""
    path = endpoints.create_path(client.api_version, "deals")
    inputs = [{"properties": properties, "associations": []} for properties in deals]
    try:
        page: Page = client.transport.call("POST", path, decode_page, json={"inputs": inputs})
    except ScopeMissingError:
        raise LocalError(MAY_NOT_WRITE, ADD_THE_SCOPE) from None
    if page.errors:
        raise HubSpotUnavailableError(
            f"HubSpot created {len(page.results)} of {len(deals)} deals: "
            f"{page.errors[0].category} {page.errors[0].message[:200]!r}.",
            remedy="Look at them in HubSpot, then run the command again.",
        )
    return {
        msgspec.json.decode(record.properties)["dealname"]: record.id for record in page.results
    }
