"""What is left of `make demo` when its launcher is killed. The rest: test_first_ten_minutes.py."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from include.local.launcher import down, is_running
from include.local.ports import free_port
from include.local.postgres import EmbeddedPostgres
from include.local.processes import Programs
from include.local.report import Report
from include.local.stack import COMPONENTS
from tests.support.waiting import until

pytestmark = pytest.mark.e2e

#: `python -m include.local demo` with a state directory of its own: the developer's may be in use.
DEMO = """
import os, sys
from pathlib import Path
from include.local.demo import demo
from include.local.report import Report

demo(Path(sys.argv[1]), os.environ, "stay", Report())
"""
PROGRAMS = {*COMPONENTS, "simulator", "mailbox"}


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    Programs(tmp_path).stop()
    EmbeddedPostgres(tmp_path).remove()


def names(state_dir: Path) -> set[str]:
    return {program.name for program in Programs(state_dir).running()}


def test_down_ends_all_programs_of_a_demo_whose_launcher_was_killed(
    state_dir: Path, project_root: Path
) -> None:
    with (state_dir / "output.txt").open("wb") as output:
        launcher = subprocess.Popen(
            [sys.executable, "-c", DEMO, str(state_dir)],
            env={**os.environ, "AIRFLOW_PORT": str(free_port()), "PYTHONPATH": str(project_root)},
            cwd=project_root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    until(lambda: names(state_dir) == PROGRAMS or launcher.poll() is not None, "all programs run")
    assert launcher.poll() is None, (state_dir / "output.txt").read_text()
    launcher.kill()
    launcher.wait()
    assert names(state_dir) == PROGRAMS

    down(state_dir, Report())

    assert not is_running(state_dir)
    mentioning = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(state_dir) in part for part in process.info["cmdline"] or ())
    ]
    assert mentioning == []
