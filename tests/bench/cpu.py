"""CPU of a full scan, against a plain floor and a plain dlt pipeline.

Deals of 60 properties, no latency, no limit. What lies around deals is switched off, so that all
do the same work: in each round one after the other, each into tables of its own.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from include.warehouse.connection import Warehouse
from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.extraction import Measured
from tests.bench.floor import ALL_COLUMNS
from tests.bench.report import Line, at_least, at_most
from tests.bench.shape import PROPERTIES, SETTINGS, SHAPE, asked_names
from tests.bench.simulator import Account, simulated
from tests.support.scans import BARE

TENANT = "acme"
ARCHIVED_DEALS = 100
FEW_DEALS = 300
MOST_CLIENT_TIMES_FLOOR, MOST_SERVER_TIMES_FLOOR, LEAST_NAIVE_TIMES_OURS = 1.5, 1.3, 10.0
#: What each load writes anew, whatever the deal: its own marks.
_NOT_COMPARED = ("_scan_id", "_extracted_at")


@dataclass(frozen=True)
class Loaded:
    measured: Measured
    warehouse: Warehouse


Way = Callable[[Bench, Account, list[str]], Loaded]


def run(bench: Bench) -> list[Line]:
    deals = 20_000 if bench.quick else 50_000
    rounds, naive_rounds = (1, 1) if bench.quick else (3, 2)
    accounts = [
        {"deals": number, "archived": ARCHIVED_DEALS, **SHAPE} for number in (FEW_DEALS, deals)
    ]
    accounts += [{**account, "associations": True} for account in accounts]
    taken: dict[str, list[Measured]] = {"ours": [], "floor": [], "naive": [], "default": []}
    with simulated(bench.folder, *accounts) as (few, many, few_linked, many_linked):
        late = {name: _late_modules(bench, way, few) for name, way in WAYS.items()}
        for number in range(rounds):
            ours = WAYS["ours"](bench, many, late["ours"])
            floor = WAYS["floor"](bench, many, late["floor"])
            if number == 0:
                _require_same_rows(bench, ours.warehouse, floor.warehouse, deals + ARCHIVED_DEALS)
            taken["ours"].append(_kept(bench, ours))
            taken["floor"].append(_kept(bench, floor))
            if number < naive_rounds:
                taken["naive"].append(_kept(bench, WAYS["naive"](bench, many, late["naive"])))
        late_default = _late_modules(bench, _default, few_linked)
        taken["default"].append(_kept(bench, _default(bench, many_linked, late_default)))
    return _lines(deals, taken)


def _ours(bench: Bench, account: Account, late_modules: list[str]) -> Loaded:
    return _scanned(bench, account, late_modules, {**SETTINGS, "objects": BARE})


def _default(bench: Bench, account: Account, late_modules: list[str]) -> Loaded:
    """Scan with pipelines, owners, associations and histories too."""
    return _scanned(bench, account, late_modules, SETTINGS)


def _scanned(
    bench: Bench, account: Account, late_modules: list[str], settings: Mapping[str, Any]
) -> Loaded:
    scans = bench.scans(account.connection(TENANT))
    ask = Ask(TENANT, "manual__1", settings)
    return Loaded(scans.extract(ask, late_modules), scans.warehouse)


def _floor(bench: Bench, account: Account, late_modules: list[str]) -> Loaded:
    scans = bench.scans({})
    measured = scans.measure(
        "tests.bench.floor:load",
        late_modules,
        base_url=account.base_url,
        token=account.token,
        names=",".join(asked_names()),
        database_url=bench.server.url,
        schema=scans.warehouse.schema,
        tenant_id=TENANT,
    )
    return Loaded(measured, scans.warehouse)


def _naive(bench: Bench, account: Account, late_modules: list[str]) -> Loaded:
    scans = bench.scans({})
    measured = scans.measure(
        "tests.bench.naive:load",
        late_modules,
        base_url=account.base_url,
        token=account.token,
        names=",".join(asked_names()),
        database_url=bench.server.url,
        dataset=f"{scans.warehouse.schema}_naive",
    )
    return Loaded(measured, scans.warehouse)


WAYS: dict[str, Way] = {"ours": _ours, "floor": _floor, "naive": _naive}


def _late_modules(bench: Bench, way: Way, few: Account) -> list[str]:
    return _kept(bench, way(bench, few, [])).usage.late_modules


def _kept(bench: Bench, loaded: Loaded) -> Measured:
    """Drop what was loaded, and keep what it took."""
    bench.server.drop(loaded.warehouse)
    return loaded.measured


def _require_same_rows(bench: Bench, one: Warehouse, other: Warehouse, count: int) -> None:
    columns = [sql.Identifier(name) for name in ALL_COLUMNS if name not in _NOT_COMPARED]
    chosen = sql.SQL(", ").join(columns)
    both = {
        "columns": chosen,
        "one": sql.Identifier(one.schema, "deals"),
        "other": sql.Identifier(other.schema, "deals"),
    }
    same = bench.server.figure(
        sql.SQL(
            "select count(*) from (select {columns} from {one}"
            " intersect select {columns} from {other}) as common"
        ).format(**both)
    )
    if same != count:
        raise RuntimeError(f"ours and the floor's have {same} of {count} deals in common")


def _lines(deals: int, taken: dict[str, list[Measured]]) -> list[Line]:
    client = {
        way: statistics.median(one.client_cpu_s for one in many) for way, many in taken.items()
    }
    server = {
        way: statistics.median(one.server_cpu_s for one in many) for way, many in taken.items()
    }
    what = f"full scan, {deals:,} deals x {PROPERTIES} properties, no limit"
    figures = {
        way: {
            "client_cpu_s": [one.client_cpu_s for one in many],
            "server_cpu_s": [one.server_cpu_s for one in many],
            "wall_s": [one.usage.wall_s for one in many],
            "peak_mb": [one.usage.peak_mb for one in many],
        }
        for way, many in taken.items()
    }
    to_floor, server_to_floor = client["ours"] / client["floor"], server["ours"] / server["floor"]
    from_naive = client["naive"] / client["ours"]
    return [
        at_most(
            f"{what}: client CPU / floor",
            f"{to_floor:.2f} x ({client['ours']:.2f} / {client['floor']:.2f} s)",
            to_floor,
            MOST_CLIENT_TIMES_FLOOR,
            " x",
            **figures,
        ),
        at_most(
            f"{what}: server CPU / floor",
            f"{server_to_floor:.2f} x ({server['ours']:.2f} / {server['floor']:.2f} s)",
            server_to_floor,
            MOST_SERVER_TIMES_FLOOR,
            " x",
        ),
        at_least(
            f"{what}: client CPU of plain dlt / ours",
            f"{from_naive:.1f} x ({client['naive']:.2f} / {client['ours']:.2f} s;"
            f" the floor: {client['naive'] / client['floor']:.1f} x)",
            from_naive,
            LEAST_NAIVE_TIMES_OURS,
            " x",
        ),
        Line(
            "the same with pipelines, owners, associations, histories",
            f"client {client['default']:.2f} s, server {server['default']:.2f} s of CPU",
        ),
    ]
