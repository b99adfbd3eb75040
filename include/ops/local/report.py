"""Start scans in the local stack, follow them, and print their progress and results."""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple

from rich.box import Box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from include.ops.local.airflow_api import FINAL_RUN_STATES, errors_in
from include.ops.local.stack import LocalStack
from include.tenants import Tenant

TASKS = ("validate_token", "extract_deals", "check_quality")
POLL_S = 1.0
SCHEDULED_RUN_TIMEOUT_S = 60


@dataclass
class Run:
    """A run of a tenant's DAG, and its progress."""

    tenant_id: str
    dag_id: str
    run_id: str
    started_at: float = field(default_factory=time.monotonic)
    state: str = "queued"
    tasks: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    extracted: dict[str, Any] = field(default_factory=dict)
    checked: dict[str, Any] = field(default_factory=dict)


class Change(NamedTuple):
    """A new state of a task; ``error``: the reason of a failure."""

    run: Run
    task_id: str
    state: str
    error: str = ""


def start_run(stack: LocalStack, tenant: Tenant) -> Run:
    """Start a scan of *tenant*, or return the run that its schedule starts now.

    A DAG that is unpaused for the first time runs its last interval immediately: a second run would
    read the whole account again.
    """
    dag_id = tenant.dag_id
    dag = stack.api.dag(dag_id) or {}
    due = dag.get("next_dagrun_run_after")
    if dag.get("is_paused") and due and datetime.fromisoformat(due) <= datetime.now(UTC):
        stack.api.unpause(dag_id)
        deadline = time.monotonic() + SCHEDULED_RUN_TIMEOUT_S
        while time.monotonic() < deadline:
            if scheduled := stack.api.newest_run(dag_id):
                return Run(tenant.id, dag_id, scheduled["dag_run_id"])
            time.sleep(POLL_S)
    return Run(tenant.id, dag_id, stack.trigger(dag_id))


def follow(stack: LocalStack, runs: Iterable[Run]) -> Iterator[Change]:
    """Update *runs* until all have ended; yield each change of a task's state."""
    going = list(runs)
    while going:
        stack.programs.require_alive()
        for run in going:
            # read before the tasks' states: those of a run that has ended are final
            state = stack.api.run(run.dag_id, run.run_id)["state"]
            for task in stack.api.tasks(run.dag_id, run.run_id):
                task_id, now = task["task_id"], task["state"] or "waiting"
                if now != run.tasks.get(task_id, "waiting"):
                    run.tasks[task_id] = now
                    failed = now in ("failed", "up_for_retry")
                    yield Change(run, task_id, now, _error(stack, run, task) if failed else "")
            run.state = state
            if state in FINAL_RUN_STATES:
                run.duration_s = time.monotonic() - run.started_at
                run.extracted = stack.api.xcom(run.dag_id, run.run_id, "extract_deals") or {}
                run.checked = stack.api.xcom(run.dag_id, run.run_id, "check_quality") or {}
        going = [run for run in going if run.state not in FINAL_RUN_STATES]
        if going:
            time.sleep(POLL_S)


def _error(stack: LocalStack, run: Run, task: dict[str, Any]) -> str:
    """Return the last exception in the log of a failed try."""
    events = stack.api.task_log(run.dag_id, run.run_id, task["task_id"], task["try_number"])
    messages = list(errors_in(events)) or [str(event.get("event")) for event in events]
    return messages[-1] if messages else "its log is empty"


SYMBOLS = {"success": "✓", "failed": "✗", "upstream_failed": "✗", "running": "●"}
#: Heading of a column → how its cells are aligned.
COLUMNS: Mapping[str, Any] = {
    "tenant": "left",
    "scan id": "left",
    "deals": "right",
    "archived": "right",
    "checks": "left",
    "duration": "right",
}
DASHES_BELOW_HEADINGS = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
#: Wider than any line: the terminal wraps lines, so that a copied line is complete.
WIDTH = 500
#: Interval of updates of a running step: in place on a terminal, elsewhere as new lines.
TICK_S = 1.0
PLAIN_TICK_S = 15.0
#: More runs than fit on a screen can't be redrawn in place.
MOST_LIVE_LINES = 20


