import pytest

from include.hubspot import api
from include.hubspot.client import HubSpotClient


@pytest.fixture
def fast_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """For portals that do not limit searches: then we don't either."""
    monkeypatch.setattr(api, "SEARCHES_PER_S", 10_000)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setitem(HubSpotClient.__init__.__kwdefaults__, "sleep", lambda _: None)
