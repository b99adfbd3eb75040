"""What a tenant's view costs: deals by stage, and all columns of an account with 1,200 properties.

The wide query is compared with what it was before a row's JSON was decompressed once: each column
reads the JSON of the table anew.
"""

import statistics
import time

import psycopg
from psycopg import sql

from include.hubspot.crm_objects import STANDARD_OBJECTS
from include.warehouse.connection import Warehouse
from include.warehouse.tenant_views.views import publish_views
from tests.bench.bench import Bench
from tests.bench.report import Line, at_most

TENANT, OTHER = "bench_acme", "bench_globex"
DEALS, DEALS_QUICK = 1_000_000, 200_000
ROUNDS = 15
MOST_TIMES_TABLE = 1.2
#: An account with very many properties: about 60 kB a row.
WIDTH, WIDE_DEALS = 1_200, 400
ORDINARY_DEALS, ORDINARY_DEALS_QUICK = 100_000, 20_000
JSON_ROUNDS = 3
MOST_THREE = 1.2
#: About as many as a portal has that was never customised.
PROPERTIES = 150
#: The fewer the properties, the larger the part of the time that extracting the values takes, which
#: is the same in both queries.
MOST_ALL = {WIDTH: 0.2, PROPERTIES: 0.4}

_FILL = """
    insert into {deals} (_tenant_id, deal_id, stage_id, amount, archived, updated_at, properties,
                         _scan_id, _extracted_at)
    select case when n % 10 = 0 then {other} else {tenant} end, n, 'stage_' || n % 12, n % 1000,
           n % 50 = 0, now(), jsonb_build_object('dealstage', 'stage_' || n % 12, 'amount',
           (n % 1000)::text, 'note', repeat(md5(n::text), 8)), 'bench', now()
    from generate_series(1, {count}) n
"""
_FILL_JSON = """
    insert into {deals} (_tenant_id, deal_id, archived, updated_at, properties, _scan_id,
                         _extracted_at)
    select {tenant}, n, false, now(), (
        select jsonb_object_agg('p' || p, md5((n * p)::text)) from generate_series(1, {width}) p
    ), 'bench', now()
    from generate_series(1, {count}) n
"""
_DEFINE = """
    insert into {definitions} (_tenant_id, object, name, property_type, field_type, calculated,
                               options, archived, listed, definition)
    select {tenant}, 'deals', name, 'string', 'text', false, '[]', false, true, '{{}}'
    from (select 'dealstage' union all select 'p' || generate_series(1, {count})) as t (name)
"""
_TABLE_QUERY = """
    select stage_id, count(*) from {table}
    where _tenant_id = {tenant} and not archived and vanished_at is null
          and merged_into_deal_id is null
    group by stage_id
"""
_VIEW_QUERY = "select dealstage, count(*) from {view} group by dealstage"


def run(bench: Bench) -> list[Line]:
    deals = DEALS_QUICK if bench.quick else DEALS
    warehouse = bench.server.new_warehouse()
    _fill(bench, warehouse, deals)
    times_s = _query_times_s(bench.server.url, warehouse)
    bench.server.drop(warehouse)
    json = [
        *_json(bench, PROPERTIES, ORDINARY_DEALS_QUICK if bench.quick else ORDINARY_DEALS),
        *_json(bench, WIDTH, WIDE_DEALS),
    ]
    table_ms, view_ms = (statistics.median(taken_s) * 1_000 for taken_s in times_s.values())
    ratio = view_ms / table_ms
    return [
        at_most(
            f"deals by stage through a tenant's view / table, {deals:,} deals",
            f"{ratio:.2f} x ({view_ms:.0f} / {table_ms:.0f} ms)",
            ratio,
            MOST_TIMES_TABLE,
            " x",
            times_s=times_s,
        ),
        *json,
    ]


