"""Which rows of `deals` are a scan's."""

from psycopg import sql

from include.scan import Scan
from include.warehouse.connection import Warehouse


def of_this_scan(schema: str) -> sql.Composed:
    """Return a condition on `deals` with the parameters tenant_id and scan_id.

    Rows that an earlier try of the same scan wrote, and the last one did not see any more (purged
    or merged in between), carry the scan's id too: they are not of this scan.
    """
    return sql.SQL(
        "_tenant_id = %(tenant_id)s and _scan_id = %(scan_id)s and _extracted_at >= "
        "(select extraction_started_at from {} where scan_id = %(scan_id)s)"
    ).format(sql.Identifier(schema, "scans"))


def count_deals(warehouse: Warehouse, scan: Scan) -> int:
    """Count this scan's rows: what is there, not what we believe we sent."""
    with warehouse.connect(scan.tenant.id) as connection:
        row = connection.execute(
            sql.SQL("select count(*) from {} where {}").format(
                sql.Identifier(warehouse.schema, "deals"), of_this_scan(warehouse.schema)
            ),
            {"tenant_id": scan.tenant.id, "scan_id": scan.id},
        ).fetchone()
    return int(row[0]) if row else 0
