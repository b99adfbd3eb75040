"""The warehouse, as the API server reaches it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

import psycopg
from fastapi import Depends

from include.errors import WarehouseUnavailableError
from include.warehouse.connection import Warehouse, open_warehouse

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
    ) -> Iterator[psycopg.Connection]:
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
