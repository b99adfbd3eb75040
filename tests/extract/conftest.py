import pytest

from include.hubspot import api


@pytest.fixture
def fast_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """For portals that do not limit searches: then we don't either."""
    monkeypatch.setattr(api, "SEARCHES_PER_S", 10_000)
