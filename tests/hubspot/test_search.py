"""Searching a simulated account for ids."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from include.errors import ContractError, HubSpotUnavailableError
from include.hubspot import endpoints, search
from include.hubspot.answers import Found, SearchPage
from include.hubspot.client import HubSpotClient
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, portals
from tests.hubspot_simulator.errors import Answer

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def portal() -> Portal:
    portal = portals.generated(deals=0)
    portal.quota.searches_per_second = None
    return portal


@pytest.fixture
def client(portal: Portal, empty_simulator: HubSpotSimulator, fast_searches: None) -> HubSpotClient:
    empty_simulator.add(portal)
    return HubSpotClient(
        empty_simulator.base_url, portal.tokens[0].text, tenant_id="acme", sleep=lambda _: None
    )


def deal_modified_at(portal: Portal, moment: datetime) -> int:
    deal = portal.create()
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    deal.updated_at = deal.properties["hs_lastmodifieddate"] = text
    portal.records.changed(deal)
    return deal.id


def found(client: HubSpotClient, start: datetime, end: datetime | None) -> list[int]:
    filters = search.modified_between("hs_lastmodifieddate", start, end)
    return [int(i) for ids in search.ids_matching(client, "deals", filters) for i in ids]


def test_a_window_includes_its_start_and_excludes_its_end(
    portal: Portal, client: HubSpotClient
) -> None:
    ms = timedelta(milliseconds=1)
    deal_modified_at(portal, START - ms)
    inside = [deal_modified_at(portal, START), deal_modified_at(portal, START + 9 * ms)]
    later = deal_modified_at(portal, START + 10 * ms)

    assert found(client, START, START + 10 * ms) == inside
    assert found(client, START, None) == [*inside, later]


def test_bounds_between_two_milliseconds_lose_nothing(
    portal: Portal, client: HubSpotClient
) -> None:
    first = deal_modified_at(portal, START)
    half_ms = timedelta(microseconds=500)

    assert found(client, START + half_ms, None) == [first]
    assert found(client, START - half_ms, START + half_ms) == [first]


def test_a_walk_asks_for_ids_above_the_last_one_and_never_pages(
    portal: Portal, client: HubSpotClient
) -> None:
    ids = [deal_modified_at(portal, START) for _ in range(2 * endpoints.SEARCH_PAGE_SIZE + 1)]

    assert found(client, START, None) == ids
    assert portal.requests["search"] == 1 + 3, "it is counted first"


def test_no_results_are_asked_for_twice(portal: Portal, client: HubSpotClient) -> None:
    assert found(client, START, None) == []
    assert portal.requests["search"] == 2


def test_counting_reads_the_total(portal: Portal, client: HubSpotClient) -> None:
    for _ in range(7):
        portal.create()
    portal.archive(portal.live_ids()[0])

    assert search.count(client, "deals", []) == 6
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert search.count(client, "deals", search.created_before("createdate", tomorrow)) == 6
    assert search.count(client, "deals", search.created_before("createdate", START)) == 0


def test_the_beginning_of_time_is_not_asked_for() -> None:
    (rule,) = search.modified_between("hs_lastmodifieddate", datetime(1970, 1, 1, tzinfo=UTC), None)

    assert rule["value"] == "1000"


@pytest.mark.parametrize(
    "shown",
    [slice(0), slice(1, None), slice(-1), slice(1, 2)],
    ids=["none", "not the first", "not the last", "the middle"],
)
def test_a_page_that_hides_what_it_announces_is_asked_for_four_times_more(
    portal: Portal, client: HubSpotClient, shown: slice
) -> None:
    for _ in range(3):
        deal_modified_at(portal, START)

    def hide(answer: Answer) -> Answer:
        document = json.loads(answer.body)
        answer.body = json.dumps({**document, "results": document["results"][shown]}).encode()
        return answer

    portal.add_fault(Fault("rewritten", endpoint="search", rewrite=hide, count=None))

    with pytest.raises(HubSpotUnavailableError, match="announced 3 records above id -1"):
        found(client, START, None)

    assert portal.requests["search"] == 1 + 1 + 4, "it is counted first"


@pytest.mark.parametrize("ids", [["2", "1"], ["5", "5"], ["10", "9"], ["x"]])
def test_an_answer_out_of_order_is_refused_since_records_would_be_lost(
    client: HubSpotClient, monkeypatch: pytest.MonkeyPatch, ids: list[str]
) -> None:
    page = SearchPage(total=9, results=[Found(record_id) for record_id in ids])
    monkeypatch.setattr(HubSpotClient, "search", lambda *_, **__: page)

    with pytest.raises(ContractError, match="ascending order"):
        found(client, START, None)


def test_a_search_that_finds_more_and_more_records_is_refused() -> None:
    def find(object_type: str, filters: list[search.Filter], limit: int) -> SearchPage:
        above = int(filters[-1]["value"]) if filters else 0
        return SearchPage(10_000, [Found(str(above + n)) for n in range(1, limit + 1)])

    endless = cast("HubSpotClient", SimpleNamespace(search=find))

    with pytest.raises(ContractError, match="more than HubSpot counts"):
        list(search.ids_matching(endless, "deals", []))
