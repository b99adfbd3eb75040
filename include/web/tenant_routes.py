"""`/tenants`: who is loaded, and how they are."""

from typing import Annotated

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Path, Query

from include.status.connection import WarehouseNotReadyError
from include.status.cursor import InvalidCursorError, cursor_of, position_of
from include.status.tenants import HistoryEntry, tenant_history
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.web import models
from include.web.access import User, not_found, require, visible_dag_ids
from include.web.problems import Code, answers
from include.web.tenant_view import tenant_views
from include.web.tenants_file import tenants_by_id
from include.web.warehouse import CurrentWarehouse

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
    user: User, warehouse: CurrentWarehouse, tenant_id: Annotated[str, Path(max_length=100)]
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
