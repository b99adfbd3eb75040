"""Start the programs of the local stack in the background, find them again, stop them all.

Each program runs in its own session, and its pid is recorded. Its descendants are found by an
environment variable that they inherit: Airflow's task processes have their own process groups and
outlive a killed scheduler, so neither pids nor groups identify all of them.
"""

import json
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from include.files import write_file

PROJECT_ROOT = Path(__file__).resolve().parents[3]


class LocalError(Exception):
    """A command of the local stack failed: what happened and why, then what to do."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())


LOOPBACK = "127.0.0.1"
#: Below the ports of outgoing connections (from 32,768 on Linux, 49,152 on macOS): one of those
#: could be taken before a slow server listens on it.
FREE_PORTS = (20_000, 32_000)
FREE_PORT_TRIES = 100
CONNECT_TIMEOUT_S = 1
LISTENING_TIMEOUT_S = 180


def free_port() -> int:
    """Return a port that no program listens on. Raises LocalError."""
    for _ in range(FREE_PORT_TRIES):
        port = random.randint(*FREE_PORTS)
        if is_free(port):
            return port
    raise LocalError(
        f"None of {FREE_PORT_TRIES} ports between {FREE_PORTS[0]} and {FREE_PORTS[1]} is free.",
        "Stop some programs that listen on this machine.",
    )


def is_free(port: int) -> bool:
    """Return whether a server could listen on *port* of 127.0.0.1 now."""
    # macOS lets two servers bind one port, one to all addresses and one to this address.
    if _listens(port):
        return False
    with socket.socket() as probe:
        # as servers do: ignore connections of a server that has just stopped
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        return probe.connect_ex((LOOPBACK, port)) == 0


#: Environment variable with the state directory of the process's stack.
MARKER = "HUBSPOT_DEALS_STACK"
#: Airflow's programs take 2 to 5 s to stop. After a second signal, the scheduler does not wait for
#: running tasks. A triggerer that missed the exit of its child ignores both signals.
GRACE_S = 4.0
POLITE_SIGNALS = 2
SHOWN_LOG_LINES = 15


@dataclass(frozen=True)
class Program:
    """A recorded program. Its pid and start time together identify the process."""

    name: str
    pid: int
    started_at: float

    @property
    def process(self) -> psutil.Process | None:
        """The process; None if it has ended. Its pid may be another program's by now."""
        try:
            process = psutil.Process(self.pid)
            # two readings of the same start time may be rounded differently
            same = abs(process.create_time() - self.started_at) < 0.1
            return process if same and _is_alive(process) else None
        except psutil.NoSuchProcess:
            return None


