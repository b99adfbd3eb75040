"""`/scans`: what was scanned, what is being scanned, and starting and cancelling it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool

from include.errors import RUNBOOK, ScanRequestError
from include.scan import Scan as ScanRequest
from include.scan import scan_id as scan_id_of
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.errors import RecordedError
from include.warehouse.fencing import start_lock
from include.warehouse.scans import FINAL_STATES, CancelledRun, cancel
from include.web import models
from include.web.access import SameOrigin, User, not_found, require, visible_dag_ids
from include.web.airflow import ActiveRun, active_runs, dags, fail_run, settle, trigger_run
from include.web.problems import Code, Problem, answers
from include.web.queries.scans import (
    NONE_YET,
    Scan,
    ScanPage,
    ScanSummary,
    find_scan,
    first_scans_cursor,
    known_scans,
    list_scans,
    progress_of,
)
from include.web.tenants import known_tenant, tenants_by_id
from include.web.warehouse import CurrentWarehouse, WarehouseNotReadyError

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


router = APIRouter(
    tags=["scans"],
    dependencies=[Depends(get_user)],
    responses=answers(
        Code.UNAUTHENTICATED,
        Code.INVALID_REQUEST,
        Code.TENANTS_FILE,
        Code.WAREHOUSE_UNAVAILABLE,
        Code.WAREHOUSE_NOT_READY,
    ),
)
ScanId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="A UUID.")
]


@router.get(
    "/scans",
    summary="Scans that you may see, the newest first",
    responses=answers(Code.INVALID_CURSOR),
)
def read_scans(
    user: User,
    warehouse: CurrentWarehouse,
    tenant: Annotated[models.TenantId | None, Query(description="Only of this one.")] = None,
    state: Annotated[models.ScanState | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> models.ScanList:
    visible = visible_dag_ids(user)
    queued: list[Any] = []
    if cursor is None and state in (None, "queued"):
        tenant_of = {t.dag_id: t.id for t in tenants_by_id().values() if tenant in (None, t.id)}
        runs = queued_runs(warehouse, active_runs(visible & tenant_of.keys()))
        queued = [queued_view(run, tenant_of[run.dag_id]) for run in runs[:limit]]
    if state == "queued":
        return models.ScanList(scans=queued, next_cursor=None)
    room = limit - len(queued)
    if not room:
        following = first_scans_cursor(tenant, state)
        return models.ScanList(scans=queued, next_cursor=following)
    page = _page(warehouse, visible, tenant, state, room, cursor)
    return models.ScanList.model_validate({**page, "scans": [*queued, *page["scans"]]})


@router.get("/scans/{scan_id}", summary="One scan", responses=answers(Code.NOT_FOUND))
def read_scan(
    request: Request, user: User, warehouse: CurrentWarehouse, scan_id: ScanId
) -> models.ScanDetail:
    found = found_scan(user, warehouse, scan_id)
    if found.row is not None:
        return scan_detail(request, found.row, tenants_by_id().get(found.tenant_id))
    return queued_detail(request, found.queued_run, found.tenant_id)


@router.post(
    "/scans",
    status_code=201,
    summary="Start a scan",
    dependencies=[SameOrigin],
    responses=answers(
        Code.FORBIDDEN,
        Code.CROSS_SITE,
        Code.NOT_FOUND,
        Code.SCAN_RUNNING,
        Code.DAG_PAUSED,
        Code.AIRFLOW_REFUSED,
    ),
)
async def start_scan(
    request: Request,
    response: Response,
    user: User,
    warehouse: CurrentWarehouse,
    wish: models.StartScan,
) -> models.Started:
    tenant = await run_in_threadpool(_startable, user, wish)
    # another start of a scan of this tenant waits until ours is there to be seen
    async with contextmanager_in_threadpool(start_lock(warehouse, tenant.id)):
        if not wish.force:
            await run_in_threadpool(_require_idle, tenant)
        run_id = f"api__{datetime.now(UTC).isoformat()}"
        note = f"started by {user.get_name()} through the REST API"
        await trigger_run(request, tenant.dag_id, run_id, _conf(wish), note)
    scan_id = scan_id_of(tenant.dag_id, run_id)
    where = links(request, scan_id, tenant.dag_id, run_id)
    response.headers["Location"] = where.self
    return models.Started(scan_id=scan_id, run_id=run_id, tenant=tenant.id, links=where)


@router.post(
    "/scans/{scan_id}/cancel",
    status_code=202,
    summary="End a scan",
    dependencies=[SameOrigin],
    responses=answers(
        Code.FORBIDDEN,
        Code.CROSS_SITE,
        Code.NOT_FOUND,
        Code.SCAN_FINISHED,
        Code.AIRFLOW_REFUSED,
    ),
)
async def cancel_scan(
    request: Request, user: User, warehouse: CurrentWarehouse, scan_id: ScanId
) -> models.Cancelled:
    found = await run_in_threadpool(_cancellable, user, warehouse, scan_id)
    ended = found.as_cancelled()
    # first, so that Airflow's callbacks find a scan that a person wanted to end
    await run_in_threadpool(cancel, warehouse, ended)
    if found.run is not None:
        note = f"cancelled by {user.get_name()} through the REST API"
        await fail_run(request, ended.dag_id, ended.run_id, note)
        # a task that was just about to begin may have taken the scan over
        await run_in_threadpool(cancel, warehouse, ended)
    return models.Cancelled(scan_id=scan_id)


def _page(
    warehouse: Warehouse,
    visible: set[str],
    tenant: str | None,
    state: str | None,
    limit: int,
    cursor: str | None,
) -> ScanPage:
    try:
        settle(warehouse, visible)
        return list_scans(
            warehouse, visible, tenant_id=tenant, state=state, limit=limit, cursor=cursor
        )
    except WarehouseNotReadyError as exc:
        if exc.is_empty:
            return {"scans": [], "next_cursor": None}
        raise


def _startable(user: BaseUser, wish: models.StartScan) -> Tenant:
    """Return the tenant to scan. Raises Problem if it can't be now, or not as it is wished."""
    tenant = known_tenant(wish.tenant)
    require(user, "POST", tenant.dag_id, "tenant")
    _require_sense(tenant, wish)
    dag = dags([tenant.dag_id]).get(tenant.dag_id)
    if dag is None:
        raise Problem(
            Code.NOT_FOUND,
            f"Airflow does not know DAG {tenant.dag_id} yet.",
            remedy="Ask again when Airflow has read the changed tenants file.",
        )
    if dag.is_paused:
        raise Problem(
            Code.DAG_PAUSED,
            f"DAG {tenant.dag_id} is paused: a run would stay in the queue.",
            remedy="Unpause the DAG in Airflow, then start the scan again.",
        )
    return tenant


