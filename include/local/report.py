"""What `make demo` prints: steps with their times, the tasks' states, the table at the end."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from include.local.runs import TASKS, Change, Run

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
            # The pipe or terminal is gone. What was asked for goes on; nobody reads about it.
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
