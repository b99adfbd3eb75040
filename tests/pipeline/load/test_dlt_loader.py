"""Loading through dlt into a real PostgreSQL."""

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from include.errors import HubSpotDealsError, WarehouseConfigError, WarehouseUnavailableError
from include.hubspot.answers import Record, decode_page
from include.pipeline.load.arrow import DEALS, Batch, to_batch
from include.pipeline.load.dlt_loader import DltLoader
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import tenant_lease
from tests.support.scans import attempt, query, scan
from tests.support.waiting import until

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def record(deal_id: int, **properties: str | None) -> Record:
    properties = {"hs_object_id": str(deal_id), **properties}
    return Record(id=str(deal_id), properties=msgspec.Raw(json.dumps(properties).encode()))


def load(warehouse: Warehouse, tenant_id: str, records: list[Record], scan_id: str = "1") -> None:
    batch = batch_of(records, tenant_id, scan_id)
    with loading(warehouse, tenant_id) as loader:
        loader.load(batch.table, DEALS)


@contextmanager
def loading(warehouse: Warehouse, tenant_id: str = "acme") -> Iterator[DltLoader]:
    """A loader of the next try of a scan, which holds the tenant."""
    ours = attempt(warehouse, scan(tenant_id=tenant_id)).warehouse
    with tenant_lease(ours, tenant_id) as lock, DltLoader(ours, tenant_id, lock) as loader:
        yield loader


def batch_of(
    records: list[Record], tenant_id: str, scan_id: str, extracted_at: datetime = NOW
) -> Batch:
    return to_batch(
        records,
        DEALS,
        tenant_id=tenant_id,
        object_name="deals",
        scan_id=scan_id,
        extracted_at=extracted_at,
    )


def rows(warehouse: Warehouse, columns: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            f"select {columns} from {warehouse.schema}.deals order by _tenant_id, deal_id"
        ).fetchall()


def catalog(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            "select table_schema, table_name, column_name, data_type "
            "from information_schema.columns where table_schema like %s order by 1, 2, 3",
            [f"{warehouse.schema}%"],
        ).fetchall()


def test_loading_again_writes_only_the_rows_whose_content_changed(warehouse: Warehouse) -> None:
    load(warehouse, "acme", [record(1, dealname="old"), record(2, dealname="same")])
    load(warehouse, "acme", [record(1, dealname="new"), record(2, dealname="same")], scan_id="2")

    assert rows(warehouse, "deal_id, deal_name, _scan_id") == [(1, "new", "2"), (2, "same", "1")]


@pytest.mark.parametrize("updated_at", ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z", None])
@pytest.mark.parametrize("extracted", [-1, 1], ids=["a clock set back", "a clock that goes on"])
def test_what_is_loaded_last_is_held_whatever_times_it_has(
    warehouse: Warehouse, updated_at: str | None, extracted: int
) -> None:
    """Tries that were given up are kept out by their number: tests/warehouse/test_fences.py."""
    first, last = record(1, dealname="first"), record(1, dealname="last")
    first.updated_at, last.updated_at = "2026-01-02T00:00:00Z", updated_at
    with loading(warehouse) as loader:
        loader.load(batch_of([first], "acme", "1").table, DEALS)
        later = batch_of([last], "acme", "2", NOW + timedelta(seconds=extracted))
        loader.load(later.table, DEALS)

    assert rows(warehouse, "deal_name") == [("last",)]


def test_the_same_deal_id_in_two_portals_is_two_rows(warehouse: Warehouse) -> None:
    load(warehouse, "acme", [record(1, dealname="ours")])
    load(warehouse, "globex", [record(1, dealname="theirs")])

    assert rows(warehouse, "_tenant_id, deal_name") == [("acme", "ours"), ("globex", "theirs")]


def test_dlt_finds_every_table_made_and_alters_none(warehouse: Warehouse) -> None:
    before = catalog(warehouse)

    load(warehouse, "acme", [record(1)])

    assert catalog(warehouse) == before


def test_an_empty_batch_loads_nothing(warehouse: Warehouse) -> None:
    load(warehouse, "acme", [])

    assert rows(warehouse, "deal_id") == []


@pytest.mark.parametrize(
    "value",
    [
        pytest.param('"\\u0000 in \\u0000 text"', id="NUL"),
        pytest.param('"half \\ud83d pair"', id="lone surrogate"),
        pytest.param("NaN", id="NaN"),
        pytest.param('"\\ud83d\\ude80"', id="emoji"),
        pytest.param('"' + "x" * 60_000 + '"', id="60 kB"),
        pytest.param('"1234567890.' + "9" * 50 + '"', id="50 decimals"),
        pytest.param('"' + "9" * 50 + '"', id="50 digits"),
        pytest.param('"9999-12-31T23:59:59.999Z"', id="year 9999"),
        pytest.param('"' + "x" * 65_536 + '"', id="65,536 characters"),
        pytest.param('""', id="empty"),
        pytest.param('"it\'s \\"quoted\\"\\n\\\\, {braced}"', id="punctuation"),
    ],
)
def test_values_of_real_portals_load(warehouse: Warehouse, value: str) -> None:
    names = ["amount", "closedate", "dealname", "hs_is_closed", "select", "deal_id", "ctid"]
    names += ["pipeline", "dealstage", "hubspot_owner_id", "dealtype", "hs_merged_object_ids"]
    deals = (f'{{"id":"{n}","properties":{{"{name}":{value}}}}}' for n, name in enumerate(names))
    page = decode_page(f'{{"results":[{",".join(deals)}]}}'.encode())

    load(warehouse, "acme", page.results)

    sent = [json.loads(bytes(sent.properties)) for sent in page.results]
    assert rows(warehouse, "properties") == [(properties,) for properties in sent]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("1e400000", id="exponent"),
        pytest.param("9" * 200_000, id="200,000 digits"),
        pytest.param("0." + "9" * 20_000, id="20,000 decimals"),
    ],
)
def test_a_value_beyond_the_bounds_of_jsonb_is_kept_as_its_text(
    warehouse: Warehouse, value: str
) -> None:
    page = decode_page(
        f'{{"results":[{{"id":"1","properties":{{"free":{value},"dealname":"x"}}}}]}}'.encode()
    )

    load(warehouse, "acme", page.results)

    assert rows(warehouse, "properties") == [({"free": value, "dealname": "x"},)]


