"""Starting and stopping the local stack from a terminal."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import LocalError, Programs, launcher_lock, launcher_pid
from include.ops.local.report import Report, addresses, follow, start_run
from include.ops.local.stack import LocalStack
from include.tenants import Tenant

DOWN_TIMEOUT_S = 90
WATCH_INTERVAL_S = 1.0
#: What happens after the table: stay until Ctrl-C, leave everything running, or stop everything.
Afterwards = Literal["stay", "detach", "once"]
NOTHING_ELSE: Mapping[str, str] = {}
HOW_TO_STOP: Mapping[Afterwards, str] = {
    "stay": "Ctrl-C, or in another terminal: make down",
    "detach": "make down",
}


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP: stop everything and end. Not an Exception, like its model."""


@contextmanager
def orderly_end(state_dir: Path, report: Report, afterwards: Afterwards) -> Iterator[None]:
    """Hold the stack of *state_dir* for this process, and leave no process of it behind.

    Only a detached stack whose block ended well is left running.
    """
    with launcher_lock(state_dir):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _raise_stopped)
        if is_running(state_dir):
            with report.step("stopped what an earlier start had left running"):
                stop_everything(state_dir)
        # After a power failure nothing runs, but everything is on record.
        Programs(state_dir).forget()
        try:
            yield
        except BaseException:
            _stop_with_report(state_dir, report)
            raise
        if afterwards != "detach":
            _stop_with_report(state_dir, report)


def start(stack: LocalStack, report: Report) -> None:
    """Start PostgreSQL and Airflow, step by step. Raises LocalError."""
    with report.step("PostgreSQL"):
        stack.start_postgres()
    with report.step("Airflow's tables"):
        stack.migrate()
    with report.step("Airflow (scheduler, DAG processor, triggerer, API)"):
        stack.start_airflow()
        stack.wait_until_healthy()


def scan(stack: LocalStack, tenants: Sequence[Tenant], report: Report) -> bool:
    """Scan all *tenants* at once, print the table; False if a scan failed. Raises LocalError."""
    with report.step("DAGs"):
        stack.wait_for_dags([tenant.dag_id for tenant in tenants])
        stack.fail_interrupted_runs()
    runs = [start_run(stack, tenant) for tenant in tenants]
    report.line()
    for change in follow(stack, runs):
        report.change(change, runs)
    report.table(runs)
    return all(run.state == "success" for run in runs)


def scan_and_show(
    stack: LocalStack,
    tenants: Sequence[Tenant],
    report: Report,
    afterwards: Afterwards,
    also: Mapping[str, str] = NOTHING_ELSE,
) -> None:
    """Scan, show where to look, and stay if so asked. Raises LocalError when a scan fails.

    :param also: more to show at the end.
    """
    if not scan(stack, tenants, report):
        raise LocalError("Not every scan succeeded; the reasons are above.")
    if afterwards in HOW_TO_STOP:
        report.addresses({**addresses(stack), **also, "Stop": HOW_TO_STOP[afterwards]})
    if afterwards == "stay":
        stay(stack)


def stay(stack: LocalStack) -> None:
    """Watch the stack until a signal comes. Raises LocalError when one of its programs ends."""
    try:
        while True:
            stack.programs.require_alive()
            time.sleep(WATCH_INTERVAL_S)
    except Stopped:
        return


def is_running(state_dir: Path) -> bool:
    """Say whether any process of the stack of *state_dir* runs."""
    return Programs(state_dir).has_members() or EmbeddedPostgres(state_dir).pid is not None


def stop_everything(state_dir: Path) -> None:
    """Stop every process of the stack of *state_dir*, the database last."""
    Programs(state_dir).stop()
    EmbeddedPostgres(state_dir).stop()


def down(state_dir: Path, report: Report) -> None:
    """Stop the stack from another terminal, its launcher first. Raises LocalError."""
    pid = launcher_pid(state_dir)
    if pid is None and not is_running(state_dir):
        report.line("Nothing was running.")
        return
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        _wait_for_launcher(state_dir, pid)
    stop_everything(state_dir)
    report.line("Stopped.")


def _wait_for_launcher(state_dir: Path, pid: int) -> None:
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while launcher_pid(state_dir) == pid:
        if time.monotonic() > deadline:
            raise LocalError(
                f"Process {pid}, which runs the stack, does not end.",
                f"Kill it (kill -9 {pid}), then run `make down` again.",
            )
        time.sleep(0.1)


def _stop_with_report(state_dir: Path, report: Report) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A second Ctrl-C would leave half of the processes behind.
        signal.signal(number, signal.SIG_IGN)
    if is_running(state_dir):
        with report.step("stopped"):
            stop_everything(state_dir)


def _raise_stopped(number: int, frame: object) -> None:
    raise Stopped(number)
