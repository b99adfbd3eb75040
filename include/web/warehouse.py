"""The API server's connections to the warehouse: they only read, and time out before a caller."""

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

#: A page that takes longer is of no use to its reader.
STATEMENT_TIMEOUT = "20s"
#: Of a stream that is not read: its transaction would hold up migrations, and scans with them.
IDLE_TIMEOUT = "5min"
T = TypeVar("T")


class WarehouseNotReadyError(Problem):
    """The schema's tables are older than this code."""

    def __init__(self) -> None:
        super().__init__(
            Code.WAREHOUSE_NOT_READY,
            "The warehouse has no tables yet, or older ones than this code needs.",
            remedy="Every scan brings them up to date: start one. By hand: "
            "python -m include.warehouse.migrations",
        )


class WarehouseEmptyError(WarehouseNotReadyError):
    """There are no tables at all: the first scan makes them."""


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
    """Return a select list with all fields of *model*: columns of *of*, or what is *computed*."""
    return ", ".join(
        f'{computed.get(name, f"{of}.{name}")} as "{name}"' for name in model.model_fields
    )


def fetch(
    warehouse: Warehouse, row_factory: RowFactory[T], statement: str, values: Mapping[str, Any]
) -> list[T]:
    """Return the rows of one statement. Raises what `reading` raises."""
    with reading(warehouse) as connection:
        # 1,000 tenants: 1.1 ms of CPU, 4.6 with the standard library's
        set_json_loads(msgspec.json.decode, connection)
        return connection.run(statement, values, row_factory=row_factory).fetchall()


#: Looking it up costs a connection. A changed Airflow connection is noticed after this time.
LOOKED_UP_FOR_S = 60
#: Of one server process, at the same time; it has more threads than that.
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
    """Return the warehouse for streams: pages are answered even if no stream is read on."""
    return replace(of, slots=_streams)


StreamedWarehouse = Annotated[Warehouse, Depends(of_streams)]
CurrentWarehouse = Annotated[Warehouse, Depends(warehouse)]