def _require_sense(tenant: Tenant, wish: models.StartScan) -> None:
    """Refuse at once what the scan's first task would refuse."""
    run = _Wished()
    try:
        ScanRequest.of_run(tenant, run, _conf(wish))
    except ScanRequestError as exc:
        raise Problem(Code.INVALID_REQUEST, exc.what, remedy=exc.remedy) from None


class _Wished:
    """A run that is not made yet."""

    run_id = ""
    run_type = "manual"
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    start_date: datetime | None = None


def _conf(wish: models.StartScan) -> dict[str, Any]:
    """Return the DAG's params; what is not asked for has the DAG's default."""
    conf: dict[str, Any] = {"mode": wish.mode}
    for name in ("window_start", "window_end"):
        if moment := getattr(wish, name):
            conf[name] = moment.astimezone(UTC).isoformat()
    if wish.rewrite_rows:
        conf["rewrite_rows"] = True
    if wish.checkpoint_pages is not None:
        conf["checkpoint_pages"] = wish.checkpoint_pages
    return conf


def _require_idle(tenant: Tenant) -> None:
    runs: list[ActiveRun] = active_runs([tenant.dag_id])
    if runs:
        run = runs[0]
        raise Problem(
            Code.SCAN_RUNNING,
            f"A scan of tenant {tenant.id} is {run.state}.",
            remedy='Wait for it, or send "force": true to queue another one behind it.',
            scan_id=run.scan_id,
            run_id=run.run_id,
        )


def _cancellable(user: BaseUser, warehouse: Warehouse, scan_id: str) -> FoundScan:
    found = found_scan(user, warehouse, scan_id)
    require(user, "PUT", found.dag_id, "scan")
    if found.has_ended:
        raise Problem(Code.SCAN_FINISHED, "The scan has ended; there is nothing to cancel.")
    return found
