"""An incremental scan that finds nothing: its requests, and the CPU of its task from import on."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from psycopg import sql

from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.extraction import IDLE_JOB, Scans
from tests.bench.report import Line, at_most
from tests.bench.simulator import Account, simulated
from tests.support.scans import BARE

TENANT = "acme"
MOST_REQUESTS, MOST_CPU_S = 6, 1.5
PLAN = {"deals": 2_000, "archived": 20, "associations": True}


def run(bench: Bench) -> list[Line]:
    rounds = 2 if bench.quick else 5
    with simulated(bench.folder, PLAN) as (account,):
        bare = _Idle(bench, account, {"objects": BARE}, rounds)
        default = _Idle(bench, account, {}, rounds=1)
    what = "incremental scan that finds nothing"
    return [
        at_most(
            f"{what}: requests of the task",
            f"{bare.requests} ({bare.requests_of_scan} of the whole scan)",
            bare.requests,
            MOST_REQUESTS,
            "",
        ),
        at_most(
            f"{what}: CPU of the task, imports included",
            f"{bare.cpu_s:.2f} s ({bare.imports_s:.2f} s of it imports),"
            f" server {bare.server_s:.2f} s",
            bare.cpu_s,
            MOST_CPU_S,
            " s",
            cpu_s=bare.all_cpu_s,
        ),
        Line(
            "the same with pipelines, owners, associations, histories",
            f"{default.requests} requests ({default.requests_of_scan} of the whole scan),"
            f" {default.cpu_s:.2f} s of CPU",
        ),
    ]


class _Idle:
    """Incremental scans after a full one, measured *rounds* times. Figures are medians."""

    def __init__(
        self, bench: Bench, account: Account, settings: Mapping[str, Any], rounds: int
    ) -> None:
        scans = bench.scans(account.connection(TENANT))
        first = Ask(TENANT, "manual__0", settings)
        scans.extract(first)
        scans.check(first)
        deals = sql.Identifier(scans.warehouse.schema, "deals")
        bench.server.execute(sql.SQL("vacuum analyze {}").format(deals))
        self.all_cpu_s: list[float] = []
        server_s, requests = [], []
        for number in range(1, rounds + 1):
            ask = Ask(TENANT, f"manual__{number}", settings)
            before = account.request_count()
            scans.validate(ask)
            validated = account.request_count()
            measured = scans.measure(IDLE_JOB, **asdict(ask))
            requests.append((account.request_count() - validated, account.request_count() - before))
            scans.check(ask)
            self.all_cpu_s.append(measured.client_cpu_s)
            server_s.append(measured.server_cpu_s)
        self.requests, self.requests_of_scan = max(requests)
        self.cpu_s = statistics.median(self.all_cpu_s)
        self.server_s = statistics.median(server_s)
        self.imports_s = self.cpu_s - _without_imports_s(
            scans, settings, measured.usage.late_modules
        )
        bench.server.drop(scans.warehouse)


def _without_imports_s(scans: Scans, settings: Mapping[str, Any], late_modules: list[str]) -> float:
    ask = Ask(TENANT, "manual__without_imports", settings)
    return scans.extract(ask, late_modules).client_cpu_s
