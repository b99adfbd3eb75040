"""Measuring work in a process of its own."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.child import Child

BURNT_S = 0.3


def busy(burn_s: float) -> Callable[[], str]:
    """Job: use the processor for so long, and import something late."""

    def work() -> str:
        import colorsys

        end = time.process_time() + burn_s
        while time.process_time() < end:
            pass
        return colorsys.__name__

    return work


def broken() -> Callable[[], None]:
    raise ValueError("on purpose")


def test_a_job_tells_what_it_took(tmp_path: Path) -> None:
    usage = Child(tmp_path, "tests.bench.test_child:busy", {"burn_s": BURNT_S}, {}).wait()

    assert usage.cpu_s >= BURNT_S
    assert usage.peak_mb > 5
    assert usage.result in usage.late_modules


def test_what_is_named_as_late_is_imported_before(tmp_path: Path) -> None:
    job = "tests.bench.test_child:busy"

    usage = Child(tmp_path, job, {"burn_s": 0.0}, {}, ["colorsys"]).wait()

    assert usage.late_modules == []


def test_a_failed_job_says_why(tmp_path: Path) -> None:
    child = Child(tmp_path, "tests.bench.test_child:broken", {}, {})

    with pytest.raises(RuntimeError, match="on purpose"):
        child.wait()


def test_a_killed_job_is_gone(tmp_path: Path) -> None:
    child = Child(tmp_path, "tests.bench.test_child:busy", {"burn_s": 60}, {})

    child.kill()

    assert not child.running
