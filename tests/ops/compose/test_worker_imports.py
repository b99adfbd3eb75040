import os
import subprocess
import sys

import pytest

from tests.ops.compose.compose import ROOT

CODE = """
import os
import include.ops.compose.worker_imports
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.slow
def test_what_a_worker_imports_starts_no_thread() -> None:
    """A forked task would not have it."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env={**os.environ, "JE_ARROW_MALLOC_CONF": "background_thread:false"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "1"