class Programs:
    """The programs whose records and logs are in *state_dir*."""

    def __init__(self, state_dir: Path) -> None:
        self._marker = str(state_dir.resolve())
        self._records = state_dir / "pids"
        self.logs = state_dir / "logs"

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start *command* in the background, with its output in `logs/<name>.log`."""
        child = self._popen(name, command, env, cwd)
        self._records.mkdir(parents=True, exist_ok=True)
        program = Program(name, child.pid, psutil.Process(child.pid).create_time())
        write_file(self._records / f"{name}.json", json.dumps(asdict(program)).encode())

    def run(self, name: str, module: Sequence[str], env: Mapping[str, str], problem: str) -> None:
        """Run `python -m *module*` until it ends, with its output in a log. Raises LocalError."""
        child = self._popen(name, [sys.executable, "-m", *module], env, PROJECT_ROOT)
        try:
            failed = child.wait()
        except BaseException:
            child.kill()
            raise
        if failed:
            raise self.failure(name, problem)

    def _popen(
        self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path
    ) -> subprocess.Popen[bytes]:
        log = self.log_of(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                env={**env, MARKER: self._marker},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def on_record(self) -> list[Program]:
        """Return all recorded programs, running or not, sorted by name."""
        records = sorted(self._records.glob("*.json"))
        return [Program(**json.loads(path.read_text())) for path in records]

    def running(self) -> list[Program]:
        return [program for program in self.on_record() if program.process]

    def start_server(
        self, name: str, module: Sequence[str], env: Mapping[str, str], port: int
    ) -> None:
        """Run `python -m *module*` in this checkout until it listens. Raises LocalError."""
        command = [sys.executable, "-m", *module]
        self.start(name, command, {**env, "PYTHONPATH": str(PROJECT_ROOT)}, PROJECT_ROOT)
        deadline = time.monotonic() + LISTENING_TIMEOUT_S
        while not _listens(port):
            self.require_alive()
            if time.monotonic() > deadline:
                raise self.failure(name, f"{name} does not listen after {LISTENING_TIMEOUT_S} s")
            time.sleep(0.05)

    def require_alive(self) -> None:
        """Raise LocalError, with the end of its log, if a recorded program has ended."""
        for program in self.on_record():
            if program.process is None:
                raise self.failure(program.name, f"{program.name} has ended unexpectedly")

    def failure(self, name: str, what: str) -> LocalError:
        """Return the error that shows the end of a program's log."""
        lines = self.log_of(name).read_text(errors="replace").splitlines()
        shown = "\n".join(f"  | {line}" for line in lines[-SHOWN_LOG_LINES:])
        return LocalError(f"{what}.\n{shown}\n", f"The whole log is {self.log_of(name)}.")

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask all programs to stop, twice if necessary, then kill the remaining processes."""
        family: set[psutil.Process] = set()
        for _ in range(POLITE_SIGNALS):
            leaders = [program.process for program in self.running()]
            family |= {*leaders, *self._members()}
            _signal_all(leaders, psutil.Process.terminate)
            if _have_ended(family, grace_s):
                break
        # look again, for processes that were forked meanwhile
        rest = {*family, *self._members()}
        _signal_all(rest, psutil.Process.kill)
        _have_ended(rest, grace_s)
        self.forget()

    def forget(self) -> None:
        """Delete all records."""
        for record in self._records.glob("*.json"):
            record.unlink(missing_ok=True)

    def has_members(self) -> bool:
        """Return whether any process of this stack is running, recorded or not."""
        return any(True for _ in self._members())

    def listen_on(self, port: int) -> bool:
        """Return whether a process of this stack listens on *port*."""
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for process in self._members()
            for connection in process.net_connections("tcp")
        )

    def _members(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARKER) == self._marker
                if ours and process.pid != os.getpid() and _is_alive(process):
                    yield process
            except (psutil.Error, OSError):
                continue


def _signal_all(
    processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]
) -> None:
    for process in processes:
        try:
            # psutil compares start times first: a reused pid is never signalled.
            send(process)
        except psutil.NoSuchProcess:
            continue


def _have_ended(processes: Iterable[psutil.Process], timeout_s: float) -> bool:
    # Not psutil.wait_procs: it also waits until the parents have reaped the processes, which the
    # new parent of an orphan in a container may never do.
    deadline = time.monotonic() + timeout_s
    while any(_is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Account:
    """The user that a program runs as. ``uid`` None: the user of this process."""

    uid: int | None = None
    gid: int | None = None

    @property
    def popen_options(self) -> dict[str, Any]:
        """The keyword arguments that make `subprocess` run a program as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def chown(self, path: Path) -> None:
        """Make this user the owner of *path*."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_read(self, path: Path) -> bool:
        """Return whether this user can read *path*, through all directories above it."""
        if self.uid is None:
            return True
        test = shutil.which("test") or "/bin/test"
        answer = subprocess.run([test, "-r", str(path)], cwd="/", check=False, **self.popen_options)
        return answer.returncode == 0


def unprivileged_account() -> Account:
    """Return the current user, or the user `nobody` instead of root. Raises LocalError."""
    if os.geteuid() != 0:
        return Account()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise LocalError(
            "PostgreSQL can't run as root, and there is no user 'nobody' to run it as.",
            "Run this command as an ordinary user.",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


class Started(ABC):
    """A context manager that starts something, and stops it at the end or if the start fails."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """Stop it, also after a start that failed halfway."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
