"""What a client does when HubSpot is unwilling, by real HTTP."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from include.errors import (
    DailyLimitError,
    PortalMigratingError,
    PortalMismatchError,
    ScopeMissingError,
    TokenRejectedError,
)
from include.hubspot import http
from include.hubspot.client import HubSpotClient
from include.hubspot.hook import HubSpotHook
from include.hubspot.rate_limit import LocalLimits, Reservation, Rule
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, Token, portals
from tests.hubspot_simulator.errors import Answer
from tests.hubspot_simulator.tokens import ALL_SCOPES

OLD, NEW = "pat-na1-generated", "pat-na1-new"


class Recorded(LocalLimits):
    def __init__(self) -> None:
        super().__init__()
        self.demands: list[Reservation] = []

    def reserve(self, wanted: Reservation) -> list[float]:
        self.demands.append(wanted)
        return super().reserve(wanted)


@pytest.fixture
def portal() -> Portal:
    return portals.generated(deals=5)


@pytest.fixture
def simulator(empty_simulator: HubSpotSimulator, portal: Portal) -> HubSpotSimulator:
    empty_simulator.add(portal)
    return empty_simulator


def client_of(
    simulator: HubSpotSimulator, read_again: Callable[[], str] | None = None, **more: object
) -> HubSpotClient:
    token = http.Token(OLD, read_again)
    return HubSpotClient(simulator.base_url, token, tenant_id="acme", **more)  # type: ignore[arg-type]


def set_token(monkeypatch: pytest.MonkeyPatch, simulator: HubSpotSimulator, token: str) -> None:
    connection = {"conn_type": "http", "host": simulator.base_url, "password": token}
    monkeypatch.setenv("AIRFLOW_CONN_HUBSPOT_ACME", json.dumps(connection))


def rotate(portal: Portal) -> None:
    portal.tokens[0].state = "expired"
    portal.tokens.append(Token(NEW))


def test_a_token_rotated_meanwhile_is_read_again_and_the_request_goes_on(
    simulator: HubSpotSimulator, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_token(monkeypatch, simulator, OLD)
    client = HubSpotHook("hubspot_acme").get_conn()
    client.account()
    rotate(portal)
    set_token(monkeypatch, simulator, NEW)

    info = client.token_info()

    assert client.account().portal_id == portal.portal_id
    assert info is not None, "the new token is asked about, not the old one"


def test_threads_that_meet_a_401_together_read_the_token_once(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    read: list[str] = []

    def read_token() -> str:
        read.append(NEW)
        return NEW

    client = client_of(simulator, read_again=read_token)
    client.account()
    rotate(portal)
    together = threading.Barrier(20)

    def ask(_: int) -> int:
        together.wait(10)
        return client.account().portal_id

    with ThreadPoolExecutor(20) as executor:
        answers = set(executor.map(ask, range(20)))

    assert answers == {portal.portal_id}
    assert read == [NEW]


def test_a_token_that_was_not_replaced_fails_as_rejected(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    client = client_of(simulator, read_again=lambda: OLD)
    portal.tokens[0].state = "revoked"

    with pytest.raises(TokenRejectedError, match="is wrong, or was revoked or rotated"):
        client.account()

    assert client.transport.requests == 1


def test_a_new_token_that_is_refused_too_fails_as_rejected(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    client = client_of(simulator, read_again=lambda: "pat-na1-unknown")
    portal.tokens[0].state = "revoked"

    with pytest.raises(TokenRejectedError):
        client.account()


def test_a_new_token_of_another_account_is_never_used(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    other = simulator.add(portals.generated(9, NEW, deals=5))
    client = client_of(simulator, read_again=lambda: NEW)
    client.account()
    portal.tokens[0].state = "revoked"

    with pytest.raises(PortalMismatchError, match="one of HubSpot account 9 while"):
        client.record_page("deals", ["dealname"], None, archived=False)

    assert set(other.requests) == {"account"}


@pytest.mark.parametrize("sensitivity", ["sensitive", "highly_sensitive"])
def test_a_new_token_that_hides_sensitive_values_is_never_used(
    simulator: HubSpotSimulator, portal: Portal, sensitivity: str
) -> None:
    hidden = f"crm.objects.deals.{sensitivity}.read.v2"
    portal.tokens[0].scopes = (*ALL_SCOPES, hidden)
    portal.tokens.append(Token(NEW, scopes=ALL_SCOPES))
    client = client_of(simulator, read_again=lambda: NEW)
    assert hidden in client.scopes
    portal.tokens[0].state = "revoked"

    with pytest.raises(ScopeMissingError, match=f"the token lacks the scope {hidden}"):
        client.record_page("deals", ["dealname"], None, archived=False)

    assert "list" not in portal.requests


def test_a_new_token_without_a_scope_whose_lack_hubspot_refuses_is_used(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.tokens.append(Token(NEW, scopes=("crm.objects.deals.read",)))
    client = client_of(simulator, read_again=lambda: NEW)
    assert "crm.objects.owners.read" in client.scopes
    portal.tokens[0].state = "revoked"

    assert client.record_page("deals", ["dealname"], None, archived=False).ids


def test_the_daily_limit_ends_shortly_after_the_accounts_midnight(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    client = client_of(simulator)
    client.account()
    portal.faults = [Fault("429", policy="DAILY")]

    with pytest.raises(DailyLimitError, match="429 DAILY") as caught:
        client.account()

    local = caught.value.resume_at.astimezone(ZoneInfo(portal.time_zone))
    assert (local.hour, local.minute // 6) == (0, 0)
    assert timedelta() < caught.value.resume_at - datetime.now(UTC) < timedelta(hours=25)
    assert "without using up retries, until " in str(caught.value)


def test_as_long_as_the_accounts_zone_is_unknown_the_daily_limit_is_asked_about_each_hour(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.faults = [Fault("429", policy="DAILY")]

    with pytest.raises(DailyLimitError) as caught:
        client_of(simulator).account()

    assert caught.value.resume_at - datetime.now(UTC) == pytest.approx(
        timedelta(hours=1), abs=timedelta(minutes=1)
    )


def test_an_account_that_moves_is_asked_again_when_hubspot_says(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.faults = [Fault("477", retry_after_s=7_200)]

    with pytest.raises(PortalMigratingError, match="retry in 7200 s") as caught:
        client_of(simulator).account()

    assert caught.value.resume_at - datetime.now(UTC) == pytest.approx(
        timedelta(hours=2), abs=timedelta(minutes=1)
    )


def test_the_rest_of_the_days_quota_is_left_to_others(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.quota.daily, portal.quota.used_today = 100, 88
    client = client_of(simulator, daily_quota_share=0.9)
    for _ in range(3):
        client.account()

    with pytest.raises(DailyLimitError, match="daily_quota_share leaves to other"):
        client.account()

    assert portal.quota.used_today == 91


def test_a_scan_that_leaves_the_rest_to_others_waits_for_the_accounts_midnight(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.quota.daily, portal.quota.used_today = 100, 95
    client = client_of(simulator, daily_quota_share=0.9)
    client.account()

    with pytest.raises(DailyLimitError) as caught:
        client.account()

    local = caught.value.resume_at.astimezone(ZoneInfo(portal.time_zone))
    assert (local.hour, local.minute // 6) == (0, 0)
    assert timedelta() < caught.value.resume_at - datetime.now(UTC) < timedelta(hours=25)


def test_a_token_that_gets_no_daily_quota_is_not_stopped_by_one(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.quota.daily, portal.quota.used_today = 100, 95
    portal.tokens[0].kind = "oauth"

    assert client_of(simulator).account().portal_id == portal.portal_id
    assert client_of(simulator).account().portal_id == portal.portal_id


def test_a_429_makes_all_who_share_the_limit_hold_back(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.faults = [Fault("429", retry_after_s=0)]
    limits = Recorded()
    client = client_of(simulator, limits=limits)

    client.account()

    assert [demand.hold_s for demand in limits.demands] == [None, 0.0, None]
    assert client.transport.throttled == 1


def test_a_429_of_search_holds_back_searches_only(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.faults = [Fault("429", endpoint="search", policy="SECONDLY", retry_after_s=0)]
    limits = Recorded()
    client = client_of(simulator, limits=limits)
    client.account()

    client.search("deals", [], 1)

    held = {demand.key for demand in limits.demands if demand.hold_s is not None}
    assert held == {f"search:{portal.portal_id}"}


def test_the_key_of_a_limit_is_the_tokens_digest_or_the_account(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    limits = Recorded()
    client = client_of(simulator, limits=limits, rule=Rule(share=0.5))
    client.account()

    client.search("deals", [], 1)

    keys = {demand.key for demand in limits.demands}
    assert f"search:{portal.portal_id}" in keys
    assert not any(OLD in key for key in keys)
    assert len(keys) == 2


def test_an_app_that_gets_no_limit_is_paced_all_the_same(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.send_rate_headers = False
    limits = Recorded()
    client = client_of(simulator, limits=limits)

    client.account()
    client.account()

    assert all(demand.headers is None for demand in limits.demands)
    assert client.transport.limiter.requests_per_s == pytest.approx(100 / 10.3)


def test_threads_count_every_request_and_keep_no_cookie(simulator: HubSpotSimulator) -> None:
    client = client_of(simulator)
    client.account()

    with ThreadPoolExecutor(20) as executor:
        list(executor.map(lambda _: client.account(), range(200)))

    assert client.transport.requests == 201
    assert 0 < client.transport.latency_s < 5


def test_a_history_under_another_id_is_not_taken_for_that_of_a_record_that_was_asked_for(
    portal: Portal, simulator: HubSpotSimulator
) -> None:
    client = client_of(simulator, sleep=lambda _: None)
    asked = list(map(str, portal.live_ids()[:2]))

    def rename(answer: Answer) -> Answer:
        answer.body = answer.body.replace(f'"id":"{asked[0]}"'.encode(), b'"id":"7"')
        return answer

    portal.add_fault(Fault("rewritten", endpoint="batch_read", rewrite=rename, count=None))

    page = client.read_history("deals", asked, ["dealname"])

    assert page.unanswered == [asked[0]]
