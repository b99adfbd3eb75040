"""The parent's side of a fork server: ordering attempts, watching them, and ending them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
#: Of the log, when something fails.
SHOWN_LINES = 30


@dataclass
class Worker:
    """One attempt at a task, in a process of its own.

    ``report``: what it reported at its end, None while it lives.
    """

    number: int
    pid: int
    working_directory: Path
    started_at: float = field(default_factory=time.monotonic)
    report: dict[str, Any] | None = None

    @property
    def succeeded(self) -> bool:
        return self.report is not None and "returned" in self.report

    @property
    def returned(self) -> dict[str, Any]:
        """What a task that succeeded hands on."""
        assert self.report
        returned: dict[str, Any] = self.report["returned"]
        return returned

    @property
    def outcome(self) -> str:
        """How it ended, in a word or two."""
        report = self.report or {"ended": "never"}
        if "returned" in report:
            return "success"
        return str(report.get("raised") or f"exit status {report['ended']}")


class WorkerPool:
    """A fork server's process, started at once. All that it forked is gone when the block ends."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True)
        self.log = directory / "log"
        self._workers: dict[int, Worker] = {}
        self._unread = b""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.fork_server"],
                env={
                    **environment,
                    "PYTHONPATH": str(ROOT),
                    # pyarrow's allocator would start a thread, and threads don't survive a fork
                    "JE_ARROW_MALLOC_CONF": "background_thread:false",
                    # macOS can't be asked for its proxies after a fork
                    "no_proxy": "*",
                },
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
            )

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close stdin, which ends the fork server and all its workers; wait for it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()

    def wait(self) -> None:
        """Return once it has imported everything."""
        ready = self._next_report(START_TIMEOUT_S)
        assert ready == {"ready": True, "threads": ["MainThread"]}, ready

    def begin(self, task: str, **order: Any) -> Worker:
        """Start an attempt at a task, with a new working directory."""
        number = len(self._workers)
        working_directory = self._directory / f"attempt_{number}"
        working_directory.mkdir()
        self._order(number=number, task=task, working_directory=str(working_directory), **order)
        while "pid" not in (report := self._next_report(STOP_TIMEOUT_S)):
            self._take(report)
        worker = Worker(number, report["pid"], working_directory)
        self._workers[number] = worker
        return worker

    def ended(self, worker: Worker, wait_s: float = 0.0) -> bool:
        """Say whether it has ended, or does so within *wait_s*."""
        deadline = time.monotonic() + wait_s
        while worker.report is None:
            left_s = max(0.0, deadline - time.monotonic())
            if (report := self._report_within(left_s)) is None:
                return False
            self._take(report)
        return True

    def stop(self, worker: Worker) -> bool:
        """Stop it where it is; say False if it ended before that."""
        self._signal(worker, signal.SIGSTOP)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not self.ended(worker, 0.001):
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED:
                    return True
            assert time.monotonic() < deadline, f"{worker} does not stop"
        return False

    def go_on(self, worker: Worker) -> None:
        self._signal(worker, signal.SIGCONT)

    def kill(self, worker: Worker) -> None:
        self._signal(worker, signal.SIGKILL)
        assert self.ended(worker, STOP_TIMEOUT_S), f"{worker} survives SIGKILL"

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])

    def show_stacks(self, worker: Worker) -> None:
        """Have it write into the log where all its threads are."""
        self._signal(worker, signal.SIGUSR1)
        self.ended(worker, 1.0)

    def _signal(self, worker: Worker, which: int) -> None:
        if worker.report is None:
            self._order(number=worker.number, signal=int(which))

    def _order(self, **order: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def _take(self, report: dict[str, Any]) -> None:
        self._workers[report["number"]].report = report

    def _next_report(self, wait_s: float) -> dict[str, Any]:
        report = self._report_within(wait_s)
        assert report is not None, f"the fork server is silent; its log is {self.log}"
        return report

    def _report_within(self, wait_s: float) -> dict[str, Any] | None:
        assert self._process.stdout
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], wait_s)[0]:
                return None
            received = os.read(descriptor, 65_536)
            assert received, f"the fork server has ended; its log is {self.log}"
            self._unread += received
        line, self._unread = self._unread.split(b"\n", 1)
        report: dict[str, Any] = json.loads(line)
        return report
