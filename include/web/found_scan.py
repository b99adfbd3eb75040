"""Finding a scan by its id, among rows and among runs that have none yet."""

from dataclasses import dataclass

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

from include.status.connection import WarehouseNotReadyError
from include.status.scans import Scan, find_scan, known_scans
from include.warehouse.cancellation import CancelledRun
from include.warehouse.connection import Warehouse
from include.warehouse.scan_end import FINAL_STATES
from include.web.access import not_found, require, visible_dag_ids
from include.web.airflow_dags import ActiveRun, active_runs
from include.web.ended_runs import settle
from include.web.tenants_file import tenants_by_id


@dataclass(frozen=True)
class FoundScan:
    """``row`` None: it is queued. ``run`` None: Airflow has no run of it that has not ended."""

    tenant_id: str
    row: Scan | None
    run: ActiveRun | None

    @property
    def dag_id(self) -> str:
        return self.row["dag_id"] if self.row else self.queued_run.dag_id

    def as_cancelled(self) -> CancelledRun:
        of = self.row
        if of:
            return CancelledRun(of["scan_id"], of["tenant"], of["dag_id"], of["run_id"], of["mode"])
        run = self.queued_run
        return CancelledRun(run.scan_id, self.tenant_id, run.dag_id, run.run_id, run.mode)

    @property
    def has_ended(self) -> bool:
        """Airflow decides: between two tries a scan's row says that it failed."""
        if self.row is None:
            return False
        state = self.row["state"]
        return state == "cancelled" or (self.run is None and state in FINAL_STATES)

    @property
    def queued_run(self) -> ActiveRun:
        if self.run is None:
            raise LookupError("a scan without a row is a run")
        return self.run


def found_scan(user: BaseUser, warehouse: Warehouse, scan_id: str) -> FoundScan:
    """Return a scan that *user* may see. Raises Problem."""
    row = _row(warehouse, scan_id)
    if row is not None:
        require(user, "GET", row["dag_id"], "scan")
        if row["state"] not in FINAL_STATES:
            settle(warehouse, [row["dag_id"]])
            row = _row(warehouse, scan_id) or row
        run = next((r for r in active_runs([row["dag_id"]]) if r.scan_id == scan_id), None)
        return FoundScan(row["tenant"], row, run)
    tenant_of = {tenant.dag_id: tenant.id for tenant in tenants_by_id().values()}
    for run in active_runs(visible_dag_ids(user) & tenant_of.keys()):
        if run.scan_id == scan_id:
            return FoundScan(tenant_of[run.dag_id], None, run)
    raise not_found("scan")


def _row(warehouse: Warehouse, scan_id: str) -> Scan | None:
    try:
        return find_scan(warehouse, scan_id)
    except WarehouseNotReadyError as exc:
        if exc.is_empty:
            return None
        raise


def queued_runs(warehouse: Warehouse, runs: list[ActiveRun]) -> list[ActiveRun]:
    """Return those of the runs that have not begun to scan, the newest first."""
    try:
        known = known_scans(warehouse, [run.scan_id for run in runs])
    except WarehouseNotReadyError as exc:
        if not exc.is_empty:
            raise
        known = set()
    queued = [run for run in runs if run.scan_id not in known]
    return sorted(queued, key=lambda run: run.since, reverse=True)
