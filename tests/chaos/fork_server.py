"""A process that has imported everything and forks a worker for each attempt at a task.

`python -m tests.chaos.fork_server` reads orders from stdin, one JSON a line, and writes reports to
stdout: a process of its own for each attempt would spend most of its life importing. Until a fork
nothing is opened, and no thread is started. When stdin ends, so does it, and all its workers.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import random
import selectors
import signal
import tempfile
import threading
import traceback
from dataclasses import dataclass
from typing import Any

from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.scan import Scan
from include.tenants import Tenant

ORDERS, REPORTS = 0, 1
#: What a task would import only once it needs it.
IMPORTED_LATE = (
    "adbc_driver_manager.dbapi",
    "adbc_driver_postgresql",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.sdk.execution_time.supervisor",
    "dlt.common.libs.pyarrow",
    "dlt.destinations.impl.postgres.postgres",
    "dlt.sources.helpers.requests",
    "include.pipeline.load.arrow",
    "pyarrow.dataset",
    "pyarrow.parquet",
)


@dataclass
class Child:
    """A worker that has not been reaped yet; its end closes the pipe that its result comes by."""

    number: int
    pid: int
    pipe: int
    result: bytes = b""


class ForkServer:
    """Forks, signals and reaps workers as its orders say."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(ORDERS, selectors.EVENT_READ)
        self._children: dict[int, Child] = {}
        self._unread = b""

    def serve(self) -> None:
        _report(ready=True, threads=_threads())
        try:
            while self._step():
                pass
        finally:
            for child in list(self._children.values()):
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)

    def _step(self) -> bool:
        """Wait for an order or for a worker's word; say False when there are no more orders."""
        for key, _ in self._selector.select():
            if key.fd != ORDERS:
                self._listen(key.data)
            elif not self._take_orders():
                return False
        return True

    def _take_orders(self) -> bool:
        received = os.read(ORDERS, 65_536)
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "signal" in order:
                self._signal(order["number"], order["signal"])
            else:
                self._fork(order)
        return bool(received)

    def _signal(self, number: int, which: int) -> None:
        # One that has ended is reaped only here, so its pid is not reused.
        if child := self._children.get(number):
            os.kill(child.pid, which)

    def _fork(self, order: dict[str, Any]) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._selector.close()
            _live_and_die(order, writing)
        os.close(writing)
        child = Child(order["number"], pid, reading)
        self._children[child.number] = child
        self._selector.register(reading, selectors.EVENT_READ, child)
        _report(number=child.number, pid=pid)

    def _listen(self, child: Child) -> None:
        received = os.read(child.pipe, 65_536)
        child.result += received
        if received:
            return
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        _, status = os.waitpid(child.pid, 0)
        del self._children[child.number]
        result = json.loads(child.result) if child.result else {}
        _report(number=child.number, ended=os.waitstatus_to_exitcode(status), **result)


def _live_and_die(order: dict[str, Any], pipe: int) -> None:
    """Be a worker: do the task, send what came of it, and end."""
    try:
        # stdin is where the fork server's orders come in
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, ORDERS)
        os.dup2(2, REPORTS)
        os.environ["TMPDIR"] = order["working_directory"]
        tempfile.tempdir = None
        random.seed()
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        result = _result(order)
        os.write(pipe, json.dumps({**result, "threads": _threads()}).encode())
    finally:
        os._exit(0)


def _result(order: dict[str, Any]) -> dict[str, Any]:
    scan = Scan(Tenant.model_validate(order["tenant"]), order["run_id"], order["mode"])
    try:
        if order["task"] == "extract_deals":
            return {"returned": extract_deals(scan, order["checkpoint_pages"])}
        task = validate_token if order["task"] == "validate_token" else check_quality
        return {"returned": task(scan)}
    except Exception as exc:  # noqa: BLE001 - whatever it is, the test wants to know
        traceback.print_exc()
        return {"raised": type(exc).__name__, "message": str(exc)}


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def _report(**what: Any) -> None:
    os.write(REPORTS, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    # What it logs while it imports must not be taken for a report.
    REPORTS = os.dup(1)
    os.dup2(2, 1)
    for module in IMPORTED_LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    ForkServer().serve()
