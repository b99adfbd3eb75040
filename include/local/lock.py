"""One launcher per state directory; `make down` finds it by the lock it holds."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from include.local.errors import LocalError


@contextlib.contextmanager
def launcher_lock(state_dir: Path) -> Iterator[None]:
    """Hold the lock of *state_dir*. The system releases it however this process ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "launcher.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                f"The local stack is already run by process {_pid_in(state_dir)}.",
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
            return _pid_in(state_dir)
        return None


def _pid_in(state_dir: Path) -> int:
    return int((state_dir / "launcher.lock").read_text() or "0")
