"""The portal's pipelines and stages, as `deal_pipelines` and `deal_stages`."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from include.hubspot.answers import Pipeline
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import left_out, unlist, upsert
from include.warehouse.values import KEY_BYTES, is_key, to_flag, to_integer, to_moment, to_number


def save_pipelines(warehouse: Warehouse, scan: Scan, pipelines: Sequence[Pipeline]) -> list[str]:
    """Upsert every pipeline and stage the portal lists now; the others stay, marked as unlisted.

    Returns warnings of those whose id does not fit.
    """
    kept = [pipeline for pipeline in pipelines if is_key(pipeline.id)]
    tenant = {"_tenant_id": scan.tenant.id}
    pipelines_table = sql.Identifier(warehouse.schema, "deal_pipelines")
    stages_table = sql.Identifier(warehouse.schema, "deal_stages")
    with warehouse.connect(scan.tenant.id) as connection:
        upsert(
            connection,
            pipelines_table,
            ("_tenant_id", "pipeline_id"),
            [tenant | _pipeline_row(pipeline) for pipeline in kept],
        )
        unlist(connection, pipelines_table, tenant)
        upsert(
            connection,
            stages_table,
            ("_tenant_id", "pipeline_id", "stage_id"),
            [tenant | row | {"_scan_id": scan.id} for row in _stage_rows(kept)],
        )
        unsaid = [pipeline.id for pipeline in kept if pipeline.stages is None]
        unlist(connection, stages_table, tenant, but=("pipeline_id", unsaid))
    return left_out("the pipeline", (p.id for p in pipelines if not is_key(p.id))) + left_out(
        "the stage", (s.id for p in kept for s in p.stages or () if not is_key(s.id))
    )


def add_unlisted_stages(warehouse: Warehouse, scan: Scan) -> None:
    """Add the stages that deals hold and that the portal has never listed to us."""
    with warehouse.connect(scan.tenant.id) as connection:
        _add_unlisted_stages(connection, warehouse.schema, scan)


def _add_unlisted_stages(connection: psycopg.Connection, schema: str, scan: Scan) -> None:
    connection.execute(
        sql.SQL(
            """
            insert into {stages} (_tenant_id, pipeline_id, stage_id, pipeline_label, stage_label,
                                  listed, _scan_id)
            select distinct deal._tenant_id, deal.pipeline_id, deal.stage_id,
                   coalesce(pipeline.label, deal.pipeline_id), deal.stage_id, false, %(scan_id)s
            from {deals} as deal
            left join {pipelines} as pipeline using (_tenant_id, pipeline_id)
            where deal._tenant_id = %(tenant_id)s
              and deal.pipeline_id is not null
              and deal.stage_id is not null
              -- rows of before there was a limit
              and octet_length(deal.pipeline_id) <= %(key_bytes)s
            on conflict do nothing
            """
        ).format(
            stages=sql.Identifier(schema, "deal_stages"),
            deals=sql.Identifier(schema, "deals"),
            pipelines=sql.Identifier(schema, "deal_pipelines"),
        ),
        {"tenant_id": scan.tenant.id, "scan_id": scan.id, "key_bytes": KEY_BYTES},
    )


def _pipeline_row(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "pipeline_id": pipeline.id,
        "label": pipeline.label or pipeline.id,
        "display_order": to_integer(pipeline.display_order),
        "listed": True,
        "created_at": to_moment(pipeline.created_at),
        "updated_at": to_moment(pipeline.updated_at),
    }


def _stage_rows(pipelines: Sequence[Pipeline]) -> list[dict[str, Any]]:
    return [
        {
            "pipeline_id": pipeline.id,
            "stage_id": stage.id,
            "pipeline_label": pipeline.label or pipeline.id,
            "stage_label": stage.label or stage.id,
            "is_closed": to_flag(stage.metadata.get("isClosed")),
            "probability": to_number(stage.metadata.get("probability")),
            "display_order": to_integer(stage.display_order),
            "listed": True,
        }
        for pipeline in pipelines
        for stage in pipeline.stages or ()
        if is_key(stage.id)
    ]
