"""What a list of 1,000 tenants costs the API server: the whole way, by Airflow's real app.

The warehouse has 20 scans of each tenant; Airflow knows a DAG of each. Server time is from the
request to the last byte of the answer, on this machine; it has no network in it.
"""

import json
import statistics
import time
from pathlib import Path

import psycopg
from psycopg import sql

from include.warehouse.connection import Warehouse
from tests.bench.bench import Bench
from tests.bench.report import Line, at_most
from tests.web.api.servers import SIMPLE, Server, environment, seed, serving, wait_until_up

TENANTS, SCANS = 1_000, 20
ROUNDS, ROUNDS_QUICK = 40, 15
#: Before that, connections are looked up and files read for the first time.
WARM_UP = 5
MOST_MS = 300
#: One DAG is parsed; the others are its copies, as far as a list of tenants looks at them.
PARSED = "acme"
ADDRESSES = (
    "/tenants?limit=50",
    "/tenants?limit=1000",
    "/tenants?limit=50&state=failing",
    "/tenants/bench_0500",
    "/scans?limit=50",
)

_SCANS = """
    insert into {scans} (scan_id, tenant_id, dag_id, run_id, mode, state, started_at, finished_at,
                         attempt, requests, quota_limit, quota_remaining, quota_resets_at, error)
    select md5(t || '/' || n)::uuid::text, 'bench_' || to_char(t, 'fm0000'),
           'hubspot_deals__bench_' || to_char(t, 'fm0000'), 'scheduled__' || n, 'auto',
           case when (t + n) % 10 = 0 then 'failed' else 'succeeded' end,
           now() - n * interval '1 day', now() - n * interval '1 day' + interval '30 s',
           2, 40, 250000, 200000, now() + interval '1 hour',
           case when (t + n) % 10 = 0 then 'LoadError: dlt could not load a chunk' end
    from generate_series(1, {tenants}) as t, generate_series(1, {count}) as n
"""
_OBJECTS = """
    insert into {scan_objects} (scan_id, tenant_id, object, mode, reason, records_received,
                                rows_written, records_archived, live_rows, portal_live)
    select scan_id, tenant_id, object, 'incremental', 'bench', 500, 100, 20, 10000, 10000
    from {scans}, unnest(array['deals', 'contacts']) as object
"""
_CHECKS = """
    insert into {quality_results} (scan_id, tenant_id, check_name, status, severity, at_most, why)
    select scan_id, tenant_id, 'check_' || n, 'passed', 'warn', 0, 'bench'
    from {scans}, generate_series(1, 12) as n
"""
_BOUND = """
    insert into {tenants} (tenant_id, portal_id, bound_by_scan_id)
    select distinct tenant_id, 1000000, 'bench' from {scans}
"""
_INCIDENTS = """
    insert into {incidents} (tenant_id, kind, error_type, cause, scan_ids, said)
    select tenant_id, 'failure', 'LoadError', 'bench', '{{}}', 'bench' from {tenants}
    where right(tenant_id, 1) = '0'
"""
_DAGS = """
    insert into dag select (jsonb_populate_record(dag, jsonb_build_object(
        'dag_id', 'hubspot_deals__bench_' || to_char(n, 'fm0000')))).*
    from dag, generate_series(1, %s) as n where dag_id = %s
"""


def run(bench: Bench) -> list[Line]:
    warehouse = bench.server.new_warehouse()
    fill(bench, warehouse)
    metadata = bench.server.dsn("airflow")
    env = environment(
        bench.folder,
        metadata,
        AIRFLOW__CORE__AUTH_MANAGER=SIMPLE,
        AIRFLOW_CONN_WAREHOUSE=bench.server.url,
        DLT_DATABASE_SCHEMA=warehouse.schema,
    )
    seed(env, bench.server.url)
    know_of_all(metadata, Path(env["HUBSPOT_DEALS_TENANTS_FILE"]))
    with serving(bench.folder, env) as server:
        wait_until_up(server)
        rounds = ROUNDS_QUICK if bench.quick else ROUNDS
        lines = [line(server, address, rounds) for address in ADDRESSES]
    bench.server.drop(warehouse)
    return lines


def line(server: Server, address: str, rounds: int) -> Line:
    for _ in range(WARM_UP):
        server.get(address).raise_for_status()
    taken_ms = [milliseconds(server, address) for _ in range(rounds)]
    median_ms = statistics.median(taken_ms)
    return at_most(
        f"GET {address}, {TENANTS:,} tenants x {SCANS} scans",
        f"{median_ms:.0f} ms (slowest {max(taken_ms):.0f})",
        median_ms,
        MOST_MS,
        " ms",
        taken_ms=taken_ms,
    )


def milliseconds(server: Server, address: str) -> float:
    started = time.perf_counter()
    answer = server.get(address)
    took_ms = (time.perf_counter() - started) * 1_000
    answer.raise_for_status()
    return took_ms


def fill(bench: Bench, warehouse: Warehouse) -> None:
    names = ("scans", "scan_objects", "quality_results", "tenants", "incidents")
    parts = {name: sql.Identifier(warehouse.schema, name) for name in names}
    bench.server.execute(
        sql.SQL(_SCANS.replace("{tenants}", str(TENANTS)).replace("{count}", str(SCANS))).format(
            scans=parts["scans"]
        ),
        *(sql.SQL(statement).format(**parts) for statement in (_OBJECTS, _CHECKS, _BOUND)),
        sql.SQL(_INCIDENTS).format(**parts),
        # autovacuum, which is off here, would do it
        sql.SQL("vacuum analyze {}, {}, {}, {}, {}").format(*parts.values()),
    )


def know_of_all(metadata: str, tenants_file: Path) -> None:
    """Have the tenants file and Airflow know all tenants."""
    ids = [f"bench_{number:04}" for number in range(1, TENANTS + 1)]
    tenants_file.write_text(json.dumps({"tenants": [{"id": name} for name in ids]}))
    with psycopg.connect(metadata) as connection:
        connection.execute(_DAGS, [TENANTS, f"hubspot_deals__{PARSED}"])
        connection.execute("delete from dag where dag_id not like 'hubspot_deals__bench%'")
