import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from include.errors import WarehouseUnavailableError
from include.warehouse.connection import Warehouse
from include.web import warehouse as web_warehouse
from include.web.warehouse import MAX_STREAMS, BoundedWarehouse, of_streams


def test_streams_that_nobody_reads_leave_connections_to_pages(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_warehouse, "WAIT_S", 0.01)
    pages = BoundedWarehouse(
        warehouse.parameters, warehouse.schema, slots=threading.BoundedSemaphore(1)
    )
    streams = of_streams(pages)

    with ExitStack() as open_streams:
        for _ in range(MAX_STREAMS):
            open_streams.enter_context(streams.connect())

        with pytest.raises(WarehouseUnavailableError), streams.connect():
            pass
        with pages.connect() as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_connection_that_is_closed_can_be_had_again(warehouse: Warehouse) -> None:
    pages = BoundedWarehouse(
        warehouse.parameters, warehouse.schema, slots=threading.BoundedSemaphore(1)
    )

    for _ in range(2):
        with pages.connect() as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_request_is_answered_while_another_one_waits_for_a_server_that_does_not_answer(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, answered = threading.Event(), threading.Event()

    def hang() -> Warehouse:
        waits.set()
        answered.wait(30)
        return warehouse

    monkeypatch.setattr(web_warehouse, "open_warehouse", hang)
    monkeypatch.setattr(web_warehouse, "_known", None)
    monkeypatch.setattr(web_warehouse, "OPENING_WAIT_S", 0.01)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(web_warehouse.warehouse)
        assert waits.wait(30)

        second = threads.submit(web_warehouse.warehouse)
        try:
            assert isinstance(second.exception(timeout=10), WarehouseUnavailableError)
        finally:
            answered.set()
        assert first.result().schema == web_warehouse.warehouse().schema == warehouse.schema
