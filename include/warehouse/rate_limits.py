"""HubSpot's rate limits in PostgreSQL: one row per limiter, for all processes and machines."""

import threading
import weakref
from contextlib import ExitStack
from dataclasses import fields

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.hubspot.rate_limit import TIMES, Reservation, State, decide
from include.warehouse.connection import Warehouse
from include.warehouse.errors import as_warehouse_error

#: Limiters that were not used for this long are deleted: each rotated token leaves one.
FORGOTTEN_AFTER = "30 days"

_FAILURES = (
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
)


class SharedLimits:
    """Implements `include.hubspot.rate_limit.Limits`. Thread-safe.

    Only PostgreSQL's clock is used, so those of machines need not agree. Keeps one connection open
    until `close`, or until it is garbage-collected. Raises the errors of `Warehouse.connect`.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str | None = None) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._opened = ExitStack()
        weakref.finalize(self, self._opened.close)
        table = sql.Identifier(warehouse.schema, "rate_limits")
        self._read, self._add, self._write = (
            sql.SQL(statement).format(table=table).as_string()
            for statement in (_READ, _ADD, _WRITE)
        )

    def reserve(self, wanted: Reservation) -> list[float]:
        with self._lock:
            try:
                return self._reserve(wanted)
            except _FAILURES:
                # The server was restarted, or closed the connection: the state is still stored.
                self._drop()
            try:
                return self._reserve(wanted)
            except _FAILURES as exc:
                self._drop()
                raise as_warehouse_error(exc, self._tenant_id) from exc

    def close(self) -> None:
        """Close the connection now. A later reservation opens another."""
        with self._lock:
            self._connection = None
            self._opened.close()

    def _reserve(self, wanted: Reservation) -> list[float]:
        if self._connection is None:
            self._connection = self._opened.enter_context(
                self._warehouse.connect(self._tenant_id, autocommit=True)
            )
        cursor = self._connection.cursor(row_factory=dict_row)
        while True:
            row = cursor.execute(self._read, [wanted.key]).fetchone()
            if row is None:
                cursor.execute(self._add, {"key": wanted.key, "forgotten": FORGOTTEN_AFTER})
                continue
            now, revision = row.pop("now"), row.pop("revision")
            state, slots = decide(State(**row), now, wanted)
            # Write only if no other process did meanwhile, instead of locking the row: a process
            # that is stopped between the two statements blocks no other.
            cursor.execute(self._write, {**vars(state), "key": wanted.key, "revision": revision})
            if cursor.rowcount:
                return [slot - now for slot in slots]

    def _drop(self) -> None:
        """Close a connection that met an error: it must not be used again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._opened.close()


def _columns(column: str, moment: str) -> str:
    """Return a list of the state's columns, with a different format for times."""
    return ", ".join(
        (moment if name in TIMES else column).format(name)
        for name in (field.name for field in fields(State))
    )


_READ = f"""
    select extract(epoch from clock_timestamp())::double precision as now, revision,
           {_columns("{0}", "extract(epoch from {0})::double precision as {0}")}
    from {{table}} where limiter = %s
"""  # noqa: S608 - the names of State's fields
#: `set_config` applies to this statement's transaction: no request waits for the disk. A crash of
#: the server loses the last half second, which is shorter than its restart.
_WRITE = f"""
    update {{table}}
    set revision = revision + 1, {_columns("{0} = %({0})s", "{0} = to_timestamp(%({0})s)")}
    where limiter = %(key)s and revision = %(revision)s
      and set_config('synchronous_commit', 'off', true) = 'off'
"""  # noqa: S608 - the same
_ADD = """
    with forgotten as (
        delete from {table} where updated_at < now() - %(forgotten)s::interval
    )
    insert into {table} (limiter) values (%(key)s) on conflict do nothing
"""
