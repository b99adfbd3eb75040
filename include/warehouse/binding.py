"""Which HubSpot account a tenant is bound to, and the error if a token belongs to another."""

from include.errors import PortalMismatchError
from include.scan import Scan
from include.warehouse.connection import Warehouse


def require_same_portal(warehouse: Warehouse, scan: Scan, portal_id: int) -> None:
    """Raise PortalMismatchError unless *portal_id* is the account this tenant's rows come from.

    That is the account bound by the first successful scan or, before there was one, the account
    whose rows a failed scan began to load; and the one that the tenants file names, if it does.
    """
    tenant = scan.tenant
    ((bound,),) = warehouse.rows(
        """
        select coalesce(
            (select portal_id from {tenants} where tenant_id = %(tenant_id)s),
            (select min(portal_id) from {scans}
             where tenant_id = %(tenant_id)s and portal_id is not null)
        )
        """,
        {"tenant_id": tenant.id},
        tenant_id=tenant.id,
    )
    for expected in (bound, tenant.portal_id):
        if expected not in (None, portal_id):
            raise PortalMismatchError(
                f"the token belongs to HubSpot account {portal_id}, this tenant is bound to "
                f"account {expected}. Nothing was written.",
                tenant_id=tenant.id,
                remedy="Put a token of the right account into its connection, or use another "
                "tenant.",
            )


def bind(warehouse: Warehouse, scan: Scan) -> None:
    """Bind the tenant to the account that *scan* read, if it is not bound yet."""
    warehouse.change(
        "insert into {tenants} (tenant_id, portal_id, bound_by_scan_id)"
        " select tenant_id, portal_id, scan_id from {scans} where scan_id = %s"
        " on conflict (tenant_id) do nothing",
        [scan.id],
        tenant_id=scan.tenant.id,
    )
