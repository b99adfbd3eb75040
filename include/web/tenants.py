"""`/tenants`: what the tenants file, Airflow and the warehouse know of each tenant."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Query
from fastapi import Path as PathParameter

from include.tenants import Tenant, load_tenants, tenants_path
from include.warehouse.connection import Warehouse
from include.web import models
from include.web.access import User, not_found, require, visible_dag_ids
from include.web.airflow import ActiveRun, Dag, active_runs, dags, first_of_each, settle
from include.web.problems import Code, answers
from include.web.queries.cursor import InvalidCursorError, cursor_of, position_of
from include.web.queries.tenants import (
    NOTHING_KNOWN,
    HistoryEntry,
    TenantStatus,
    tenant_history,
    tenant_statuses,
)
from include.web.warehouse import CurrentWarehouse, WarehouseNotReadyError

#: A directory of 5,000 files takes 30 ms to look through: not with every request.
LOOK_EVERY_S = 5.0

#: Name, modification time, size and inode of each file: a replaced or edited one has others.
_Stamp = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True)
class _Read:
    """``looked_at``: when the files were last found to be as they were read; monotonic, in s."""

    path: Path | None
    stamp: _Stamp | None
    tenants: dict[str, Tenant]
    looked_at: float


_last = _Read(None, None, {}, 0.0)
_lock = threading.Lock()


def tenants_by_id(clock: Callable[[], float] = time.monotonic) -> dict[str, Tenant]:
    """Return the usable tenants, in the order of their ids. Raises TenantsFileError.

    A change of the single file is seen at once, one in a directory after a few seconds.
    """
    global _last
    path = tenants_path()
    if _is_fresh(_last, path, clock()):
        return _last.tenants
    with _lock:
        if not _is_fresh(_last, path, clock()):
            now, stamp = clock(), _stamp(path)
            if path == _last.path and stamp is not None and stamp == _last.stamp:
                tenants = _last.tenants
            else:
                enabled = sorted(load_tenants().enabled, key=lambda tenant: tenant.id)
                tenants = {tenant.id: tenant for tenant in enabled}
            _last = _Read(path, stamp, tenants, now)
        return _last.tenants


def _is_fresh(last: _Read, path: Path, now: float) -> bool:
    if path != last.path or last.stamp is None:
        return False
    if path.is_dir():
        return now - last.looked_at < LOOK_EVERY_S
    return _stamp(path) == last.stamp


def _stamp(path: Path) -> _Stamp | None:
    try:
        if not path.is_dir():
            return frozenset({_of_file(path.name, path.stat)})
        with os.scandir(path) as found:
            return frozenset(_of_file(entry.name, entry.stat) for entry in found)
    except OSError:  # reading it says what is wrong
        return None


def _of_file(name: str, stat: Callable[[], os.stat_result]) -> tuple[str, int, int, int]:
    try:
        found = stat()
    except FileNotFoundError:  # a link that leads nowhere
        return name, 0, 0, 0
    return name, found.st_mtime_ns, found.st_size, found.st_ino


#: Airflow makes runs a moment after they are due; much later means that it does not work.
LATE_AFTER = timedelta(minutes=15)
_NO_DAG = Dag(is_paused=True, next_run_at=None)


def tenant_views(warehouse: Warehouse, tenants: Sequence[Tenant]) -> list[models.Tenant]:
    """Return how all of these tenants are, with three queries."""
    dag_ids = [tenant.dag_id for tenant in tenants]
    known, running = dags(dag_ids), first_of_each(active_runs(dag_ids))
    statuses = _statuses(warehouse, tenants)
    now = datetime.now(UTC)
    return [
        tenant_view(
            tenant,
            known.get(tenant.dag_id, _NO_DAG),
            running.get(tenant.dag_id),
            statuses.get(tenant.id, NOTHING_KNOWN),
            now,
        )
        for tenant in tenants
    ]


def tenant_view(
    tenant: Tenant, dag: Dag, run: ActiveRun | None, status: TenantStatus, now: datetime
) -> models.Tenant:
    quota = status["quota"]
    return models.Tenant.model_validate(
        {
            **status,
            "id": tenant.id,
            "dag_id": tenant.dag_id,
            "state": tenant_state(dag, run, status, now),
            "schedule": tenant.schedule,
            "timezone": tenant.timezone,
            "paused": dag.is_paused,
            "next_run_at": dag.next_run_at,
            # until its first successful scan binds it, it is as the file says
            "portal_id": status["portal_id"] or tenant.portal_id,
            "running_scan_id": run.scan_id if run else None,
            "quota": {**quota, "share": tenant.daily_quota_share} if quota else None,
        }
    )


def tenant_state(
    dag: Dag, run: ActiveRun | None, status: TenantStatus, now: datetime
) -> models.TenantState:
    """Return the one word for it. What a person should look at comes first."""
    incident = status["incident"]
    if incident is not None and incident["kind"] == "deadline":
        return "late"
    if run is not None:
        return "running"
    if status["last_ended_state"] == "failed":
        return "failing"
    if dag.next_run_at is not None and dag.next_run_at + LATE_AFTER < now:
        return "late"
    return "never" if status["last_ended_state"] is None else "ok"


def _statuses(warehouse: Warehouse, tenants: Sequence[Tenant]) -> dict[str, TenantStatus]:
    try:
        settle(warehouse, [tenant.dag_id for tenant in tenants])
        return tenant_statuses(warehouse, [tenant.id for tenant in tenants])
    except WarehouseNotReadyError as exc:
        if exc.is_empty:  # the first scan of all makes the tables
            return {}
        raise


router = APIRouter(
    tags=["tenants"],
    dependencies=[Depends(get_user)],
    responses=answers(
        Code.UNAUTHENTICATED,
        Code.INVALID_REQUEST,
        Code.INVALID_CURSOR,
        Code.TENANTS_FILE,
        Code.WAREHOUSE_UNAVAILABLE,
        Code.WAREHOUSE_NOT_READY,
    ),
)


@router.get("/tenants", summary="Tenants that you may see")
def list_tenants(
    user: User,
    warehouse: CurrentWarehouse,
    search: Annotated[str, Query(max_length=100, description="A part of the id.")] = "",
    state: Annotated[models.TenantState | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> models.TenantList:
    visible = visible_dag_ids(user)
    part = search.strip().lower()
    tenants = [
        tenant
        for tenant in tenants_by_id().values()
        if tenant.dag_id in visible and part in tenant.id
    ]
    what = f"tenants search={part} state={state}"
    above = _above(what, cursor)
    if state is not None:
        # it takes a look at all of them to know
        views = [view for view in tenant_views(warehouse, tenants) if view.state == state]
        page = [view for view in views if view.id > above]
        return _page(what, page[:limit], total=len(views), more=len(page) > limit)
    rest = [tenant for tenant in tenants if tenant.id > above]
    shown = tenant_views(warehouse, rest[:limit])
    return _page(what, shown, total=len(tenants), more=len(rest) > limit)


@router.get(
    "/tenants/{tenant_id}",
    summary="One tenant, with its last scans",
    responses=answers(Code.NOT_FOUND),
)
def read_tenant(
    user: User,
    warehouse: CurrentWarehouse,
    tenant_id: Annotated[str, PathParameter(max_length=100)],
) -> models.TenantDetail:
    tenant = known_tenant(tenant_id)
    require(user, "GET", tenant.dag_id, "tenant")
    (view,) = tenant_views(warehouse, [tenant])
    return models.TenantDetail.model_validate(
        {**view.model_dump(), "history": _history(warehouse, tenant.id)}
    )


def known_tenant(tenant_id: str) -> Tenant:
    """Return a tenant of the tenants file. Raises Problem."""
    tenant: Tenant | None = tenants_by_id().get(tenant_id)
    if tenant is None:
        raise not_found("tenant")
    return tenant


def _page(what: str, shown: list[models.Tenant], *, total: int, more: bool) -> models.TenantList:
    cursor = cursor_of(what, [shown[-1].id]) if more and shown else None
    return models.TenantList(tenants=shown, next_cursor=cursor, total=total)


def _above(what: str, cursor: str | None) -> str:
    if cursor is None:
        return ""
    match position_of(what, cursor):
        case [str(above)]:
            return above
    raise InvalidCursorError


def _history(warehouse: Warehouse, tenant_id: str) -> list[HistoryEntry]:
    try:
        return tenant_history(warehouse, tenant_id)
    except WarehouseNotReadyError as exc:
        if exc.is_empty:
            return []
        raise
