"""Names that try to be SQL: they are names, or they are refused."""

import psycopg
import pytest
from psycopg import conninfo, sql

from include.errors import WarehouseConfigError
from include.warehouse.connection import Warehouse, warehouse_schema
from include.warehouse.migrations import migrate
from include.warehouse.tenant_views.plan import tenant_role, tenant_schema
from include.warehouse.tenant_views.roles import exists, grant_rights, loader_role, prepare_tenants
from include.warehouse.tenant_views.views import publish_views

HOSTILE = [
    pytest.param('x"; drop table deals; --', id="double quote"),
    pytest.param("x'); drop table deals; --", id="single quote"),
    pytest.param("x{schema}", id="placeholder"),
    pytest.param("x%s", id="parameter"),
    pytest.param("x\\", id="backslash"),
    pytest.param("$$ drop $$", id="dollar quoting"),
    pytest.param("catalog.x", id="qualified"),
    pytest.param("Ünïcode ﹤x﹥", id="unicode"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_schema_is_a_plain_name(name: str) -> None:
    with pytest.raises(WarehouseConfigError, match="DLT_DATABASE_SCHEMA is"):
        warehouse_schema({"DLT_DATABASE_SCHEMA": name})


@pytest.mark.parametrize("name", ["crm\n", " crm", "crm;", "-crm", "x" * 51, "1crm", "crm\x00"])
def test_what_nearly_is_a_plain_name_is_refused_too(name: str) -> None:
    with pytest.raises(WarehouseConfigError):
        warehouse_schema({"DLT_DATABASE_SCHEMA": name})


@pytest.mark.parametrize("word", ["select", "user", "table", "publics", "all"])
def test_a_schema_may_be_a_word_of_sql(database_url: str, word: str) -> None:
    warehouse = Warehouse.from_url(database_url, warehouse_schema({"DLT_DATABASE_SCHEMA": word}))
    try:
        migrate(warehouse)
        with warehouse.connect() as connection:
            grant_rights(connection, word)
            publish_views(warehouse, "names_acme", ["deals"], {})
    finally:
        drop_all(database_url, word)


@pytest.mark.parametrize("tenant", HOSTILE)
def test_a_tenant_that_got_past_the_tenants_file_is_a_name_all_the_same(
    warehouse: Warehouse, database_url: str, tenant: str
) -> None:
    try:
        publish_views(warehouse, tenant, ["deals"], {})

        with warehouse.connect() as connection:
            schemas = connection.execute(
                "select nspname from pg_namespace where nspname = %s",
                [tenant_schema(warehouse.schema, tenant)],
            ).fetchall()
            deals = sql.SQL("select from {} limit 1").format(
                sql.Identifier(warehouse.schema, "deals")
            )
            connection.execute(deals)
        assert len(schemas) == 1
    finally:
        drop_roles(database_url, tenant_role(tenant))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_login_may_be_called_anything(warehouse: Warehouse, database_url: str, name: str) -> None:
    group = loader_role(warehouse.schema)
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(group)))
        connection.execute(
            sql.SQL("create role {} login password 'p' in role {}").format(
                sql.Identifier(name), sql.Identifier(group)
            )
        )
        grant_rights(connection, warehouse.schema)
    login = Warehouse.from_url(
        conninfo.make_conninfo(database_url, user=name, password="p"), warehouse.schema
    )
    try:
        said = publish_views(login, "names_acme", ["deals"], {})
        (schema_warning, role_warning) = said

        assert "An administrator must run: create schema" in schema_warning
        assert "create role" in role_warning
        # the statement that an administrator is asked to run creates what it says, and nothing else
        statement = schema_warning.partition("must run: ")[2].partition("; then")[0]
        with warehouse.connect() as connection:
            connection.execute(statement.encode())
        assert len(publish_views(login, "names_acme", ["deals"], {})) == 1
    finally:
        drop_roles(database_url, name, group)


def test_preparing_a_hostile_tenant_makes_a_schema_of_that_name(
    warehouse: Warehouse, database_url: str
) -> None:
    tenant = 'x"; drop table deals; --'
    group = loader_role(warehouse.schema)
    with warehouse.connect() as connection:
        connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(group)))
    try:
        prepare_tenants(warehouse, [tenant])

        with warehouse.connect() as connection:
            found = connection.execute(
                "select from pg_namespace where nspname = %s",
                [tenant_schema(warehouse.schema, tenant)],
            ).fetchone()
        assert found is not None
    finally:
        drop_roles(database_url, tenant_role(tenant), group)


def drop_roles(database_url: str, *roles: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for role in roles:
            if exists(connection, role):
                name = sql.Identifier(role)
                connection.execute(sql.SQL("drop owned by {} cascade").format(name))
                connection.execute(sql.SQL("drop role {}").format(name))


def drop_all(database_url: str, schema: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = connection.execute(
            "select nspname from pg_namespace where nspname = %s"
            " or starts_with(nspname, %s) or starts_with(nspname, %s)",
            [schema, f"{schema}_stg_slot", f"{schema}__"],
        ).fetchall()
        for (name,) in names:
            connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
    drop_roles(database_url, tenant_role("names_acme"))
