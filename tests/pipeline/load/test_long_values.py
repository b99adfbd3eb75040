"""Scans of an account whose values are as long as HubSpot allows, or longer."""

import time

import pytest

from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import portals
from tests.support.scans import assert_equals_the_portal, query, run, scan, scan_row
from tests.support.waiting import until
from tests.warehouse.test_limits_of_values import LONG

pytestmark = pytest.mark.slow


def test_a_scan_holds_what_fits_and_says_what_does_not(warehouse: Warehouse, serve: Serve) -> None:
    portal = portals.generated(deals=12, associations=True)
    serve(acme=portal)
    deal_id, *others = portal.live_ids()
    portal.owners[0]["id"] = LONG
    portal.owners[1]["userId"] = 2**63 - 1
    portal.pipelines[0]["displayOrder"] = 2**40
    portal.pipelines.append({**portal.pipelines[0], "id": LONG})
    names = ("hubspot_owner_id", "dealstage", "pipeline", "dealname", "dealtype", "closedate")
    portal.update(deal_id, **dict.fromkeys(names, LONG))
    portal.update(others[0], amount="9" * 65_536, hs_priority=LONG)

    first, second = scan("1", search_lag_s=0), scan("2", search_lag_s=0)
    # HubSpot states its time in whole seconds: what was modified in the second in which the first
    # scan begins would be read again by the second scan.
    modified_at = int(time.time())
    until(lambda: int(time.time()) > modified_at, "the next second")
    run(first)
    portal.update(others[1], hubspot_owner_id=LONG[:9_000])
    run(second)

    assert_equals_the_portal(warehouse, portal)
    row = scan_row(warehouse, first)
    columns = {"owner_id", "stage_id", "pipeline_id", "close_date", "amount"}
    assert row["misfits"] == dict.fromkeys(columns, 1)
    of_pipeline, of_owner = row["warnings"]
    assert of_pipeline.startswith("the pipeline with the key")
    assert of_owner.startswith("owners: an entry was left out")
    assert scan_row(warehouse, second)["misfits"]["owner_id"] == 1
    assert query(warehouse, "select from owners where owner_id = %s", LONG) == []
