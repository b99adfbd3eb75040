"""What `make demo`, `make run` and `make status` print."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import requests

from include.ops.local.airflow_api import FINAL_RUN_STATES, AirflowApi, errors_in
from include.ops.local.credentials import Credentials
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import LocalError, Programs, launcher_pid
from include.ops.local.stack import LocalStack
from include.tenants import Tenant

TASKS = ("validate_token", "extract_deals", "check_quality")
POLL_S = 1.0
SCHEDULED_RUN_TIMEOUT_S = 60


@dataclass
class Run:
    """One run of one tenant's DAG, as far as it has got."""

    tenant_id: str
    dag_id: str
    run_id: str
    started_at: float = field(default_factory=time.monotonic)
    state: str = "queued"
    tasks: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    extracted: dict[str, Any] = field(default_factory=dict)
    checked: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.state in FINAL_RUN_STATES


@dataclass(frozen=True)
class Change:
    """A task of a run has got into another state; ``error`` says why, if that is a bad one."""

    run: Run
    task_id: str
    state: str
    error: str = ""


def start_run(stack: LocalStack, tenant: Tenant) -> Run:
    """Start a scan of *tenant*, or take the one that its schedule starts at this moment.

    A DAG that is unpaused for the first time runs its last interval at once: another run beside it
    would read the whole account twice.
    """
    dag = stack.api.dag(tenant.dag_id) or {}
    due = dag.get("next_dagrun_run_after")
    if dag.get("is_paused") and due and datetime.fromisoformat(due) <= datetime.now(UTC):
        stack.api.unpause(tenant.dag_id)
        return Run(tenant.id, tenant.dag_id, _scheduled_run(stack, tenant.dag_id))
    return Run(tenant.id, tenant.dag_id, stack.trigger(tenant.dag_id))


def follow(stack: LocalStack, runs: Iterable[Run]) -> Iterator[Change]:
    """Yield each change of a task's state until all runs have ended, and fill in the runs."""
    going = list(runs)
    while going:
        stack.programs.require_alive()
        for run in going:
            # Asked first: when the run has ended, the tasks' states read next are the last ones.
            state = stack.api.run(run.dag_id, run.run_id)["state"]
            yield from _changes(stack, run)
            run.state = state
            if run.ended:
                _finish(stack, run)
        going = [run for run in going if not run.ended]
        if going:
            time.sleep(POLL_S)


def _scheduled_run(stack: LocalStack, dag_id: str) -> str:
    deadline = time.monotonic() + SCHEDULED_RUN_TIMEOUT_S
    while time.monotonic() < deadline:
        if run := stack.api.newest_run(dag_id):
            run_id: str = run["dag_run_id"]
            return run_id
        time.sleep(POLL_S)
    return stack.trigger(dag_id)


def _changes(stack: LocalStack, run: Run) -> Iterator[Change]:
    for task in stack.api.tasks(run.dag_id, run.run_id):
        task_id, state = task["task_id"], task["state"] or "waiting"
        if state == run.tasks.get(task_id, "waiting"):
            continue
        run.tasks[task_id] = state
        error = ""
        if state in ("failed", "up_for_retry"):
            error = run.error = _error(stack, run, task)
        yield Change(run, task_id, state, error)


def _error(stack: LocalStack, run: Run, task: dict[str, Any]) -> str:
    """Return the last exception in the log of a failed try, in full."""
    events = stack.api.task_log(run.dag_id, run.run_id, task["task_id"], task["try_number"])
    messages = list(errors_in(events)) or [str(event.get("event")) for event in events[-10:]]
    return messages[-1] if messages else "its log is empty"


def _finish(stack: LocalStack, run: Run) -> None:
    run.duration_s = time.monotonic() - run.started_at
    run.extracted = stack.xcom(run.dag_id, run.run_id, "extract_deals") or {}
    run.checked = stack.xcom(run.dag_id, run.run_id, "check_quality") or {}


SYMBOLS = {"success": "✓", "failed": "✗", "upstream_failed": "✗", "running": "●"}
HEADINGS = ("tenant", "scan id", "deals", "archived", "checks", "seconds")
#: More runs than fit a screen can't be redrawn in place.
MOST_LIVE_LINES = 20


