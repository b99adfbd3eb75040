"""The API server's connections to the warehouse: read-only, few, and with time-outs."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends
from psycopg import sql
from psycopg.rows import RowFactory
from psycopg.types.json import set_json_loads
from pydantic import BaseModel

from include.errors import WarehouseConfigError, WarehouseUnavailableError
from include.warehouse.connection import Warehouse, WarehouseConnection, open_warehouse
from include.warehouse.errors import UNDEFINED
from include.web.problems import Code, Problem

STATEMENT_TIMEOUT = "20s"
#: An unread stream's open transaction would block migrations, and scans with them.
IDLE_TIMEOUT = "5min"
T = TypeVar("T")


class WarehouseNotReadyError(Problem):
    """The schema's tables are older than this code."""

    def __init__(self) -> None:
        super().__init__(
            Code.WAREHOUSE_NOT_READY,
            "The tables in the warehouse are missing or older than this version needs.",
            remedy="Start a scan, which migrates them, or run "
            "python -m include.warehouse.migrations",
        )


class WarehouseEmptyError(WarehouseNotReadyError):
    """There are no tables: the first scan creates them."""


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
        with warehouse.connect() as connection:
            tables = connection.execute(
                "select from pg_catalog.pg_tables where schemaname = %s and tablename = 'scans'",
                [warehouse.schema],
            ).fetchall()
        raise (WarehouseNotReadyError if tables else WarehouseEmptyError) from None


def columns(model: type[BaseModel], of: str, **computed: str) -> str:
    """Return a select list with all fields of *model*: columns of *of*, or *computed* ones."""
    return ", ".join(
        f'{computed.get(name, f"{of}.{name}")} as "{name}"' for name in model.model_fields
    )


def fetch(
    warehouse: Warehouse, row_factory: RowFactory[T], statement: str, values: Mapping[str, Any]
) -> list[T]:
    """Return the rows of one statement, none before the first scan has created the tables.

    Raises what `reading` raises.
    """
    try:
        with reading(warehouse) as connection:
            # 1,000 tenants: 1.1 ms of CPU; the standard library's decoder takes 4.6 ms
            set_json_loads(msgspec.json.decode, connection)
            return connection.run(statement, values, row_factory=row_factory).fetchall()
    except WarehouseEmptyError:
        return []


#: `open_warehouse` costs a connection. A changed Airflow connection is noticed after this time.
CACHED_FOR_S = 60
#: Per server process, which has more threads than that.
MAX_CONNECTIONS = 12
#: In addition, for streamed responses: a slow caller holds a connection for a long time.
MAX_STREAMS = 4
#: How long a request waits for a connection.
WAIT_S = 10
#: How long a request waits for another one that opens the warehouse. If PostgreSQL does not answer,
#: all requests wait here, in threads that Airflow's own API needs too.
OPENING_WAIT_S = 2


@dataclass(frozen=True)
class BoundedWarehouse(Warehouse):
    """Limits open connections to its slots, so that many callers leave some to the scans."""

    slots: threading.BoundedSemaphore = field(kw_only=True, repr=False, compare=False)

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[WarehouseConnection]:
        if not self.slots.acquire(timeout=WAIT_S):
            raise WarehouseUnavailableError(
                "all connections of the API server are in use.",
                remedy="Repeat the request later.",
            )
        try:
            with super().connect(autocommit=autocommit) as connection:
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
    if not _lock.acquire(timeout=OPENING_WAIT_S):
        raise WarehouseUnavailableError(
            "PostgreSQL has not answered another request yet.", remedy="Repeat the request later."
        )
    try:
        if _known is None or time.monotonic() - _known[0] > CACHED_FOR_S:
            found = open_warehouse()
            name = {"application_name": "hubspot_deals_api"}
            bounded = BoundedWarehouse({**found.parameters, **name}, found.schema, slots=_slots)
            _known = time.monotonic(), bounded
        return _known[1]
    finally:
        _lock.release()


def of_streams(of: Annotated[BoundedWarehouse, Depends(warehouse)]) -> Warehouse:
    """Return the warehouse for streams, whose connections are separate from those for pages."""
    return replace(of, slots=_streams)


StreamedWarehouse = Annotated[Warehouse, Depends(of_streams)]
CurrentWarehouse = Annotated[Warehouse, Depends(warehouse)]