def test_a_key_that_does_not_fit_into_an_index_is_a_misfit(warehouse: Warehouse) -> None:
    long = "".join(random.Random(1).choices("äöü€日本語x🚀", k=9_000))
    batch = batch_of(
        [record(1, hubspot_owner_id=long, dealstage=long, pipeline="p" * 1_000)], "acme", "1"
    )

    with loading(warehouse) as loader:
        loader.load(batch.table, DEALS)

    assert rows(warehouse, "owner_id, stage_id, pipeline_id, properties->>'hubspot_owner_id'") == [
        (None, None, "p" * 1_000, long)
    ]
    assert batch.misfits == {"owner_id": 1, "stage_id": 1}


def test_a_refusal_of_postgresql_names_the_remedy(warehouse: Warehouse, database_url: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"drop role if exists {warehouse.schema}_reader")
        connection.execute(f"create role {warehouse.schema}_reader login password 'reader'")
    reader = Warehouse(
        {**warehouse.parameters, "user": f"{warehouse.schema}_reader", "password": "reader"},
        warehouse.schema,
    )

    with pytest.raises(HubSpotDealsError) as caught:
        load(reader, "acme", [record(1)])

    assert isinstance(caught.value, WarehouseConfigError)
    assert "permission denied" in str(caught.value)
    with warehouse.connect() as connection:
        connection.execute(f"drop role {warehouse.schema}_reader")


def _load_rounds(warehouse: Warehouse, tenant_id: str) -> None:
    for number in range(1, 4):
        records = [record(deal_id, dealname=f"{tenant_id} {number}") for deal_id in range(400)]
        load(warehouse, tenant_id, records, scan_id=str(number))


def test_tenants_that_load_at_once_lose_and_mix_nothing(warehouse: Warehouse) -> None:
    tenants = [f"tenant_{n}" for n in range(4)]
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=_load_rounds, args=(warehouse, tenant_id)) for tenant_id in tenants
    ]

    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * len(tenants)
    assert rows(warehouse, "_tenant_id, deal_id, deal_name, _scan_id") == [
        (tenant_id, deal_id, f"{tenant_id} 3", "3")
        for tenant_id in tenants
        for deal_id in range(400)
    ]


@contextmanager
def gate_before_deal(warehouse: Warehouse, deal_id: int) -> Iterator[psycopg.Connection]:
    """Have each session that writes a deal's row wait there until the block ends."""
    with warehouse.connect() as connection:
        connection.execute(f"set local search_path to {warehouse.schema}")
        connection.execute(
            f"""
            create table gate ();
            create function pass_the_gate() returns trigger language plpgsql as $$
            begin perform from {warehouse.schema}.gate; return new; end $$;
            create trigger gate before insert or update on deals for each row
                when (new.deal_id = {deal_id}) execute function pass_the_gate()
            """
        )
    with warehouse.connect() as connection:
        connection.execute(f"lock table {warehouse.schema}.gate in access exclusive mode")
        yield connection


def waiting_sessions(warehouse: Warehouse) -> list[int]:
    found = query(
        warehouse,
        "select pid from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock'",
    )
    return [row["pid"] for row in found]


def load_400(warehouse: Warehouse) -> None:
    load(warehouse, "acme", [record(number) for number in range(400)])


def test_other_sessions_see_nothing_of_a_chunk_that_is_half_written(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor() as executor:
        with gate_before_deal(warehouse, 399):
            loading = executor.submit(load_400, warehouse)
            until(lambda: waiting_sessions(warehouse), "the last row is written")
            seen = rows(warehouse, "deal_id")
        loading.result()

    assert seen == []
    assert len(rows(warehouse, "deal_id")) == 400


def test_nothing_of_a_chunk_stays_whose_load_is_broken_off(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor() as executor, gate_before_deal(warehouse, 399) as gate:
        loading = executor.submit(load_400, warehouse)
        (session,) = until(lambda: waiting_sessions(warehouse), "the last row is written")

        gate.execute("select pg_terminate_backend(%s)", [session])

        assert isinstance(loading.exception(), WarehouseUnavailableError)
        assert rows(warehouse, "deal_id") == []


def _load_until_killed(warehouse: Warehouse, started: Any) -> None:
    records = [record(deal_id, dealname="half", filler="x" * 2_000) for deal_id in range(20_000)]
    batch = batch_of(records, "acme", "1")
    with loading(warehouse) as loader:
        while True:
            started.set()
            loader.load(batch.table, DEALS)


@pytest.mark.parametrize("seconds", [0.05, 0.6])
def test_a_load_killed_at_any_moment_is_whole_after_the_next(
    warehouse: Warehouse, seconds: float
) -> None:
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(target=_load_until_killed, args=(warehouse, started))
    process.start()
    assert started.wait(60)
    process.join(seconds)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL

    load(warehouse, "acme", [record(n, dealname="whole") for n in range(20_000)], scan_id="2")

    counted = rows(warehouse, "count(*) over (), deal_name, _scan_id")
    assert len(counted) == 20_000
    assert set(counted) == {(20_000, "whole", "2")}
