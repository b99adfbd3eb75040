"""`/tenants`: each tenant's state, history, deals by stage, and views with their columns.

They come from the tenants file, Airflow's database and the warehouse.
"""

import operator
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Path as PathParameter
from fastapi import Query
from psycopg.rows import class_row, dict_row, tuple_row
from pydantic import TypeAdapter

from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.tenant_views.plan import object_views, tenant_schema
from include.web import models
from include.web.access import (
    User,
    invalid_entries,
    known_tenant,
    tenants_by_id,
    visible_dag_ids,
)
from include.web.airflow import ActiveRun, Dag, active_runs, dags, mark_orphaned_scans_failed
from include.web.cursor import Cursor, Limit, page_of, position_of
from include.web.problems import Code, answers, signed_in_router
from include.web.scans import COMPUTED, OF_DEALS, SUMMARY, states_of
from include.web.warehouse import CurrentWarehouse, columns, fetch

HISTORY = 60
#: When a scan began to read; `started_at` is set again if all its tasks are cleared.
STARTED_READING = "least(started_at, extraction_started_at)"

# Each lateral join is an index scan per tenant.
_STATUSES = f"""
    select
        wanted.tenant_id,
        bound.portal_id,
        to_json(last) as last_scan,
        ended.last_ended_state,
        success.last_success_at,
        extract(epoch from now() - success.last_success_at)::float8 as freshness_s,
        counted.deals_live,
        counted.deals_archived,
        to_json(checked) as quality,
        to_json(quota) as quota,
        to_json(incident) as incident,
        exists (
            select from {{incidents}} as missed
            where missed.tenant_id = wanted.tenant_id and missed.closed_at is null
              and missed.kind = 'deadline'
        ) as is_late
    from unnest(%(tenant_ids)s::text[]) as wanted (tenant_id)
    left join {{tenants}} as bound using (tenant_id)
    left join lateral (
        select {SUMMARY}
        from (
            select * from {{scans}} where tenant_id = wanted.tenant_id
            order by started_at desc, scan_id desc limit 1
        ) as scan {OF_DEALS}
    ) as last on true
    left join lateral (
        select state as last_ended_state from {{scans}}
        where tenant_id = wanted.tenant_id and state in ('succeeded', 'failed')
        order by started_at desc, scan_id desc limit 1
    ) as ended on true
    left join lateral (
        select {STARTED_READING} as last_success_at from {{scans}}
        where tenant_id = wanted.tenant_id and state = 'succeeded' and window_start is null
        order by started_at desc limit 1
    ) as success on true
    left join lateral (
        select deals.live_rows as deals_live, deals.records_archived as deals_archived
        from {{scans}} as scan
        join {{scan_objects}} as deals
            on deals.scan_id = scan.scan_id and deals.object = 'deals'
            and deals.live_rows is not null
        where scan.tenant_id = wanted.tenant_id and scan.state = 'succeeded'
        order by scan.started_at desc limit 1
    ) as counted on true
    left join lateral (
        select
            scan_id,
            count(*) filter (where status = 'passed') as passed,
            count(*) filter (where status = 'warned') as warned,
            count(*) filter (where status = 'failed') as failed,
            count(*) filter (where status = 'no_rows') as no_rows
        from {{quality_results}} where scan_id = (
            select scan.scan_id from {{scans}} as scan
            where scan.tenant_id = wanted.tenant_id
              and exists (select from {{quality_results}} as result
                          where result.scan_id = scan.scan_id)
            order by scan.started_at desc, scan.scan_id desc limit 1
        )
        group by scan_id
    ) as checked on true
    left join lateral (
        select
            quota_limit as daily_limit,
            case when quota_resets_at > now() then quota_limit - quota_remaining end as used_today
        from {{scans}}
        where tenant_id = wanted.tenant_id and quota_limit is not null
        order by started_at desc, scan_id desc limit 1
    ) as quota on true
    left join lateral (
        select kind, opened_at as since, error_type,
            (select scan_id from {{scans}}
             where scan_id = scan_ids[cardinality(scan_ids)]) as scan_id
        from {{incidents}}
        where tenant_id = wanted.tenant_id and closed_at is null
        order by kind = 'warning', opened_at desc limit 1
    ) as incident on true
"""  # noqa: S608 - literals of this package
_AS_READ = {
    **COMPUTED,
    "mode": "coalesce(nullif(deals.mode, 'skipped'), scan.mode)",
    "deals_live": "deals.live_rows",
    "quota_used": "(scan.quota_limit - scan.quota_remaining)::float8 / nullif(scan.quota_limit, 0)",
    "freshness_s": f"""
        extract(epoch from scan.started_at - max({STARTED_READING})
            filter (where scan.state = 'succeeded' and scan.window_start is null)
            over (order by scan.started_at, scan.scan_id
                  rows between unbounded preceding and 1 preceding))::float8""",
}
_HISTORY = f"""
    select {columns(models.HistoryEntry, "scan", **_AS_READ)}
    from (
        select * from {{scans}} where tenant_id = %(tenant_id)s
        order by started_at desc, scan_id desc limit %(limit)s
    ) as scan {OF_DEALS}
    order by scan.started_at desc, scan.scan_id desc
"""  # noqa: S608 - literals of this package

