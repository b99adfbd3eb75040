"""Logins and databases in the PostgreSQL that comes with docker-compose.yaml. Idempotent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from include.deploy.errors import DeployError
from include.deploy.secret_files import Login, SecretFiles

SUPERUSER = "postgres"
#: Secret → what its login may do beyond logging in, and whether it owns its database.
LOGINS = {
    "metadata_url": ("nocreaterole", True),
    # makes the group roles, the loader's and the readers'
    "warehouse_migrator_url": ("createrole", True),
    "warehouse_url": ("nocreaterole", False),
}


def set_up_databases(files: SecretFiles) -> list[str]:
    """Make what is missing of the logins and databases that are in our own server.

    Passwords are set each time: that is how a renewed one gets there. URLs that lead to another
    server are left to whoever runs that one.
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


def let_in(migrator_url: str, loader_url: str, group: str) -> str:
    """Make the loader's login a member of *group*, as the migrator, who has made the group."""
    loader = Login.of(loader_url, "warehouse_url")
    with _connected(conninfo=migrator_url) as connection:
        # taken from everybody above; merges use temporary tables
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
    """Yield a connection, closed at the end. Raises DeployError if there is none."""
    try:
        connection = psycopg.connect(**options)
    except psycopg.OperationalError as exc:
        raise DeployError(
            f"PostgreSQL can't be reached, or refuses the login: {' '.join(str(exc).split())}",
            "Is it up, and are postgres_password and warehouse_migrator_url what it expects? "
            "docs/deploy.md#rotate-secrets",
        ) from None
    except psycopg.Error:
        raise DeployError(
            "warehouse_migrator_url is no URL of PostgreSQL.", "docs/deploy.md#secrets"
        ) from None
    with connection:
        yield connection


def _set_up_login(connection: psycopg.Connection, login: Login, right: str) -> None:
    known = connection.execute("select from pg_roles where rolname = %s", [login.user]).fetchone()
    # PostgreSQL logs statements that fail: it is given the hash, as psql's \password does.
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
    # by default everybody may connect to every database, and make temporary tables
    connection.execute(sql.SQL("revoke all on database {} from public").format(name))
    connection.execute(
        sql.SQL("grant connect on database {} to {}").format(name, sql.Identifier(login.user))
    )
