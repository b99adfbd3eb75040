import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.ops.local.launcher import down, is_running, launcher_pid
from include.ops.local.processes import PROJECT_ROOT, Programs
from tests.support.waiting import until

#: What `make demo` comes to, with one program that waits instead of PostgreSQL and Airflow.
LAUNCHER = """
import os, signal, sys
from pathlib import Path
from include.ops.local.launcher import Stopped, orderly_end
from include.ops.local.processes import Programs
from include.ops.local.report import Report

state_dir, wait = Path(sys.argv[1]), "import signal; signal.pause()"
try:
    with orderly_end(state_dir, Report(sys.stderr)):
        Programs(state_dir).start("program", [sys.executable, "-c", wait], os.environ, Path.cwd())
        print("up", flush=True)
        signal.pause()
except Stopped as stopped:
    print("stopped by", *stopped.args, flush=True)
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A launcher whose program runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
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
