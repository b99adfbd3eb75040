"""Properties that some scans did not ask for: their values are read once they are asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import ContractError
from include.scan import Window
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, portals
from tests.hubspot_simulator.definitions import definition
from tests.support.scans import BARE, object_row, query, run, scan, scan_row

pytestmark = pytest.mark.slow


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=20)
    serve(acme=portal)
    return portal


def run_with(run_id: str, *properties: str, **settings: Any) -> str:
    """Scan; return how deals were read."""
    listed: dict[str, Any] = {"properties": list(properties)} if properties else {}
    return run(scan(run_id, search_lag_s=0, objects=BARE, **{**listed, **settings}))["mode"]


def add_property(portal: Portal, name: str, created_at: datetime | None = None) -> None:
    moment = (created_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    added = definition(name, "number", "number", False)
    portal.definitions[name] = {**added, "createdAt": moment}


def held(warehouse: Warehouse, name: str) -> set[str]:
    rows = query(warehouse, "select properties ->> %s as value from deals", name)
    return {row["value"] for row in rows} - {None}


def test_a_property_that_was_filled_in_before_the_tenant_asked_for_it_is_read(
    warehouse: Warehouse, portal: Portal
) -> None:
    run_with("1", "amount")
    add_property(portal, "size")
    portal.update(portal.live_ids()[0], size="9")
    run_with("2", "amount")

    run_with("3", "amount", "size")

    assert held(warehouse, "size") == {"9"}


def test_a_property_that_is_new_to_the_account_needs_no_full_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    run_with("1")
    add_property(portal, "size")
    portal.update(portal.live_ids()[0], size="9")

    modes = [run_with("2"), run_with("3")]

    assert modes == ["incremental", "incremental"]
    assert held(warehouse, "size") == {"9"}


@pytest.mark.parametrize("new", [False, True], ids=["old", "new since the last full scan"])
def test_a_property_that_was_not_asked_for_meanwhile_is_read_again(
    warehouse: Warehouse, portal: Portal, new: bool
) -> None:
    if new:
        run_with("1", "amount")
        add_property(portal, "size")
    else:
        add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    for deal_id in portal.live_ids():
        portal.update(deal_id, size=str(deal_id))
    run_with("2", "amount", "size")
    changed = portal.live_ids()[0]
    portal.update(changed, amount="77")
    run_with("3", "amount")
    without = held(warehouse, "size")

    run_with("4", "amount", "size")

    assert str(changed) not in without
    assert held(warehouse, "size") == set(map(str, portal.live_ids()))
    assert run_with("5", "amount", "size") == "incremental"


def test_a_property_that_hubspot_hid_for_a_while_is_read_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    changed = portal.live_ids()[0]
    portal.update(changed, size="9")
    run_with("1")
    hidden = portal.definitions.pop("size")
    portal.update(changed, amount="77")
    run_with("2")
    portal.definitions["size"] = hidden

    run_with("3")

    assert held(warehouse, "size") == {"9"}


def test_a_window_that_did_not_ask_for_a_property_is_a_reason_to_read_it_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    changed = portal.live_ids()[0]
    portal.update(changed, size="9")
    run_with("1", "amount", "size")
    portal.drift(changed, amount="77")
    now = datetime.now(UTC)
    window = Window(now - timedelta(minutes=5), now)
    run_with("2", "amount", window=window)

    run_with("3", "amount", "size")

    assert held(warehouse, "size") == {"9"}


def test_a_property_that_hubspot_did_not_show_when_it_was_asked_for_is_read_when_it_does(
    warehouse: Warehouse, portal: Portal
) -> None:
    add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    portal.update(portal.live_ids()[0], size="9")
    hidden = portal.definitions.pop("size")
    run_with("1", "amount", "size")
    portal.definitions["size"] = hidden

    run_with("2", "amount", "size")

    assert held(warehouse, "size") == {"9"}
    assert "size" not in object_row(warehouse, scan("1"))["properties_asked"]


def test_a_token_that_may_not_read_a_sensitive_property_for_a_while_loses_no_value(
    warehouse: Warehouse, portal: Portal
) -> None:
    (token,) = portal.tokens
    less, more = token.scopes, (*token.scopes, "crm.objects.deals.sensitive.read.v2")
    add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    portal.definitions["size"]["dataSensitivity"] = "sensitive"
    changed = portal.live_ids()[0]
    portal.update(changed, size="9")
    # so long that the second scan would not read the definitions again
    settings: dict[str, Any] = {"refresh_after_s": 3_600, "search_lag_s": 3_600, "objects": BARE}
    token.scopes = more
    run(scan("1", **settings))
    token.scopes = less
    portal.update(changed, amount="77")
    run(scan("2", **settings))
    token.scopes = more
    query(warehouse, "update scan_objects set watermark = now() returning 1")
    query(warehouse, "update freshness set read_at = read_at - interval '2 hours' returning 1")

    third = run(scan("3", **settings))

    assert third["reason"] == "properties not read before: size"
    assert held(warehouse, "size") == {"9"}


def test_stored_definitions_that_the_token_may_not_read_are_not_asked_for(
    warehouse: Warehouse, portal: Portal
) -> None:
    (token,) = portal.tokens
    less, more = token.scopes, (*token.scopes, "crm.objects.deals.sensitive.read.v2")
    add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    portal.definitions["size"]["dataSensitivity"] = "sensitive"
    portal.update(portal.live_ids()[0], size="9")
    token.scopes = more
    run_with("1")
    token.scopes = less
    portal.faults = [Fault("403", endpoint="properties", count=None)]
    run(scan("2", mode="full", search_lag_s=0, objects=BARE))
    portal.faults = []
    token.scopes = more

    run_with("3")

    assert held(warehouse, "size") == {"9"}


@pytest.fixture
def taken_away(warehouse: Warehouse, portal: Portal) -> Portal:
    """An account whose property `size` was read, and removed by run 2, which asked for another."""
    for name in ("size", "weight"):
        add_property(portal, name, datetime(2020, 1, 1, tzinfo=UTC))
        portal.update(portal.live_ids()[0], **{name: "9"})
    run_with("1", "size")
    run_with("2", "weight")
    return portal


@pytest.mark.usefixtures("taken_away")
def test_a_run_that_is_cleared_after_its_properties_were_corrected_reads_them_all(
    warehouse: Warehouse,
) -> None:
    run_with("2", "size")

    assert held(warehouse, "size") == {"9"}


def test_the_run_is_known_to_have_taken_properties_away_even_if_it_does_not_end(
    warehouse: Warehouse, taken_away: Portal
) -> None:
    again = scan("2", search_lag_s=0, objects=BARE, properties=["size"])
    taken_away.faults = [Fault("404", endpoint="list", count=None)]
    with pytest.raises(ContractError):
        run(again)
    taken_away.faults = []

    run_with("3", "size")

    assert held(warehouse, "size") == {"9"}


@pytest.mark.parametrize("scanned_without", [False, True])
def test_rows_do_not_keep_a_deleted_propertys_values_under_the_name_of_a_new_one(
    warehouse: Warehouse, portal: Portal, scanned_without: bool
) -> None:
    first, second = portal.live_ids()[:2]
    add_property(portal, "size", datetime(2020, 1, 1, tzinfo=UTC))
    portal.update(first, size="9")
    portal.update(second, size="9")
    run_with("1")
    # no modification time moves
    for deal_id in (first, second):
        portal.drift(deal_id, size=None)
    del portal.definitions["size"]
    if scanned_without:
        run_with("2")
    add_property(portal, "size")
    portal.update(first, size="10")

    modes = [run_with("3"), run_with("4")]

    assert held(warehouse, "size") == {"10"}
    assert modes == ["full", "incremental"]


def test_a_name_that_hubspot_does_not_define_is_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    run_with("1", "descripton", "amount")

    (warning,) = scan_row(warehouse, scan("1"))["warnings"]
    assert warning.startswith("deals: HubSpot defines no property descripton: ")
