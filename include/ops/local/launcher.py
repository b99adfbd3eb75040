"""The launcher of a stack: what it runs, and how it stops all of it when it ends.

It holds the lock of `launch.json`, which names it.
"""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import LocalError, Programs
from include.ops.local.report import Report

_T = TypeVar("_T")

DOWN_TIMEOUT_S = 90
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """One of SIGNALS: stop everything and end. Not an Exception, like KeyboardInterrupt."""


@dataclass(frozen=True)
class Launch:
    """What a launcher runs: ``command`` is demo or run; ``ready`` once Airflow has answered."""

    command: str
    port: int
    ready: bool = False
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    pid: int = field(default_factory=os.getpid)

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.started_at).astimezone()
        return (
            f"`make {self.command}` has been {'running' if self.ready else 'starting'} since "
            f"{since:%Y-%m-%d %H:%M:%S}, at http://localhost:{self.port}, process {self.pid}"
        )

    @classmethod
    def of(cls, state_dir: Path) -> "Launch | None":
        """Return the current launch or the last one; None if nothing was started."""
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            return cls(**json.loads((state_dir / "launch.json").read_text()))
        return None

    def write(self, state_dir: Path) -> None:
        # in place: a new file would have another lock
        (state_dir / "launch.json").write_text(json.dumps(asdict(self)))


@contextlib.contextmanager
def launcher_lock(state_dir: Path, launch: Launch) -> Iterator[None]:
    """Hold the lock of *state_dir*. The system releases it however this process ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "launch.json").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                f"Process {launcher_pid(state_dir)} is already running the local stack.",
                "Stop it with Ctrl-C there, or with: make down",
            ) from None
        launch.write(state_dir)
        yield


def launcher_pid(state_dir: Path) -> int | None:
    """Return the process that holds the lock of *state_dir*, None if none does."""
    with contextlib.suppress(FileNotFoundError), (state_dir / "launch.json").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            launch = Launch.of(state_dir)
            return launch.pid if launch else None
    return None


def what_runs(state_dir: Path) -> Launch | None:
    """Return the launch that is starting or running; None if there is none.

    If the launcher was killed, the launch counts only if all its programs are running.
    """
    launch, pid = Launch.of(state_dir), launcher_pid(state_dir)
    if launch and launch.ready and pid is None:
        # the launcher has exited and left the programs running
        programs = Programs(state_dir).on_record()
        alive = programs and all(program.process for program in programs)
        pid = programs[0].pid if alive and EmbeddedPostgres(state_dir).pid else None
    return replace(launch, pid=pid) if launch and pid else None


@contextlib.contextmanager
def orderly_end(
    state_dir: Path,
    report: Report,
    launch: Launch,
    check: Callable[[], _T],
    *,
    detach: bool = False,
) -> Iterator[_T]:
    """Hold the stack of *state_dir* for this process; at the end, stop all its processes.

    Yields the result of *check*. An earlier stack and its launcher are stopped only after *check*:
    if it raises, they keep running.

    :param detach: leave the stack running if the block succeeds.
    """
    with ExitStack() as held:
        for number in SIGNALS:
            signal.signal(number, _raise_stopped)
        replaces = launcher_pid(state_dir) is not None or is_running(state_dir)
        if not replaces:
            held.enter_context(launcher_lock(state_dir, launch))
        ended_well = False
        try:
            checked = check()
            if replaces:
                with report.step("stopped the earlier stack"):
                    end_launcher(state_dir)
                    stop_everything(state_dir)
                held.enter_context(launcher_lock(state_dir, launch))
                replaces = False
            # After a power failure, the records name programs that are not running.
            Programs(state_dir).forget()
            yield checked
            ended_well = True
        finally:
            if not replaces and not (ended_well and detach):
                for number in SIGNALS:
                    # A second Ctrl-C would leave some processes running.
                    signal.signal(number, signal.SIG_IGN)
                if is_running(state_dir):
                    with report.step("stopped"):
                        stop_everything(state_dir)


def is_running(state_dir: Path) -> bool:
    """Return whether any process of the stack of *state_dir* is running."""
    if not state_dir.exists():
        return False
    return Programs(state_dir).has_members() or EmbeddedPostgres(state_dir).pid is not None


def stop_everything(state_dir: Path) -> None:
    """Stop every process of the stack of *state_dir*, the database last."""
    Programs(state_dir).stop()
    EmbeddedPostgres(state_dir).stop()


def end_launcher(state_dir: Path) -> None:
    """Signal the launcher to stop its stack, and wait until it exits. Raises LocalError."""
    pid = launcher_pid(state_dir)
    if pid is None or pid == os.getpid():
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while launcher_pid(state_dir) == pid:
        if time.monotonic() > deadline:
            raise LocalError(
                f"Process {pid}, which runs the stack, does not stop.",
                f"Kill it (kill -9 {pid}), then run `make down` again.",
            )
        time.sleep(0.1)


def down(state_dir: Path) -> None:
    """Stop the stack and its launcher from another terminal. Raises LocalError."""
    if launcher_pid(state_dir) is None and not is_running(state_dir):
        print("Nothing was running.")
        return
    end_launcher(state_dir)
    stop_everything(state_dir)
    print("Stopped.")


def _raise_stopped(number: int, frame: object) -> None:
    raise Stopped(number)
