"""A PostgreSQL of its own for the benchmarks, and the CPU time that it uses."""

import contextlib
import itertools
import time
from pathlib import Path
from typing import LiteralString

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate

#: What works in the background at moments of its own choice would be counted to what is measured
#: just then. Tables are analyzed by hand where time would have brought it about. The disk is not
#: waited for: on a machine that others use too, its times say nothing.
SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
    "fsync": "off",
}
SETTLED_S = 0.2


class BenchPostgres(EmbeddedPostgres):
    """A server whose warehouses are made empty, one schema each."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        return self.dsn("warehouse")

    def start(self) -> None:
        super().start()
        self.execute(
            *(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), value)
              for name, value in SETTINGS.items()),
            "select pg_reload_conf()",
        )  # fmt: skip

    def execute(self, *statements: LiteralString | sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def figure(self, statement: LiteralString | sql.SQL | sql.Composed) -> int:
        """Return the one number that a query yields."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(statement).fetchone()
        if row is None:
            raise RuntimeError("the query yields no row")
        return int(row[0])

    def new_warehouse(self) -> Warehouse:
        """Return a warehouse with all tables and no rows."""
        warehouse = Warehouse.from_url(self.url, f"bench_{next(self._numbers)}")
        migrate(warehouse)
        return warehouse

    def drop(self, warehouse: Warehouse) -> None:
        """Drop a warehouse, and every schema whose name goes on after its name and "_"."""
        with psycopg.connect(self.url) as connection:
            schemas = connection.execute(
                "select nspname from pg_namespace"
                " where nspname = %(name)s or starts_with(nspname, %(name)s || '_')",
                {"name": warehouse.schema},
            ).fetchall()
        # one by one: all at once would need more locks than a server has
        drop = sql.SQL("drop schema {} cascade")
        self.execute(*(drop.format(sql.Identifier(name)) for (name,) in schemas))

    def cpu_s(self) -> float:
        """Return the CPU time of all the server's processes so far, ended ones included."""
        if self.pid is None:
            raise RuntimeError("the server does not run")
        postmaster = psutil.Process(self.pid)
        children = _settled_children(postmaster)
        own = postmaster.cpu_times()
        used_s = own.user + own.system + own.children_user + own.children_system
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                used_s += times.user + times.system
        return float(used_s)


def _settled_children(postmaster: psutil.Process) -> list[psutil.Process]:
    """Return the server's processes once none starts or ends.

    One that ends in between would be counted twice, or not at all.
    """
    children: list[psutil.Process] = postmaster.children()
    while True:
        time.sleep(SETTLED_S)
        before, children = children, postmaster.children()
        if before == children:
            return children
