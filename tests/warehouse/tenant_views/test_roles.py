"""Who may do what: migrator, loader, reader, a tenant's analysts, and everybody else."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from include.errors import WarehouseConfigError
from include.warehouse import migrations as migrations_module
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate, migrations
from include.warehouse.migrations.__main__ import main
from include.warehouse.tenant_views.roles import (
    CLOSED_TO_READERS,
    READ_BY_LOADERS,
    exists,
    loader_role,
    reader_role,
)
from include.warehouse.tenant_views.views import publish_views
from tests.conftest import Serve, connect
from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.support.scans import BARE, deals, run, scan, scan_row
from tests.support.truth import as_stored

pytestmark = pytest.mark.slow

TENANT = "roles_acme"
PASSWORD = "only-for-tests"

Login = Callable[..., str]


@pytest.fixture
def login(empty_warehouse: Warehouse, database_url: str) -> Iterator[Login]:
    """Make a login and return its URL. All of them, and the groups, go with the test."""
    schema = empty_warehouse.schema
    made: list[str] = []

    def make(name: str, options: str = "") -> str:
        role = f"{schema}_{name}"
        with psycopg.connect(database_url) as connection:
            connection.execute(
                sql.SQL("create role {} login password {} " + options).format(
                    sql.Identifier(role), PASSWORD
                )
            )
        made.append(role)
        return conninfo.make_conninfo(database_url, user=role, password=PASSWORD)

    yield make
    # logins first: what the migrator has granted others goes with its own rights
    wanted = [*made, loader_role(schema), reader_role(schema), f"hubspot_{TENANT}"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        there = [sql.Identifier(role) for role in wanted if exists(connection, role)]
        for statement in ("drop owned by {} cascade", "drop role {}"):
            for role in there:
                connection.execute(sql.SQL(statement).format(role))


def grant_on_database(database_url: str, rights: str, role: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            sql.SQL(f"grant {rights} on database {{}} to {{}} with grant option").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(role)
            )
        )


@pytest.fixture
def migrator(
    empty_warehouse: Warehouse, login: Login, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of a login that may create schemas and roles, and is no superuser."""
    url = login("migrator", "createrole")
    grant_on_database(database_url, "connect, create", f"{empty_warehouse.schema}_migrator")
    monkeypatch.setenv("DLT_DATABASE_SCHEMA", empty_warehouse.schema)
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.fixture
def warehouse(empty_warehouse: Warehouse, migrator: str) -> Warehouse:
    """A warehouse whose owner is the migrator, with its group roles; used as a superuser."""
    main(["--create-roles"])
    return empty_warehouse


@pytest.fixture
def loader(warehouse: Warehouse, login: Login) -> Warehouse:
    return Warehouse.from_url(
        login("loads", f"in role {loader_role(warehouse.schema)}"), warehouse.schema
    )


@pytest.fixture
def reader(warehouse: Warehouse, login: Login) -> Warehouse:
    return Warehouse.from_url(
        login("reads", f"in role {reader_role(warehouse.schema)}"), warehouse.schema
    )


@pytest.fixture
def serve_alone(migrator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """As `serve`, for tasks whose warehouse connection is the migrator's."""
    with contextlib.ExitStack() as stack:

        def start(**served: Portal) -> HubSpotSimulator:
            simulator = stack.enter_context(HubSpotSimulator(served.values()))
            for tenant_id, portal in served.items():
                connect(monkeypatch, tenant_id, simulator, portal.tokens[0].text)
            return simulator

        yield start


def url_of(warehouse: Warehouse) -> str:
    return conninfo.make_conninfo(**warehouse.parameters)


def execute(warehouse: Warehouse, statement: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(statement.format(schema=warehouse.schema).encode())


def refused(warehouse: Warehouse, statement: str) -> None:
    with pytest.raises(WarehouseConfigError, match="PostgreSQL denies access"):
        execute(warehouse, statement)


def tables_of(warehouse: Warehouse, schema: str | None = None) -> set[str]:
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select tablename from pg_tables where schemaname = %s", [schema or warehouse.schema]
        )
        return {name for (name,) in rows}


def rights_of(warehouse: Warehouse, role: str) -> dict[str, set[str]]:
    """Table of the schema → what *role* was granted on it, itself or as PUBLIC."""
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select table_name, lower(privilege_type) from information_schema.role_table_grants"
            " where table_schema = %s and grantee in (%s, 'PUBLIC')",
            [warehouse.schema, role],
        )
        rights: dict[str, set[str]] = {}
        for table, right in rows:
            rights.setdefault(table, set()).add(right)
        return rights


