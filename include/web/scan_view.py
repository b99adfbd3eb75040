"""A scan as the API shows it."""

from urllib.parse import quote

from fastapi import Request

from include.errors import RUNBOOK
from include.status.progress import NONE_YET, progress_of
from include.status.scans import Scan, ScanSummary
from include.tenants import Tenant
from include.warehouse.recorded_error import RecordedError
from include.web import models
from include.web.airflow_dags import ActiveRun

MOUNTED_AT = "/hubspot-deals"


def queued_view(run: ActiveRun, tenant_id: str) -> ScanSummary:
    """Return a run that has not begun to scan."""
    return {
        "scan_id": run.scan_id,
        "tenant": tenant_id,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "mode": run.mode,
        "state": "queued",
        "started_at": run.since,
        "finished_at": None,
        "seconds": None,
        "deals_received": 0,
        "deals_written": 0,
        "requests": 0,
        "throttled": 0,
        "attempt": 0,
        "warnings": 0,
        "error_type": None,
    }


def queued_detail(request: Request, run: ActiveRun, tenant_id: str) -> models.ScanDetail:
    return models.ScanDetail.model_validate(
        {
            **queued_view(run, tenant_id),
            "warnings": [],
            "misfits": {},
            "window_start": None,
            "window_end": None,
            "progress": NONE_YET,
            "objects": [],
            "quality": [],
            "error": None,
            "links": links(request, run.scan_id, run.dag_id, run.run_id),
        }
    )


def scan_detail(request: Request, scan: Scan, tenant: Tenant | None) -> models.ScanDetail:
    """:param tenant: None: it is in the tenants file no more."""
    error = error_of(scan)
    wanted = [crm_object.name for crm_object in tenant.crm_objects] if tenant else None
    return models.ScanDetail.model_validate(
        {
            **scan,
            "warnings": scan["messages"],
            "progress": progress_of(scan, wanted),
            "error": error,
            "links": links(
                request,
                scan["scan_id"],
                scan["dag_id"],
                scan["run_id"],
                error.runbook if error else None,
            ),
        }
    )


def error_of(scan: Scan) -> models.ScanError | None:
    """Take a message apart: class, what happened, what to do, heading of the runbook."""
    if scan["error"] is None:
        return None
    found = RecordedError.of_columns(scan["error"], scan["remedy"])
    return models.ScanError(
        type=found.type,
        message=found.message,
        remedy=found.remedy,
        runbook=f"{RUNBOOK}#{found.heading}" if found.heading else None,
    )


def links(
    request: Request, scan_id: str, dag_id: str, run_id: str, runbook: str | None = None
) -> models.ScanLinks:
    """Return addresses as paths, with whatever prefix Airflow is served below."""
    base = request.scope.get("root_path", "")
    airflow = base.removesuffix(MOUNTED_AT)
    return models.ScanLinks(
        self=f"{base}/scans/{scan_id}",
        deals=f"{base}/scans/{scan_id}/deals",
        cancel=f"{base}/scans/{scan_id}/cancel",
        page=f"{base}/ui?scan={scan_id}",
        airflow_run=f"{airflow}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
        runbook=runbook,
    )
