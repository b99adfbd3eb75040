"""The API server's connections to the warehouse: they only read, and time out before a caller."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

from fastapi import Depends
from psycopg import sql

from include.errors import WarehouseConfigError, WarehouseUnavailableError
from include.warehouse.connection import Warehouse, WarehouseConnection, open_warehouse
from include.warehouse.errors import UNDEFINED

#: A page that takes longer is of no use to the one who waits for it.
STATEMENT_TIMEOUT = "20s"
#: Of a stream that is not read: its transaction would hold up migrations, and scans with them.
IDLE_TIMEOUT = "5min"


class WarehouseNotReadyError(Exception):
    """The schema is older than this code; ``is_empty``: it has no tables at all."""

    def __init__(self, *, is_empty: bool) -> None:
        super().__init__("the warehouse's tables are missing or too old")
        self.is_empty = is_empty


@contextmanager
def reading(warehouse: Warehouse) -> Iterator[WarehouseConnection]:
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


#: To look it up costs a connection. A changed Airflow connection is noticed so much later.
LOOKED_UP_FOR_S = 60
#: Of one server process, at the same time; its threads are more.
MAX_CONNECTIONS = 12
#: Besides those, of answers that are streamed: each takes as long as its caller likes.
MAX_STREAMS = 4
#: How long a request waits for one of them.
WAIT_S = 10


@dataclass(frozen=True)
class BoundedWarehouse(Warehouse):
    """Opens no more at once than it has slots: no crowd of callers starves the scans."""

    slots: threading.BoundedSemaphore = field(kw_only=True, repr=False, compare=False)

    @contextmanager
    def connect(
        self, tenant_id: str | None = None, *, autocommit: bool = False
    ) -> Iterator[WarehouseConnection]:
        if not self.slots.acquire(timeout=WAIT_S):
            raise WarehouseUnavailableError(
                "all connections of the API server are in use.",
                remedy="Ask again later.",
            )
        try:
            with super().connect(tenant_id, autocommit=autocommit) as connection:
                yield connection
        finally:
            self.slots.release()


_slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
_streams = threading.BoundedSemaphore(MAX_STREAMS)
_lock = threading.Lock()
_known: tuple[float, BoundedWarehouse] | None = None


def warehouse() -> BoundedWarehouse:
    """Return the warehouse that scans load into. Raises what `open_warehouse` raises."""
    global _known
    with _lock:
        if _known is None or time.monotonic() - _known[0] > LOOKED_UP_FOR_S:
            found = open_warehouse()
            name = {"application_name": "hubspot_deals_api"}
            bounded = BoundedWarehouse({**found.parameters, **name}, found.schema, slots=_slots)
            _known = time.monotonic(), bounded
        return _known[1]


def of_streams(of: Annotated[BoundedWarehouse, Depends(warehouse)]) -> Warehouse:
    """Return the warehouse for streams: however many of them stand still, pages are answered."""
    return replace(of, slots=_streams)


StreamedWarehouse = Annotated[Warehouse, Depends(of_streams)]
CurrentWarehouse = Annotated[Warehouse, Depends(warehouse)]