class Report:
    """Writes to *out*: redrawn in place on a terminal, plain lines everywhere else."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()
        self._drawn_lines = 0
        self._started_at = time.monotonic()

    def line(self, text: str = "") -> None:
        self._write(f"{text}\n")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print what is being done, then how long it took."""
        started_at = time.monotonic()
        if self._live:
            self._write(f"  … {what}\r")
        yield
        self.line(f"  ✓ {what:<52} {time.monotonic() - started_at:5.1f} s")

    def change(self, change: Change, runs: Sequence[Run]) -> None:
        """Show a task's new state."""
        if self._live and len(runs) <= MOST_LIVE_LINES:
            self._redraw(runs)
        else:
            elapsed_s = time.monotonic() - self._started_at
            name = f"{change.run.tenant_id:<12} {change.task_id:<15}"
            self.line(f"  {elapsed_s:6.1f} s  {name} {change.state}")
        if change.error:
            self.line(f"    {change.error}")
            self._drawn_lines = 0

    def table(self, runs: Sequence[Run]) -> None:
        """Print a line for each run."""
        rows = [HEADINGS, *(_cells(run) for run in runs)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        self.line()
        for number, row in enumerate(rows):
            self.line("  " + "  ".join(_aligned(row, widths)).rstrip())
            if number == 0:
                self.line("  " + "  ".join("-" * width for width in widths))
        self.line()

    def addresses(self, rows: Mapping[str, str]) -> None:
        """Print where to look next."""
        for what, where in rows.items():
            self.line(f"  {what:<13} {where}")

    def _redraw(self, runs: Sequence[Run]) -> None:
        up = f"\x1b[{self._drawn_lines}A" if self._drawn_lines else ""
        lines = (
            "   ".join(_task(task_id, run.tasks.get(task_id, "")) for task_id in TASKS)
            for run in runs
        )
        drawn = (
            f"\x1b[2K  {run.tenant_id:<12} {line}\n" for run, line in zip(runs, lines, strict=True)
        )
        self._write(up + "".join(drawn))
        self._drawn_lines = len(runs)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            # The pipe or terminal is gone. What was asked for goes on without output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())


def _task(task_id: str, state: str) -> str:
    return f"{SYMBOLS.get(state, '·')} {task_id}"


def _held(extracted: dict[str, Any]) -> str:
    # a scan of a window counts what it received only
    if extracted["deals_live"] is None:
        return f"{extracted['deals_loaded']:,}"
    return f"{extracted['deals_live'] + extracted['deals_archived']:,}"


def _cells(run: Run) -> tuple[str, ...]:
    return (
        run.tenant_id,
        str(run.extracted.get("scan_id", "-")),
        _held(run.extracted) if run.extracted else "-",
        f"{run.extracted['deals_archived']:,}" if run.extracted else "-",
        _checks(run),
        f"{run.duration_s:.1f}",
    )


def _checks(run: Run) -> str:
    if not run.checked:
        return run.state
    warned = run.checked["warned"]
    # nothing to look at is neither: an idle scan has no rows for most checks
    others = run.checked["failed"] + warned + run.checked["no_rows"]
    passed = f"{run.checked['checks'] - others} passed"
    return ", ".join([passed, *([f"{warned} warned"] if warned else [])])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for heading, cell, width in zip(HEADINGS, row, widths, strict=True):
        numeric = heading in ("deals", "archived", "seconds")
        yield cell.rjust(width) if numeric else cell.ljust(width)


EXAMPLE_QUERY = "select _tenant_id, count(*) from hubspot_deals.deals group by 1"


def addresses(stack: LocalStack) -> dict[str, str]:
    """Return where a person finds what the stack offers."""
    found = _airflow(stack.url, stack.credentials)
    if stack.uses_embedded_warehouse:
        found["Warehouse"] = stack.postgres.dsn("warehouse")
        found["  look inside"] = f'make psql SQL="{EXAMPLE_QUERY}"'
    else:
        # Yours, and so is its password: not printed.
        found["Warehouse"] = "the one of your settings"
    return {**found, "Logs": str(stack.programs.logs)}


def print_status(state_dir: Path, port: int, report: Report) -> bool:
    """Print every program with its state, and where Airflow is; False if not all of it runs."""
    programs = Programs(state_dir).on_record()
    for program in sorted(programs, key=lambda program: program.name):
        state = f"running, process {program.pid}" if program.process else "ended"
        report.line(f"  {program.name:<14} {state}")
    postgres = EmbeddedPostgres(state_dir)
    pid = postgres.pid
    report.line(f"  {'postgresql':<14} {f'running, process {pid}' if pid else 'not running'}")
    if launcher := launcher_pid(state_dir):
        report.line(f"  {'launcher':<14} running, process {launcher}")
    runs = bool(pid) and bool(programs) and all(program.process for program in programs)
    if runs:
        report.line()
        report.addresses(_airflow(f"http://localhost:{port}", Credentials.of(state_dir)))
    return runs


def _airflow(url: str, login: Credentials) -> dict[str, str]:
    return {"Airflow UI": url, "  log in as": f"{login.admin_user} / {login.admin_password}"}


def print_token(state_dir: Path, port: int, report: Report) -> None:
    """Print a token for Airflow's REST API and ours. Raises LocalError."""
    login = Credentials.of(state_dir)
    api = AirflowApi(f"http://127.0.0.1:{port}", login.admin_user, login.admin_password)
    try:
        report.line(api.token())
    except requests.RequestException as exc:
        raise LocalError(
            f"No Airflow of this checkout answers on port {port}.", "Start it with: make demo"
        ) from exc


def open_psql(state_dir: Path, statement: str) -> None:
    """Become psql, connected to the embedded warehouse. Raises LocalError."""
    postgres = EmbeddedPostgres(state_dir)
    if postgres.pid is None:
        raise LocalError("The local PostgreSQL does not run.", "Start it with: make demo")
    postgres.start()
    url = urlsplit(postgres.dsn("warehouse"))
    options = ["-h", "127.0.0.1", "-p", str(url.port), "-U", str(url.username), "warehouse"]
    options += ["-c", statement] if statement else []
    # By the environment: a command line is there for everybody to read.
    environment = {**os.environ, "PGPASSWORD": postgres.password}
    os.execve(postgres.psql, [str(postgres.psql), *options], environment)  # noqa: S606 - no shell wanted
