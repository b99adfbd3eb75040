"""Ending a scan because a person wants it: its row says so, and its tries write nothing more."""

from dataclasses import dataclass

from psycopg import sql

from include.warehouse.connection import Warehouse
from include.warehouse.lease import free_tenant


@dataclass(frozen=True)
class CancelledRun:
    """Whose scan it is; a run that was still in Airflow's queue has no row yet."""

    scan_id: str
    tenant_id: str
    dag_id: str
    run_id: str
    mode: str


def cancel(warehouse: Warehouse, run: CancelledRun) -> None:
    """Set the scan's state to cancelled, whatever it was, make its tries outdated, free the tenant.

    Twice is as good as once.
    """
    with warehouse.connect(run.tenant_id) as connection:
        connection.execute(
            sql.SQL(
                """
                insert into {scans} as scan (scan_id, tenant_id, dag_id, run_id, mode, state,
                                             attempt, finished_at)
                values (%s, %s, %s, %s, %s, 'cancelled', 1, now())
                on conflict (scan_id) do update
                set state = 'cancelled',
                    attempt = scan.attempt + 1,
                    finished_at = now(),
                    error = null,
                    remedy = null
                """
            ).format(scans=sql.Identifier(warehouse.schema, "scans")),
            [run.scan_id, run.tenant_id, run.dag_id, run.run_id, run.mode],
        )
        free_tenant(connection, warehouse.schema, run.scan_id)
