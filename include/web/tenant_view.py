"""A tenant as the API shows it: what the tenants file, Airflow and the warehouse know, together."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from include.status.connection import WarehouseNotReadyError
from include.status.tenants import NOTHING_KNOWN, TenantStatus, tenant_statuses
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.web import models
from include.web.airflow_dags import ActiveRun, Dag, active_runs, dags, first_of_each
from include.web.ended_runs import settle

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
