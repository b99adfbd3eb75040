from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.hubspot.answers import PropertyDefinition
from include.pipeline.plan import Plan, cheaper_plan, plan_scan
from include.scan import Window
from include.warehouse.checkpoints import AskedFor, Past
from tests.support.scans import scan

#: A Tuesday.
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
YESTERDAY = NOW - timedelta(days=1)
ASKED = (AskedFor(frozenset({"amount"}), YESTERDAY),)
PAST = Past(YESTERDAY, YESTERDAY, ASKED)
NOTHING = Past(None, None, ())


def plan(past: Past = PAST, definitions: tuple[PropertyDefinition, ...] = (), **asked: Any) -> Plan:
    names = ["amount", *(definition.name for definition in definitions)]
    return plan_scan(scan(**asked), past, NOW, names, definitions)


def test_the_first_scan_is_full() -> None:
    assert plan(NOTHING).mode == "full"
    assert plan(NOTHING, mode="incremental").mode == "full"


def test_later_ones_read_what_was_modified_since_the_watermark() -> None:
    found = plan()

    assert (found.mode, found.window_start, found.window_end) == ("incremental", YESTERDAY, None)


def test_the_next_watermark_is_the_search_lag_before_now() -> None:
    assert plan(search_lag_s=60).watermark == NOW - timedelta(seconds=60)
    assert plan(NOTHING, search_lag_s=60).watermark == NOW - timedelta(seconds=60)


def test_the_watermark_never_moves_backwards() -> None:
    past = Past(NOW - timedelta(seconds=5), YESTERDAY, ASKED)

    assert plan(past, search_lag_s=3_600).watermark == past.watermark


def test_a_full_scan_that_was_asked_for_needs_no_other_reason() -> None:
    assert plan(mode="full").mode == "full"


@pytest.mark.parametrize(
    ("last_full_at", "mode"),
    [
        pytest.param(NOW - timedelta(days=1), "incremental", id="after last Sunday"),
        pytest.param(NOW - timedelta(days=3), "full", id="before last Sunday"),
    ],
)
def test_a_full_scan_is_due_by_its_schedule(last_full_at: datetime, mode: str) -> None:
    past = Past(NOW, last_full_at, ASKED)

    assert plan(past, full_scan_schedule="0 0 * * 0").mode == mode


def test_the_full_scan_schedule_is_read_in_the_tenants_time_zone() -> None:
    # 23:30 on Monday in UTC is 00:30 on Tuesday in Berlin
    last_full_at = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    past = Past(NOW, last_full_at, ASKED)

    assert plan(past, full_scan_schedule="0 0 * * 2").mode == "full"
    assert plan(past, full_scan_schedule="0 0 * * 2", timezone="Europe/Berlin").mode == (
        "incremental"
    )


def test_without_a_full_scan_schedule_only_the_first_is_full() -> None:
    past = Past(NOW, NOW - timedelta(days=400), ASKED)

    assert plan(past, full_scan_schedule=None).mode == "incremental"


def test_an_incremental_scan_that_was_asked_for_ignores_the_full_schedule() -> None:
    past = Past(NOW, NOW - timedelta(days=400), ())

    assert plan(past, mode="incremental").mode == "incremental"


@pytest.mark.parametrize(
    ("definition", "mode"),
    [
        pytest.param(
            PropertyDefinition("new", created_at="2026-11-24T08:00:00Z"), "incremental", id="new"
        ),
        pytest.param(
            PropertyDefinition("score", calculated=True, created_at="2026-11-24T08:00:00Z"),
            "full",
            id="new but calculated",
        ),
        pytest.param(
            PropertyDefinition("old", created_at="2020-01-01T00:00:00Z"),
            "full",
            id="was there and not asked for",
        ),
        pytest.param(PropertyDefinition("builtin"), "full", id="of unknown age"),
        pytest.param(PropertyDefinition("odd", created_at="soon"), "full", id="no time at all"),
    ],
)
def test_properties_that_may_hold_unread_values_are_a_reason_for_a_full_scan(
    definition: PropertyDefinition, mode: str
) -> None:
    assert plan(definitions=(definition,)).mode == mode


def test_a_window_is_read_as_it_is_and_moves_nothing() -> None:
    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))

    found = plan(window=window)

    assert (found.mode, found.watermark) == ("window", None)
    assert (found.window_start, found.window_end) == (window.start, window.end)


@pytest.mark.parametrize(
    ("requests_per_s", "modified", "mode"),
    [
        pytest.param(19.0, 5_260, "incremental", id="190 in 10 s, half"),
        pytest.param(19.0, 5_270, "full", id="190 in 10 s, more"),
        pytest.param(10.0, 6_660, "incremental", id="100 in 10 s, two thirds"),
        pytest.param(10.0, 6_670, "full", id="100 in 10 s, more"),
    ],
)
def test_listing_is_cheaper_from_a_share_of_modified_records_on_that_depends_on_the_limit(
    requests_per_s: float, modified: int, mode: str
) -> None:
    found = cheaper_plan(replace(plan(), modified=modified), 10_000, requests_per_s)

    assert found.mode == mode


def test_pages_that_take_two_requests_make_listing_cheaper_later() -> None:
    modified = replace(plan(), modified=9_000)

    assert cheaper_plan(modified, 10_000, 19.0).mode == "full"
    assert cheaper_plan(modified, 10_000, 19.0, requests_a_page=2).mode == "incremental"
