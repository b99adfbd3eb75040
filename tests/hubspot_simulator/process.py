"""The simulator as a process of its own: a test that needs all of Python's attention is no host."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

START_TIMEOUT_S = 30


class SimulatorProcess:
    """What another process can ask of it: its control interface. All of one account.

    ``pid``: of the process, where it is known.
    """

    pid: int | None = None

    def __init__(self, base_url: str, portal_id: int) -> None:
        self.base_url = base_url
        self._control = f"{base_url}/_simulator/portals/{portal_id}"

    def stats(self) -> Any:
        return requests.get(f"{self._control}/stats", timeout=60).json()

    def set(self, **settings: Any) -> None:
        answer = requests.post(f"{self._control}/settings", json=settings, timeout=60)
        answer.raise_for_status()


@contextmanager
def simulator_process(
    folder: Path, *arguments: str, portal_id: int = 2_000_001
) -> Iterator[SimulatorProcess]:
    """Run `python -m tests.hubspot_simulator` until the block ends."""
    ready = folder / "simulator-ready.json"
    command = [sys.executable, "-m", "tests.hubspot_simulator", "--ready-file", str(ready)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the simulator did not start")
                time.sleep(0.02)
            served = SimulatorProcess(json.loads(ready.read_text())["base_url"], portal_id)
            served.pid = process.pid
            yield served
        finally:
            process.terminate()
