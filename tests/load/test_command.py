import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_command_that_make_load_runs_can_be_started() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.load", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "--tenants" in done.stdout
