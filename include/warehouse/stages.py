"""The portal's pipelines and stages, as `deal_stages`."""

from collections.abc import Iterable

from psycopg import sql

from include.hubspot.answers import Pipeline
from include.scan import Scan
from include.warehouse.connection import Warehouse


def save_stages(warehouse: Warehouse, scan: Scan, pipelines: Iterable[Pipeline]) -> None:
    """Upsert every stage the portal lists now; stages it no longer lists stay as they were."""
    rows = [
        (
            scan.tenant.id,
            pipeline.id,
            stage.id,
            pipeline.label,
            stage.label,
            _bool(stage.metadata.get("isClosed")),
            _probability(stage.metadata.get("probability")),
            scan.id,
        )
        for pipeline in pipelines
        for stage in pipeline.stages
    ]
    statement = sql.SQL(
        """
        insert into {} values (%s, %s, %s, %s, %s, %s, %s, %s)
        on conflict (_tenant_id, pipeline_id, stage_id) do update
        set pipeline_label = excluded.pipeline_label,
            stage_label = excluded.stage_label,
            is_closed = excluded.is_closed,
            probability = excluded.probability,
            _scan_id = excluded._scan_id
        """
    ).format(sql.Identifier(warehouse.schema, "deal_stages"))
    with warehouse.connect(scan.tenant.id) as connection, connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def _bool(text: object) -> bool | None:
    # metadata values are strings: docs/api-integration.md#pipelines
    return {"true": True, "false": False}.get(str(text).lower())


def _probability(text: object) -> str | None:
    try:
        return str(float(str(text)))
    except ValueError:
        return None
