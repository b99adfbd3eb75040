from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.errors import ScanCancelledError, WarehouseUnavailableError
from include.warehouse import scans
from include.warehouse.connection import Warehouse
from include.warehouse.scans import CancelledRun, ScanLog, cancel
from tests.support.scans import scan, scan_row

BEGUN = replace(scan(), run_started_at=datetime.now(UTC) - timedelta(seconds=1))
RUN = CancelledRun(BEGUN.id, "acme", BEGUN.tenant.dag_id, BEGUN.run_id, "auto")


def test_a_first_task_that_begins_at_the_same_moment_can_not_take_it_back(
    warehouse: Warehouse,
) -> None:
    cancel(warehouse, RUN)

    with pytest.raises(ScanCancelledError):
        ScanLog(warehouse, BEGUN).open()

    assert scan_row(warehouse, BEGUN)["state"] == "cancelled"


def test_the_second_word_of_a_cancellation_counts(warehouse: Warehouse) -> None:
    """The run was still queued at the first one, and begun before the second."""
    cancel(warehouse, RUN)
    begun = replace(BEGUN, run_started_at=warehouse.clock()())
    cancel(warehouse, RUN)

    with pytest.raises(ScanCancelledError):
        ScanLog(warehouse, begun).open()


def test_a_cancelled_run_that_is_cleared_begins_anew(warehouse: Warehouse) -> None:
    cancel(warehouse, RUN)
    cleared = replace(BEGUN, run_started_at=warehouse.clock()())

    ScanLog(warehouse, cleared).open()

    assert scan_row(warehouse, cleared)["state"] == "validating"


def test_a_cancellation_does_not_wait_long_for_a_row_that_a_lost_machine_has_locked(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "BRIEF_WAIT", "50ms")
    ScanLog(warehouse, BEGUN).open()
    with ThreadPoolExecutor() as threads, psycopg.connect(**warehouse.parameters) as lost:
        lost.execute(f"select from {warehouse.schema}.scans for share")

        error = threads.submit(cancel, warehouse, RUN).exception(timeout=60)

    assert isinstance(error, WarehouseUnavailableError)
