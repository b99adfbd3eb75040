"""What the programs of a topology use: CPU time, memory, and connections to PostgreSQL."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg

_CONNECTIONS = "select datname, count(*) from pg_stat_activity where datname is not null group by 1"


def family_of(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants, those that have not ended."""
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(family: Iterable[psutil.Process]) -> float:
    """Return what processes, and those of their children that have ended, took of the CPU."""
    total = 0.0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def memory_bytes(family: Iterable[psutil.Process]) -> int:
    """Return their proportional set size: pages that several share are counted once."""
    total = 0
    for process in family:
        with suppress(psutil.Error, OSError):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            of_pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
            total += int(of_pss.split()[1]) * 1024
    return total


@dataclass
class Usage:
    """Figures by program, and by database. ``pids``: program → the pid of its first process."""

    pids: Mapping[str, int]
    server_url: str
    peak_memory_bytes: Counter[str] = field(default_factory=Counter)
    peak_total_memory_bytes: int = 0
    peak_connections: Counter[str] = field(default_factory=Counter)

    def sample(self) -> None:
        """Look once; peaks are the highest that was ever seen."""
        memory = {name: memory_bytes(family_of(pid)) for name, pid in self.pids.items()}
        self.peak_memory_bytes |= Counter(memory)
        self.peak_total_memory_bytes = max(self.peak_total_memory_bytes, sum(memory.values()))
        with psycopg.connect(self.server_url) as connection:
            found = Counter(dict(connection.execute(_CONNECTIONS).fetchall()))
        self.peak_connections |= found

    def cpu_s(self) -> dict[str, float]:
        """Return what each program took so far."""
        return {name: cpu_s(family_of(pid)) for name, pid in self.pids.items()}
