import pytest

from include.errors import HubSpotUnavailableError, TokenMissingError
from include.ops.local.processes import LocalError
from include.ops.local.seed import TEST_DEALS, seed_test_deals
from tests.conftest import connect
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, portals
from tests.hubspot_simulator.portals import FIVE_DEALS
from tests.hubspot_simulator.tokens import ALL_SCOPES, DEALS_WRITE


@pytest.fixture
def portal(empty_simulator: HubSpotSimulator, monkeypatch: pytest.MonkeyPatch) -> Portal:
    """The developer test account of acme with 150 deals, and a token that may write."""
    portal = portals.generated(deals=150)
    portal.account_type = "DEVELOPER_TEST"
    portal.tokens[0].scopes = (*ALL_SCOPES, DEALS_WRITE)
    empty_simulator.add(portal)
    connect(monkeypatch, "acme", empty_simulator, portal.tokens[0].text)
    return portal


def seed(*, agrees: bool = False) -> list[str]:
    return seed_test_deals("acme", lambda account: agrees)


def test_the_five_deals_are_those_of_the_demo() -> None:
    assert [deal[:3] for deal in TEST_DEALS] == list(FIVE_DEALS)


def test_five_deals_are_created_and_their_ids_printed(
    portal: Portal, capsys: pytest.CaptureFixture[str]
) -> None:
    created = seed()

    deals = [portal.deals[int(deal_id)].properties for deal_id in created]
    assert [(d["dealname"], d["dealstage"], d["amount"]) for d in deals] == list(FIVE_DEALS)
    printed = capsys.readouterr().out
    assert all(deal_id in printed for deal_id in created)


def test_a_second_run_creates_nothing_more(portal: Portal) -> None:
    seed()

    assert seed() == []
    assert len(portal.live_ids()) == 155


def test_only_what_is_missing_is_created(portal: Portal) -> None:
    portal.archive(int(seed()[2]))

    (created,) = seed()

    assert portal.deals[int(created)].properties["dealname"] == "Regional licence"


def test_another_deal_of_the_same_name_is_not_taken_for_one(portal: Portal) -> None:
    portal.create(dealname="Team rollout")

    assert len(seed()) == 5


def test_a_token_that_may_not_write_is_refused_before_anything_is_written(portal: Portal) -> None:
    portal.tokens[0].scopes = ALL_SCOPES

    with pytest.raises(LocalError, match=r"lacks the scope crm\.objects\.deals\.write"):
        seed()

    assert portal.requests["batch_create"] == 0


def test_a_kind_of_token_without_known_scopes_is_refused_by_hubspot(portal: Portal) -> None:
    portal.tokens[0].scopes, portal.tokens[0].kind = ALL_SCOPES, "oauth"

    with pytest.raises(LocalError, match=r"lacks the scope crm\.objects\.deals\.write"):
        seed()


def test_an_ordinary_account_is_asked_about(portal: Portal) -> None:
    portal.account_type = "STANDARD"

    with pytest.raises(LocalError, match="Nothing was created"):
        seed(agrees=False)
    assert len(seed(agrees=True)) == 5


def test_a_request_to_create_is_never_sent_twice(portal: Portal) -> None:
    portal.add_fault(Fault("503", endpoint="batch_create"))

    with pytest.raises(HubSpotUnavailableError):
        seed()

    assert portal.statistics.faults["503"] == 1
    assert len(portal.live_ids()) == 150
    assert len(seed()) == 5


def test_an_account_without_the_usual_stages_gets_its_first_one(portal: Portal) -> None:
    (pipeline,) = portal.pipelines
    pipeline["stages"] = [s for s in pipeline["stages"] if s["id"] == "decisionmakerboughtin"]

    created = seed()

    stages = {portal.deals[int(deal_id)].properties["dealstage"] for deal_id in created}
    assert stages == {"decisionmakerboughtin"}


def test_without_a_token_it_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN", raising=False)

    with pytest.raises(TokenMissingError, match="HUBSPOT_ACCESS_TOKEN"):
        seed_test_deals("default", lambda account: True)
