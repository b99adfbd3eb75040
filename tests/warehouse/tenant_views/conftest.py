"""A warehouse whose tenants' schemas and roles are removed, and analysts who log in."""

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from include.warehouse.connection import Warehouse
from tests.warehouse.tenant_views.views import make_login

Analyst = Callable[[str], psycopg.Connection]


@pytest.fixture
def warehouse(warehouse: Warehouse, database_url: str) -> Iterator[Warehouse]:
    yield warehouse
    with psycopg.connect(database_url, autocommit=True) as connection:
        drop(
            connection,
            "schema",
            "select nspname from pg_namespace where nspname like %s",
            "%tv\\_%",
        )
        roles = "select rolname from pg_roles where rolname like %s order by rolname"
        for (role,) in connection.execute(roles, ["%tv\\_%"]).fetchall():
            connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(role)))
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def drop(connection: psycopg.Connection, kind: str, names: str, pattern: str) -> None:
    for (name,) in connection.execute(names, [pattern]).fetchall():
        connection.execute(
            sql.SQL("drop {} {} cascade").format(sql.SQL(kind), sql.Identifier(name))
        )


@pytest.fixture
def analyst(warehouse: Warehouse, database_url: str) -> Iterator[Analyst]:
    """Log in as a member of a tenant's role, in autocommit mode."""
    with contextlib.ExitStack() as stack:

        def login(tenant_id: str) -> psycopg.Connection:
            url = make_login(
                database_url, f"tv_analyst_{tenant_id}", f"in role hubspot_{tenant_id}"
            )
            connection = stack.enter_context(psycopg.connect(url, autocommit=True))
            connection.execute(
                "select set_config('search_path', %s, false)", [f"{warehouse.schema}__{tenant_id}"]
            )
            return connection

        yield login
