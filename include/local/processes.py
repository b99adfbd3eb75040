"""The programs of a stack: started in the background, found again later, stopped without a trace.

Each program runs in a session of its own, with its pid on record. A program's descendants are known
by an environment variable that all of them inherit: Airflow's task processes have their own process
groups and outlive a killed scheduler, so neither pids nor groups would find them all.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from include.local.airflow_settings import PROJECT_ROOT
from include.local.errors import LocalError

#: Holds the state directory of the stack that a process belongs to.
MARKER = "HUBSPOT_DEALS_STACK"
#: Airflow's programs need 2 to 5 s to end. A second signal tells the scheduler not to wait for
#: running tasks; a triggerer that missed the end of its own child ignores both.
GRACE_S = 4.0
POLITE_SIGNALS = 2
SHOWN_LOG_LINES = 15


@dataclass(frozen=True)
class Program:
    """A program on record. Pid and start time together name a process for good."""

    name: str
    pid: int
    started_at: float

    @property
    def process(self) -> psutil.Process | None:
        """The process, None when it has ended (its pid may be another program's by now)."""
        try:
            process = psutil.Process(self.pid)
            # Equal but for the rounding that reading it twice may bring.
            same = abs(process.create_time() - self.started_at) < 0.1
            return process if same and _is_alive(process) else None
        except psutil.NoSuchProcess:
            return None


class Programs:
    """The programs whose records and logs lie below *state_dir*."""

    def __init__(self, state_dir: Path) -> None:
        self._marker = str(state_dir.resolve())
        self._records = state_dir / "pids"
        self.logs = state_dir / "logs"

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start *command* in the background, its output in `logs/<name>.log`."""
        log = self.log_of(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            child = subprocess.Popen(
                command,
                env={**env, MARKER: self._marker},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._record(name, child.pid)

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def on_record(self) -> list[Program]:
        """Return every program that was started, whether it still runs or not."""
        return [Program(**json.loads(path.read_text())) for path in self._records.glob("*.json")]

    def running(self) -> list[Program]:
        return [program for program in self.on_record() if program.process]

    def start_until_ready(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        ready_file: Path,
        timeout_s: float,
    ) -> Any:
        """Start a program of this checkout; return what it says, as JSON, once it is ready.

        It writes *ready_file* then. Raises LocalError.
        """
        ready_file.unlink(missing_ok=True)
        self.start(name, command, {**env, "PYTHONPATH": str(PROJECT_ROOT)}, PROJECT_ROOT)
        deadline = time.monotonic() + timeout_s
        while not (ready_file.exists() and (text := ready_file.read_text())):
            self.require_alive()
            if time.monotonic() > deadline:
                raise LocalError(
                    f"The {name} is not ready after {timeout_s:.0f} s.",
                    f"Its log is {self.log_of(name)}.",
                )
            time.sleep(0.05)
        return json.loads(text)

    def require_alive(self) -> None:
        """Raise LocalError, with the end of its log, when a program on record has ended."""
        for program in self.on_record():
            if program.process is None:
                raise LocalError(
                    f"{program.name} has ended unexpectedly.\n{self.last_lines(program.name)}\n",
                    f"The whole log is {self.log_of(program.name)}.",
                )

    def last_lines(self, name: str) -> str:
        lines = self.log_of(name).read_text(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-SHOWN_LOG_LINES:])

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask all programs to end, twice if need be, then kill whatever of them is left."""
        family: set[psutil.Process] = set()
        for _ in range(POLITE_SIGNALS):
            leaders = [program.process for program in self.running()]
            family |= {*leaders, *self._members()}
            _signal_all(leaders, psutil.Process.terminate)
            if not _alive_after(family, grace_s):
                break
        # Whoever was forked in the meantime is in this second look only.
        rest = {*family, *self._members()}
        _signal_all(rest, psutil.Process.kill)
        _alive_after(rest, grace_s)
        self.forget()

    def forget(self) -> None:
        """Take all programs off the record."""
        for record in self._records.glob("*.json"):
            record.unlink(missing_ok=True)

    def has_members(self) -> bool:
        """Say whether any process of this stack runs, on record or not."""
        return next(self._members(), None) is not None

    def _record(self, name: str, pid: int) -> None:
        self._records.mkdir(parents=True, exist_ok=True)
        program = Program(name, pid, psutil.Process(pid).create_time())
        (self._records / f"{name}.json").write_text(json.dumps(asdict(program)))

    def _members(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARKER) == self._marker
                if ours and process.pid != os.getpid() and _is_alive(process):
                    yield process
            except (psutil.Error, OSError):
                continue


def _signal_all(
    processes: "set[psutil.Process] | list[psutil.Process]",
    send: Callable[[psutil.Process], None],
) -> None:
    for process in processes:
        try:
            # psutil compares start times first: a reused pid is never signalled.
            send(process)
        except psutil.NoSuchProcess:
            continue


def _alive_after(processes: "set[psutil.Process]", timeout_s: float) -> list[psutil.Process]:
    # Not psutil.wait_procs: it also waits for the parents of the dead to take notice, and in
    # containers an orphan's new parent often never does.
    deadline = time.monotonic() + timeout_s
    while alive := [process for process in processes if _is_alive(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter, and so this virtual environment."""
    return [sys.executable, *arguments]
