"""Lists read by several readers, by real HTTP."""

from collections.abc import Callable

import pytest

from include.hubspot.client import HubSpotClient
from include.pipeline.read.concurrency import PageBudget
from include.pipeline.read.list_reader import ListReader
from include.pipeline.read.ranges import ListPosition, Position
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, portals

pytestmark = pytest.mark.slow

PAGES_AHEAD = 12


def portal_of(deals: int = 3_000, **settings: object) -> Portal:
    portal = portals.generated(deals=deals, requests_per_window=1_000_000, **settings)  # type: ignore[arg-type]
    portal.quota.searches_per_second = None
    # enough for several readers to be wanted
    portal.latency_s = 0.03
    return portal


def read(
    portal: Portal,
    position: ListPosition | None = None,
    *,
    archived: bool = False,
    stop_after: int | None = None,
    each: Callable[[int], object] = lambda pages: None,
    pages_ahead: int = PAGES_AHEAD,
) -> list[int]:
    """Read what is left of a portal's list, and return the ids as they came."""
    ids: list[int] = []
    ahead = PageBudget(pages_ahead)
    with HubSpotSimulator([portal]) as simulator:
        client = HubSpotClient(simulator.base_url, portal.tokens[0].text, tenant_id="acme")
        reader = ListReader(
            client, "deals", ["dealname"], position or ListPosition(), ahead, archived=archived
        )
        with reader as pages:
            for number, page in enumerate(pages, start=1):
                ids += [int(record.id) for record in page.results]
                each(number)
                ahead.release()
                if number == stop_after:
                    break
    return ids


@pytest.mark.parametrize(
    ("skewed", "cursor"),
    [
        pytest.param(False, "id", id="evenly"),
        pytest.param(True, "id", id="in clusters"),
        pytest.param(True, "last id", id="a page begins after its cursor"),
    ],
)
def test_every_record_of_a_list_comes_once(skewed: bool, cursor: str) -> None:
    portal = portal_of(skewed=skewed, cursor=cursor)
    position = ListPosition()

    ids = read(portal, position)

    assert sorted(ids) == portal.live_ids()
    assert position.done
    assert ids != sorted(ids), "one reader alone would have read them in order"


def test_no_range_loses_its_first_record_where_a_page_begins_after_its_cursor() -> None:
    portal = portal_of(deals=0, cursor="last id")
    created = [portal.create().id for _ in range(1_500)]
    assert created == list(range(created[0], created[-1] + 1)), "any range begins with a record"

    assert sorted(read(portal)) == created


def test_opaque_cursors_are_read_by_one_reader_in_order() -> None:
    portal = portal_of(cursor="opaque")

    ids = read(portal)

    assert ids == portal.live_ids()


def test_finding_out_that_cursors_are_opaque_costs_one_request() -> None:
    portal = portal_of(deals=1_000, cursor="opaque")

    read(portal)

    assert portal.requests["list"] == 10 + 1
    assert portal.requests["search"] == 0


def test_concurrent_reading_costs_hardly_more_requests() -> None:
    portal = portal_of(deals=6_000)

    read(portal)

    assert portal.requests["list"] <= 60 * 1.2


def test_the_search_for_the_highest_id_counts_the_records_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("include.hubspot.answers.UNCOUNTED_RECORDS", 500)
    portal = portal_of(deals=3_000)

    assert sorted(read(portal)) == portal.live_ids()

    assert portal.requests["search"] == 1


@pytest.mark.parametrize("deals", [0, 1, 100, 300])
def test_a_short_list_costs_no_request_more(deals: int) -> None:
    portal = portal_of(deals=deals)

    assert sorted(read(portal)) == portal.live_ids()

    assert portal.requests["list"] == max(1, -(-deals // 100))
    assert portal.requests["search"] == 0


def test_archived_records_are_read_concurrently_too() -> None:
    portal = portal_of(deals=10, archived=1_500)

    ids = read(portal, archived=True)

    assert sorted(ids) == portal.archived_ids()


def test_short_and_empty_pages_lose_nothing() -> None:
    portal = portal_of(deals=1_500)
    portal.short_pages_by = 30

    assert sorted(read(portal)) == portal.live_ids()


@pytest.mark.parametrize("cursor", ["id", "opaque"])
def test_a_reading_that_was_broken_off_goes_on_where_it_was(cursor: str) -> None:
    portal = portal_of(cursor=cursor)
    position = ListPosition()
    first = read(portal, position, stop_after=12)
    before = portal.requests["list"]
    position = Position.from_json(Position(live=position).to_json()).live

    second = read(portal, position)

    assert sorted(first + second) == portal.live_ids()
    assert portal.requests["list"] - before <= 30 - 12 + 10


def test_a_cursor_that_has_become_void_means_reading_from_the_start() -> None:
    portal = portal_of(deals=1_000, cursor="opaque")
    position = ListPosition(after="made elsewhere")

    assert read(portal, position) == portal.live_ids()


@pytest.mark.parametrize("pages_ahead", [1, 2])
def test_giving_up_a_cursor_leaves_room_to_read_on(pages_ahead: int) -> None:
    portal = portal_of(deals=1_000, cursor="opaque")
    position = ListPosition(after="made elsewhere")

    assert read(portal, position, pages_ahead=pages_ahead) == portal.live_ids()


def test_cursors_that_stop_being_ids_mean_reading_from_the_start_by_one_reader() -> None:
    portal = portal_of()

    def become_opaque(pages: int) -> None:
        if pages == 8:
            portal.cursor = "opaque"

    ids = read(portal, each=become_opaque)

    assert set(ids) == set(portal.live_ids())
    assert ids[-3_000:] == portal.live_ids()


def test_an_error_of_a_reader_reaches_the_reading_of_pages() -> None:
    portal = portal_of()
    portal.add_fault(Fault("403", endpoint="list", nth=9, count=None))

    with pytest.raises(Exception, match="scope"):
        read(portal)


def test_readers_are_never_further_ahead_than_allowed() -> None:
    portal = portal_of()
    most = 0

    def measure(pages: int) -> None:
        nonlocal most
        # the page at hand is not given back yet; every other that was served is ahead of it
        most = max(most, portal.requests["list"] - (pages - 1))

    read(portal, each=measure)

    # the probe's page is requested again
    assert most <= PAGES_AHEAD + 1


def test_records_created_while_reading_do_no_harm() -> None:
    portal = portal_of()
    before = portal.live_ids()

    ids = read(portal, each=lambda pages: portal.create(dealname="new"))

    assert set(before) <= set(ids)
    assert len(ids) == len(set(ids))
