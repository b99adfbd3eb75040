"""`/scans`: what was scanned, what is being scanned, and starting and ending it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool

from include.errors import ScanRequestError
from include.scan import Scan as ScanRequest
from include.scan import scan_id as scan_id_of
from include.status.connection import WarehouseNotReadyError
from include.status.scans import ScanPage, first_scans_cursor, list_scans
from include.tenants import Tenant
from include.warehouse.cancellation import cancel
from include.warehouse.connection import Warehouse
from include.warehouse.locks import starting
from include.web import models
from include.web.access import SameOrigin, User, require, visible_dag_ids
from include.web.airflow_api import fail_run, trigger_run
from include.web.airflow_dags import ActiveRun, active_runs, dags
from include.web.ended_runs import settle
from include.web.found_scan import FoundScan, found_scan, queued_runs
from include.web.problems import Code, Problem, answers
from include.web.scan_view import links, queued_detail, queued_view, scan_detail
from include.web.tenant_routes import known_tenant
from include.web.tenants_file import tenants_by_id
from include.web.warehouse import CurrentWarehouse

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
    # whoever else starts a scan of this tenant waits until ours is there to be seen
    async with contextmanager_in_threadpool(starting(warehouse, tenant.id)):
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
    # first, so that Airflow's callbacks find a scan that somebody wanted to end
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
