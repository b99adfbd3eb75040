"""A simulated account's truth, in the form in which PostgreSQL can hold it."""

import re
from typing import Any

import psycopg

#: id → (archived, properties that have a value)
Deals = dict[str, tuple[bool, dict[str, Any]]]


def as_stored(deals: list[dict[str, Any]]) -> Deals:
    """Take a portal's deals as HubSpot sends them; leave out what PostgreSQL refuses."""
    return {
        deal["id"]: (
            deal["archived"],
            {
                name: storable(value)
                for name, value in deal["properties"].items()
                # HubSpot says null for a property that a deal never had
                if value is not None
            },
        )
        for deal in deals
    }


def storable(text: str) -> str:
    """Return *text* without NUL characters, and with U+FFFD for halves of surrogate pairs."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", ""))


def stored(
    connection: psycopg.Connection, schema: str, tenant_id: str, where: str = "true"
) -> Deals:
    """Read what PostgreSQL holds of a tenant, in the same form."""
    rows = connection.execute(
        f"select deal_id::text, archived, properties from {schema}.deals"
        f" where _tenant_id = %s and {where}",
        [tenant_id],
    ).fetchall()
    return {
        deal_id: (archived, {k: v for k, v in properties.items() if v is not None})
        for deal_id, archived, properties in rows
    }


def present(connection: psycopg.Connection, schema: str, tenant_id: str) -> Deals:
    """Read the deals that the warehouse believes to be in the portal, live or archived."""
    return stored(
        connection, schema, tenant_id, "vanished_at is null and merged_into_deal_id is null"
    )
