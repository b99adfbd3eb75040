import pytest

from include.hubspot.client import HubSpotClient
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, Token
from tests.hubspot_simulator.seed import plain_deal


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setitem(HubSpotClient.__init__.__kwdefaults__, "sleep", lambda _: None)


@pytest.fixture
def small(serve: Serve) -> Portal:
    """An account of 300 deals whose ids follow each other without a gap."""
    portal = Portal(2_000_001, [Token("pat-na1-small")])
    for number in range(300):
        portal.add(plain_deal(2_000_001, 5_000 + number, number, "deal", "closedwon", "1"))
    serve(acme=portal)
    return portal
