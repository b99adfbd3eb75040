import os
from pathlib import Path

import pytest

from include.ops.local.launcher import Launch, launcher_lock, launcher_pid
from include.ops.local.processes import LocalError

LAUNCH = Launch("demo", 5200)


def test_a_second_launcher_is_refused_with_the_process_to_stop(tmp_path: Path) -> None:
    with launcher_lock(tmp_path, LAUNCH):
        assert launcher_pid(tmp_path) == os.getpid()
        with (
            pytest.raises(LocalError, match=rf"Process {os.getpid()}.*make down"),
            launcher_lock(tmp_path, LAUNCH),
        ):
            pass


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    with launcher_lock(tmp_path, LAUNCH):
        pass

    assert launcher_pid(tmp_path) is None


def test_a_lock_that_was_never_taken_has_no_holder(tmp_path: Path) -> None:
    assert launcher_pid(tmp_path) is None
