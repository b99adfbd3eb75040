"""What the warehouse holds of a tenant: its deals by stage, its views with their columns."""

from typing import Annotated, Any

from fastapi import Path as PathParameter
from psycopg.rows import class_row

from include.warehouse.tenant_views.plan import object_views, tenant_schema
from include.web import models
from include.web.access import User
from include.web.problems import Code, signed_in_router
from include.web.tenants_file import known_tenant
from include.web.warehouse import CurrentWarehouse, fetch

#: One row for each stage that a live deal holds. A stage that HubSpot never listed has no label.
_STAGES = """
    select held.pipeline_id, held.stage_id,
           coalesce(stage.pipeline_label, held.pipeline_id) as pipeline,
           coalesce(stage.stage_label, held.stage_id) as stage,
           held.deals, held.amount::float8, account.company_currency as currency
    from (
        select pipeline_id, stage_id, count(*) as deals, sum(amount_in_home_currency) as amount
        from {deals}
        where _tenant_id = %(tenant_id)s and not archived and vanished_at is null
          and merged_into_deal_id is null
        group by pipeline_id, stage_id
    ) as held
    left join {pipeline_stages} as stage
        on stage._tenant_id = %(tenant_id)s and stage.object = 'deals'
        and stage.pipeline_id = held.pipeline_id and stage.stage_id = held.stage_id
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
#: The next scan reads what was modified since then.
_WATERMARKS = """
    select part.object, max(scan.hubspot_started_at) as watermark
    from {scan_objects} as part join {scans} as scan using (scan_id)
    where scan.tenant_id = %(tenant_id)s and scan.state = 'succeeded'
      and part.mode in ('full', 'incremental')
    group by part.object
"""
_DRIFT = """
    select schema_drift as drift, started_at as seen_at from {scans}
    where tenant_id = %(tenant_id)s and schema_drift <> '{{}}'
    order by started_at desc limit 1
"""

router = signed_in_router(
    "tenants",
    Code.NOT_FOUND,
    Code.TENANTS_FILE,
    Code.WAREHOUSE_UNAVAILABLE,
    Code.WAREHOUSE_NOT_READY,
)
TenantId = Annotated[str, PathParameter(max_length=100)]


@router.get("/tenants/{tenant_id}/stages", summary="The tenant's live deals by stage")
def read_stages(user: User, warehouse: CurrentWarehouse, tenant_id: TenantId) -> models.StageList:
    values = {"tenant_id": known_tenant(tenant_id, user).id}
    return models.StageList(stages=fetch(warehouse, class_row(models.Stage), _STAGES, values))


@router.get("/tenants/{tenant_id}/schema", summary="The tenant's views and their columns")
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
    watermarks = {
        row.object: row.watermark
        for row in fetch(warehouse, class_row(models.Watermark), _WATERMARKS, values)
    }
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
