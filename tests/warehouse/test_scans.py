from collections.abc import Callable

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from include.errors import ContractError, ScanRequestError, TaskTimeoutError
from include.warehouse.connection import Warehouse
from include.warehouse.scans import ScanLog
from tests.support.scans import attempt, query, scan, scan_row


def test_airflows_time_out_is_an_error_that_says_what_to_do(warehouse: Warehouse) -> None:
    log = ScanLog(warehouse, scan(task_timeout_s=600))
    log.open()

    with (
        pytest.raises(TaskTimeoutError, match=r"task_timeout_s allows \(600 s\)"),
        log.step("extracting"),
    ):
        raise AirflowTaskTimeout("Timeout, PID: 1")

    row = scan_row(warehouse, log.scan)
    assert (row["state"], row["error"].split(":")[0]) == ("failed", "TaskTimeoutError")
    assert "raise task_timeout_s" in row["remedy"]


def test_an_error_of_a_step_names_the_tenant_in_the_row_too(warehouse: Warehouse) -> None:
    log = ScanLog(warehouse, scan(tenant_id="acme"))
    log.open()

    with pytest.raises(ContractError, match="tenant acme: 404"), log.step("extracting"):
        raise ContractError("404")

    assert scan_row(warehouse, log.scan)["error"].startswith("ContractError: tenant acme: 404")


@pytest.mark.parametrize("begin", [ScanLog.next_attempt, ScanLog.newest_attempt])
def test_a_later_task_of_a_scan_without_a_row_says_what_to_do(
    warehouse: Warehouse, begin: Callable[[ScanLog], ScanLog]
) -> None:
    with pytest.raises(ScanRequestError, match="tenant acme: the warehouse has no row") as caught:
        begin(ScanLog(warehouse, scan()))

    assert caught.value.remedy == "Clear all tasks of the run, or trigger a new one."


def test_a_try_whose_row_is_deleted_stops(warehouse: Warehouse) -> None:
    log = attempt(warehouse, scan())
    query(warehouse, "delete from scans where scan_id = %s returning scan_id", log.scan.id)

    with pytest.raises(ScanRequestError, match="the row was deleted"):
        log.set(pages=1)
