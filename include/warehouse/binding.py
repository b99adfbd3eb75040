"""Tenant → HubSpot account: bound by the first successful scan, checked before every write."""

import psycopg
from psycopg import sql

from include.errors import PortalMismatchError
from include.scan import Scan
from include.warehouse.connection import Warehouse


def require_same_portal(warehouse: Warehouse, scan: Scan, portal_id: int) -> None:
    """Raise PortalMismatchError unless *portal_id* is the account this tenant's rows come from.

    That is, in this order: the account named in the tenants file, the one bound by the first
    successful scan, the one whose rows a scan that failed since began to load.
    """
    tenant = scan.tenant
    with warehouse.connect(tenant.id) as connection:
        bound = tenant.portal_id or _bound_portal(connection, warehouse.schema, tenant.id)
    if bound is not None and bound != portal_id:
        raise PortalMismatchError(
            f"the token belongs to HubSpot account {portal_id}, this tenant is bound to "
            f"account {bound}. Nothing was written.",
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
