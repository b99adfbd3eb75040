"""Shared fixtures: one real PostgreSQL and one simulated HubSpot for each process of tests."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before anything imports Airflow: its home must not be the developer's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="hubspot_deals_tests_airflow_")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from include.hubspot import endpoints
from include.ops.local.demo_servers import connections
from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import DEFAULT_SCHEMA, Warehouse
from include.warehouse.migrations import migrate
from tests.hubspot_simulator import HubSpotSimulator, Portal
from tests.support.databases import (
    WITHOUT_DURABILITY,
    database,
    make_logins_cheap,
    memory_or,
)

Serve = Callable[..., HubSpotSimulator]

# By default an example that takes longer than 200 ms fails: on a busy machine any may.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

_numbers = itertools.count(1)

#: Tests that share an Airflow, or start one, the slowest first: those of one line run in one
#: process (pytest-xdist), one after the other. They come before all other tests, so that no process
#: waits at the end for another one's Airflow.
AIRFLOWS = (
    "tests/e2e/test_celery_topology.py",
    "tests/e2e/test_first_ten_minutes.py",
    "tests/e2e/test_pods.py",
    "tests/e2e/",
    "tests/web/browser/",
    "tests/web/api/",
)


class TestsOfOneAirflowTogether(LoadScopeScheduling):
    """Gives each process one test after the other, and the tests of an Airflow at once.

    Not pytest-xdist's own `xdist_group`: version 3.8 changes what pytest 9 no longer reads.
    """

    __test__ = False

    def _split_scope(self, nodeid: str) -> str:
        number = _airflow_of(nodeid)
        return AIRFLOWS[number] if number < len(AIRFLOWS) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TestsOfOneAirflowTogether:
    return TestsOfOneAirflowTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _airflow_of(item.nodeid))


def _airflow_of(nodeid: str) -> int:
    """Return the position in AIRFLOWS of what the test uses, or the one behind the last."""
    return next((n for n, of in enumerate(AIRFLOWS) if nodeid.startswith(of)), len(AIRFLOWS))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for all tests of a process."""
    with memory_or(tmp_path_factory.mktemp("postgres")) as folder:
        with EmbeddedPostgres(folder, settings=WITHOUT_DURABILITY) as server:
            make_logins_cheap(server)
            yield server
        # As root its data may lie outside the folder.
        server.remove()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database with all tables and no rows, to be copied."""
    migrate(Warehouse.from_url(postgres.dsn("warehouse"), DEFAULT_SCHEMA))
    return "warehouse"


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database of this test only, with all tables and no rows."""
    with database(postgres, f"test_{next(_numbers)}", template) as url:
        yield url


@pytest.fixture(scope="module")
def modules_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database for all tests of a module, with nothing in it."""
    with database(postgres, f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture
def warehouse(database_url: str) -> Warehouse:
    """A warehouse with all tables and no rows."""
    return Warehouse.from_url(database_url, DEFAULT_SCHEMA)


@pytest.fixture
def empty_warehouse(database_url: str) -> Warehouse:
    """A warehouse whose schema does not exist yet."""
    return Warehouse.from_url(database_url, "not_migrated")


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


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator([]) as simulator:
        yield simulator


@pytest.fixture
def empty_simulator(running_simulator: HubSpotSimulator) -> HubSpotSimulator:
    """A simulated HubSpot without any account. To stop and start one takes 0.2 s."""
    running_simulator.portals.clear()
    return running_simulator


@pytest.fixture
def fast_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """For portals that do not limit searches: then we don't either."""
    monkeypatch.setattr(endpoints, "SEARCHES_PER_S", 10_000)


@pytest.fixture
def serve(
    empty_simulator: HubSpotSimulator,
    airflow_environment: pytest.MonkeyPatch,
    fast_searches: None,
) -> Serve:
    """Serve portals, and give each tenant named the connection to one of them.

    Searches have no limit: most of a small scan's time would be waiting for the next one.
    """

    def start(**portals: Portal) -> HubSpotSimulator:
        for tenant_id, portal in portals.items():
            portal.quota.searches_per_second = None
            empty_simulator.add(portal)
            connect(airflow_environment, tenant_id, empty_simulator, portal.tokens[0].text)
        return empty_simulator

    return start


def connect(
    monkeypatch: pytest.MonkeyPatch, tenant_id: str, simulator: HubSpotSimulator, token: str
) -> None:
    """Make the Airflow connection of a tenant."""
    for name, value in connections(simulator.base_url, [tenant_id], {tenant_id: token}).items():
        monkeypatch.setenv(name, value)