class Report(Console):
    """Plain text: redrawn in place on a terminal, line by line elsewhere."""

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(
            file=file, width=WIDTH, soft_wrap=True, markup=False, emoji=False, highlight=False
        )
        self._started_at = time.monotonic()

    def on_broken_pipe(self) -> None:
        """Continue without output: the stack must still be usable, and be stopped."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:  # the terminal is gone
            self.on_broken_pipe()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print the name of a step and its elapsed time, then its duration."""
        started_at = time.monotonic()
        if self.is_terminal:
            self.print(f"  … {what}", end="\r")
        with self._ticking(what, TICK_S if self.is_terminal else PLAIN_TICK_S):
            yield
        self.print(f"  ✓ {what:<52} {time.monotonic() - started_at:5.1f} s")

    @contextmanager
    def _ticking(self, what: str, every_s: float) -> Iterator[None]:
        """Print the elapsed time of *what* every *every_s* seconds, in place on a terminal."""
        started_at, done = time.monotonic(), threading.Event()

        def tick() -> None:
            while not done.wait(every_s):
                line = f"  … {what:<52} {time.monotonic() - started_at:5.0f} s"
                self.print(line, end="\r" if self.is_terminal else "\n")

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()

    def progress(self, changes: Iterable[Change], runs: Sequence[Run]) -> None:
        """Show the states of the tasks of *runs* as they change."""
        in_place = self.is_terminal and len(runs) <= MOST_LIVE_LINES
        live = Live(
            console=self,
            get_renderable=lambda: "\n".join(map(_line, runs)),
            refresh_per_second=1,
        )
        with live if in_place else self._ticking("scans", PLAIN_TICK_S):
            for run, task_id, state, error in changes:
                if in_place:
                    live.refresh()
                else:
                    elapsed_s = time.monotonic() - self._started_at
                    name = f"{run.tenant_id:<12} {task_id:<15}"
                    self.print(f"  {elapsed_s:6.1f} s  {name} {state}")
                if error:
                    self.print(f"    {error}")

    def table(self, runs: Sequence[Run]) -> None:
        """Print a line for each run."""
        table = Table(box=DASHES_BELOW_HEADINGS, header_style="")
        for heading, justify in COLUMNS.items():
            table.add_column(heading, justify=justify)
        for run in runs:
            table.add_row(*_cells(run))
        self.print(table)

    def addresses(self, rows: Mapping[str, str]) -> None:
        """Print where to look next."""
        for what, where in rows.items():
            self.print(f"  {what:<13} {where}")


def _line(run: Run) -> str:
    symbols = (f"{SYMBOLS.get(run.tasks.get(task_id, ''), '·')} {task_id}" for task_id in TASKS)
    elapsed_s = run.duration_s or time.monotonic() - run.started_at
    return f"  {run.tenant_id:<12} {'   '.join(symbols)}   {elapsed_s:.0f} s"


def _cells(run: Run) -> Iterator[str]:
    found, checked = run.extracted, run.checked
    yield run.tenant_id
    yield str(found.get("scan_id", "-"))
    if not found:
        yield from "--"
    else:
        # a scan of a window counts only the deals that it received
        of_window = found["deals_live"] is None
        all_deals = (
            found["deals_loaded"] if of_window else found["deals_live"] + found["deals_archived"]
        )
        yield f"{all_deals:,}"
        yield f"{found['deals_archived']:,}"
    if not checked:
        yield run.state
    else:
        others = checked["failed"] + checked["warned"] + checked["no_rows"]
        warned = f", {checked['warned']} warned" if checked["warned"] else ""
        idle = f", {checked['no_rows']} not applicable" if checked["no_rows"] else ""
        yield f"{checked['checks'] - others} passed{warned}{idle}"
    # the same duration as on the status page
    yield f"{checked['scan']['seconds']:.0f} s" if checked else "-"