def _json(bench: Bench, width: int, count: int) -> list[Line]:
    """Compare queries of all, and of three, of *width* properties of *count* deals."""
    warehouse = bench.server.new_warehouse()
    deals = sql.Identifier(warehouse.schema, "deals")
    definitions = sql.Identifier(warehouse.schema, "property_definitions")
    bench.server.execute(
        sql.SQL(_FILL_JSON).format(deals=deals, tenant=TENANT, count=count, width=width),
        sql.SQL(_DEFINE).format(definitions=definitions, tenant=TENANT, count=width),
        sql.SQL("vacuum analyze {}").format(deals),
    )
    publish_views(warehouse, TENANT, ["deals"], {}, [STANDARD_OBJECTS["deals"]])
    names = [f"p{n}" for n in range(1, width + 1)]
    own = sql.Identifier(f"{warehouse.schema}__{TENANT}", "deals")
    as_fivetran = sql.Identifier(f"{warehouse.schema}_fivetran__{TENANT}", "deal")
    of, fivetrans = f"of {width:,}", f"of {width:,} (Fivetran's deal)"
    lines = [
        _compared(bench, warehouse, own, names, of, count, MOST_ALL[width]),
        _compared(bench, warehouse, own, names[:3], of, count, MOST_THREE),
        _compared(
            bench, warehouse, as_fivetran, names, fivetrans, count, MOST_ALL[width], "property_"
        ),
        _compared(
            bench, warehouse, as_fivetran, names[:3], fivetrans, count, MOST_THREE, "property_"
        ),
    ]
    bench.server.drop(warehouse)
    return lines


def _compared(
    bench: Bench,
    warehouse: Warehouse,
    view: sql.Identifier,
    names: list[str],
    of: str,
    deals: int,
    target: float,
    prefix: str = "",
) -> Line:
    """Compare properties read through the view with the same, each read from the table's JSON."""
    table = sql.Identifier(warehouse.schema, "deals")
    times_s = {
        "each column": _best_s(bench, _by_column(table, names)),
        "view": _best_s(bench, _by_view(view, [prefix + name for name in names])),
    }
    ratio = times_s["view"] / times_s["each column"]
    figures = f"{times_s['view'] * 1_000:.0f} / {times_s['each column'] * 1_000:.0f} ms"
    return at_most(
        f"{len(names):,} {of} properties of {deals:,} deals, view / JSON by column",
        f"{ratio:.2f} x ({figures})",
        ratio,
        target,
        " x",
        times_s=times_s,
    )


def _by_view(view: sql.Identifier, names: list[str]) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL("select {} from {}").format(columns, view)


def _by_column(deals: sql.Identifier, names: list[str]) -> sql.Composed:
    columns = sql.SQL(", ").join(
        sql.SQL("nullif(properties ->> {}, '') as {}").format(name, sql.Identifier(name))
        for name in names
    )
    return sql.SQL("select {} from {} where _tenant_id = {} and not archived").format(
        columns, deals, TENANT
    )


def _best_s(bench: Bench, query: sql.Composed) -> float:
    # as an aggregate of rows, so that the client's work is not measured
    counted = sql.SQL("select count(wide.*::text) from ({}) as wide").format(query)
    with psycopg.connect(bench.server.url) as connection:
        return min(_seconds(connection, counted) for _ in range(JSON_ROUNDS))


def _fill(bench: Bench, warehouse: Warehouse, deals: int) -> None:
    table = sql.Identifier(warehouse.schema, "deals")
    definitions = sql.Identifier(warehouse.schema, "property_definitions")
    # nine in ten are the tenant's, so that it has so many of them
    count = deals * 10 // 9 + 1
    bench.server.execute(
        sql.SQL(_FILL).format(deals=table, tenant=TENANT, other=OTHER, count=count),
        sql.SQL(_DEFINE).format(definitions=definitions, tenant=TENANT, count=PROPERTIES),
        sql.SQL("vacuum analyze {}").format(table),
    )
    publish_views(warehouse, TENANT, ["deals"], {"dealstage": "stage_id"})


def _query_times_s(url: str, warehouse: Warehouse) -> dict[str, list[float]]:
    table = sql.SQL(_TABLE_QUERY).format(
        table=sql.Identifier(warehouse.schema, "deals"), tenant=TENANT
    )
    view = sql.SQL(_VIEW_QUERY).format(
        view=sql.Identifier(f"{warehouse.schema}__{TENANT}", "deals")
    )
    times_s: dict[str, list[float]] = {"table": [], "view": []}
    with psycopg.connect(url) as owner, psycopg.connect(url) as analyst:
        analyst.execute(sql.SQL("set role {}").format(sql.Identifier(f"hubspot_{TENANT}")))
        if sorted(owner.execute(table)) != sorted(analyst.execute(view)):
            raise RuntimeError("the view counts otherwise than the table")
        for _ in range(ROUNDS):
            times_s["table"].append(_seconds(owner, table))
            times_s["view"].append(_seconds(analyst, view))
    return times_s


def _seconds(connection: psycopg.Connection, query: sql.Composed) -> float:
    started = time.perf_counter()
    connection.execute(query).fetchall()
    return time.perf_counter() - started
