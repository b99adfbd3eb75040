"""The settings of our sessions are ours, by whichever driver, whatever is set elsewhere."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import psycopg2
import pytest
from adbc_driver_manager import dbapi
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from dlt.destinations.impl.postgres.factory import get_adbc_driver_location
from psycopg import conninfo

import include.pipeline.load.dlt_loader  # noqa: F401 - which has dlt write URLs as libpq reads them
from include.errors import WarehouseConfigError, WarehouseUnavailableError
from include.ops.local.postgres import EmbeddedPostgres
from include.pipeline.validate_token import validate_token
from include.warehouse.connection import Warehouse, open_warehouse, require_usable, with_session
from include.warehouse.migrations import migrate
from include.web.warehouse import reading
from include.web.warehouse import warehouse as of_the_web
from tests.conftest import Serve
from tests.hubspot_simulator import portals
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.scans import query, run, scan

HOSTILE = {
    "client_encoding": "WIN1252",
    "datestyle": "German",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kathmandu",
    "search_path": "elsewhere",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "statement_timeout": "1min",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1min",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "row_security": "off",
    "bytea_output": "escape",
}
OURS = {
    "client_encoding": "UTF8",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "5min",
    "idle_in_transaction_session_timeout": "0",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    "bytea_output": "hex",
}


@pytest.fixture
def url(warehouse: Warehouse, database_url: str) -> Iterator[str]:
    """Of a role for which everything is set otherwise."""
    role = f"{warehouse.schema}_hostile"
    with psycopg.connect(database_url) as connection:
        connection.execute(f"create role {role} login superuser password 'only-for-tests'")
        for name, value in HOSTILE.items():
            connection.execute(f"alter role {role} set {name} = '{value}'")
    yield conninfo.make_conninfo(database_url, user=role, password="only-for-tests")
    with psycopg.connect(database_url) as connection:
        connection.execute(f"drop role {role}")


def by_psycopg(warehouse: Warehouse, statement: str) -> Any:
    with warehouse.connect() as connection:
        return connection.execute(statement.encode()).fetchone()


def by_psycopg2(warehouse: Warehouse, statement: str) -> Any:
    credentials = PostgresCredentials(warehouse.url)
    options = credentials.get_query()["options"]
    dsn = credentials.to_native_representation()
    with psycopg2.connect(dsn, options=options) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def by_adbc(warehouse: Warehouse, statement: str) -> Any:
    uri = PostgresCredentials(warehouse.url).to_native_representation()
    with (
        dbapi.connect(driver=get_adbc_driver_location(), db_kwargs={"uri": uri}) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return cursor.fetchone()


@pytest.mark.parametrize("ask", [by_psycopg, by_psycopg2, by_adbc])
def test_what_is_set_for_a_role_does_not_reach_our_sessions(
    url: str, ask: Callable[[Warehouse, str], Any]
) -> None:
    statement = "select " + ", ".join(f"current_setting('{name}')" for name in OURS)

    found = ask(Warehouse.from_url(url), statement)

    assert dict(zip(OURS, found, strict=True)) == OURS


def test_what_libpqs_variables_set_does_not_reach_our_sessions(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGOPTIONS", "-c transform_null_equals=on -c work_mem=5MB")
    names = ("client_encoding", "DateStyle", "TimeZone", "transform_null_equals", "work_mem")

    found = by_psycopg(
        Warehouse.from_url(database_url),
        "select " + ", ".join(f"current_setting('{name}')" for name in names),
    )

    assert found == ("UTF8", "ISO, DMY", "UTC", "off", "5MB")


def test_the_sessions_of_tasks_and_of_the_api_are_alike(
    url: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://{url_of(url)}")
    monkeypatch.setattr("include.web.warehouse._known", None)

    for found in (open_warehouse(), of_the_web()):
        assert by_psycopg(found, "select current_setting('client_encoding')") == ("UTF8",)


@pytest.mark.parametrize(("extra", "limit"), [("", "10"), ("?connect_timeout=3", "3")])
def test_a_server_that_does_not_answer_is_not_waited_for_without_limit(
    url: str, monkeypatch: pytest.MonkeyPatch, extra: str, limit: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://{url_of(url)}{extra}")

    # those of the connection that the provider opened
    assert open_warehouse().parameters["connect_timeout"] == limit


def test_an_extra_that_libpq_does_not_know_is_a_setting_to_correct(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://{url_of(url)}?colour=blue")

    with pytest.raises(WarehouseConfigError, match='invalid connection option "colour"'):
        open_warehouse("acme")


def url_of(dsn: str) -> str:
    parts = conninfo.conninfo_to_dict(dsn)
    return "{user}:{password}@{host}:{port}/{dbname}".format(**parts)


def test_options_that_are_given_stay_before_ours_and_ours_are_added_once() -> None:
    once = with_session({"options": "endpoint=mine"}, {})

    assert once["options"].startswith("endpoint=mine\t-cdatestyle=ISO\t")
    assert with_session(once, {}) == once


def test_what_is_set_costs_no_query(database_url: str) -> None:
    with Warehouse.from_url(database_url).connect(autocommit=True) as connection:
        (name,) = connection.execute("show application_name").fetchone() or ("",)
        (asked,) = connection.execute(
            "select query from pg_stat_activity where pid = pg_backend_pid()"
        ).fetchone() or ("",)

    assert (name, asked[:12]) == ("hubspot_deals", "select query")


@needs_pgbouncer
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("quote_all_identifiers", "on"),
        ("array_nulls", "off"),
        ("transform_null_equals", "on"),
    ],
)
def test_a_setting_that_a_pooler_lets_through_is_refused_by_name(
    warehouse: Warehouse, database_url: str, setting: str, value: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(f"alter role postgres in database {database} set {setting} = '{value}'")
        try:
            with (
                PgBouncer(database_url, pool_size=2) as pooler,
                pytest.raises(WarehouseConfigError) as caught,
            ):
                migrate(pooler.warehouse(warehouse.schema))
        finally:
            connection.execute("set default_transaction_read_only = off")
            connection.execute(f"alter role postgres in database {database} reset all")

    assert f"has the setting {setting} = '{value}'" in caught.value.what
    assert f'alter role "postgres" in database "{database}" set {setting} = ' in caught.value.remedy


def test_a_database_in_another_encoding_is_refused_before_anything_is_written(
    postgres: EmbeddedPostgres,
) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "create database latin encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'"
            " locale_provider libc template template0"
        )
        try:
            latin = Warehouse.from_url(postgres.dsn("latin"))
            with pytest.raises(WarehouseConfigError, match="has the encoding LATIN1"):
                migrate(latin)
            with latin.connect() as inside:
                row = inside.execute("select to_regnamespace('hubspot_deals')").fetchone()
        finally:
            connection.execute("drop database latin with (force)")
    assert row == (None,)


@pytest.mark.slow
def test_a_standby_is_waited_for_and_pages_are_still_shown(
    tmp_path: Path, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    serve(acme=portals.generated(deals=10))
    server = EmbeddedPostgres(tmp_path)
    try:
        server.start()
        airflow_environment.setenv("DATABASE_URL", server.dsn("warehouse"))
        airflow_environment.setenv("DLT_DATABASE_SCHEMA", "hubspot_deals")
        run(scan("1"))
        server.stop()
        (server.data_dir / "standby.signal").touch()
        server.start()
        standby = Warehouse.from_url(server.dsn("warehouse"))

        with pytest.raises(
            WarehouseUnavailableError, match="is a standby, which accepts no writes"
        ):
            validate_token(scan("2"))
        with pytest.raises(WarehouseUnavailableError, match="accepts no writes"):
            query(standby, "delete from scans")
        with reading(standby) as connection:
            assert connection.execute("select count(*) from hubspot_deals.scans").fetchone() == (1,)
    finally:
        server.remove()


def test_postgresql_without_merge_is_refused() -> None:
    version_14: Any = SimpleNamespace(info=SimpleNamespace(server_version=140_019))

    with pytest.raises(WarehouseConfigError, match="the warehouse is PostgreSQL 14") as caught:
        require_usable(version_14)

    assert caught.value.remedy == "Use PostgreSQL 15 or newer. Then clear the task."


def test_a_good_server_is_usable(database_url: str) -> None:
    with Warehouse.from_url(database_url).connect() as connection:
        require_usable(connection)
