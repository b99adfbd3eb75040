"""Processes of the local stack: started with a mark, found again by it, stopped without a rest.

Every process inherits the mark in its environment, so that one orphaned by a killed launcher, or
put into a process group of its own by Airflow, is still found. No pid is ever reused by mistake.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

MARK = "HUBSPOT_DEALS_STACK"
STOP_TIMEOUT_S = 20


def start(
    name: str, command: Sequence[str], *, state_dir: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start *command* in its own session, its output going to ``logs/<name>.log``."""
    log_file = log_path(state_dir, name)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            env={**environ, MARK: str(state_dir)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the launcher alone, which then stops the rest in order.
            start_new_session=True,
        )


def log_path(state_dir: Path, name: str) -> Path:
    return state_dir / "logs" / f"{name}.log"


def marked(state_dir: Path) -> list[psutil.Process]:
    """Return every living process of the stack in *state_dir*."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(state_dir) and process.is_running():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
            continue  # gone meanwhile, or another user's: not ours either way
    return [process for process in found if process.pid != os.getpid()]


def stop_all(state_dir: Path, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Ask the stack's processes to end, and end those that have not after *timeout_s*."""
    processes = marked(state_dir)
    ours = {process.pid for process in processes}
    for process in processes:
        # The heads pass it on to their children in their own order.
        if _parent(process) not in ours:
            _signal(process, signal.SIGTERM)
    psutil.wait_procs(processes, timeout=timeout_s)
    while survivors := marked(state_dir):
        for process in survivors:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(survivors, timeout=timeout_s)


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # it has ended by itself