# The loader


def test_a_member_of_the_loaders_runs_whole_scans(
    warehouse: Warehouse, loader: Warehouse, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    portal = portals.generated(deals=150, archived=20)
    serve(**{TENANT: portal})
    airflow_environment.setenv("DATABASE_URL", url_of(loader))

    run(scan("first", TENANT))
    run(scan("second", TENANT))

    assert deals(warehouse, TENANT) == as_stored(portal.truth())
    row = scan_row(warehouse, scan("second", TENANT))
    # it may make the schema of views, and no roles
    assert row["state"] == "succeeded"
    assert [warning for warning in row["warnings"] if "create role" not in warning] == []
    with warehouse.connect() as connection:
        owners = connection.execute(
            "select distinct viewowner from pg_views where schemaname = %s",
            [f"{warehouse.schema}__{TENANT}"],
        ).fetchall()
    assert owners == [(loader_role(warehouse.schema),)]


def test_views_of_one_login_are_rebuilt_by_the_next(
    warehouse: Warehouse, login: Login, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    serve(**{TENANT: portals.generated(deals=3)})
    group = f"in role {loader_role(warehouse.schema)}"
    airflow_environment.setenv("DATABASE_URL", login("old", group))
    run(scan("first", TENANT, objects=BARE))

    airflow_environment.setenv("DATABASE_URL", login("new", group))
    # with definitions of properties, which the views must learn
    run(scan("second", TENANT))

    warnings = scan_row(warehouse, scan("second", TENANT))["warnings"]
    assert [warning for warning in warnings if "create role" not in warning] == []


def test_without_the_right_to_create_schemas_a_prepared_tenant_gets_its_views(
    warehouse: Warehouse,
    loader: Warehouse,
    serve: Serve,
    login: Login,
    airflow_environment: pytest.MonkeyPatch,
    migrator: str,
) -> None:
    with psycopg.connect(migrator) as connection:
        connection.execute(
            f"revoke create on database {connection.info.dbname}"
            f" from {loader_role(warehouse.schema)}".encode()
        )
    airflow_environment.setenv("DATABASE_URL", migrator)
    main(["--create-roles", "--tenant", TENANT])
    serve(**{TENANT: portals.generated(deals=3)})
    airflow_environment.setenv("DATABASE_URL", url_of(loader))

    run(scan("first", TENANT))

    assert scan_row(warehouse, scan("first", TENANT))["warnings"] == []
    refused(loader, "create schema mine")
    analyst = Warehouse.from_url(login("analyst", f"in role hubspot_{TENANT}"))
    with analyst.connect() as connection:
        count = f"select count(*) from {warehouse.schema}__{TENANT}.deals"
        assert connection.execute(count.encode()).fetchone() == (3,)
    refused(analyst, f"select * from {warehouse.schema}.deals")
    refused(analyst, f"create table {warehouse.schema}__{TENANT}.mine ()")


def test_a_tenant_whose_schema_the_loader_has_made_gets_its_role(
    warehouse: Warehouse, loader: Warehouse, login: Login
) -> None:
    (warning,) = publish_views(loader, TENANT, ["deals"], {})
    assert "create role" in warning

    main(["--tenant", TENANT])
    main(["--tenant", TENANT])

    assert publish_views(loader, TENANT, ["deals"], {}) == []
    analyst = Warehouse.from_url(login("analyst", f"in role hubspot_{TENANT}"))
    execute(analyst, f"select from {warehouse.schema}__{TENANT}.deals")


def test_a_tenant_is_not_prepared_without_the_group_of_its_loader(
    empty_warehouse: Warehouse, migrator: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--tenant", TENANT])

    assert "--create-roles" in str(caught.value)
    with empty_warehouse.connect() as connection:
        assert not exists(connection, f"hubspot_{TENANT}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--tenant", "Acme"], "'Acme' must match", id="no id"),
        pytest.param(["--fivetran"], "--fivetran needs --tenant", id="no tenant"),
    ],
)
def test_arguments_that_can_not_be_meant_are_refused(
    empty_warehouse: Warehouse,
    migrator: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement",
    [
        "create table {schema}.mine ()",
        "create view {schema}.mine as select 1 as it",
        "create function {schema}.f() returns int language sql return 1",
        "create table {schema}_stg_slot1.mine ()",
        "alter table {schema}.deals add column mine int",
        "alter table {schema}.deals owner to current_user",
        "alter table {schema}.deals disable trigger refuse_outdated",
        "alter schema {schema} rename to mine",
        "drop table {schema}.deals",
        "drop trigger refuse_outdated on {schema}.deals",
        "drop schema {schema} cascade",
        "truncate {schema}.deals",
        "create index on {schema}.deals (url)",
        "create trigger t before insert on {schema}.deals"
        " execute function {schema}.refuse_outdated()",
        "insert into {schema}.schema_migrations (version, name) values (9999, 'x')",
        "delete from {schema}.schema_migrations",
        "set role {schema}_migrator",
        "set role {schema}_reader",
        "set session authorization postgres",
        "create role mine",
        "grant {schema}_migrator to current_user",
    ],
)
def test_the_loader_changes_rows_and_nothing_else(loader: Warehouse, statement: str) -> None:
    refused(loader, statement)


