"""Where the local PostgreSQL's programs come from: one wheel, another one, or the system."""

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import psycopg
import pytest

from include.ops.local import postgres
from include.ops.local.postgres import EmbeddedPostgres, find_programs
from include.ops.local.processes import LocalError

FIRST, SECOND = postgres.WHEELS
#: `make postgres-versions` fills it.
PACKAGES = Path(".tools/postgres")

Install = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any PostgreSQL; packages are looked for in the folder *packages*."""

    def find_spec(name: str) -> ModuleSpec | None:
        package = tmp_path / "packages" / name
        return (
            ModuleSpec(name, None, origin=str(package / "__init__.py"))
            if package.is_dir()
            else None
        )

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path / "postgresql")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def install(folder: Path, version: str = "18.4") -> Path:
    """Put a server's programs into *folder*."""
    folder.mkdir(parents=True)
    for name in ("postgres", "pg_ctl"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def wheel(machine: Path, package: str) -> Path:
    return install(machine / "packages" / package / postgres.WHEELS[package])


def test_the_first_wheel_is_used_where_all_are_there(machine: Path) -> None:
    first = wheel(machine, FIRST)
    wheel(machine, SECOND)
    install(machine / "postgresql" / "18" / "bin")

    assert find_programs() == first


def test_the_second_wheel_stands_in_for_the_first(machine: Path) -> None:
    second = wheel(machine, SECOND)
    install(machine / "postgresql" / "18" / "bin")

    assert find_programs() == second


def test_a_wheel_without_programs_for_this_machine_is_passed_over(machine: Path) -> None:
    (machine / "packages" / FIRST).mkdir(parents=True)
    second = wheel(machine, SECOND)

    assert find_programs() == second


def test_the_newest_postgresql_of_the_system_is_used_without_a_wheel(machine: Path) -> None:
    install(machine / "postgresql" / "15" / "bin", "15.19 (Debian 15.19-0)")
    install(machine / "postgresql" / "17" / "bin", "17.2 (Debian 17.2-1)")
    newest = install(machine / "postgresql" / "18" / "bin", "18.1 (Debian 18.1-1)")

    assert find_programs() == newest


def test_a_postgresql_in_the_path_is_used_last(machine: Path) -> None:
    there = install(machine / "path")

    assert find_programs() == there


def test_an_old_postgresql_is_not_used_and_what_to_do_is_said(machine: Path) -> None:
    install(machine / "path", "16.9")

    with pytest.raises(LocalError, match=r"no PostgreSQL 17 or newer.*make venv"):
        find_programs()


@pytest.mark.slow
@pytest.mark.skipif(not PACKAGES.is_dir(), reason="run `make postgres-versions` first")
def test_a_server_of_the_second_wheel_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == FIRST else find_spec(name)
    )
    monkeypatch.syspath_prepend(str(PACKAGES.resolve()))
    server = EmbeddedPostgres(tmp_path)
    try:
        server.start()
        with psycopg.connect(server.dsn("warehouse")) as connection:
            (version,) = connection.execute("show server_version").fetchone() or ("",)
    finally:
        server.remove()

    assert SECOND in str(server.psql)
    assert version.startswith("18.")
