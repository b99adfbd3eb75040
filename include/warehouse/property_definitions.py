"""The portal's property definitions, as `property_definitions`, and how they drift."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from include.hubspot.answers import PropertyDefinition, decode_definition
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import unlist, upsert
from include.warehouse.values import is_key, to_json

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
        unlist(connection, table, of)
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
