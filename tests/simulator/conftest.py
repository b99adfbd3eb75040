"""One running simulator for all tests in here; each test has an account of its own in it."""

from collections.abc import Iterator

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.simulator.caller import Caller


@pytest.fixture
def simulator(empty_simulator: HubSpotSimulator) -> HubSpotSimulator:
    """The simulator, without any account."""
    return empty_simulator


@pytest.fixture
def portal(simulator: HubSpotSimulator) -> Portal:
    """250 live and 30 archived deals."""
    return simulator.add(portals.generated(deals=250, archived=30, seed=3))


@pytest.fixture
def caller(simulator: HubSpotSimulator) -> Iterator[Caller]:
    caller = Caller(simulator)
    yield caller
    caller.session.close()
