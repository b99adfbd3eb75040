"""The one-shot `init`: databases, roles, tables, Airflow's own objects.

It runs at each `docker compose up` before Airflow's other services, and can be repeated: to
upgrade, use a new image and run `up`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from include.ops.compose.secrets import DeployError, Login, SecretFiles, variable
from include.ops.local.demo_servers import DEMO_TOKENS, connection_to
from include.tenants import load_tenants
from include.warehouse.connection import warehouse_schema

SUPERUSER = "postgres"
#: Secret → what its login may do beyond logging in, and whether it owns its database.
LOGINS = {
    "metadata_url": ("nocreaterole", True),
    # makes the group roles, the loader's and the readers'
    "warehouse_migrator_url": ("createrole", True),
    "warehouse_url": ("nocreaterole", False),
}


def set_up_databases(files: SecretFiles) -> list[str]:
    """Create missing logins and databases in the server of docker-compose.yaml.

    Passwords are set each time, so that renewed ones take effect. URLs of other servers are left to
    their administrators.
    """
    logins = {name: Login.of(files.read(name), name) for name in LOGINS}
    ours = {name: login for name, login in logins.items() if login.address == files.postgres}
    if not ours:
        return ["databases: all are in other servers"]
    host, _, port = files.postgres.partition(":")
    with _connected(
        host=host,
        port=port,
        user=SUPERUSER,
        password=files.read("postgres_password"),
        dbname="postgres",
        autocommit=True,
    ) as connection:
        for name, login in ours.items():
            _set_up_login(connection, login, LOGINS[name][0])
        for name, login in ours.items():
            if LOGINS[name][1]:
                _set_up_database(connection, login)
    return [f"login {login.user}, database {login.database}" for login in ours.values()]


def grant_membership(migrator_url: str, loader_url: str, group: str) -> str:
    """Make the loader's login a member of *group*, as the migrator, which created the group."""
    loader = Login.of(loader_url, "warehouse_url")
    with _connected(conninfo=migrator_url) as connection:
        # revoked from PUBLIC above; merges use temporary tables
        connection.execute(
            sql.SQL("grant connect, temporary on database {} to {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(group)
            )
        )
        row = connection.execute("select pg_has_role(%s, %s, 'member')", [loader.user, group])
        if not (row.fetchone() or (False,))[0]:
            connection.execute(
                sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(loader.user))
            )
    return f"{loader.user} is a member of {group}"


@contextmanager
def _connected(**options: Any) -> Iterator[psycopg.Connection]:
    """Yield a connection, and close it. Raises DeployError if it fails."""
    try:
        connection = psycopg.connect(**options)
    except psycopg.OperationalError as exc:
        raise DeployError(
            f"PostgreSQL can't be reached, or refuses the login: {' '.join(str(exc).split())}",
            "Check that it runs, and that postgres_password and warehouse_migrator_url are "
            "right: docs/deploy.md#rotate-secrets",
        ) from None
    except psycopg.Error:
        raise DeployError(
            "warehouse_migrator_url is not a URL of PostgreSQL.", "docs/deploy.md#secrets"
        ) from None
    with connection:
        yield connection


def _set_up_login(connection: psycopg.Connection, login: Login, right: str) -> None:
    known = connection.execute("select from pg_roles where rolname = %s", [login.user]).fetchone()
    # PostgreSQL logs failed statements, so it gets the hash, as from psql's \password
    hashed = connection.pgconn.encrypt_password(
        login.password.encode(), login.user.encode(), b"scram-sha-256"
    ).decode()
    connection.execute(
        sql.SQL("{} role {} login nosuperuser nocreatedb {} password {}").format(
            sql.SQL("create" if known is None else "alter"),
            sql.Identifier(login.user),
            sql.SQL(right),
            sql.Literal(hashed),
        )
    )


def _set_up_database(connection: psycopg.Connection, login: Login) -> None:
    name = sql.Identifier(login.database)
    known = connection.execute(
        "select from pg_database where datname = %s", [login.database]
    ).fetchone()
    if known is None:
        connection.execute(sql.SQL("create database {}").format(name))
    connection.execute(
        sql.SQL("alter database {} owner to {}").format(name, sql.Identifier(login.user))
    )
    # by default, all roles may connect to a database and create temporary tables
    connection.execute(sql.SQL("revoke all on database {} from public").format(name))


ADMIN = "admin"


def save_administrator(password: str) -> None:
    """Create the user `admin` of the FAB auth manager, or set its password."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        if user := manager.find_user(username=ADMIN):
            manager.reset_password(user.id, password)
            return
        manager.add_user(
            ADMIN, "Airflow", "Administrator", "admin@example.com", manager.find_role("Admin"),
            password,
        )  # fmt: skip


def initialize(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield a line for each completed step. Raises DeployError."""
    files = SecretFiles(environ)
    yield from set_up_databases(files)
    _run(environ, "-m", "airflow", "db", "migrate")
    yield "Airflow's tables are up to date"
    migrator = files.read("warehouse_migrator_url")
    tenants = load_tenants(environ)
    _run(
        {**environ, "DATABASE_URL": migrator},
        *("-m", "include.warehouse.migrations", "--create-roles"),
        *(part for tenant in tenants.enabled for part in ("--tenant", tenant.id)),
    )
    yield grant_membership(
        migrator, files.read("warehouse_url"), f"{warehouse_schema(environ)}_loader"
    )
    yield from _airflow_objects(files, environ, tenants.pools)


def _airflow_objects(
    files: SecretFiles, environ: Mapping[str, str], pools: Mapping[str, int]
) -> Iterator[str]:
    # imported late: Airflow connects to its database at import
    from airflow.models import Connection

    from include.tenants.airflow_db import make_pools, save_connection

    save_administrator(files.read("admin_password"))
    yield "user admin has the password admin_password"
    warehouse = Connection(uri=files.read("warehouse_url"))
    names = ("host", "port", "login", "password", "schema")
    fields = {name: getattr(warehouse, name) for name in names}
    fields["extra"] = json.dumps(warehouse.extra_dejson)
    save_connection("warehouse", "postgres", fields, replace=True)
    yield "connection warehouse"
    if environ.get("DEPLOYMENT") == "demo":
        for tenant_id, token in DEMO_TOKENS.items():
            fields = connection_to(variable(environ, "DEMO_HUBSPOT_URL"), token)
            # in the private network of the containers
            fields["extra"] = '{"allow_plain_http": true}'
            # keep one that was changed in the UI
            save_connection(f"hubspot_{tenant_id}", "hubspot", fields, replace=False)
        yield f"connections to the simulator: {', '.join(DEMO_TOKENS)}"
    yield from make_pools(pools)
    yield "pools are up to date"


def _run(environ: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], env=dict(environ), check=False)
    if done.returncode:
        raise DeployError(
            f"`python {' '.join(arguments)}` failed; the reason is above.",
            "Correct it, then run `docker compose up -d` again.",
        )
