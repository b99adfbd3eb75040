"""When an access token is replaced, and by whom, by real HTTP."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from include.errors import (
    HubSpotUnavailableError,
    OAuthAppError,
    PortalMismatchError,
    TokenRejectedError,
    WarehouseUnavailableError,
)
from include.hubspot.client import HubSpotClient
from include.hubspot.oauth import OAuthApp, SealedGrant
from include.hubspot.rate_limit import app_key
from tests import hubspot_simulator
from tests.hubspot.test_client import Recorded
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, portals
from tests.support.oauth import Clock, install, seen_from_here, token_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Store:
    """One row; ``down``: how many of the next writes are lost."""

    def __init__(self) -> None:
        self.kept: SealedGrant | None = None
        self.down = 0

    def read(self, key: str) -> SealedGrant | None:
        return self.kept

    @contextmanager
    def exclusively(
        self, key: str
    ) -> Iterator[tuple[SealedGrant | None, Callable[[SealedGrant], None]]]:
        yield self.kept, self.keep

    def keep(self, kept: SealedGrant) -> None:
        if self.down:
            self.down -= 1
            raise WarehouseUnavailableError("PostgreSQL broke off.")
        self.kept = kept


# Before it expires


def test_one_token_serves_until_five_minutes_before_its_end(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp, clock: Clock
) -> None:
    token = token_of(simulator, app, clock=clock)
    first = token.text

    clock.now += 1_499
    assert token.text == first
    clock.now += 2
    assert token.text != first

    assert installed.refreshes == 2


def test_a_short_life_is_renewed_after_two_thirds_of_it(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp, clock: Clock
) -> None:
    installed.expires_in_s = 30
    token = token_of(simulator, app, clock=clock)
    first = token.text

    clock.now += 19
    assert token.text == first
    clock.now += 2
    assert token.text != first


def test_threads_that_need_a_token_together_refresh_once(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp
) -> None:
    token = token_of(simulator, app)
    together = threading.Barrier(20)

    def ask(_: int) -> str:
        together.wait(10)
        return token.text

    with ThreadPoolExecutor(20) as executor:
        texts = set(executor.map(ask, range(20)))

    assert len(texts) == 1
    assert installed.refreshes == 1


def test_while_one_thread_renews_early_the_others_go_on_with_the_old_token(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, clock: Clock
) -> None:
    token = token_of(simulator, app, clock=clock)
    first = token.text
    clock.now += 1_600
    portal.add_fault(Fault("slow", endpoint="oauth_token", seconds=1.0))

    with ThreadPoolExecutor(1) as executor:
        renewing = executor.submit(lambda: token.text)
        while not portal.statistics.in_flight and not renewing.done():
            pass
        meanwhile = token.text
        renewed = renewing.result()

    assert meanwhile == first
    assert renewed != first


def test_an_early_refresh_that_fails_costs_nothing_as_long_as_the_token_is_good(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, clock: Clock
) -> None:
    slept: list[float] = []
    token = token_of(simulator, app, clock=clock, sleep=slept.append)
    first = token.text
    portal.add_fault(Fault("503", endpoint="oauth_token"))

    clock.now += 1_600
    assert [token.text, token.text] == [first, first]
    assert (slept, portal.requests["oauth_token"]) == ([], 2)
    clock.now += 31
    assert token.text != first


def test_without_a_good_token_a_refresh_is_tried_for_as_long_as_any_request(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    slept: list[float] = []
    portal.add_fault(Fault("503", endpoint="oauth_token", count=None))

    with pytest.raises(HubSpotUnavailableError, match="kept answering 503 to POST /oauth"):
        _ = token_of(simulator, app, retry_timeout_s=20, sleep=slept.append).text

    assert 5 < sum(slept) <= 20


# When HubSpot refuses it


def test_an_expired_token_is_replaced_and_the_request_sent_again(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")
    client.account()
    portal.tokens[-1].state = "expired"

    assert client.account().portal_id == portal.portal_id
    assert portal.requests["oauth_token"] == 2


def test_threads_that_meet_a_401_together_refresh_once(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")
    client.account()
    portal.tokens[-1].state = "expired"
    together = threading.Barrier(20)

    def ask(_: int) -> int:
        together.wait(10)
        return client.account().portal_id

    with ThreadPoolExecutor(20) as executor:
        answers = set(executor.map(ask, range(20)))

    assert answers == {portal.portal_id}
    assert portal.requests["oauth_token"] == 2


def test_a_new_token_that_is_refused_too_fails_as_rejected_after_one_refresh(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")
    portal.add_fault(Fault("401", endpoint="account", count=2))

    with pytest.raises(TokenRejectedError, match="check that the app is still installed"):
        client.account()

    assert portal.requests["oauth_token"] == 2


@pytest.mark.parametrize("state", ["revoked", "uninstalled"])
def test_a_refused_refresh_ends_the_scan(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp, state: str
) -> None:
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")
    client.account()
    portal.oauth_apps[0].state = state  # type: ignore[assignment]
    portal.tokens[-1].state = "expired"

    with pytest.raises(OAuthAppError, match="tenant acme: HubSpot refuses the OAuth app an access"):
        client.account()


def test_an_app_that_was_installed_again_meanwhile_is_taken_from_the_connection(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    again = seen_from_here(install(portal, refresh_token="refresh-token-2"))
    token = token_of(simulator, app, app_again=lambda: again)
    client = HubSpotClient(simulator.base_url, token, tenant_id="acme")
    client.account()
    portal.oauth_apps[0].state = "revoked"
    portal.tokens[-1].state = "expired"

    assert client.account().portal_id == portal.portal_id
    assert portal.oauth_apps[1].refreshes == 1


def test_a_new_token_of_another_account_is_never_used(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    other = simulator.add(portals.generated(9, deals=5))
    theirs = seen_from_here(install(other, refresh_token="of-another-account"))
    token = token_of(simulator, app, app_again=lambda: theirs)
    client = HubSpotClient(simulator.base_url, token, tenant_id="acme")
    client.account()
    portal.oauth_apps[0].state = "revoked"
    portal.tokens[-1].state = "expired"

    with pytest.raises(PortalMismatchError, match="one of HubSpot account 9 while"):
        client.record_page("deals", ["dealname"], None, archived=False)

    assert set(other.requests) == {"oauth_token", "account"}


# What others get, and what is left


def test_a_refresh_token_that_rotates_is_used_from_then_on_without_a_warehouse_too(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp, clock: Clock
) -> None:
    installed.rotates = True
    token = token_of(simulator, app, clock=clock)
    for _ in range(3):
        _ = token.text
        clock.now += 1_600

    assert installed.refreshes == 3


def test_a_token_that_is_not_stored_yet_and_refused_is_replaced(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    store = Store()
    store.down = 1
    client = HubSpotClient(simulator.base_url, token_of(simulator, app, store), tenant_id="acme")
    client.account()
    portal.tokens[-1].state = "expired"

    assert client.account().portal_id == portal.portal_id
    assert store.kept is not None


def test_a_refresh_token_that_rotates_is_used_from_then_on(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp, clock: Clock
) -> None:
    installed.rotates = True
    store = Store()
    for _ in range(3):
        _ = token_of(simulator, app, store, clock=clock).text
        store.kept = SealedGrant(store.kept.sealed, 0.0) if store.kept else None

    assert installed.refreshes == 3


def test_a_rotated_token_that_could_not_be_stored_is_used_and_stored_later(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp, clock: Clock
) -> None:
    installed.rotates = True
    store = Store()
    store.down = 2
    token = token_of(simulator, app, store, clock=clock)
    first = token.text
    assert store.kept is None

    for _ in range(2):
        clock.now += 31
        assert token.text == first
    assert token_of(simulator, app, store, clock=clock).text == first

    assert installed.refreshes == 1


def test_a_stored_refresh_token_that_is_refused_gives_way_to_the_connections(
    simulator: HubSpotSimulator, app: OAuthApp, clock: Clock
) -> None:
    store = Store()
    token = token_of(simulator, app, store, clock=clock)
    _ = token.text
    assert store.kept
    grant = app.unseal(store.kept.sealed)
    assert grant
    stale = type(grant)("x", 1_800, "a-refresh-token-of-old", grant.hub_id, grant.scopes)
    store.kept = SealedGrant(app.seal(stale), 0.0)

    assert token_of(simulator, app, store, clock=clock).text != "x"


def test_what_cannot_be_unsealed_is_replaced(
    simulator: HubSpotSimulator, installed: hubspot_simulator.OAuthApp, app: OAuthApp
) -> None:
    store = Store()
    store.kept = SealedGrant("rubbish", 1_800.0)

    assert token_of(simulator, app, store).text.startswith("access-token")
    assert store.kept.sealed != "rubbish"
    assert installed.refreshes == 1


# What is known by it


def test_account_and_scopes_come_with_the_token(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")

    account, scopes = client.account(), client.scopes

    assert account.portal_id == portal.portal_id
    assert "crm.objects.owners.read" in scopes
    assert set(portal.requests) == {"oauth_token", "account"}


def test_scopes_that_do_not_come_with_the_token_are_asked_for(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    portal.oauth_apps[0].states_account = False
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")

    assert "crm.objects.owners.read" in client.scopes
    assert portal.requests["oauth_introspection"] == 1


def test_scopes_that_hubspot_does_not_state_leave_only_to_try(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    portal.oauth_apps[0].states_account = False
    portal.add_fault(Fault("404", endpoint="oauth_introspection"))
    client = HubSpotClient(simulator.base_url, token_of(simulator, app), tenant_id="acme")

    assert client.scopes == frozenset()
    assert portal.requests["list"] == 1


def test_every_token_of_an_app_counts_for_the_same_limit(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    limits = Recorded()
    for _ in range(2):
        token = token_of(simulator, app)
        client = HubSpotClient(simulator.base_url, token, tenant_id="acme", limits=limits)
        client.account()
        portal.tokens[-1].state = "expired"
        client.account()

    assert {demand.key for demand in limits.demands} == {
        app_key(f"client-1 {portal.portal_id}"),
    }


def test_every_token_that_comes_reaches_the_masker(
    simulator: HubSpotSimulator, portal: Portal, app: OAuthApp
) -> None:
    shown: list[str] = []
    store = Store()

    text = token_of(simulator, app, store, on_secret=shown.append).text
    _ = token_of(simulator, app, store, on_secret=shown.append).text

    assert shown == [text, app.refresh_token] * 2
