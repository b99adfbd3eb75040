"""What a load was, what it cost, and what that says of larger ones. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

#: What the issue asks of: so many tenants, on so many workers of so many cores.
LARGE_TENANTS, LARGE_WORKERS, CORES_PER_WORKER = 5_000, 20, 2
#: Of a machine's cores; the rest is for what is not measured here.
USABLE_SHARE = 0.8
MB = 1_000_000


@dataclass(frozen=True)
class Round:
    """One scan of every tenant. ``cpu_s``: program → seconds; ``failed``: of the scans."""

    name: str
    scans: int
    failed: int
    wall_s: float
    cpu_s: Mapping[str, float]
    requests: int
    throttled: int

    @property
    def tenants_per_hour(self) -> float:
        return self.scans / self.wall_s * 3600

    @property
    def worker_cpu_s(self) -> float:
        """Of one tenant, in the workers."""
        return sum(s for name, s in self.cpu_s.items() if name.startswith("worker")) / self.scans

    def central_cpu_s(self, name: str) -> float:
        """Of one tenant, in a program that there is one of."""
        return self.cpu_s.get(name, 0.0) / self.scans

    def hours_of(self, tenants: int, cores: float, cpu_s: float) -> float:
        """How long so many cores need for something that takes *cpu_s* for each tenant."""
        return tenants * cpu_s / (cores * USABLE_SHARE) / 3600


def rows_of(rounds: Sequence[Round]) -> list[list[str]]:
    """Return a table: a heading, then what was measured in each round."""
    rows = [["", *(r.name for r in rounds)]]
    rows.append(["scans, of them failed", *(f"{r.scans:,}, {r.failed}" for r in rounds)])
    rows.append(["wall time", *(f"{r.wall_s:,.0f} s" for r in rounds)])
    rows.append(["tenants/hour", *(f"{r.tenants_per_hour:,.0f}" for r in rounds)])
    rows.append(["requests, of them 429", *(f"{r.requests:,}, {r.throttled}" for r in rounds)])
    rows.extend(
        [f"CPU for each tenant: {name}", *(f"{r.central_cpu_s(name):.2f} s" for r in rounds)]
        for name in sorted({name for r in rounds for name in r.cpu_s})
    )
    total = [sum(r.cpu_s.values()) / r.scans for r in rounds]
    rows.append(["CPU for each tenant: all", *(f"{seconds:.2f} s" for seconds in total)])
    return rows


def large_rows_of(rounds: Sequence[Round], central: Mapping[str, int]) -> list[list[str]]:
    """Return a table of what the rounds say of LARGE_TENANTS tenants on LARGE_WORKERS workers.

    *central*: programs that there is one of, and how many cores each can use.
    """
    of_workers = LARGE_WORKERS * CORES_PER_WORKER

    def row(what: str, cores: float, cpu_s: Callable[[Round], float]) -> list[str]:
        return [what, *(_minutes(r.hours_of(LARGE_TENANTS, cores, cpu_s(r))) for r in rounds)]

    return [
        ["", *(r.name for r in rounds)],
        row(f"{LARGE_WORKERS} workers of {CORES_PER_WORKER} cores", of_workers, _of_workers),
        *(
            row(f"{name} on {cores} core{'s' if cores > 1 else ''}", cores, partial(_of, name))
            for name, cores in central.items()
        ),
    ]


def _of_workers(of: Round) -> float:
    return of.worker_cpu_s


def _of(name: str, of: Round) -> float:
    return of.central_cpu_s(name)


def _minutes(hours: float) -> str:
    return f"{hours * 60:,.0f} min"


def table_of(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as Markdown."""
    heading, *others = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([heading, f"|{'---|' * len(rows[0])}", *others])


def as_json(rounds: Sequence[Round], **about: Any) -> dict[str, Any]:
    return {**about, "rounds": [{**r.__dict__, "cpu_s": dict(r.cpu_s)} for r in rounds]}
