import io
import os
import threading
from collections.abc import Iterator

import pytest

from include.ops.local import report
from include.ops.local.report import Change, Report, Run
from tests.support.waiting import until

EXTRACTED = {"scan_id": "s-1", "deals_live": 1229, "deals_archived": 5}
CHECKED = {"checks": 15, "failed": 0, "warned": 2, "no_rows": 3, "scan": {"seconds": 9.96}}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(**changes: object) -> Run:
    fields: dict[str, object] = {"tenant_id": "acme", "dag_id": "d", "run_id": "r", **changes}
    return Run(**fields)  # type: ignore[arg-type]


def test_the_table_shows_a_scans_figures() -> None:
    out = io.StringIO()

    Report(out).table([run(extracted=EXTRACTED, checked=CHECKED)])

    assert out.getvalue().splitlines()[3].split() == [
        *("acme", "s-1", "1,234", "5", "10", "passed,", "2", "warned,", "3", "not", "applicable"),
        *("10", "s"),
    ]


def test_a_scan_that_failed_shows_its_state_in_place_of_figures() -> None:
    out = io.StringIO()

    Report(out).table([run(state="failed")])

    assert out.getvalue().splitlines()[3].split() == ["acme", "-", "-", "-", "failed", "-"]


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    scan = run()

    change = Change(scan, "validate_token", "failed", "TokenRejectedError: no")
    Report(out).progress([change], [scan])

    state, error = out.getvalue().splitlines()
    assert state.split()[2:] == ["acme", "validate_token", "failed"]
    assert error.strip() == "TokenRejectedError: no"
    assert "\x1b" not in out.getvalue()


def test_progress_is_redrawn_in_place_on_a_terminal() -> None:
    out = Terminal()
    scan = run(tasks={"validate_token": "running"})

    def changes() -> Iterator[Change]:
        yield Change(scan, "validate_token", "running")
        scan.tasks["validate_token"] = "success"
        yield Change(scan, "validate_token", "success")

    Report(out).progress(changes(), [scan])

    first, second = "  acme         ● validate_token", "\x1b[2K  acme         ✓ validate_token"
    assert first in out.getvalue().partition(second)[0]
    assert second in out.getvalue()


@pytest.mark.parametrize(
    ("out", "end"), [(io.StringIO(), "\n"), (Terminal(), "\r")], ids=["pipe", "terminal"]
)
def test_a_step_that_takes_long_says_that_it_goes_on(
    out: io.StringIO, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "TICK_S", 0.01)
    monkeypatch.setattr(report, "PLAIN_TICK_S", 0.01)

    with Report(out).step("Airflow's tables"):
        until(lambda: f" 0 s{end}" in out.getvalue(), "the step goes on")

    *going_on, done = out.getvalue().removesuffix("\n").split(end)
    assert all(line.startswith("  … Airflow's tables") for line in going_on)
    assert done.startswith("  ✓ Airflow's tables")


def test_a_step_that_fails_says_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PLAIN_TICK_S", 0.01)
    out, before = io.StringIO(), threading.active_count()

    with pytest.raises(KeyError), Report(out).step("Airflow's tables"):
        raise KeyError

    assert "✓" not in out.getvalue()
    assert threading.active_count() == before


def test_a_closed_pipe_does_not_end_the_work() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as out:  # noqa: PTH123 - a file descriptor has no path
        printing = Report(out)
        os.close(reader)

        printing.print("to no reader")
        printing.print("once more")


def test_a_terminal_that_is_gone_does_not_keep_the_stack_from_being_stopped() -> None:
    terminal, writer = os.openpty()
    stopped = []
    with open(writer, "w") as out:  # noqa: PTH123 - a file descriptor has no path
        printing = Report(out)
        os.close(terminal)

        with printing.step("stopped"):
            stopped.append(True)

    assert stopped == [True]
