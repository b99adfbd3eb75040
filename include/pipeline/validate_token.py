"""The first task of a scan: check the token, and that its account is this tenant's."""

import logging
from collections.abc import Collection
from typing import Any, TypedDict

from include.hubspot.hook import HubSpotHook
from include.scan import Scan
from include.warehouse.client_state import SharedLimits, SharedTokens
from include.warehouse.connection import Warehouse, open_warehouse
from include.warehouse.migrations import migrate
from include.warehouse.reference_data import require_same_portal
from include.warehouse.scans import (
    EndedRun,
    FindEndedRuns,
    ScanLog,
    end_scans_of_ended_runs,
    open_scans,
)

log = logging.getLogger(__name__)


class Validated(TypedDict):
    """The XCom value of `validate_token`."""

    scan_id: str
    portal_id: int


def validate_token(scan: Scan) -> Validated:
    """Insert the scan's row, and check the token and its account with HubSpot.

    Applies missing migrations. Otherwise it writes only `scans`, and the state that processes
    share: rate limits and OAuth tokens.

    Raises TokenMissingError, TokenRejectedError, ScopeMissingError or PortalMismatchError (a person
    must act), or a TransientError.
    """
    warehouse = open_warehouse(scan.tenant.id)
    # raises for a connection that dlt can't use, before anything is read from HubSpot
    _ = warehouse.url
    migrate(warehouse)
    with warehouse.keeping_connections() as warehouse:
        scan_log = ScanLog(warehouse, scan)
        scan_log.open()
        end_abandoned_scans(warehouse, scan)
        with scan_log.step("validating"):
            client = HubSpotHook(scan.tenant.connection_id).get_conn(
                SharedLimits(warehouse),
                SharedTokens(warehouse),
                daily_quota_share=scan.tenant.daily_quota_share,
            )
            account = client.account()
            scopes = client.scopes
            require_same_portal(warehouse, scan, account.portal_id)
    log.info(
        "tenant %s: HubSpot account %s, time zone %s, %d scopes, scan %s",
        scan.tenant.id,
        account.portal_id,
        account.time_zone,
        len(scopes),
        scan.id,
    )
    return {"scan_id": scan.id, "portal_id": account.portal_id}


def ended_runs(runs: Collection[tuple[str, str]]) -> dict[tuple[str, str], EndedRun]:
    """Ask Airflow, through the task's supervisor, which of the runs have ended.

    A run that Airflow does not know or does not report counts as running.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DagRunResult, GetDagRun

    found: dict[tuple[str, str], EndedRun] = {}
    # only there while a task runs
    supervisor: Any = getattr(task_runner, "SUPERVISOR_COMMS", None)
    for dag_id, run_id in runs if supervisor else ():
        try:
            run = supervisor.send(GetDagRun(dag_id=dag_id, run_id=run_id))
        except Exception as exc:  # noqa: BLE001 - any error of the API; this scan continues
            log.warning(
                "could not get the state of run %s of %s from Airflow: %s",
                run_id,
                dag_id,
                type(exc).__name__,
            )
            continue
        if isinstance(run, DagRunResult) and run.state.value in ("success", "failed"):
            found[dag_id, run_id] = EndedRun(run.state.value, run.end_date)
    return found


def end_abandoned_scans(warehouse: Warehouse, scan: Scan, find: FindEndedRuns = ended_runs) -> None:
    """Set the tenant's other scans whose runs have ended to failed.

    The status page and the API do this too, but only when they are used.
    """
    with warehouse.connect() as connection:
        scans = open_scans(connection, [scan.tenant.dag_id])
    end_scans_of_ended_runs(warehouse, [s for s in scans if s.scan_id != scan.id], find)