def test_the_loader_reads_no_other_schema(
    loader: Warehouse, warehouse: Warehouse, migrator: str
) -> None:
    with psycopg.connect(migrator) as connection:
        connection.execute(f"create schema {warehouse.schema}__x".encode())
        connection.execute(f"create table {warehouse.schema}__x.payroll (salary int)".encode())

    refused(loader, f"select * from {warehouse.schema}__x.payroll")


def test_the_loader_grants_no_rights(loader: Warehouse, warehouse: Warehouse) -> None:
    before = rights_of(warehouse, "nobody")

    # PostgreSQL only warns that nothing was granted
    execute(loader, "grant select on {schema}.deals to public")

    assert rights_of(warehouse, "nobody") == before == {}


def test_the_loader_can_not_migrate_and_says_who_can(
    loader: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_migration(monkeypatch, tmp_path)

    with pytest.raises(WarehouseConfigError, match="may not migrate it") as caught:
        migrate(loader)

    assert "python -m include.warehouse.migrations" in str(caught.value)


# The reader


def test_the_reader_reads_the_tables_of_all_tenants(
    reader: Warehouse, warehouse: Warehouse
) -> None:
    rights = rights_of(warehouse, reader_role(warehouse.schema))

    assert rights == {table: {"select"} for table in tables_of(warehouse) - CLOSED_TO_READERS}
    execute(reader, "select count(*) from {schema}.deals join {schema}.scans on true")


@pytest.mark.parametrize("table", sorted(CLOSED_TO_READERS))
def test_the_reader_sees_neither_tokens_nor_limits(
    reader: Warehouse, warehouse: Warehouse, table: str
) -> None:
    if table in tables_of(warehouse):
        refused(reader, f"select * from {{schema}}.{table}")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into {schema}.tenants (tenant_id, portal_id, bound_by_scan_id)"
        " values ('x', 1, 'x')",
        "update {schema}.deals set url = 'x'",
        "delete from {schema}.deals",
        "truncate {schema}.deals",
        "select * from {schema}.deals for update",
        "select * from {schema}_stg_slot1.deals",
        "create table {schema}.mine ()",
        "create schema mine",
        "set role {schema}_loader",
    ],
)
def test_the_reader_reads_and_nothing_else(reader: Warehouse, statement: str) -> None:
    refused(reader, statement)


# Grants


