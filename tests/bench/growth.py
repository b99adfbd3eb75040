"""Loading 10,000 deals into a large table, compared with a small one.

Two warehouses of one server, filled with rows of other tenants and of the tenant itself. Each round
loads the same new deals into both, one after the other, and deletes them again. The scan has a
window: a full one would look up every row that the account does not have. CPU is compared, because
in a window the client's pace at searches, five a second, decides how long a scan takes.
"""

import statistics
from dataclasses import asdict

import psycopg
from psycopg import sql

from include.warehouse.connection import Warehouse
from tests.bench.ask import Ask
from tests.bench.bench import Bench
from tests.bench.extraction import Measured
from tests.bench.report import Line, at_most
from tests.bench.simulator import Account, simulated
from tests.hubspot_simulator.seed import FIRST_ID
from tests.support.scans import BARE

TENANT = "acme"
SMALL, LARGE, LARGE_QUICK = 100_000, 5_000_000, 1_000_000
LOADED, LOADED_QUICK = 10_000, 2_000
MOST_TIMES = 1.3
#: In which all of the simulator's deals were modified.
WINDOW = ("2025-01-01T00:00:00+00:00", "2026-06-01T00:00:00+00:00")
#: One row in ten is the tenant's own; the others belong to 18 tenants. That they are scattered is
#: the worst case: what looks at all of a tenant's rows reads every page of the table.
_FILL = """
    insert into {deals} (_tenant_id, deal_id, deal_name, stage_id, owner_id, amount, close_date,
                         created_at, updated_at, archived, properties, _content_hash, _scan_id,
                         _extracted_at)
    select case when n % 10 = 0 then {tenant} else 'tenant_' || n % 20 end, n, 'Deal ' || n,
           'stage_' || n % 12, (n % 50)::text, n % 1000, now() + n % 400 * interval '1 day',
           now() - n % 5000 * interval '1 hour', now() - n % 4000 * interval '1 hour', n % 500 = 1,
           jsonb_build_object('dealstage', 'stage_' || n % 12, 'dealname', 'Deal ' || n), n,
           'filled_' || n % 100, now()
    from generate_series(1, {count}) as n
"""

_SECONDARY_INDEXES = """
    select indexname, indexdef from pg_indexes
    where schemaname = %s and tablename = 'deals' and indexname <> 'deals_pkey'
"""


def run(bench: Bench) -> list[Line]:
    large, loaded, rounds = (LARGE_QUICK, LOADED_QUICK, 1) if bench.quick else (LARGE, LOADED, 3)
    with simulated(bench.folder, {"deals": loaded}) as (account,):
        sizes = {size: _filled(bench, size) for size in (SMALL, large)}
        taken: dict[int, list[Measured]] = {size: [] for size in sizes}
        late: list[str] = []
        for number in range(rounds + 1):
            for size, warehouse in sizes.items():
                measured = _loaded(bench, warehouse, account, f"manual__{number}", late)
                _unload(bench, warehouse, loaded)
                # the first round only finds out what is imported late, and fills caches
                late = late or measured.usage.late_modules
                if number:
                    taken[size].append(measured)
        for warehouse in sizes.values():
            bench.server.drop(warehouse)
    return [_line(loaded, large, taken[SMALL], taken[large])]


def _filled(bench: Bench, count: int) -> Warehouse:
    """Return a warehouse with so many rows. Its indexes are made anew: that is twice as fast."""
    warehouse = bench.server.new_warehouse()
    deals = sql.Identifier(warehouse.schema, "deals")
    with psycopg.connect(bench.server.url, autocommit=True) as connection:
        indexes = connection.execute(_SECONDARY_INDEXES, [warehouse.schema]).fetchall()
        for name, _ in indexes:
            index = sql.Identifier(warehouse.schema, name)
            connection.execute(sql.SQL("drop index {}").format(index))
        connection.execute(sql.SQL(_FILL).format(deals=deals, tenant=TENANT, count=count))
        connection.execute("set maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute(sql.SQL("vacuum (freeze, analyze) {}").format(deals))
    return warehouse


def _loaded(
    bench: Bench, warehouse: Warehouse, account: Account, run_id: str, late_modules: list[str]
) -> Measured:
    scans = bench.scans(account.connection(TENANT), warehouse)
    ask = Ask(TENANT, run_id, {"objects": BARE}, window=WINDOW)
    return scans.extract(ask, late_modules)


def _unload(bench: Bench, warehouse: Warehouse, loaded: int) -> None:
    deals = sql.Identifier(warehouse.schema, "deals")
    new = sql.SQL("{} where _tenant_id = {} and deal_id >= {}").format(deals, TENANT, FIRST_ID)
    count = bench.server.figure(sql.SQL("select count(*) from ") + new)
    if count != loaded:
        raise RuntimeError(f"{count} of {loaded} deals were loaded")
    bench.server.execute(sql.SQL("delete from ") + new, sql.SQL("vacuum ") + deals)


def _line(loaded: int, large: int, into_small: list[Measured], into_large: list[Measured]) -> Line:
    small_s, large_s = _medians(into_small), _medians(into_large)
    ratio = sum(large_s) / sum(small_s)
    return at_most(
        f"loading {loaded:,} deals into {large:,} / into {SMALL:,}",
        f"{ratio:.2f} x CPU ({sum(large_s):.2f} / {sum(small_s):.2f} s;"
        f" server alone {large_s[1] / small_s[1]:.2f} x)",
        ratio,
        MOST_TIMES,
        " x",
        small=[asdict(measured) for measured in into_small],
        large=[asdict(measured) for measured in into_large],
    )


def _medians(taken: list[Measured]) -> tuple[float, float]:
    """Return CPU seconds of the client and of the server."""
    return (
        statistics.median(measured.client_cpu_s for measured in taken),
        statistics.median(measured.server_cpu_s for measured in taken),
    )
