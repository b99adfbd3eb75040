"""HubSpot's rate limits, kept in PostgreSQL: one row a limiter, for every process and machine."""

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

#: Limiters that were not used for so long are forgotten: a rotated token leaves one.
FORGOTTEN_AFTER = "30 days"

_FAILURES = (
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
)
_NAMES = [field.name for field in fields(State)]


class SharedLimits:
    """Implements `include.hubspot.rate_limit.Limits`. Thread-safe.

    Time is PostgreSQL's alone: machines' clocks need not agree. Keeps one connection open, until
    `close` or until nothing refers to it any more. Raises what `Warehouse.connect` raises.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str | None = None) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._opened = ExitStack()
        weakref.finalize(self, self._opened.close)
        table = sql.Identifier(warehouse.schema, "rate_limits")
        self._read = sql.SQL(_READ).format(table=table).as_string()
        self._add = sql.SQL(_ADD).format(table=table).as_string()
        self._write = sql.SQL(_WRITE).format(table=table).as_string()

    def reserve(self, demand: Reservation) -> list[float]:
        with self._lock:
            try:
                return self._reserve(demand)
            except _FAILURES:
                # The server was restarted, or closed the connection: what was kept is still there.
                self._drop()
            try:
                return self._reserve(demand)
            except _FAILURES as exc:
                self._drop()
                raise as_warehouse_error(exc, self._tenant_id) from exc

    def close(self) -> None:
        """Give the connection back now. A later reservation opens another."""
        with self._lock:
            self._give_back()

    def _reserve(self, demand: Reservation) -> list[float]:
        connection = self._connected()
        cursor = connection.cursor(row_factory=dict_row)
        while True:
            row = cursor.execute(self._read, [demand.key]).fetchone()
            if row is None:
                cursor.execute(self._add, {"key": demand.key, "forgotten": FORGOTTEN_AFTER})
                continue
            now, revision = row.pop("now"), row.pop("revision")
            state, slots = decide(State(**row), now, demand)
            values = {name: getattr(state, name) for name in _NAMES}
            # Written only if no other did meanwhile, instead of locking the row: a process that
            # is stopped between the two statements blocks no other.
            cursor.execute(self._write, {**values, "key": demand.key, "revision": revision})
            if cursor.rowcount:
                return [slot - now for slot in slots]

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = self._opened.enter_context(
                self._warehouse.connect(self._tenant_id, autocommit=True)
            )
        return self._connection

    def _drop(self) -> None:
        """Close a connection that met an error: it must not be used again."""
        if self._connection is not None:
            self._connection.close()
        self._give_back()

    def _give_back(self) -> None:
        self._connection = None
        self._opened.close()


def _read_column(name: str) -> str:
    return f"extract(epoch from {name})::double precision as {name}" if name in TIMES else name


def _written_value(name: str) -> str:
    return f"to_timestamp(%({name})s)" if name in TIMES else f"%({name})s"


_READ = f"""
    select extract(epoch from clock_timestamp())::double precision as now, revision,
           {", ".join(map(_read_column, _NAMES))}
    from {{table}} where limiter = %s
"""  # noqa: S608 - the names of State's fields
#: Holds for the statement's own transaction. After a crash of the server the last half second is
#: lost, which is shorter than the crash; and a request would wait for the disk each time.
_NO_WAIT_FOR_THE_DISK = "set_config('synchronous_commit', 'off', true) = 'off'"
_WRITE = f"""
    update {{table}}
    set revision = revision + 1,
        {", ".join(f"{name} = {_written_value(name)}" for name in _NAMES)}
    where limiter = %(key)s and revision = %(revision)s
      and {_NO_WAIT_FOR_THE_DISK}
"""  # noqa: S608 - the same
_ADD = """
    with forgotten as (
        delete from {table} where updated_at < now() - %(forgotten)s::interval
    )
    insert into {table} (limiter) values (%(key)s) on conflict do nothing
"""
