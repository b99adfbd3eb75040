"""Connections that only read, and give up before a caller does."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from include.errors import WarehouseConfigError
from include.warehouse.connection import Warehouse
from include.warehouse.failures import UNDEFINED

#: A page that takes longer is of no use to whoever waits for it.
STATEMENT_TIMEOUT = "20s"
#: Of a stream that nobody reads: its transaction would hold up migrations, and scans with them.
IDLE_TIMEOUT = "5min"


class WarehouseNotReadyError(Exception):
    """The schema is older than this code; ``is_empty``: it has no tables at all."""

    def __init__(self, *, is_empty: bool) -> None:
        super().__init__("the warehouse's tables are missing or too old")
        self.is_empty = is_empty


@contextmanager
def reading(warehouse: Warehouse) -> Iterator[psycopg.Connection]:
    """Yield a connection in a read-only transaction.

    Raises what `Warehouse.connect` raises, and WarehouseNotReadyError.
    """
    try:
        with warehouse.connect() as connection:
            connection.execute(
                sql.SQL(
                    "set transaction read only;"
                    " set local statement_timeout = {};"
                    " set local idle_in_transaction_session_timeout = {}"
                ).format(STATEMENT_TIMEOUT, IDLE_TIMEOUT)
            )
            yield connection
    except WarehouseConfigError as exc:
        if getattr(exc.__cause__, "sqlstate", None) not in UNDEFINED:
            raise
        raise WarehouseNotReadyError(is_empty=not _has_tables(warehouse)) from None


def _has_tables(warehouse: Warehouse) -> bool:
    with warehouse.connect() as connection:
        row = connection.execute(
            "select from pg_catalog.pg_tables where schemaname = %s and tablename = 'scans'",
            [warehouse.schema],
        ).fetchone()
    return row is not None


def tables(warehouse: Warehouse, *names: str) -> dict[str, sql.Identifier]:
    """Return the schema-qualified names of tables, for `sql.SQL.format`."""
    return {name: sql.Identifier(warehouse.schema, name) for name in names}