router = signed_in_router(
    "tenants",
    Code.TENANTS_FILE,
    Code.WAREHOUSE_UNAVAILABLE,
    Code.WAREHOUSE_NOT_READY,
)
TenantId = Annotated[str, PathParameter(max_length=100)]
#: Whether the value that tenants are sorted by is unknown, the value, and the tenant's id.
_Place = tuple[bool, float, str]
#: A page begins after this place, from which the tenant may have moved since.
_POSITION = TypeAdapter[_Place | None](_Place | None)
#: These values do not change between two pages, as `freshness_s` would with the time.
_SORTED_BY: Mapping[str, Callable[[models.Tenant], Any]] = {
    "id": lambda tenant: 0,
    "last_scan": lambda tenant: tenant.last_scan and tenant.last_scan.started_at.timestamp(),
    "freshness": lambda tenant: tenant.last_success_at and -tenant.last_success_at.timestamp(),
    "deals_live": lambda tenant: tenant.deals_live,
    "quota": lambda tenant: tenant.quota and (tenant.quota.used_today or 0),
    "next_run": lambda tenant: tenant.next_run_at and tenant.next_run_at.timestamp(),
}


@router.get("/tenants", summary="Tenants that you may see", responses=answers(Code.INVALID_CURSOR))
def list_tenants(
    user: User,
    warehouse: CurrentWarehouse,
    search: Annotated[str, Query(max_length=100, description="Part of the id.")] = "",
    state: Annotated[models.TenantState | None, Query(description="Only this state.")] = None,
    sort: Annotated[
        models.TenantOrder, Query(description="`-` reverses the order; unknown values come last.")
    ] = "id",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.TenantList:
    visible = visible_dag_ids(user)
    part = search.strip().lower()
    what = f"tenants search={part} state={state} sort={sort}"
    after = position_of(what, cursor, _POSITION, None)
    tenants = [
        tenant
        for tenant in tenants_by_id().values()
        if tenant.dag_id in visible and part in tenant.id
    ]
    views = tenant_views(warehouse, tenants)
    place = partial(_place, sort)
    backwards = sort == "-id"
    follows = operator.lt if backwards else operator.gt
    rest = [
        view
        for view in sorted(views, key=place, reverse=backwards)
        if state in (None, view.state) and (after is None or follows(place(view), after))
    ]
    shown, following = page_of(what, rest, limit, place)
    states = Counter(view.state for view in views)
    return models.TenantList(
        tenants=shown,
        next_cursor=following,
        total=states[state] if state else len(views),
        states=states,
        incidents=sum(
            view.incident is not None and view.incident.kind != "warning" for view in views
        ),
        problems=invalid_entries(user),
    )


def _place(sort: models.TenantOrder, tenant: models.Tenant) -> _Place:
    value = _SORTED_BY[sort.removeprefix("-")](tenant)
    sign = -1 if sort.startswith("-") else 1
    return value is None, sign * (value or 0), tenant.id


@router.get(
    "/tenants/{tenant_id}",
    summary="One tenant, with its last scans",
    responses=answers(Code.NOT_FOUND),
)
def read_tenant(
    user: User,
    warehouse: CurrentWarehouse,
    tenant_id: TenantId,
) -> models.TenantDetail:
    tenant = known_tenant(tenant_id, user)
    (view,) = tenant_views(warehouse, [tenant])
    return models.TenantDetail(**dict(view), history=tenant_history(warehouse, tenant.id))


#: Airflow creates runs seconds after they are due. A longer delay means that it does not work.
LATE_AFTER = timedelta(minutes=15)
_NO_DAG = Dag(is_paused=False, next_run_at=None)


def tenant_views(warehouse: Warehouse, tenants: Sequence[Tenant]) -> list[models.Tenant]:
    """Return these tenants, with a fixed number of queries."""
    dag_ids = [tenant.dag_id for tenant in tenants]
    known = dags(dag_ids)
    # the first of each DAG, which is running or will run next
    running = {run.dag_id: run for run in reversed(active_runs(dag_ids))}
    mark_orphaned_scans_failed(warehouse, dag_ids)
    statuses = tenant_statuses(warehouse, [tenant.id for tenant in tenants])
    states = states_of(warehouse, running.values())
    now = datetime.now(UTC)
    return [
        tenant_view(
            tenant,
            known.get(tenant.dag_id, _NO_DAG),
            running.get(tenant.dag_id),
            statuses.get(tenant.id, models.TenantStatus()),
            states,
            now,
        )
        for tenant in tenants
    ]


def tenant_view(
    tenant: Tenant,
    dag: Dag,
    run: ActiveRun | None,
    status: models.TenantStatus,
    states: Mapping[str, str],
    now: datetime,
) -> models.Tenant:
    """Return the tenant. ``states``: those of running scans that have a row, by scan id."""
    quota = status.quota
    return models.Tenant.model_validate(
        {
            **dict(status),
            "id": tenant.id,
            "dag_id": tenant.dag_id,
            "state": tenant_state(dag, run, status, now),
            "schedule": tenant.schedule,
            "timezone": tenant.timezone,
            "paused": dag.is_paused,
            "next_run_at": dag.next_run_at,
            # the tenants file's, until the first successful scan binds the tenant
            "portal_id": status.portal_id or tenant.portal_id,
            "running_scan_id": run.scan_id if run else None,
            "running_state": states.get(run.scan_id, "queued") if run else None,
            "quota": {**dict(quota), "share": tenant.daily_quota_share} if quota else None,
        }
    )


def tenant_state(
    dag: Dag, run: ActiveRun | None, status: models.TenantStatus, now: datetime
) -> models.TenantState:
    """Return the tenant's state. Of several, the most urgent one."""
    if status.is_late:
        return "late"
    if run is not None:
        return "running"
    if status.last_ended_state == "failed":
        return "failing"
    if dag.next_run_at is not None and dag.next_run_at + LATE_AFTER < now:
        return "late"
    return "never" if status.last_ended_state is None else "ok"


def tenant_statuses(
    warehouse: Warehouse, tenant_ids: Collection[str]
) -> dict[str, models.TenantStatus]:
    """Return the status of each of these tenants, also of those without a row."""
    rows = fetch(warehouse, dict_row, _STATUSES, {"tenant_ids": list(tenant_ids)})
    return {row.pop("tenant_id"): models.TenantStatus(**row) for row in rows}


def tenant_history(warehouse: Warehouse, tenant_id: str) -> list[models.HistoryEntry]:
    """Return the tenant's last scans, newest last."""
    values = {"tenant_id": tenant_id, "limit": HISTORY}
    return fetch(warehouse, class_row(models.HistoryEntry), _HISTORY, values)[::-1]


#: Stages with live deals. One that HubSpot does not list is shown by its id.
_STAGES = """
    select by_stage.pipeline_id, by_stage.stage_id,
           coalesce(stage.pipeline_label, by_stage.pipeline_id) as pipeline,
           coalesce(stage.stage_label, by_stage.stage_id) as stage,
           by_stage.deals, by_stage.amount::float8, account.company_currency as currency
    from (
        select pipeline_id, stage_id, count(*) as deals, sum(amount_in_home_currency) as amount
        from {deals}
        where _tenant_id = %(tenant_id)s and not archived and vanished_at is null
          and merged_into_deal_id is null
        group by pipeline_id, stage_id
    ) as by_stage
    left join {pipeline_stages} as stage
        on stage._tenant_id = %(tenant_id)s and stage.object = 'deals'
        and stage.pipeline_id = by_stage.pipeline_id and stage.stage_id = by_stage.stage_id
    left join {accounts} as account on account._tenant_id = %(tenant_id)s
    order by pipeline, stage.display_order, stage
"""
_COLUMNS = """
    select relation.relname as view, attribute.attname as name,
           format_type(attribute.atttypid, attribute.atttypmod) as type,
           col_description(relation.oid, attribute.attnum) as comment
    from pg_catalog.pg_class as relation
    join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
    join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = relation.oid and attribute.attnum > 0
    where namespace.nspname = %(schema)s and relation.relname = any(%(views)s)
    order by relation.relname, attribute.attnum
"""

_WATERMARKS = """
    select part.object, max(part.watermark) as watermark
    from {scan_objects} as part join {scans} as scan using (scan_id)
    where scan.tenant_id = %(tenant_id)s and scan.state = 'succeeded'
    group by part.object
"""
_DRIFT = """
    select schema_drift as drift, started_at as seen_at from {scans}
    where tenant_id = %(tenant_id)s and schema_drift <> '{{}}'
    order by started_at desc limit 1
"""


@router.get(
    "/tenants/{tenant_id}/stages",
    summary="The tenant's live deals by stage",
    responses=answers(Code.NOT_FOUND),
)
def read_stages(user: User, warehouse: CurrentWarehouse, tenant_id: TenantId) -> models.StageList:
    values = {"tenant_id": known_tenant(tenant_id, user).id}
    return models.StageList(stages=fetch(warehouse, class_row(models.Stage), _STAGES, values))


@router.get(
    "/tenants/{tenant_id}/schema",
    summary="The tenant's views and their columns",
    responses=answers(Code.NOT_FOUND),
)
def read_schema(
    user: User, warehouse: CurrentWarehouse, tenant_id: TenantId
) -> models.TenantSchema:
    tenant = known_tenant(tenant_id, user)
    schema = tenant_schema(warehouse.schema, tenant.id)
    views, _ = object_views([crm_object.name for crm_object in tenant.crm_objects])
    values: dict[str, Any] = {
        "tenant_id": tenant.id,
        "schema": schema,
        "views": [names.live for names in views.values()],
    }
    columns = fetch(warehouse, class_row(models.ViewColumn), _COLUMNS, values)
    watermarks: dict[str, datetime | None] = dict(fetch(warehouse, tuple_row, _WATERMARKS, values))
    drift = fetch(warehouse, class_row(models.Drift), _DRIFT, values)
    return models.TenantSchema(
        schema_name=schema,
        objects=[
            models.ObjectSchema(
                object=name,
                view=names.live,
                watermark=watermarks.get(name),
                columns=[column for column in columns if column.view == names.live],
            )
            for name, names in views.items()
        ],
        drift=drift[0] if drift else None,
    )
