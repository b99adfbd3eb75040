from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from include.errors import LoadError, WarehouseConfigError, WarehouseUnavailableError
from include.pipeline.load.arrow import DEALS, RECORDS, Shape
from include.warehouse import migrations as migrations_module
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate, migrations


def test_versions_are_numbered_without_a_gap() -> None:
    versions = [version for version, _ in migrations()]

    assert versions == list(range(1, len(versions) + 1))


def test_migrating_twice_applies_nothing_the_second_time(empty_warehouse: Warehouse) -> None:
    first, second = migrate(empty_warehouse), migrate(empty_warehouse)

    assert first == [version for version, _ in migrations()]
    assert second == []


def test_many_first_runs_at_once_apply_each_migration_once(empty_warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(lambda _: migrate(empty_warehouse), range(8)))

    assert max(applied, key=len) == [version for version, _ in migrations()]
    assert sum(map(len, applied)) == len(migrations())


def test_a_failing_migration_leaves_nothing_of_itself(
    empty_warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    broken = tmp_path / "0001_broken.sql"
    broken.write_text("create table {schema}.half (id int); select 1/0;")
    monkeypatch.setattr(migrations_module, "migrations", lambda: [(1, broken)])

    with pytest.raises(LoadError, match="22012"):
        migrate(empty_warehouse)

    with empty_warehouse.connect() as connection:
        found = connection.execute(
            "select to_regnamespace(%s)", [empty_warehouse.schema]
        ).fetchone()
    assert found == (None,)


def test_one_who_may_not_migrate_waits_for_one_who_does(
    warehouse: Warehouse, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    role = f"{warehouse.schema}_looks"
    table = f"{warehouse.schema}.schema_migrations"
    every = [*migrations(), (9999, tmp_path / "9999_newer.sql")]
    monkeypatch.setattr(migrations_module, "migrations", lambda: every)
    with psycopg.connect(database_url) as connection:
        connection.execute(f"create role {role} login password 'only-for-tests'")
        connection.execute(f"grant usage on schema {warehouse.schema} to {role}")
        connection.execute(f"grant select on {table} to {role}")
    url = conninfo.make_conninfo(database_url, user=role, password="only-for-tests")
    looks = Warehouse.from_url(url, warehouse.schema)

    with psycopg.connect(database_url) as migrator:
        migrator.execute(f"lock table {table} in share row exclusive mode")
        with pytest.raises(WarehouseUnavailableError, match="another process is migrating"):
            migrate(looks)
    with pytest.raises(WarehouseConfigError, match="may not migrate it"):
        migrate(looks)

    with psycopg.connect(database_url) as connection:
        connection.execute(f"drop owned by {role}")
        connection.execute(f"drop role {role}")


def test_what_is_in_the_way_of_the_schema_is_named(empty_warehouse: Warehouse) -> None:
    with empty_warehouse.connect() as connection:
        connection.execute(f"create schema {empty_warehouse.schema}")
        connection.execute(f"create view {empty_warehouse.schema}.schema_migrations as select 1")

    with pytest.raises(WarehouseConfigError, match='"schema_migrations" already exists'):
        migrate(empty_warehouse)


def test_a_schema_newer_than_the_code_is_refused(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            f"insert into {warehouse.schema}.schema_migrations (version, name) values (9999, 'x')"
        )

    with pytest.raises(WarehouseConfigError, match="is at version 9999"):
        migrate(warehouse)


def test_a_migration_that_fails_leaves_the_version_before_it_as_it_was(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newest = migrations()[-1][0]
    broken = tmp_path / f"{newest + 1:04}_broken.sql"
    broken.write_text("create table {schema}.half (id int); select 1/0;")
    known = [*migrations(), (newest + 1, broken)]
    before = relations_and_versions(warehouse)
    monkeypatch.setattr(migrations_module, "migrations", lambda: known)

    with pytest.raises(LoadError, match="22012"):
        migrate(warehouse)

    assert relations_and_versions(warehouse) == before


def test_a_later_migration_is_applied_to_the_rows_that_are_there(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newest = migrations()[-1][0]
    later = tmp_path / f"{newest + 1:04}_later.sql"
    later.write_text("alter table {schema}.tenants add column region text not null default 'eu1';")
    known = [*migrations(), (newest + 1, later)]
    with warehouse.connect() as connection:
        connection.run(
            "insert into {tenants} (tenant_id, portal_id, bound_by_scan_id) values ('acme', 7, 's')"
        )
    monkeypatch.setattr(migrations_module, "migrations", lambda: known)

    assert migrate(warehouse) == [newest + 1]

    assert warehouse.rows("select tenant_id, portal_id, region from {tenants}") == [
        ("acme", 7, "eu1")
    ]


def relations_and_versions(warehouse: Warehouse) -> list[tuple[str]]:
    return warehouse.rows(
        "select relname from pg_class where relnamespace = to_regnamespace(%s)"
        " union all select version || name from {schema_migrations} order by 1",
        [warehouse.schema],
    )


#: Columns that dlt never writes: what later scans find out about a record.
MARKS = {"vanished_at", "merged_into_deal_id", "merged_into_record_id"}


@pytest.mark.parametrize("shape", [DEALS, RECORDS], ids=lambda shape: shape.table)
def test_a_table_has_the_columns_that_are_loaded(warehouse: Warehouse, shape: Shape) -> None:
    types = {
        "string": {"text", "jsonb"},
        "int64": {"bigint"},
        "bool": {"boolean"},
        "decimal128(38, 9)": {"numeric"},
        "timestamp[us, tz=UTC]": {"timestamp with time zone"},
    }
    with warehouse.connect() as connection:
        columns = connection.execute(
            """
            select column_name, data_type, is_nullable = 'YES' from information_schema.columns
            where table_schema = %s and table_name = %s and column_name <> all(%s)
            """,
            [warehouse.schema, shape.table, list(MARKS)],
        ).fetchall()

    assert {name for name, _, _ in columns} == set(shape.schema.names)
    for name, data_type, nullable in columns:
        field = shape.schema.field(name)
        assert data_type in types[str(field.type)], name
        assert nullable == field.nullable, name


@pytest.mark.parametrize("table", ["deals", "records"])
@pytest.mark.parametrize("slot", [1, 8])
def test_every_staging_slot_mirrors_the_tables_that_are_loaded(
    warehouse: Warehouse, slot: int, table: str
) -> None:
    def columns(connection, schema: str) -> set[str]:
        return {
            name
            for (name,) in connection.execute(
                """
                select column_name from information_schema.columns
                where table_schema = %s and table_name = %s
                """,
                [schema, table],
            )
        }

    with warehouse.connect() as connection:
        staging = columns(connection, f"{warehouse.schema}_stg_slot{slot}")
        target = columns(connection, warehouse.schema)

    assert staging == target - MARKS
