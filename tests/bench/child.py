"""Work in a fresh process, and what it cost there.

A job is a function `module:name` that imports all it needs and returns the work to be measured.
Some libraries import parts of themselves only when these are used: `late_modules`, which a first
small run reports, are imported beforehand too, so that a measured run pays for work, not imports.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Usage:
    """What the work took. ``peak_mb``: of the whole process, imports included, in 10^6 bytes.

    ``late_modules``: imported only while it was measured. ``result``: what the work returned.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    late_modules: list[str]
    result: Any


class Child:
    """A running job."""

    def __init__(
        self,
        folder: Path,
        job: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str],
        late_modules: Sequence[str] = (),
    ) -> None:
        self._answer_file = folder / "answer.json"
        self._log_file = folder / "log.txt"
        order = {"job": job, "arguments": arguments, "late_modules": list(late_modules)}
        # TMPDIR: what a killed process left there must not help the next one.
        environment = {**os.environ, **environment, "TMPDIR": str(folder)}
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps(order), str(self._answer_file)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL: the process can't do anything about it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def wait(self) -> Usage:
        """Wait for the end. Raises RuntimeError with what the process said when it failed."""
        if self._process.wait():
            raise RuntimeError(f"the job failed: {self._log_file.read_text()[-3_000:]}")
        return Usage(**json.loads(self._answer_file.read_text()))


def main() -> None:
    order, answer_file = json.loads(sys.argv[1]), Path(sys.argv[2])
    module, _, name = order["job"].partition(":")
    work = getattr(importlib.import_module(module), name)(**order["arguments"])
    for late_module in order["late_modules"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(late_module)
    imported = set(sys.modules)
    started, cpu_before_s = time.monotonic(), _cpu_s()
    result = work()
    usage = {
        "cpu_s": _cpu_s() - cpu_before_s,
        "wall_s": time.monotonic() - started,
        "peak_mb": _peak_mb(),
        "late_modules": [name for name in list(sys.modules) if name not in imported],
        "result": result,
    }
    answer_file.write_text(json.dumps(usage, default=str))


def _cpu_s() -> float:
    """Return the CPU time of this process, its threads, and child processes that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_mb() -> float:
    # Not ru_maxrss: a forked process inherits that of its parent.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmHWM")


if __name__ == "__main__":
    main()