def test_everybody_else_may_nothing(warehouse: Warehouse, login: Login) -> None:
    other = Warehouse.from_url(login("nobody"), warehouse.schema)

    for table in tables_of(warehouse):
        refused(other, f"select * from {{schema}}.{table}")
    refused(other, "select * from {schema}_stg_slot1.deals")
    refused(other, "select {schema}.as_number('1')")


def test_the_loader_has_what_scans_need_on_every_table(warehouse: Warehouse) -> None:
    rights = rights_of(warehouse, loader_role(warehouse.schema))

    rows = {"select", "insert", "update", "delete"}
    assert rights == {
        table: {"select"} if table in READ_BY_LOADERS else rows for table in tables_of(warehouse)
    }


def add_migration(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    number = migrations()[-1][0] + 1
    added = folder / f"{number:04}_more.sql"
    added.write_text(
        "create table {schema}.more (id int);"
        " do $$ begin execute format('create table %I.more (id int)',"
        " {schema_name} || '_stg_slot1'); end $$;"
    )
    known = [*migrations(), (number, added)]
    monkeypatch.setattr(migrations_module, "migrations", lambda: known)


def test_a_later_migration_grants_by_itself(
    warehouse: Warehouse,
    loader: Warehouse,
    reader: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    add_migration(monkeypatch, tmp_path)

    main([])

    execute(loader, "insert into {schema}.more values (1)")
    execute(loader, "truncate {schema}_stg_slot1.more")
    execute(reader, "select * from {schema}.more")
    refused(reader, "insert into {schema}.more values (1)")


def test_roles_may_be_created_when_the_tables_are_there_already(
    empty_warehouse: Warehouse, migrator: str
) -> None:
    main([])
    assert rights_of(empty_warehouse, loader_role(empty_warehouse.schema)) == {}

    main(["--create-roles"])
    main(["--create-roles"])

    assert "deals" in rights_of(empty_warehouse, loader_role(empty_warehouse.schema))


def test_without_the_right_to_create_roles_the_warning_has_what_to_run(
    empty_warehouse: Warehouse,
    login: Login,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schema = empty_warehouse.schema
    monkeypatch.setenv("DLT_DATABASE_SCHEMA", schema)
    monkeypatch.setenv("DATABASE_URL", login("plain"))
    grant_on_database(database_url, "create", f"{schema}_plain")

    with pytest.raises(SystemExit) as caught:
        main(["--create-roles"])

    statements = [f'create role "{role(schema)}" nologin' for role in (loader_role, reader_role)]
    assert "; ".join(statements) in str(caught.value)
    assert PASSWORD not in str(caught.value)
    for statement in statements:
        execute(empty_warehouse, statement)
    main(["--create-roles"])
    assert "deals" in rights_of(empty_warehouse, loader_role(schema))


def test_group_roles_can_not_log_in(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls"
            " from pg_roles where rolname in (%s, %s)",
            [loader_role(warehouse.schema), reader_role(warehouse.schema)],
        ).fetchall()

    assert rows == [(False,) * 5] * 2


def test_one_role_for_everything_still_scans(
    empty_warehouse: Warehouse, migrator: str, serve_alone: Serve
) -> None:
    portal = portals.generated(deals=20)
    serve_alone(**{TENANT: portal})

    run(scan("first", TENANT))

    assert deals(empty_warehouse, TENANT) == as_stored(portal.truth())
    row = scan_row(empty_warehouse, scan("first", TENANT))
    assert (row["state"], row["warnings"]) == ("succeeded", [])


def test_the_owner_scans_too_where_there_are_group_roles(
    warehouse: Warehouse, migrator: str, serve_alone: Serve
) -> None:
    serve_alone(**{TENANT: portals.generated(deals=20)})

    run(scan("first", TENANT))

    row = scan_row(warehouse, scan("first", TENANT))
    assert (row["state"], row["warnings"]) == ("succeeded", [])


@pytest.mark.parametrize(
    "schema", ["crm", "x" * 50, "select", "a__b", "public_x"], ids=lambda name: name[:10]
)
def test_role_names_fit_whatever_the_schema_is_called(schema: str) -> None:
    names = {loader_role(schema), reader_role(schema)}

    assert len(names) == 2
    assert all(len(name.encode()) <= 63 for name in names)
