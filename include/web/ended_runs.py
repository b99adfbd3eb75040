"""Scans whose runs Airflow has ended without a word to any of their tasks.

Airflow calls nobody when a person marks a run, as a whole, failed or succeeded.
"""

from collections.abc import Iterable

from include.errors import ScanKilledError
from include.status.scans import ScanSummary
from include.warehouse.connection import Warehouse
from include.warehouse.scan_end import FINAL_STATES, end_scan
from include.web.airflow_dags import ended_runs


def settle(warehouse: Warehouse, scans: Iterable[ScanSummary]) -> bool:
    """End the rows of those of the scans whose runs have ended; True: read them again.

    A row whose run Airflow does not know is left alone: a person may cancel it.
    """
    open_scans = {
        (scan["dag_id"], scan["run_id"]): scan
        for scan in scans
        if scan["state"] not in FINAL_STATES
    }
    ended = ended_runs(open_scans.keys()) if open_scans else {}
    for key, state in ended.items():
        scan = open_scans[key]
        error = _without_a_word(scan["tenant"], state)
        with warehouse.connect(scan["tenant"]) as connection:
            # a task that has ended meanwhile knows better
            end_scan(connection, warehouse.schema, scan["scan_id"], error)
    return bool(ended)


def _without_a_word(tenant_id: str, state: str) -> ScanKilledError:
    return ScanKilledError(
        f"Airflow has ended the run ({state}), but the scan was not done: a person marked the run"
        " so, or its process was killed.",
        tenant_id=tenant_id,
        remedy="Clear the run's last task that worked: it goes on from the last checkpoint. Or"
        " start another scan.",
    )
