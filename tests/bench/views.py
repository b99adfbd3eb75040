"""What a tenant's view costs: deals by stage through it, and from the table as its owner.

`python -m tests.bench.views` starts a PostgreSQL of its own and prints the ratio of the medians.
"""

import statistics
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

from include.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate
from include.warehouse.tenant_views import publish_views

TENANT, OTHER = "bench_acme", "bench_globex"
DEALS = 1_000_000
ROUNDS = 15
TARGET = 1.2
#: About as many as a portal has that was never customised.
PROPERTIES = 150

_FILL = """
    insert into {deals} (_tenant_id, deal_id, stage_id, amount, archived, updated_at, properties,
                         _scan_id, _extracted_at)
    select case when n % 10 = 0 then {other} else {tenant} end, n, 'stage_' || n % 12, n % 1000,
           n % 50 = 0, now(), jsonb_build_object('dealstage', 'stage_' || n % 12, 'amount',
           (n % 1000)::text, 'note', repeat(md5(n::text), 8)), 'bench', now()
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            server.start()
            warehouse = Warehouse.from_url(server.dsn("warehouse"))
            fill(warehouse)
            compare(server.dsn("warehouse"), warehouse)
        finally:
            server.remove()


def fill(warehouse: Warehouse) -> None:
    migrate(warehouse)
    deals = sql.Identifier(warehouse.schema, "deals")
    definitions = sql.Identifier(warehouse.schema, "property_definitions")
    with warehouse.connect(autocommit=True) as connection:
        # nine in ten are the tenant's, so that it has DEALS of them
        count = DEALS * 10 // 9 + 1
        connection.execute(
            sql.SQL(_FILL).format(deals=deals, tenant=TENANT, other=OTHER, count=count)
        )
        connection.execute(
            sql.SQL(_DEFINE).format(definitions=definitions, tenant=TENANT, count=PROPERTIES)
        )
        connection.execute(sql.SQL("vacuum analyze {}").format(deals))
    publish_views(warehouse, TENANT, ["deals"], {"dealstage": "stage_id"})


def compare(url: str, warehouse: Warehouse) -> None:
    table = sql.SQL(_TABLE_QUERY).format(
        table=sql.Identifier(warehouse.schema, "deals"), tenant=TENANT
    )
    view = sql.SQL(_VIEW_QUERY).format(
        view=sql.Identifier(f"{warehouse.schema}__{TENANT}", "deals")
    )
    times: dict[str, list[float]] = {"table": [], "view": []}
    with psycopg.connect(url) as owner, psycopg.connect(url) as analyst:
        analyst.execute(sql.SQL("set role {}").format(sql.Identifier(f"hubspot_{TENANT}")))
        if sorted(owner.execute(table)) != sorted(analyst.execute(view)):
            raise RuntimeError("the view counts otherwise than the table")
        for _ in range(ROUNDS):
            times["table"].append(seconds(owner, table))
            times["view"].append(seconds(analyst, view))
    report(times)


def seconds(connection: psycopg.Connection, query: sql.Composed) -> float:
    started = time.perf_counter()
    connection.execute(query).fetchall()
    return time.perf_counter() - started


def report(times: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(
            f"{name:5}  median {medians[name] * 1000:6.1f} ms"
            f"  min {min(values) * 1000:6.1f}  max {max(values) * 1000:6.1f}"
        )
    ratio = medians["view"] / medians["table"]
    verdict = "meets" if ratio <= TARGET else "MISSES"
    print(f"view / table = {ratio:.2f} over {DEALS:,} deals, {ROUNDS} rounds: {verdict} {TARGET}")


if __name__ == "__main__":
    main()
