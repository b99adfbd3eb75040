from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.warehouse.checkpoints import delete_earlier_chunks
from include.warehouse.connection import Warehouse
from include.warehouse.scans import ScanLog
from tests.support.scans import query, scan
from tests.support.status_rows import add_scan, insert

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


def chunks(warehouse: Warehouse, scan_id: str) -> int:
    return len(query(warehouse, "select from scan_chunks where scan_id = %s", scan_id))


def add_chunk(warehouse: Warehouse, scan_id: str) -> None:
    row = {"scan_id": scan_id, "object": "deals", "chunk": 1, "ids": [5], "hashes": [50]}
    insert(warehouse, "scan_chunks", {**row, "modified_at": [datetime.now(UTC)]})


@pytest.mark.parametrize(
    ("state", "age", "goes_on"),
    [
        pytest.param("waiting", HOUR, True, id="waits"),
        pytest.param("extracting", WEEK - HOUR, True, id="may be retried"),
        pytest.param("extracting", WEEK + HOUR, False, id="left for a week"),
        pytest.param("waiting", WEEK + HOUR, False, id="has waited for a week"),
        pytest.param("failed", HOUR, False, id="failed"),
        pytest.param("cancelled", HOUR, False, id="cancelled"),
    ],
)
def test_a_success_forgets_how_far_others_were_that_will_not_go_on(
    warehouse: Warehouse, state: str, age: timedelta, goes_on: bool
) -> None:
    begun_at = datetime.now(UTC) - age
    other = add_scan(warehouse, "acme", 1, state=state, age=age, extraction_started_at=begun_at)
    add_chunk(warehouse, other)

    delete_earlier_chunks(warehouse, scan("manual__2"))

    assert chunks(warehouse, other) == goes_on
    assert (ScanLog(warehouse, scan("manual__1")).begun() is not None) == goes_on


def test_a_success_forgets_nothing_of_other_tenants(warehouse: Warehouse) -> None:
    other = add_scan(warehouse, "globex", state="failed")
    add_chunk(warehouse, other)

    delete_earlier_chunks(warehouse, scan("manual__2"))

    assert chunks(warehouse, other) == 1


def test_a_failed_check_whose_chunks_are_forgotten_needs_another_extraction(
    warehouse: Warehouse,
) -> None:
    now = datetime.now(UTC)
    ended: dict[str, Any] = {"extraction_started_at": now, "extraction_finished_at": now}
    failed = add_scan(warehouse, "acme", 1, state="failed", **ended)
    succeeded = add_scan(warehouse, "acme", 3, state="succeeded", **ended)
    add_chunk(warehouse, failed)
    add_chunk(warehouse, succeeded)

    delete_earlier_chunks(warehouse, scan("manual__2"))

    assert query(
        warehouse, "select scan_id from scans where extraction_finished_at is not null"
    ) == [{"scan_id": succeeded}]


def test_a_scan_that_goes_on_at_this_moment_keeps_its_chunks(warehouse: Warehouse) -> None:
    other = add_scan(warehouse, "acme", 1, state="failed", extraction_started_at=datetime.now(UTC))
    add_chunk(warehouse, other)

    with ThreadPoolExecutor() as executor, warehouse.connect() as connection:
        connection.run("update {scans} set state = 'extracting' where scan_id = %s", [other])
        executor.submit(delete_earlier_chunks, warehouse, scan("manual__2")).result(timeout=20)

    assert chunks(warehouse, other) == 1
    assert ScanLog(warehouse, scan("manual__1")).begun() is not None
