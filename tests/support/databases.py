"""Databases of the tests' PostgreSQL server."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from include.local.postgres import EmbeddedPostgres

#: A server whose data are thrown away need not survive a crash.
WITHOUT_DURABILITY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
}


@contextmanager
def database(server: EmbeddedPostgres, name: str, template: str = "template1") -> Iterator[str]:
    """Make a database, a copy of *template*; yield its URL; drop it, with its sessions."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        # Without fsync this strategy takes half the time of the default one.
        create = sql.SQL("create database {} template {} strategy file_copy")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield server.dsn(name)
        finally:
            connection.execute(
                sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            )
