import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.ops.local.launcher import Launch, down, is_running, launcher_pid, what_runs
from include.ops.local.processes import PROJECT_ROOT, Programs
from tests.support.waiting import until

#: What `make demo` comes to, with one program that waits instead of PostgreSQL and Airflow.
LAUNCHER = """
import os, signal, sys
from pathlib import Path
from include.ops.local.launcher import Launch, Stopped, orderly_end
from include.ops.local.processes import LocalError, Programs
from include.ops.local.report import Report

state_dir, wait = Path(sys.argv[1]), "import signal; signal.pause()"

def check():
    if sys.argv[2:] == ["refused"]:
        raise LocalError("refused")

try:
    with orderly_end(state_dir, Report(sys.stderr), Launch("demo", 5200), check):
        Programs(state_dir).start("program", [sys.executable, "-c", wait], os.environ, Path.cwd())
        print("up", flush=True)
        signal.pause()
except Stopped as stopped:
    print("stopped by", *stopped.args, flush=True)
"""


def launch(state_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(state_dir), *arguments],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A launcher whose program runs."""
    with launch(tmp_path) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "up\n"
            until(lambda: is_running(tmp_path), "the program runs", timeout_s=60)
            yield process
        finally:
            process.kill()
            Programs(tmp_path).stop(grace_s=0.2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "no terminal"])
def test_a_signal_stops_all_that_was_started(
    launcher: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    launcher.send_signal(number)
    said, _ = launcher.communicate(timeout=60)

    assert said == f"stopped by {number.value}\n"
    assert not is_running(tmp_path)


def test_down_stops_the_launcher_and_all_that_it_started(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert launcher_pid(tmp_path) == launcher.pid

    down(tmp_path)

    assert launcher_pid(tmp_path) is None
    assert not is_running(tmp_path)


def test_what_runs_is_known_with_its_process_its_address_and_since_when(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    found = what_runs(tmp_path)

    assert found is not None
    assert (found.command, found.port, found.pid) == ("demo", 5200, launcher.pid)
    assert "`make demo` has been starting since 2" in str(found)
    assert f"at http://localhost:5200, process {launcher.pid}" in str(found)


def test_a_start_whose_checks_fail_stops_nothing(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    with launch(tmp_path, "refused") as refused:
        assert refused.wait(60) != 0

    assert launcher_pid(tmp_path) == launcher.pid
    assert [program.name for program in Programs(tmp_path).running()] == ["program"]


def test_a_start_whose_checks_pass_takes_the_place_of_what_runs(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    with launch(tmp_path) as second:
        assert second.stdout
        assert second.stdout.readline() == "up\n"
        assert launcher.wait(60) == 0
        assert launcher_pid(tmp_path) == second.pid
        second.send_signal(signal.SIGTERM)

    assert what_runs(tmp_path) is None


def test_what_a_killed_launcher_has_left_before_all_was_up_does_not_run(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    launcher.kill()
    launcher.wait()

    assert what_runs(tmp_path) is None
    assert is_running(tmp_path)


def test_a_record_that_can_not_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "launch.json").write_text('{"command": "de')

    assert Launch.of(tmp_path) is None
