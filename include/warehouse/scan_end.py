"""Ending scans that did not end themselves."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.errors import HubSpotDealsError, ScanKilledError
from include.warehouse.connection import Warehouse
from include.warehouse.lease import free_tenant
from include.warehouse.recorded_error import columns_of

#: States in which a scan is over.
FINAL_STATES = ("succeeded", "failed", "cancelled")


class OpenScan(NamedTuple):
    """A scan in no final state, as it was when it was looked at."""

    scan_id: str
    tenant_id: str
    dag_id: str
    run_id: str
    state: str
    attempt: int

    @property
    def run(self) -> tuple[str, str]:
        return self.dag_id, self.run_id


class EndedRun(NamedTuple):
    """A run of Airflow's that is over. ``state``: Airflow's word, success or failed."""

    state: str
    ended_at: datetime | None


#: Runs as (DAG id, run id) → those of them that have ended.
FindEndedRuns = Callable[[Collection[tuple[str, str]]], Mapping[tuple[str, str], EndedRun]]


def open_scans(
    connection: psycopg.Connection, schema: str, dag_ids: Collection[str]
) -> list[OpenScan]:
    """Return the scans of these DAGs that are in no final state."""
    # the states as in the index scans_open
    statement = sql.SQL(
        "select scan_id, tenant_id, dag_id, run_id, state, attempt from {}"
        " where dag_id = any(%s) and state not in ('succeeded', 'failed', 'cancelled')"
    ).format(sql.Identifier(schema, "scans"))
    cursor = connection.cursor(row_factory=class_row(OpenScan))
    return cursor.execute(statement, [list(dag_ids)]).fetchall()


def end_scans_of_ended_runs(
    warehouse: Warehouse, scans: Iterable[OpenScan], ended_runs: FindEndedRuns
) -> bool:
    """Set those of the scans whose runs have ended to failed; True: there were some.

    The scans must have been read before their runs are: a run that is cleared in between changes
    its scan's row, which is left alone then. So is a scan whose run Airflow does not know.
    """
    by_run = {scan.run: scan for scan in scans}
    ended = ended_runs(by_run.keys()) if by_run else {}
    for run, how in ended.items():
        scan = by_run[run]
        with warehouse.connect(scan.tenant_id) as connection:
            end_scan(
                connection,
                warehouse.schema,
                scan.scan_id,
                _without_a_word(scan.tenant_id, how.state),
                ended_at=how.ended_at,
                seen=scan,
            )
    return bool(ended)


def end_scan(
    connection: psycopg.Connection,
    schema: str,
    scan_id: str,
    error: HubSpotDealsError,
    *,
    ended_at: datetime | None = None,
    seen: OpenScan | None = None,
) -> bool:
    """Set a scan that is in no final state to failed; False: it is in one.

    Its attempt is raised: should its process live on, it can't write any more, and the tenant is
    free for the next scan.

    :param ended_at: when its run ended; None: just now.
    :param seen: what the row must still be; False is returned if it is not.
    """
    cursor = connection.execute(
        sql.SQL(
            """
            update {} set
                state = 'failed',
                finished_at = greatest(started_at, least(coalesce(%(ended_at)s, now()), now())),
                error = %(error)s,
                remedy = %(remedy)s,
                attempt = attempt + 1
            where scan_id = %(scan_id)s and state <> all (%(final)s)
              and (%(seen_attempt)s::integer is null
                   or (attempt = %(seen_attempt)s and state = %(seen_state)s))
            """
        ).format(sql.Identifier(schema, "scans")),
        {
            **dict(zip(("error", "remedy"), columns_of(error), strict=True)),
            "ended_at": ended_at,
            "scan_id": scan_id,
            "final": list(FINAL_STATES),
            "seen_attempt": seen and seen.attempt,
            "seen_state": seen and seen.state,
        },
    )
    if not cursor.rowcount:
        return False
    free_tenant(connection, schema, scan_id)
    return True


def _without_a_word(tenant_id: str, state: str) -> ScanKilledError:
    return ScanKilledError(
        f"Airflow has ended the run ({state}), but the scan was not done: a person marked the run"
        " so, or its process was killed.",
        tenant_id=tenant_id,
        remedy="Clear the run's last task that worked: it goes on from the last checkpoint. Or"
        " start another scan.",
    )
