"""Databases of the tests' PostgreSQL server."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from include.ops.local.postgres import EmbeddedPostgres

#: A server whose data are thrown away need not survive a crash.
WITHOUT_DURABILITY = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "512MB",
    "jit": "off",
}
MEMORY = Path("/dev/shm")  # noqa: S108 - a new directory with a random name is made in it
#: What the databases of one process of tests may need.
ENOUGH_BYTES = 2_000_000_000


@contextmanager
def memory_or(folder: Path) -> Iterator[Path]:
    """Yield a directory in memory, deleted afterwards, where there is enough of it; or *folder*.

    A copy of a database is 300 files. To make and delete them on a disk takes twice as long as the
    test that uses them.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ENOUGH_BYTES:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hubspot_deals_tests_", dir=MEMORY) as directory:
        path = Path(directory)
        # PostgreSQL runs as another user when the tests run as root.
        path.chmod(0o755)
        yield path


def make_logins_cheap(server: EmbeddedPostgres) -> None:
    """Let a login cost 1 round of hashing instead of 4,096, for both sides: a scan has 15."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("alter system set scram_iterations = 1")
        connection.execute("select pg_reload_conf()")
        connection.execute("set scram_iterations = 1")
        connection.execute(
            sql.SQL("alter role postgres password {}").format(sql.Literal(server.password))
        )


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
