"""A role that only reads can't hold up scans without bound, whatever locks it takes and keeps."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from include.errors import WarehouseUnavailableError
from include.hubspot.oauth import SealedGrant
from include.warehouse import fencing
from include.warehouse import migrations as migrations_module
from include.warehouse.client_state import SharedTokens
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import start_lock
from include.warehouse.migrations import migrate, migrations
from include.warehouse.tenant_views import views
from include.warehouse.tenant_views.roles import grant_rights, reader_role
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
from tests.hubspot_simulator.definitions import definition
from tests.support.scans import assert_equals_the_portal, query, run, scan

pytestmark = pytest.mark.slow

TENANTS = ("held_acme", "held_globex")
#: Of whatever waits: of a view 5 s, of a migration 30 s. Tests are in more of a hurry.
A_MOMENT = "200ms"
LONG_S = 10.0


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=30, associations=True)
    serve(**dict.fromkeys(TENANTS, portal))
    return portal


@pytest.fixture
def reader(warehouse: Warehouse, portal: Portal, database_url: str) -> Iterator[str]:
    """A role that is operator and analyst of both tenants, after their first scans."""
    for tenant_id in TENANTS:
        run(scan("1", tenant_id))
    group = reader_role(warehouse.schema)
    role = f"{warehouse.schema}_holds"
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(group)))
        grant_rights(connection, warehouse.schema)
        connection.execute(
            sql.SQL("create role {} nologin in role {}").format(
                sql.Identifier(role),
                sql.SQL(", ").join(
                    map(sql.Identifier, [group, *(f"hubspot_{tenant}" for tenant in TENANTS)])
                ),
            )
        )
    yield role
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in (role, group, *(f"hubspot_{tenant}" for tenant in TENANTS)):
            for statement in ("drop owned by {} cascade", "drop role {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@contextmanager
def holding_everything(warehouse: Warehouse, database_url: str, role: str) -> Iterator[int]:
    """Take every lock that the role gets, until the block ends; yield how many."""
    held = 0
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        relations = connection.execute(
            "select c.oid::regclass::text from pg_class c join pg_namespace n"
            " on n.oid = c.relnamespace where starts_with(n.nspname, %s)"
            " and c.relkind in ('r', 'v')"
            " and has_schema_privilege(n.oid, 'usage')",
            [warehouse.schema],
        ).fetchall()
        names = [name for (name,) in relations]
        modes = ("access share", "row share", "row exclusive", "share row exclusive")
        statements = [f"lock table {name} in {mode} mode" for name in names for mode in modes]
        statements += [f"select from {name} for key share" for name in names]
        statements += [
            f"select pg_advisory_lock({key})" for name in _names(warehouse) for key in _keys(name)
        ]
        for statement in statements:
            try:
                with connection.transaction():
                    connection.execute(statement.encode())
            except psycopg.DatabaseError:
                continue
            held += 1
        yield held


def _names(warehouse: Warehouse) -> list[str]:
    return [f"{warehouse.schema}:migrate"] + [
        f"{warehouse.schema}:{what}:{tenant}" for what in ("views", "start") for tenant in TENANTS
    ]


def _keys(name: str) -> list[str]:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return [str(int.from_bytes(digest, "big", signed=True)), f"hashtextextended('{name}', 0)"]


def test_scans_of_all_tenants_get_on(
    warehouse: Warehouse,
    portal: Portal,
    reader: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "VIEW_LOCK_TIMEOUT", A_MOMENT)
    portal.definitions["new_one"] = definition("new_one")
    portal.update(portal.live_ids()[0], dealname="Größe ändern")

    with holding_everything(warehouse, database_url, reader) as held:
        began = time.monotonic()
        for tenant_id in TENANTS:
            run(scan("2", tenant_id, search_lag_s=0))
            with start_lock(warehouse, tenant_id):
                pass
        took_s = time.monotonic() - began

    assert held > 30
    assert took_s < 2 * LONG_S
    for tenant_id in TENANTS:
        assert_equals_the_portal(warehouse, portal, tenant_id)


def test_a_refresh_of_a_token_gets_on(warehouse: Warehouse, reader: str, database_url: str) -> None:
    with (
        holding_everything(warehouse, database_url, reader),
        SharedTokens(warehouse).exclusively("key") as (_, keep),
    ):
        keep(SealedGrant("sealed", 60))

    kept = SharedTokens(warehouse).read("key")
    assert kept is not None


def test_a_migration_ends_and_says_what_is_in_the_way(
    warehouse: Warehouse,
    reader: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    newer = tmp_path / "9999_newer.sql"
    newer.write_text("alter table {schema}.deals add column newer text;")
    every = [*migrations(), (9999, newer)]
    monkeypatch.setattr(migrations_module, "migrations", lambda: every)
    monkeypatch.setattr(migrations_module, "LOCK_TIMEOUT", A_MOMENT)

    with (
        holding_everything(warehouse, database_url, reader),
        pytest.raises(WarehouseUnavailableError, match="another session holds a lock"),
    ):
        migrate(warehouse)

    assert migrate(warehouse) == [9999]


def test_one_who_starts_a_scan_waits_for_another(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencing, "START_TIMEOUT", A_MOMENT)

    with (
        start_lock(warehouse, "acme"),
        start_lock(warehouse, "globex"),
        pytest.raises(WarehouseUnavailableError, match="another session holds a lock"),
        start_lock(warehouse, "acme"),
    ):
        pass


def test_the_first_scan_of_all_can_be_started(empty_warehouse: Warehouse) -> None:
    with (
        start_lock(empty_warehouse, "acme"),
        start_lock(empty_warehouse, "globex"),
    ):
        pass


def test_locks_are_closed_to_readers(warehouse: Warehouse, reader: str, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(reader)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"select from {warehouse.schema}.locks")
    assert query(warehouse, "select from locks")
