from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import ScanRequestError
from include.scan import Scan, Window, scan_id
from include.tenants import Tenant

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Run:
    """An Airflow run as a task sees it."""

    run_type: Any = "manual"
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    start_date: datetime | None = None
    run_id: str = "run"


def scan_of(run: Run | None = None, **params: Any) -> Scan:
    return Scan.of_run(Tenant(id="acme"), run or Run(), params, now=NOW)


def test_a_scan_id_depends_on_dag_and_run_only() -> None:
    once = scan_id("hubspot_deals__acme", "manual__1")

    assert once == scan_id("hubspot_deals__acme", "manual__1")
    assert once != scan_id("hubspot_deals__acme", "manual__2")
    assert once != scan_id("hubspot_deals__globex", "manual__1")


def test_without_params_a_run_reads_what_is_due() -> None:
    assert (scan_of().mode, scan_of().window) == ("auto", None)


@pytest.mark.parametrize(
    "start",
    ["2026-01-05T01:00:00+01:00", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00", "2026-01-05"],
)
def test_a_window_may_be_written_in_any_zone_and_is_utc_without_one(start: str) -> None:
    window = scan_of(window_start=start, window_end="2026-01-06T00:00:00Z").window

    assert window == Window(datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC))


def test_an_end_left_out_or_ahead_is_now() -> None:
    assert scan_of(window_start="2026-01-05").window == Window(
        datetime(2026, 1, 5, tzinfo=UTC), NOW
    )
    assert scan_of(window_start="2026-01-05", window_end="2027-01-01").window == Window(
        datetime(2026, 1, 5, tzinfo=UTC), NOW
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        pytest.param({"window_start": "yesterday"}, "window_start is 'yesterday'", id="no time"),
        pytest.param(
            {"window_start": "0001-01-01T00:00:00+14:00"}, "not a date", id="before the year 1"
        ),
        pytest.param(
            {"window_start": "2026-01-01", "window_end": "9999-12-31T23:59:59-14:00"},
            "window_end is '9999-12-31T23:59:59-14:00', which is not a date",
            id="after the year 9999",
        ),
        pytest.param({"window_start": 5}, "window_start is '5'", id="a number"),
        pytest.param({"window_end": "2026-01-01"}, "without window_start", id="end alone"),
        pytest.param(
            {"window_start": "2026-01-02", "window_end": "2026-01-01"}, "not before", id="turned"
        ),
        pytest.param(
            {"window_start": "2026-01-01", "window_end": "2026-01-01"}, "not before", id="empty"
        ),
        pytest.param({"window_start": "2026-12-01"}, "in the future", id="future"),
        pytest.param(
            {"mode": "full", "window_start": "2026-01-01"}, "a full scan has no window", id="full"
        ),
        pytest.param(
            {"mode": "incremental", "rewrite_rows": True}, "rewrite_rows needs a full", id="some"
        ),
        pytest.param(
            {"rewrite_rows": True, "window_start": "2026-01-01"}, "a window is given", id="window"
        ),
    ],
)
def test_a_request_that_makes_no_sense_says_what_is_wrong(
    params: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScanRequestError) as caught:
        scan_of(**params)

    assert str(caught.value).startswith("tenant acme: ")
    assert said in str(caught.value)
    assert "Nothing was read." in str(caught.value)
    assert str(caught.value).endswith("docs/runbook.md#scan-request")


@pytest.mark.parametrize("mode", ["auto", "full"])
@pytest.mark.parametrize("run_type", ["manual", "scheduled", "backfill"])
def test_rows_are_written_again_by_a_full_scan(mode: str, run_type: str) -> None:
    scan = scan_of(Run(run_type, NOW - DAY, NOW), mode=mode, rewrite_rows=True)

    assert (scan.mode, scan.window, scan.rewrite_rows) == ("full", None, True)


def test_rows_are_not_written_again_unless_it_is_asked_for() -> None:
    assert not scan_of(mode="full", rewrite_rows=False).rewrite_rows
    assert not scan_of(mode="full").rewrite_rows


def test_a_backfill_reads_its_data_interval() -> None:
    run = Run("backfill", NOW - DAY, NOW)

    assert scan_of(run).window == Window(NOW - DAY, NOW)


def test_airflows_enumeration_of_run_types_is_understood() -> None:
    from airflow.sdk.api.datamodels._generated import DagRunType

    run = Run(DagRunType.BACKFILL, NOW - DAY, NOW)

    assert scan_of(run).window == Window(NOW - DAY, NOW)


def test_a_backfill_without_an_interval_says_what_it_needs() -> None:
    with pytest.raises(ScanRequestError, match="Give the tenant a schedule"):
        scan_of(Run("backfill", NOW, NOW))


def test_a_full_scan_can_be_a_backfill() -> None:
    assert scan_of(Run("backfill", NOW - DAY, NOW), mode="full").window is None


@pytest.mark.parametrize("run_type", ["manual", "scheduled", "asset_triggered"])
def test_the_interval_of_any_other_run_is_not_a_window(run_type: str) -> None:
    assert scan_of(Run(run_type, NOW - DAY, NOW)).window is None


def test_runs_without_a_logical_date_have_no_interval_and_need_none() -> None:
    assert scan_of(Run("manual")).window is None
