"""A portal's owners, pipelines with their stages, and property definitions."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from include.hubspot.answers import Owner, Pipeline, PropertyDefinition, decode_definition
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import left_out, mark_missing, upsert
from include.warehouse.tenant_views.plan import (
    KEY_BYTES,
    is_key,
    to_bigint,
    to_flag,
    to_integer,
    to_json,
    to_moment,
    to_number,
)


def save_owners(warehouse: Warehouse, scan: Scan, owners: Iterable[Owner]) -> list[str]:
    """Upsert every owner HubSpot lists. Who is no longer listed stays: deals may name them.

    Returns warnings of those whose id does not fit.
    """
    owners = list(owners)
    with warehouse.connect(scan.tenant.id) as connection:
        upsert(
            connection,
            sql.Identifier(warehouse.schema, "owners"),
            ("_tenant_id", "owner_id"),
            [{"_tenant_id": scan.tenant.id, **_owner_row(o)} for o in owners if is_key(o.id)],
        )
    return left_out("the owner", (owner.id for owner in owners if not is_key(owner.id)))


def _owner_row(owner: Owner) -> dict[str, Any]:
    return {
        "owner_id": owner.id,
        "email": owner.email,
        "first_name": owner.first_name,
        "last_name": owner.last_name,
        "owner_type": owner.type,
        # archived owners have no userId any more
        "user_id": to_bigint(owner.user_id or owner.user_id_including_inactive),
        "teams": to_json(owner.teams),
        "archived": owner.archived,
        "created_at": to_moment(owner.created_at),
        "updated_at": to_moment(owner.updated_at),
    }


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
        mark_missing(connection, pipelines_table, tenant)
        upsert(
            connection,
            stages_table,
            ("_tenant_id", "pipeline_id", "stage_id"),
            [tenant | row | {"_scan_id": scan.id} for row in _stage_rows(kept)],
        )
        unsaid = [pipeline.id for pipeline in kept if pipeline.stages is None]
        mark_missing(connection, stages_table, tenant, but=("pipeline_id", unsaid))
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


log = logging.getLogger(__name__)

#: What changed since the last scan: "added", "removed", "retyped" → names. Empty: nothing did.
Drift = dict[str, list[str]]


def save_definitions(
    warehouse: Warehouse, scan: Scan, object_name: str, definitions: Sequence[PropertyDefinition]
) -> Drift:
    """Upsert what the portal defines for an object, and return what is different from before.

    The first time there is no before, and so no drift. An archived property counts as removed.
    """
    table = sql.Identifier(warehouse.schema, "property_definitions")
    of = {"_tenant_id": scan.tenant.id, "object": object_name}
    # no property has so long a name: HubSpot's own limit is 100 characters
    rows = [of | _row(definition) for definition in definitions if is_key(definition.name)]
    with warehouse.connect(scan.tenant.id) as connection:
        before = _usable_types(connection, table, of)
        upsert(connection, table, ("_tenant_id", "object", "name"), rows)
        mark_missing(connection, table, of)
        after = _usable_types(connection, table, of)
    return _drift(before, after) if before else {}


def stored_definitions(
    warehouse: Warehouse, scan: Scan, object_name: str
) -> list[PropertyDefinition]:
    """Return what the portal defined when it was asked last, live and archived.

    Rows that something has damaged are left out: the next list of HubSpot's writes them again.
    """
    with warehouse.connect(scan.tenant.id) as connection:
        rows = connection.execute(
            sql.SQL(
                "select definition::text from {} where _tenant_id = %s and object = %s and listed"
            ).format(sql.Identifier(warehouse.schema, "property_definitions")),
            [scan.tenant.id, object_name],
        ).fetchall()
    definitions = []
    for (document,) in rows:
        try:
            definitions.append(decode_definition(document.encode()))
        except msgspec.ValidationError as exc:
            log.warning(
                "tenant %s: a stored definition of %s is damaged: %s",
                scan.tenant.id,
                object_name,
                exc,
            )
    return definitions


def _usable_types(
    connection: psycopg.Connection, table: sql.Identifier, of: dict[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    rows = connection.execute(
        sql.SQL(
            "select name, property_type, field_type from {} where _tenant_id = %(_tenant_id)s"
            " and object = %(object)s and listed and not archived"
        ).format(table),
        of,
    ).fetchall()
    return {name: (property_type, field_type) for name, property_type, field_type in rows}


def _drift(before: dict[str, Any], after: dict[str, Any]) -> Drift:
    found = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "retyped": sorted(n for n in before.keys() & after.keys() if before[n] != after[n]),
    }
    return {kind: names for kind, names in found.items() if names}


def _row(definition: PropertyDefinition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "label": definition.label,
        "property_type": definition.type,
        "field_type": definition.field_type,
        "calculated": definition.calculated,
        "options": to_json(definition.options) or [],
        "archived": definition.archived,
        "listed": True,
        "definition": to_json(definition.document),
    }
