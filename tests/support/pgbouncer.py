"""A real PgBouncer in transaction mode, in front of the tests' PostgreSQL.

with PgBouncer(database_url, pool_size=4) as pooler:
    psycopg.connect(pooler.url)
"""

import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from include.ops.local.processes import Started, free_port, unprivileged_account
from include.warehouse.connection import Warehouse

START_TIMEOUT_S = 10.0
#: Where Debian has it, which is not in everybody's PATH.
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="there is no pgbouncer: apt-get install pgbouncer"
)

#: What docs/deploy.md asks for, and short time-outs, so that endless waits are seen.
_SETTINGS = """\
[databases]
{dbname} = host={host} port={port} dbname={dbname}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
ignore_startup_parameters = options
query_wait_timeout = {query_wait_timeout_s}
logfile = {directory}/log
"""


class PgBouncer(Started):
    """Starts with the block and ends with it; ``url`` leads through it to the same database."""

    def __init__(self, url: str, pool_size: int, query_wait_timeout_s: int = 60) -> None:
        self._server = psycopg.conninfo.conninfo_to_dict(url)
        self._pool_size = pool_size
        self._query_wait_timeout_s = query_wait_timeout_s
        self._port = free_port()
        self._open = ExitStack()

    @property
    def url(self) -> str:
        user, password, dbname = (self._server[key] for key in ("user", "password", "dbname"))
        return f"postgresql://{user}:{password}@127.0.0.1:{self._port}/{dbname}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def warehouse(self, schema: str) -> Warehouse:
        return Warehouse.from_url(self.url, schema)

    def start(self) -> None:
        account = unprivileged_account()
        self._directory = Path(tempfile.mkdtemp(prefix="hubspot_deals_pgbouncer_"))
        self._open.callback(shutil.rmtree, self._directory)
        account.chown(self._directory)
        self._write("users", f'"{self._server["user"]}" "{self._server["password"]}"\n')
        settings = self._write(
            "pgbouncer.ini",
            _SETTINGS.format(
                **self._server,
                listen_port=self._port,
                directory=self._directory,
                pool_size=self._pool_size,
                query_wait_timeout_s=self._query_wait_timeout_s,
            ),
        )
        self._process = subprocess.Popen(
            [str(PROGRAM), "-q", str(settings)], cwd="/", **account.popen_options
        )
        self._open.callback(self._process.wait)
        self._open.callback(self._process.terminate)
        self._wait()

    def stop(self) -> None:
        self._open.close()

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.touch(0o600)
        path.write_text(text)
        unprivileged_account().chown(path)
        return path

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                log = self._directory / "log"
                said = log.read_text() if log.exists() else "nothing"
                assert self._process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.02)
            else:
                return
