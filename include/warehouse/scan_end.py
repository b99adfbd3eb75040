"""Ending a scan that did not end itself."""

import psycopg
from psycopg import sql

from include.errors import HubSpotDealsError
from include.warehouse.lease import free_tenant
from include.warehouse.recorded_error import columns_of

#: States in which a scan is over.
FINAL_STATES = ("succeeded", "failed", "cancelled")


def end_scan(
    connection: psycopg.Connection, schema: str, scan_id: str, error: HubSpotDealsError
) -> bool:
    """Set a scan that is in no final state to failed; False: it is in one.

    Its attempt is raised: should its process live on, it can't write any more, and the tenant is
    free for the next scan.
    """
    cursor = connection.execute(
        sql.SQL(
            "update {} set state = 'failed', finished_at = now(), error = %s,"
            " remedy = %s, attempt = attempt + 1 where scan_id = %s and state <> all (%s)"
        ).format(sql.Identifier(schema, "scans")),
        [*columns_of(error), scan_id, list(FINAL_STATES)],
    )
    if not cursor.rowcount:
        return False
    free_tenant(connection, schema, scan_id)
    return True
