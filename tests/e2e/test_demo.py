"""`make demo` as a user runs it, and what is left of it when it is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from include.local.launcher import down, is_running
from include.local.ports import free_port
from include.local.postgres import EmbeddedPostgres
from include.local.processes import Programs
from include.local.report import Report

pytestmark = pytest.mark.e2e

READY_TIMEOUT_S = 400
#: `python -m include.local demo` with a state directory of its own: the developer's may be in use.
DEMO = """
import os, sys
from pathlib import Path
from include.local.demo import demo
from include.local.report import Report

demo(Path(sys.argv[1]), os.environ, "stay", Report())
"""


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    Programs(tmp_path).stop()
    EmbeddedPostgres(tmp_path).remove()


def start_demo(state_dir: Path, project_root: Path) -> "tuple[subprocess.Popen[bytes], Path]":
    """Start the demo and wait until its stack is there to be used."""
    output = state_dir / "output.txt"
    with output.open("wb") as out:
        launcher = subprocess.Popen(
            [sys.executable, "-c", DEMO, str(state_dir)],
            env={**os.environ, "AIRFLOW_PORT": str(free_port()), "PYTHONPATH": str(project_root)},
            cwd=project_root,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + READY_TIMEOUT_S
    while "make down" not in output.read_text():
        assert launcher.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
    return launcher, output


def test_the_demo_loads_three_tenants_and_down_finds_all_of_it_even_without_its_launcher(
    state_dir: Path, project_root: Path
) -> None:
    launcher, output = start_demo(state_dir, project_root)
    lines = output.read_text().splitlines()

    for tenant in ("acme", "globex", "initech"):
        assert any(line.split()[:1] == [tenant] and " passed" in line for line in lines)

    launcher.kill()
    launcher.wait()
    assert len(Programs(state_dir).running()) == 6

    down(state_dir, Report())

    assert not is_running(state_dir)
    mentioning = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(state_dir) in part for part in process.info["cmdline"] or ())
    ]
    assert mentioning == []
