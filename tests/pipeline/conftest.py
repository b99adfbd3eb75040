import pytest

from include.hubspot.client import HubSpotClient


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setitem(HubSpotClient.__init__.__kwdefaults__, "sleep", lambda _: None)
