import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from include.ops.local.processes import MARKER, LocalError, Program, Programs
from tests.support.waiting import until

#: A program with a child in another session, as Airflow's tasks are. Prints the child's pid.
PARENT = """
import subprocess, sys
wait = "import signal; signal.pause()"
child = subprocess.Popen([sys.executable, "-c", wait], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
DEAF = """
import signal
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print("deaf", flush=True)
signal.pause()
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    programs.stop(grace_s=0.5)


def start(programs: Programs, code: str, name: str = "program") -> str:
    """Start a program and return the first line it prints."""
    programs.start(name, [sys.executable, "-c", code], os.environ, Path.cwd())
    log = programs.log_of(name)
    while not (text := log.read_text()).endswith("\n"):
        programs.require_alive()
    return text.strip()


def test_a_killed_parents_child_is_still_found_and_stopped(programs: Programs) -> None:
    child = psutil.Process(int(start(programs, PARENT)))
    (parent,) = programs.running()

    os.kill(parent.pid, 9)
    until(lambda: not programs.running(), "the parent has ended")

    assert programs.running() == []
    assert programs.has_members()
    programs.stop(grace_s=0.5)
    assert not programs.has_members()
    # Its new parent, process 1, may take its time to notice.
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_program_that_ignores_signals_is_killed(programs: Programs) -> None:
    start(programs, DEAF)
    (program,) = programs.running()

    programs.stop(grace_s=0.2)

    assert program.process is None
    assert programs.on_record() == []


def test_another_stacks_processes_are_left_alone(programs: Programs, tmp_path: Path) -> None:
    other = Programs(tmp_path / "other")
    start(other, DEAF)

    programs.stop(grace_s=0.2)

    assert len(other.running()) == 1
    other.stop(grace_s=0.2)


def test_a_pid_that_is_another_programs_by_now_is_not_ours() -> None:
    me = psutil.Process()

    assert Program("old", me.pid, me.create_time()).process == me
    assert Program("old", me.pid, me.create_time() - 60).process is None


def test_stopping_never_ends_the_stopping_process(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARKER, str(tmp_path))

    programs.stop(grace_s=0.1)

    assert psutil.pid_exists(os.getpid())


def test_the_end_of_a_program_is_reported_with_its_last_words(programs: Programs) -> None:
    programs.start("crasher", [sys.executable, "-c", "print('last words')"], os.environ, Path.cwd())
    until(lambda: not programs.running(), "the program has ended")

    with pytest.raises(LocalError, match=r"(?s)crasher has ended.*last words.*crasher\.log"):
        programs.require_alive()


def test_records_of_before_a_power_failure_can_be_forgotten(programs: Programs) -> None:
    programs.start("dead", [sys.executable, "-c", ""], os.environ, Path.cwd())
    until(lambda: not programs.running(), "the program has ended")

    programs.forget()

    programs.require_alive()
    assert programs.on_record() == []


def test_a_command_that_fails_shows_the_end_of_its_log(programs: Programs) -> None:
    with pytest.raises(LocalError, match=r"(?s)no tables.*No module named nowhere.*migrate\.log"):
        programs.run("migrate", ["nowhere"], os.environ, "no tables")

    assert programs.on_record() == []
