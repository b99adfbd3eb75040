"""Tenant → HubSpot account: bound by the first successful scan, checked before every write."""

import psycopg
from psycopg import sql

from include.errors import PortalMismatchError
from include.scan import Scan
from include.warehouse.connection import Warehouse


def require_same_portal(warehouse: Warehouse, scan: Scan, portal_id: int) -> None:
    """Raise PortalMismatchError unless *portal_id* is the account this tenant's rows come from.

    That is the account bound by the first successful scan or, before there was one, the account
    whose rows a failed scan began to load; and the one that the tenants file names, if it does.
    """
    tenant = scan.tenant
    with warehouse.connect(tenant.id) as connection:
        bound = _bound_portal(connection, warehouse.schema, tenant.id)
    for expected in (bound, tenant.portal_id):
        if expected in (None, portal_id):
            continue
        raise PortalMismatchError(
            f"the token belongs to HubSpot account {portal_id}, this tenant is bound to "
            f"account {expected}. Nothing was written.",
            tenant_id=tenant.id,
            remedy="Put a token of the right account into its connection, or use another tenant.",
        )


def bind(warehouse: Warehouse, scan: Scan) -> None:
    """Bind the tenant to the account that *scan* read, if it is not bound yet."""
    schema = warehouse.schema
    with warehouse.connect(scan.tenant.id) as connection:
        connection.execute(
            sql.SQL(
                """
                insert into {tenants} (tenant_id, portal_id, bound_by_scan_id)
                select tenant_id, portal_id, scan_id from {scans} where scan_id = %s
                on conflict (tenant_id) do nothing
                """
            ).format(
                tenants=sql.Identifier(schema, "tenants"), scans=sql.Identifier(schema, "scans")
            ),
            [scan.id],
        )


def _bound_portal(connection: psycopg.Connection, schema: str, tenant_id: str) -> int | None:
    row = connection.execute(
        sql.SQL(
            """
            select coalesce(
                (select portal_id from {tenants} where tenant_id = %(tenant_id)s),
                (select min(portal_id) from {scans}
                 where tenant_id = %(tenant_id)s and portal_id is not null)
            )
            """
        ).format(tenants=sql.Identifier(schema, "tenants"), scans=sql.Identifier(schema, "scans")),
        {"tenant_id": tenant_id},
    ).fetchone()
    return row[0] if row else None
