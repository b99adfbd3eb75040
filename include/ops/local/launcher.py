"""One launcher for a stack: its lock, and an orderly end however it is stopped."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import LocalError, Programs
from include.ops.local.report import Report

DOWN_TIMEOUT_S = 90
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """One of SIGNALS: stop everything and end. Not an Exception, like KeyboardInterrupt."""


@contextlib.contextmanager
def launcher_lock(state_dir: Path) -> Iterator[None]:
    """Hold the lock of *state_dir*. The system releases it however this process ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "launcher.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                f"The local stack is already run by process {launcher_pid(state_dir)}.",
                "Stop it there with Ctrl-C, or anywhere with: make down",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def launcher_pid(state_dir: Path) -> int | None:
    """Return the process that holds the lock of *state_dir*, None if none does."""
    path = state_dir / "launcher.lock"
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or "0")
        return None


@contextlib.contextmanager
def orderly_end(state_dir: Path, report: Report, *, detach: bool = False) -> Iterator[None]:
    """Hold the stack of *state_dir* for this process, and leave no process of it behind.

    :param detach: leave the stack running if the block ends well.
    """
    with launcher_lock(state_dir):
        for number in SIGNALS:
            signal.signal(number, _raise_stopped)
        if is_running(state_dir):
            with report.step("stopped what an earlier start had left running"):
                stop_everything(state_dir)
        # After a power failure nothing runs, but everything is on record.
        Programs(state_dir).forget()
        ended_well = False
        try:
            yield
            ended_well = True
        finally:
            if not (ended_well and detach):
                for number in SIGNALS:
                    # A second Ctrl-C would leave half of the processes behind.
                    signal.signal(number, signal.SIG_IGN)
                if is_running(state_dir):
                    with report.step("stopped"):
                        stop_everything(state_dir)


def is_running(state_dir: Path) -> bool:
    """Say whether any process of the stack of *state_dir* runs."""
    return Programs(state_dir).has_members() or EmbeddedPostgres(state_dir).pid is not None


def stop_everything(state_dir: Path) -> None:
    """Stop every process of the stack of *state_dir*, the database last."""
    Programs(state_dir).stop()
    EmbeddedPostgres(state_dir).stop()


def down(state_dir: Path) -> None:
    """Stop the stack from another terminal, its launcher first. Raises LocalError."""
    pid = launcher_pid(state_dir)
    if pid is None and not is_running(state_dir):
        print("Nothing was running.")
        return
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DOWN_TIMEOUT_S
        while launcher_pid(state_dir) == pid:
            if time.monotonic() > deadline:
                raise LocalError(
                    f"Process {pid}, which runs the stack, does not end.",
                    f"Kill it (kill -9 {pid}), then run `make down` again.",
                )
            time.sleep(0.1)
    stop_everything(state_dir)
    print("Stopped.")


def _raise_stopped(number: int, frame: object) -> None:
    raise Stopped(number)
