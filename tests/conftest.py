"""Shared fixtures: one real PostgreSQL a session, a fresh warehouse schema a test."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports Airflow: its home must not be the developer's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="hubspot_deals_tests_airflow_")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import psycopg
import pytest
from psycopg import sql

from include.local.postgres import EmbeddedPostgres
from include.local.simulator import connections
from include.warehouse.connection import Warehouse
from include.warehouse.locks import STAGING_SLOTS
from include.warehouse.migrations import migrate
from tests.hubspot_simulator import HubSpotSimulator, Portal

Serve = Callable[..., HubSpotSimulator]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server
    # As root its data lies outside the temporary directory.
    server.remove()


@pytest.fixture(scope="session")
def database_url(postgres: EmbeddedPostgres) -> str:
    return postgres.dsn("warehouse")


@pytest.fixture
def empty_warehouse(database_url: str) -> Iterator[Warehouse]:
    """A warehouse whose schema does not exist yet."""
    warehouse = Warehouse.from_url(database_url, f"deals_{next(_numbers)}")
    yield warehouse
    schemas = [warehouse.schema]
    schemas += [f"{warehouse.schema}_stg_slot{slot}" for slot in range(1, STAGING_SLOTS + 1)]
    with psycopg.connect(database_url) as connection:
        of_tenants = connection.execute(
            "select nspname from pg_namespace where starts_with(nspname, %s)",
            [f"{warehouse.schema}__"],
        )
        schemas += [name for (name,) in of_tenants]
        connection.execute(
            sql.SQL("drop schema if exists {} cascade").format(
                sql.SQL(", ").join(map(sql.Identifier, schemas))
            )
        )


@pytest.fixture
def warehouse(empty_warehouse: Warehouse) -> Warehouse:
    """A warehouse with all tables and no rows."""
    migrate(empty_warehouse)
    return empty_warehouse


@pytest.fixture(scope="session")
def project_root() -> Path:
    return Path(__file__).parent.parent


@pytest.fixture
def airflow_environment(
    warehouse: Warehouse, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The environment in which a task finds this test's warehouse."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DLT_DATABASE_SCHEMA", warehouse.schema)
    return monkeypatch


@pytest.fixture
def serve(airflow_environment: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve portals, and give each tenant named the connection to one of them."""
    with contextlib.ExitStack() as stack:

        def start(**portals: Portal) -> HubSpotSimulator:
            simulator = stack.enter_context(HubSpotSimulator(portals.values()))
            for tenant_id, portal in portals.items():
                connect(airflow_environment, tenant_id, simulator, portal.tokens[0].text)
            return simulator

        yield start


def connect(
    monkeypatch: pytest.MonkeyPatch, tenant_id: str, simulator: HubSpotSimulator, token: str
) -> None:
    """Make the Airflow connection of a tenant."""
    for name, value in connections(simulator.base_url, [tenant_id], {tenant_id: token}).items():
        monkeypatch.setenv(name, value)
