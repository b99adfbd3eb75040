"""What a scan says of how much will come, while it is at work."""

from typing import Any

import pytest

from include.errors import ScanCancelledError
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.warehouse.connection import Warehouse
from include.warehouse.scans import CancelledRun, ScanLog, cancel
from include.web.tenants import tenant_statuses
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
from tests.support.scans import BARE, object_row, run, scan, scan_row

pytestmark = pytest.mark.slow


def a_scan(run_id: str, **params: Any) -> Any:
    return scan(run_id, objects=BARE, search_lag_s=0, **params)


@pytest.fixture
def portal(serve: Serve) -> Portal:
    """An account of 250 live and 30 archived deals."""
    portal = portals.generated(deals=250, archived=30)
    serve(acme=portal)
    return portal


def test_the_first_scan_expects_the_live_records_that_search_counts(
    portal: Portal, warehouse: Warehouse
) -> None:
    first = a_scan("manual__1")

    run(first)

    assert object_row(warehouse, first)["expected"] == len(portal.live_ids())


def test_the_next_full_scan_expects_what_the_last_one_counted(
    portal: Portal, warehouse: Warehouse
) -> None:
    run(a_scan("manual__1"))
    second = a_scan("manual__2", mode="full")

    run(second)

    row = object_row(warehouse, second)
    assert row["expected"] == row["records_received"] == len(portal.truth())


def test_an_incremental_scan_expects_what_the_search_counts_and_the_archived(
    portal: Portal, warehouse: Warehouse
) -> None:
    run(a_scan("manual__1"))
    portal.update(portal.live_ids()[0], amount="17")
    second = a_scan("manual__2")

    run(second)

    row = object_row(warehouse, second)
    archived = sum(deal["archived"] for deal in portal.truth())
    assert row["mode"] == "incremental"
    assert row["expected"] == 1 + archived


def test_when_the_figures_were_written_is_known_and_what_is_left_of_the_quota(
    portal: Portal, warehouse: Warehouse
) -> None:
    portal.quota.daily = 250_000
    first = a_scan("manual__1")

    run(first)

    row = scan_row(warehouse, first)
    assert row["extraction_started_at"] < row["figures_at"] <= row["finished_at"]
    assert row["quota_resets_at"] > row["figures_at"]
    quota = tenant_statuses(warehouse, ["acme"])["acme"].quota
    assert quota is not None
    assert quota.used_today == row["quota_limit"] - row["quota_remaining"]


def test_a_scan_that_was_cancelled_is_not_begun_again_by_a_late_task(
    portal: Portal, warehouse: Warehouse
) -> None:
    cancelled = a_scan("manual__1")
    validate_token(cancelled)
    cancel(warehouse, as_cancelled(cancelled))

    with pytest.raises(ScanCancelledError):
        extract_deals(cancelled, 10)

    assert scan_row(warehouse, cancelled)["state"] == "cancelled"


def test_a_running_try_can_not_take_a_cancellation_back(
    portal: Portal, warehouse: Warehouse
) -> None:
    cancelled = a_scan("manual__1")
    validate_token(cancelled)
    log = ScanLog(warehouse, cancelled).next_attempt()

    cancel(warehouse, as_cancelled(cancelled))
    with pytest.raises(ScanCancelledError):
        log.set(pages=7)
    with pytest.raises(ScanCancelledError), log.step("extracting"):
        pass

    row = scan_row(warehouse, cancelled)
    assert (row["state"], row["pages"], row["error"]) == ("cancelled", 0, None)


def test_a_check_that_ends_late_does_not_make_it_a_success(
    portal: Portal, warehouse: Warehouse
) -> None:
    cancelled = a_scan("manual__1")
    validate_token(cancelled)
    cancel(warehouse, as_cancelled(cancelled))

    with pytest.raises(ScanCancelledError):
        ScanLog(warehouse, cancelled).succeed()


def as_cancelled(what: Any) -> CancelledRun:
    return CancelledRun(what.id, what.tenant.id, what.tenant.dag_id, what.run_id, what.mode)
