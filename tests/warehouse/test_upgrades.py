"""From every version that somebody may have installed to the newest one."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from include.errors import LoadError
from include.warehouse import migrations as migrations_module
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate, migrations
from tests.conftest import Serve
from tests.hubspot_simulator import portals
from tests.support.scans import deals, query, run, scan, scan_row
from tests.support.truth import as_stored
from tests.warehouse import versions

pytestmark = pytest.mark.slow

NEWEST = migrations()[-1][0]
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=range(1, NEWEST), ids=lambda version: f"from version {version}")
def old(request: pytest.FixtureRequest, empty_warehouse: Warehouse) -> Iterator[Warehouse]:
    """A warehouse of an earlier version, with a row in every table."""
    versions.build_version(empty_warehouse, request.param)
    versions.fill(empty_warehouse)
    return empty_warehouse


@pytest.fixture
def warehouse(old: Warehouse) -> Warehouse:
    """The same one after the upgrade."""
    migrate(old)
    return old


@pytest.fixture(scope="module")
def fresh(modules_database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """What a new installation looks like, with "S" for the name of its schema."""
    made = Warehouse.from_url(modules_database_url, "upgraded_afresh")
    migrate(made)
    return described(made)


def described(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    def neutral(value: Any) -> Any:
        return value.replace(warehouse.schema, "S") if isinstance(value, str) else value

    return {
        name: [tuple(map(neutral, row)) for row in found]
        for name, found in versions.description(warehouse).items()
    }


def test_an_upgraded_schema_is_what_a_new_one_is(
    warehouse: Warehouse, fresh: dict[str, list[tuple[Any, ...]]]
) -> None:
    upgraded = described(warehouse)

    assert {what: set(upgraded[what]) ^ set(found) for what, found in fresh.items()} == {
        what: set() for what in fresh
    }
    assert all(fresh.values())


def test_no_row_is_lost_or_changed(old: Warehouse) -> None:
    before = versions.rows(old)

    migrate(old)

    after = versions.rows(old)
    lost = {
        table: (row, after[table])
        for table, found in before.items()
        for row in found
        if not any(_same(row, now) for now in after[table])
    }
    assert lost == {}
    assert all(before.values())
    assert {table: len(after[table]) for table in before} == {
        table: len(found) for table, found in before.items()
    }


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the columns that were kept hold what they held."""
    return all(after[name] == value for name, value in before.items() if name in after)


def test_a_scan_goes_on_with_the_rows_that_were_there(warehouse: Warehouse, serve: Serve) -> None:
    portal = portals.generated(deals=120, archived=10)
    truth = as_stored(portal.truth())
    serve(acme=portal)
    known = min(map(int, truth))
    query_nothing(
        warehouse,
        "insert into deals (_tenant_id, deal_id, archived, properties, _scan_id, _extracted_at)"
        " values ('acme', %s, false, '{\"dealname\": \"of the old version\"}', 's', now())",
        known,
    )
    query_nothing(
        warehouse,
        "insert into tenants (tenant_id, portal_id, bound_by_scan_id) values ('acme', %s, 's')",
        portal.portal_id,
    )

    run(scan("full", mode="full"))
    run(scan("next"))

    assert scan_row(warehouse, scan("next"))["state"] == "succeeded"
    assert deals(warehouse) == truth
    (row,) = query(warehouse, "select properties from deals where _tenant_id = 'other'")
    assert row["properties"]["note"] == "línea\n☃"


def query_nothing(warehouse: Warehouse, statement: str, *values: Any) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"set local search_path to {warehouse.schema}".encode())
        connection.execute(statement.encode(), list(values))


def test_what_was_released_is_never_changed() -> None:
    folder = migrations()[0][1].parent
    lines = (folder / "released.sha256").read_text().splitlines()
    pinned = {name: digest for digest, name in (line.split() for line in lines)}

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for _, path in migrations()
        if path.name in pinned
    }

    assert found == pinned
    assert len(pinned) >= 7


def test_releases_are_pinned_without_a_gap() -> None:
    folder = migrations()[0][1].parent
    names = [line.split()[1] for line in (folder / "released.sha256").read_text().splitlines()]

    assert names == [path.name for _, path in migrations()][: len(names)]


def test_a_migration_that_fails_leaves_the_old_version_as_it_was(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    before = versions.description(old), versions.rows(old)
    broken = tmp_path / f"{NEWEST + 1:04}_broken.sql"
    broken.write_text("select 1/0;")
    known = [*migrations(), (NEWEST + 1, broken)]
    monkeypatch.setattr(migrations_module, "migrations", lambda: known)

    with pytest.raises(LoadError, match="22012"):
        migrate(old)

    assert (versions.description(old), versions.rows(old)) == before
