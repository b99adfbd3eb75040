"""Scans after the first: what changed since is read, and nothing else; and nothing is missed."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include.errors import HubSpotUnavailableError, QualityError
from include.hubspot.http import Transport
from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import extract_deals
from include.pipeline.load.dlt_loader import DltLoader
from include.pipeline.validate_token import validate_token
from include.scan import Window
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
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

Change = Callable[[Portal], object]


pytestmark = pytest.mark.slow


@pytest.fixture
def portal(serve: Serve) -> Portal:
    """An account of 120 live and 30 archived deals, with calculated values."""
    portal = portals.generated(deals=120, archived=30)
    serve(acme=portal)
    return portal


def modified_at(portal: Portal, moments: list[datetime]) -> None:
    """Give the deals these modification times, in turn."""
    for number, deal in enumerate(portal.deals.values()):
        moment = moments[number % len(moments)].strftime("%Y-%m-%dT%H:%M:%S.000Z")
        deal.updated_at = moment
        deal.properties["hs_lastmodifieddate"] = moment
        portal.records.changed(deal)


def live(portal: Portal, position: int = 0) -> int:
    return portal.live_ids()[position]


def test_the_first_scan_is_full_and_the_second_reads_only_what_changed(
    warehouse: Warehouse, portal: Portal
) -> None:
    first = run(scan("1", search_lag_s=0, objects=BARE))
    lists_before, changed = portal.requests["list"], live(portal)
    portal.update(changed, amount="77")

    second = run(scan("2", search_lag_s=0, objects=BARE))

    assert (first["mode"], first["reason"]) == ("full", "there was no successful full scan before")
    assert (second["mode"], second["deals_written"]) == ("incremental", 1)
    assert portal.requests["list"] - lists_before == 1, "only the list of the archived"
    assert second["window_start"] == object_row(warehouse, scan("1"))["watermark"].isoformat()
    assert_equals_the_portal(warehouse, portal)


@pytest.fixture
def empty_accounts(serve: Serve) -> None:
    """Of two tenants, acme and globex."""
    serve(
        acme=portals.generated(7, "token-of-acme", deals=0),
        globex=portals.generated(8, "token-of-globex", deals=0),
    )


@pytest.mark.usefixtures("empty_accounts")
def test_a_first_scan_is_full_whatever_other_tenants_have_scanned() -> None:
    run(scan("1", "acme", objects=BARE))

    first = run(scan("1", "globex", objects=BARE))

    assert (first["mode"], first["reason"]) == ("full", "there was no successful full scan before")


@pytest.mark.usefixtures("empty_accounts")
def test_a_scan_begins_at_the_watermark_of_its_tenant(warehouse: Warehouse) -> None:
    run(scan("1", "globex", objects=BARE))
    run(scan("1", "acme", objects=BARE))

    second = run(scan("2", "globex", objects=BARE))

    watermark = object_row(warehouse, scan("1", "globex"))["watermark"]
    assert second["window_start"] == watermark.isoformat()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: p.create(dealname="new"), id="created"),
        pytest.param(lambda p: p.update(live(p), amount="1.5"), id="updated"),
        pytest.param(lambda p: p.archive(live(p)), id="archived"),
        pytest.param(lambda p: p.restore(p.archived_ids()[0]), id="restored"),
        pytest.param(lambda p: p.purge(p.archived_ids()[0]), id="archived 90 days ago"),
        pytest.param(lambda p: p.merge(live(p, 1), live(p, 2)), id="merged into a new one"),
        pytest.param(
            lambda p: p.merge(live(p, 1), live(p, 2), survivor="primary"),
            id="merged into the first",
        ),
        pytest.param(lambda p: p.purge(live(p)), id="gone without a trace"),
        pytest.param(
            lambda p: (p.archive(live(p, 3)), p.purge(p.archived_ids()[0])),
            id="one archived, another one purged",
        ),
        pytest.param(
            lambda p: p.merge(p.merge(live(p, 1), live(p, 2)).id, live(p, 3)), id="merged twice"
        ),
        pytest.param(
            lambda p: (p.update(live(p), amount="2"), p.archive(live(p))), id="updated and archived"
        ),
    ],
)
def test_whatever_happened_the_next_scan_finds_it(
    warehouse: Warehouse, portal: Portal, change: Change
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    change(portal)

    second = run(scan("2", search_lag_s=0, objects=BARE))

    assert second["mode"] == "incremental"
    assert_equals_the_portal(warehouse, portal)


def test_no_row_is_ever_deleted(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    before = set(portal.deals)
    gone, archived = live(portal), portal.archived_ids()[0]
    one, other = live(portal, 1), live(portal, 2)
    portal.purge(gone)
    portal.purge(archived)
    merged = portal.merge(one, other)

    run(scan("2", search_lag_s=0, objects=BARE))

    rows = {row["deal_id"]: row for row in query(warehouse, "select * from deals")}
    started_at = scan_row(warehouse, scan("2"))["extraction_started_at"]
    assert set(rows) == before | {merged.id}
    assert rows[gone]["vanished_at"] == rows[archived]["vanished_at"] == started_at
    assert rows[one]["merged_into_deal_id"] == rows[other]["merged_into_deal_id"] == merged.id
    found = object_row(warehouse, scan("2"))
    assert (found["vanished"], found["merged"]) == (2, 2)


def test_a_restored_deal_is_live_again_and_counted(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    restored = portal.archived_ids()[3]
    portal.restore(restored)

    run(scan("2", search_lag_s=0, objects=BARE))

    (row,) = query(warehouse, "select * from deals where deal_id = %s", restored)
    assert (row["archived"], row["archived_at"]) == (False, None)
    assert object_row(warehouse, scan("2"))["restored"] == 1


def test_a_deal_that_comes_back_is_no_longer_vanished(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    gone = portal.deals[live(portal)]
    portal.purge(gone.id)
    run(scan("2", mode="full", search_lag_s=0, objects=BARE))
    portal.add(gone)

    run(scan("3", mode="full", search_lag_s=0, objects=BARE))

    assert query(warehouse, "select from deals where vanished_at is not null") == []
    assert_equals_the_portal(warehouse, portal)


def test_a_scan_that_was_not_checked_does_not_move_the_watermark(
    warehouse: Warehouse, portal: Portal
) -> None:
    first = run(scan("1", search_lag_s=0, objects=BARE))
    changed = live(portal)
    portal.update(changed, amount="5")
    validate_token(scan("2", search_lag_s=0, objects=BARE))
    extract_deals(scan("2", search_lag_s=0, objects=BARE), PAGES)

    third = run(scan("3", search_lag_s=0, objects=BARE))

    assert first["window_start"] is None
    assert third["window_start"] == object_row(warehouse, scan("1"))["watermark"].isoformat()


def test_a_failed_quality_check_does_not_move_the_watermark(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    portal.update(live(portal), hs_lastmodifieddate="2030-01-01T00:00:00.000Z")
    deal = portal.deals[live(portal)]
    deal.updated_at = "2030-01-01T00:00:00.000Z"
    portal.records.changed(deal)
    with pytest.raises(QualityError, match="modified_not_in_the_future"):
        run(scan("2", search_lag_s=0, objects=BARE))
    portal.update(deal.id, amount="1")

    with warehouse.connect() as connection:
        connection.execute(
            f"update {warehouse.schema}.deals set updated_at = null where deal_id = %s", [deal.id]
        )
    third = run(scan("3", search_lag_s=0, objects=BARE))

    assert third["window_start"] == object_row(warehouse, scan("1"))["watermark"].isoformat()
    assert_equals_the_portal(warehouse, portal)


def test_a_change_that_search_shows_late_is_read_by_a_later_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=60, objects=BARE))
    late, prompt = live(portal), live(portal, 1)
    portal.index_lag_s = 1_000.0
    portal.update(late, amount="4711")
    portal.index_lag_s = 0.0
    portal.update(prompt, amount="4712")

    run(scan("2", search_lag_s=60, objects=BARE))
    amounts_before = amounts(warehouse)
    portal.deals[late].indexed_at = 0.0
    run(scan("3", search_lag_s=60, objects=BARE))

    assert amounts_before[prompt] == "4712", "what is visible is loaded at once"
    assert amounts_before[late] != "4711"
    assert amounts(warehouse)[late] == "4711"


def amounts(warehouse: Warehouse) -> dict[int, str | None]:
    rows = query(warehouse, "select deal_id, properties ->> 'amount' as amount from deals")
    return {row["deal_id"]: row["amount"] for row in rows}


def test_the_watermark_stays_the_search_lag_behind(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=900, objects=BARE))

    started_at = scan_row(warehouse, scan("1"))["extraction_started_at"]
    assert object_row(warehouse, scan("1"))["watermark"] == started_at - timedelta(minutes=15)


def test_a_clock_ahead_of_hubspots_does_not_move_the_watermark_past_unread_changes(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_behind = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    monkeypatch.setattr(Transport, "server_time", an_hour_behind)

    run(scan("1", search_lag_s=60, objects=BARE))

    watermark = object_row(warehouse, scan("1"))["watermark"]
    assert watermark == an_hour_behind - timedelta(seconds=60)
    (warning,) = scan_row(warehouse, scan("1"))["warnings"]
    assert "s ahead of HubSpot's" in warning
    assert portal.requests["list"] > 0


def test_a_full_scan_writes_drifted_values_and_leaves_the_other_rows_alone(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    drifted = live(portal)
    portal.drift(drifted, amount_in_home_currency="123.45")

    second = run(scan("2", mode="full", search_lag_s=0, objects=BARE))

    assert second["deals_written"] == 1
    rows = query(warehouse, "select _scan_id, count(*) from deals group by 1")
    assert {row["_scan_id"]: row["count"] for row in rows} == {
        scan("1").id: 149,
        scan("2").id: 1,
    }
    assert_equals_the_portal(warehouse, portal)


def test_a_new_calculated_property_is_a_reason_for_a_full_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    definition = portal.definitions.pop("days_to_close")
    run(scan("1", search_lag_s=0, objects=BARE))
    portal.definitions["days_to_close"] = definition

    second = run(scan("2", search_lag_s=0, objects=BARE))

    assert (second["mode"], second["reason"]) == (
        "full",
        "properties not read before: days_to_close",
    )
    assert_equals_the_portal(warehouse, portal)


def test_many_deals_with_one_modification_time_are_all_read(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=10_100, filled=3, requests_per_window=100_000)
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    modified_at(portal, [moment])
    serve(acme=portal)
    window = Window(moment, moment + timedelta(milliseconds=1))

    extracted = run(scan(window=window, objects=BARE))

    assert extracted["deals_loaded"] == 10_100
    assert_equals_the_portal(warehouse, portal)


def test_windows_together_give_the_same_table_as_one_full_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    days = [datetime(2026, 1, day, hour, tzinfo=UTC) for day in range(1, 6) for hour in (0, 7, 23)]
    modified_at(portal, days)

    for day in (3, 1, 5, 2, 4):
        start = datetime(2026, 1, day, tzinfo=UTC)
        window = Window(start, start + timedelta(days=1))
        extracted = run(scan(f"day {day}", window=window, objects=BARE))
        assert (extracted["mode"], extracted["reason"]) == ("window", "a window was requested")

    assert_equals_the_portal(warehouse, portal)
    by_windows = query(warehouse, "select deal_id, _content_hash, properties from deals order by 1")
    full = run(scan("full", mode="full", objects=BARE))
    assert full["deals_written"] == 0
    assert by_windows == query(
        warehouse, "select deal_id, _content_hash, properties from deals order by 1"
    )


def test_a_windows_bounds_are_start_included_and_end_excluded(
    warehouse: Warehouse, portal: Portal
) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    before, after = start - timedelta(seconds=1), end
    modified_at(portal, [before, start, end - timedelta(seconds=1), after])

    run(scan(window=Window(start, end), objects=BARE))

    rows = query(warehouse, "select distinct updated_at from deals where not archived order by 1")
    assert [row["updated_at"] for row in rows] == [start, end - timedelta(seconds=1)]


def test_a_window_does_not_move_the_watermark(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    changed = live(portal)
    portal.update(changed, amount="9")
    window = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))
    run(scan("backfill", window=window, search_lag_s=0, objects=BARE))

    third = run(scan("3", search_lag_s=0, objects=BARE))

    assert third["window_start"] == object_row(warehouse, scan("1"))["watermark"].isoformat()
    assert_equals_the_portal(warehouse, portal)


def test_a_scan_that_finds_nothing_passes(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))

    second = run(scan("2", search_lag_s=0, objects=BARE))

    assert (second["deals_written"], second["deals_extracted"]) == (0, 30), "the archived only"
    assert_equals_the_portal(warehouse, portal)


def test_a_scan_in_which_nothing_changed_does_without_dlt(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    monkeypatch.setitem(sys.modules, "include.pipeline.load.dlt_loader", None)

    second = run(scan("2", mode="full", objects=BARE))

    assert (second["deals_extracted"], second["deals_written"]) == (150, 0)


def test_only_records_that_changed_are_sent_to_postgresql(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scan("1", objects=BARE))
    portal.drift(live(portal), amount_in_home_currency="123.45")
    sent, load = [], DltLoader.load

    def recorded(loader: DltLoader, table: pa.Table, *rest: Any, **settings: Any) -> None:
        sent.append(table.num_rows)
        load(loader, table, *rest, **settings)

    monkeypatch.setattr(DltLoader, "load", recorded)

    run(scan("2", mode="full", objects=BARE))

    assert sent == [1]


def test_changes_during_three_scans_are_there_after_the_next(
    warehouse: Warehouse, portal: Portal
) -> None:
    with portal.mutating(changes_per_s=20, seed=5):
        for run_id in ("1", "2", "3"):
            what = scan(run_id, search_lag_s=2, objects=BARE)
            # On a busy machine, no two answers of a search may agree: then the task is retried.
            try:
                extracted = run(what)
            except HubSpotUnavailableError:
                extracted = run(what)
            assert extracted["deals_loaded"] > 0

    fourth = run(scan("4", search_lag_s=2, objects=BARE))

    assert fourth["mode"] == "incremental"
    # a change of calculated values shows nowhere: finding it takes a full scan
    assert_equals_the_portal(warehouse, portal, but="amount_in_home_currency")
    run(scan("5", mode="full", objects=BARE))
    assert_equals_the_portal(warehouse, portal)


def test_a_listing_that_breaks_off_marks_nothing_as_vanished(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=BARE))
    validate_token(scan("2", mode="full", objects=BARE))
    portal.after_list_request(2, lambda p: setattr(p.tokens[0], "state", "revoked"))

    with pytest.raises(Exception, match="refused the token"):
        extract_deals(scan("2", mode="full", objects=BARE), PAGES)

    assert query(warehouse, "select from deals where vanished_at is not null") == []
    assert scan_row(warehouse, scan("2"))["state"] == "failed"


def test_a_scan_cleared_after_another_one_still_proves_what_it_received(
    warehouse: Warehouse, portal: Portal
) -> None:
    first, second = scan("1", objects=BARE), scan("2", mode="full", objects=BARE)
    validate_token(first)
    extract_deals(first, PAGES)
    portal.drift(live(portal), amount_in_home_currency="1")
    run(second)

    assert check_quality(first)["passed"], "the other scan wrote what came later"


def test_an_incremental_scan_that_finds_nothing_sends_seven_requests(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=250, archived=30, associations=True)
    serve(acme=portal)
    run(scan("1", refresh_after_s=3_600))
    before = sum(portal.requests.values())

    second = run(scan("2", refresh_after_s=3_600))

    assert (second["mode"], second["deals_extracted"]) == ("incremental", 30)
    # the account twice, the token's scopes, what was modified (counted, then asked for), the
    # archived ones, the live count
    assert sum(portal.requests.values()) - before == 7


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("pipelines", lambda portal: portal.pipelines.append(portal.pipelines[0] | {"id": "new"})),
        ("owners", lambda portal: portal.owners.append(portal.owners[0] | {"id": "99"})),
    ],
)
def test_what_was_read_recently_is_read_again_only_by_a_full_scan(
    warehouse: Warehouse, portal: Portal, what: str, change: Change
) -> None:
    settings = {"search_lag_s": 0, "refresh_after_s": 3_600}
    run(scan("1", **settings))
    requests = portal.requests[what]
    change(portal)
    run(scan("2", **settings))
    assert portal.requests[what] == requests

    run(scan("3", mode="full", **settings))

    assert portal.requests[what] > requests


def test_a_full_scan_that_is_due_reads_again_what_was_read_recently(
    warehouse: Warehouse, portal: Portal
) -> None:
    settings = {"refresh_after_s": 3_600, "objects": {**BARE, "deal_associations": ["contacts"]}}
    run(scan("1", **settings))
    definitions, associations = portal.requests["properties"], portal.requests["associations"]
    query(
        warehouse,
        "update scans set extraction_started_at = extraction_started_at - interval '1 day'"
        " returning 1",
    )

    second = run(scan("2", full_scan_schedule="* * * * *", **settings))

    assert (second["mode"], second["reason"]) == ("full", "full_scan_schedule '* * * * *' is due")
    assert portal.requests["properties"] == 2 * definitions
    assert portal.requests["associations"] == 2 * associations


def test_definitions_that_are_not_kept_are_read_by_every_scan(portal: Portal) -> None:
    kept, not_kept = BARE, {**BARE, "deal_properties": False}
    run(scan("1", refresh_after_s=3_600, objects=kept))
    requests = portal.requests["properties"]

    run(scan("2", refresh_after_s=3_600, objects=not_kept))

    assert portal.requests["properties"] == 2 * requests


def test_a_property_is_known_before_what_was_filled_in_is_read_for_the_last_time(
    warehouse: Warehouse, portal: Portal
) -> None:
    settings = {"search_lag_s": 0, "refresh_after_s": 3_600, "objects": {"owners": False}}
    run(scan("1", **settings))
    portal.definitions["new_one"] = portal.definitions["dealname"] | {"name": "new_one"}
    portal.update(live(portal), new_one="filled in at once")
    run(scan("2", **settings))

    assert_equals_the_portal(warehouse, portal)


def test_listing_everything_is_chosen_when_most_of_it_was_modified(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=250, archived=30, requests_per_window=190)
    serve(acme=portal)
    run(scan("1", search_lag_s=0, objects=BARE))
    for deal_id in portal.live_ids()[:230]:
        portal.update(deal_id, amount="9.00")

    second = run(scan("2", search_lag_s=0, objects=BARE))

    assert second["mode"] == "full"
    assert "230 of 250 records were modified" in second["reason"]
    assert_equals_the_portal(warehouse, portal)


def test_an_incremental_scan_that_was_asked_for_never_lists_everything(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    for deal_id in portal.live_ids()[:230]:
        portal.update(deal_id, amount="9.00")

    second = run(scan("2", mode="incremental", search_lag_s=0, objects=BARE))

    assert second["mode"] == "incremental"
    assert_equals_the_portal(warehouse, portal)


def test_a_window_is_searched_even_if_listing_everything_were_quicker(portal: Portal) -> None:
    portal.requests_per_window = 190
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    modified_at(portal, [moment])

    extracted = run(scan(window=Window(moment, moment + timedelta(days=1)), objects=BARE))

    assert extracted["mode"] == "window"
    assert portal.requests["list"] == 1, "only the list of the archived"
