"""The warehouse, as the API server reaches it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import psycopg
from fastapi import Depends

from include.errors import WarehouseUnavailableError
from include.warehouse.connection import Warehouse, open_warehouse

#: To look it up costs a connection. A changed Airflow connection is noticed so much later.
LOOKED_UP_FOR_S = 60
#: Of one server process, at the same time; its threads are more.
MAX_CONNECTIONS = 12
#: How long a request waits for one of them.
WAIT_S = 10


@dataclass(frozen=True)
class BoundedWarehouse(Warehouse):
    """Opens no more than MAX_CONNECTIONS at once: no crowd of callers starves the scans."""

    @contextmanager
    def connect(
        self, tenant_id: str | None = None, *, autocommit: bool = False
    ) -> Iterator[psycopg.Connection]:
        if not _slots.acquire(timeout=WAIT_S):
            raise WarehouseUnavailableError(
                f"all {MAX_CONNECTIONS} connections of the API server are in use.",
                remedy="Ask again later.",
            )
        try:
            with super().connect(tenant_id, autocommit=autocommit) as connection:
                yield connection
        finally:
            _slots.release()


_slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
_lock = threading.Lock()
_known: tuple[float, BoundedWarehouse] | None = None


def warehouse() -> Warehouse:
    """Return the warehouse that scans load into. Raises what `open_warehouse` raises."""
    global _known
    with _lock:
        if _known is None or time.monotonic() - _known[0] > LOOKED_UP_FOR_S:
            found = open_warehouse()
            name = {"application_name": "hubspot_deals_api"}
            bounded = BoundedWarehouse({**found.parameters, **name}, found.schema)
            _known = time.monotonic(), bounded
        return _known[1]


CurrentWarehouse = Annotated[Warehouse, Depends(warehouse)]
