"""Each scan compares the portal's count with the warehouse's, and resolves differences."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.errors import QualityError
from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.scan import Window
from include.warehouse.connection import Warehouse
from include.warehouse.scans import scan_facts
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, portals
from tests.support.scans import (
    BARE,
    PAGES,
    assert_equals_the_portal,
    object_row,
    query,
    run,
    scan,
    scan_row,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=130, archived=20)
    serve(acme=portal)
    return portal


def figures(warehouse: Warehouse, run_id: str) -> tuple[int, int, int, int]:
    row = object_row(warehouse, scan(run_id))
    return row["portal_live"], row["warehouse_live"], row["difference"], row["unexplained"]


def execute(warehouse: Warehouse, statement: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"set search_path to {warehouse.schema}")
        connection.execute(statement)


def test_the_figures_are_stored_on_the_scan(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))

    assert figures(warehouse, "1") == (130, 130, 0, 0)


def test_equal_counts_cost_one_request(portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    before = portal.requests["search"]

    run(scan("2", mode="full", search_lag_s=0, objects=BARE))

    assert portal.requests["search"] - before == 1


def test_a_row_lost_in_the_warehouse_is_noticed_and_read_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    execute(warehouse, f"delete from deals where deal_id = {portal.live_ids()[5]}")

    second = run(scan("2", search_lag_s=0, objects=BARE))

    assert second["mode"] == "incremental"
    assert figures(warehouse, "2") == (130, 130, 0, 0)
    assert_equals_the_portal(warehouse, portal)


def test_a_live_deal_gone_without_a_trace_is_noticed_by_an_incremental_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    gone = portal.live_ids()[5]
    portal.purge(gone)

    run(scan("2", search_lag_s=0, objects=BARE))

    assert figures(warehouse, "2") == (129, 129, 0, 0)
    (row,) = query(warehouse, "select vanished_at from deals where deal_id = %s", gone)
    assert row["vanished_at"] == scan_row(warehouse, scan("2"))["extraction_started_at"]


def test_a_deal_that_comes_back_unchanged_is_noticed_by_an_incremental_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    gone = portal.deals[portal.live_ids()[5]]
    portal.purge(gone.id)
    run(scan("2", search_lag_s=0, objects=BARE))
    portal.add(gone)

    third = run(scan("3", search_lag_s=0, objects=BARE))

    assert third["mode"] == "incremental"
    assert figures(warehouse, "3") == (130, 130, 0, 0)
    assert_equals_the_portal(warehouse, portal)


def test_changes_while_the_scan_runs_are_no_false_alarm(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    one, other, third = portal.live_ids()[:3]
    # answered are: the live list's two pages, the archived's one
    portal.after_list_request(3, lambda p: (p.archive(one), p.merge(other, third)))

    run(scan("2", mode="full", search_lag_s=0, objects=BARE))

    assert object_row(warehouse, scan("2"))["unexplained"] == 0
    assert_equals_the_portal(warehouse, portal)


def test_a_deal_that_changes_lists_while_both_are_read_is_not_lost(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    restored = portal.archived_ids()[-1]
    # after its place in the live list was passed, before the archived list is read
    portal.after_list_request(2, lambda p: p.restore(restored))

    run(scan("2", mode="full", search_lag_s=0, objects=BARE))

    (row,) = query(warehouse, "select * from deals where deal_id = %s", restored)
    assert (row["archived"], row["vanished_at"]) == (False, None)
    assert_equals_the_portal(warehouse, portal)


def test_a_difference_that_stays_blocks_the_scan(warehouse: Warehouse, portal: Portal) -> None:
    refused = portal.live_ids()[5]
    execute(
        warehouse,
        f"""
        create function refuse() returns trigger language plpgsql as $$
        begin return null; end $$;
        create trigger refuse before insert on deals for each row
            when (new.deal_id = {refused}) execute function refuse()
        """,
    )
    what = scan("1", search_lag_s=0, objects=BARE)
    validate_token(what)
    extract_deals(what, PAGES)

    with pytest.raises(QualityError, match=r"portal_count_is_explained = 1 \(at most 0") as caught:
        check_quality(what)

    assert "received_records_are_held = 1" in str(caught.value)
    assert figures(warehouse, "1") == (130, 129, 1, 1)


def test_deals_created_within_the_search_lag_are_not_compared(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.index_lag_s = 1_000.0
    portal.create(dealname="too new for search")

    run(scan("1", search_lag_s=600, objects=BARE))

    assert figures(warehouse, "1") == (130, 130, 0, 0)
    assert len(query(warehouse, "select from deals where not archived")) == 131
    assert scan_facts(warehouse, scan("1"))["deals_live"] == 131, "they are counted nevertheless"


def test_without_a_creation_property_all_records_are_compared(
    warehouse: Warehouse, portal: Portal
) -> None:
    del portal.definitions["createdate"]
    portal.create(dealname="created within the search lag")
    run(scan("1", search_lag_s=600, objects=BARE))
    gone = portal.live_ids()[-1]
    portal.purge(gone)

    run(scan("2", search_lag_s=600, objects=BARE))

    assert figures(warehouse, "1") == (131, 131, 0, 0)
    assert figures(warehouse, "2") == (130, 130, 0, 0)
    assert query(warehouse, "select deal_id from deals where vanished_at is not null") == [
        {"deal_id": gone}
    ]


def test_a_pair_that_equal_counts_hide_is_found_by_the_next_full_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    # one record too few, and another too many
    execute(warehouse, f"update deals set deal_id = 7 where deal_id = {portal.live_ids()[5]}")

    run(scan("2", search_lag_s=0, objects=BARE))
    hidden = query(warehouse, "select vanished_at from deals where deal_id = 7")
    searches = portal.requests["search"]
    run(scan("3", mode="full", search_lag_s=0, objects=BARE))

    assert figures(warehouse, "2") == (130, 130, 0, 0)
    assert hidden == [{"vanished_at": None}]
    # it was right before the counts were compared
    assert portal.requests["search"] - searches == 1
    assert_equals_the_portal(warehouse, portal)


def test_a_search_that_leaves_out_records_which_exist_is_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    portal.create(dealname="left out by search")
    nothing = json.dumps({"total": 0, "results": []}).encode()
    portal.add_fault(
        Fault(
            "rewritten", endpoint="search", count=None, rewrite=lambda a: replace(a, body=nothing)
        )
    )

    run(scan("2", search_lag_s=0, objects=BARE))

    (warning,) = scan_row(warehouse, scan("2"))["warnings"]
    assert "HubSpot's search finds 0 live records, but by their ids 130 exist" in warning

    portal.faults.clear()
    run(scan("3", search_lag_s=0, objects=BARE))

    assert_equals_the_portal(warehouse, portal)


def test_a_window_compares_nothing(warehouse: Warehouse, portal: Portal) -> None:
    window = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))
    run(scan("1", window=window, objects=BARE))

    assert object_row(warehouse, scan("1"))["portal_live"] is None
