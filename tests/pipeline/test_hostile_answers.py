"""Answers that HubSpot should not give, and once gave: no scan succeeds although it lost something.

Each stands for a kind; tests/hostile mutates every answer there is.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import (
    AccessDeniedError,
    ContractError,
    HubSpotDealsError,
    HubSpotUnavailableError,
    QualityError,
)
from include.scan import Window
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, portals
from tests.hubspot_simulator.errors import Answer, error, html
from tests.support.scans import (
    BARE,
    assert_equals_the_portal,
    object_row,
    query,
    run,
    scan,
    scan_row,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pauses")]

#: What a scan of these small accounts may cost, whatever is answered.
MOST_REQUESTS = 400


@pytest.fixture
def portal(serve: Serve) -> Portal:
    """An account of 120 live and 30 archived deals, a contact with each, two owners."""
    portal = portals.generated(deals=120, archived=30, associations=True)
    serve(acme=portal)
    return portal


def answers(portal: Portal, endpoint: str, change: Callable[[dict[str, Any]], Any], **fault: Any):
    """Change the documents that an endpoint answers with."""

    def rewrite(answer: Answer) -> Answer:
        document = json.loads(answer.body)
        changed = change(document)
        answer.body = json.dumps(document if changed is None else changed).encode()
        return answer

    return portal.add_fault(Fault("rewritten", endpoint=endpoint, rewrite=rewrite, **fault))


def answered_with(portal: Portal, endpoint: str, answer: Callable[[], Answer], **fault: Any):
    """Answer with something else altogether."""
    rewritten = Fault("rewritten", endpoint=endpoint, rewrite=lambda _: answer(), **fault)
    return portal.add_fault(rewritten)


def warnings(warehouse: Warehouse, run_id: str) -> list[str]:
    found: list[str] = scan_row(warehouse, scan(run_id))["warnings"]
    return found


# Search


def no_results(document: dict[str, Any]) -> None:
    document["results"] = []


def one_result_less(document: dict[str, Any]) -> None:
    document["results"].pop()


def half_of_the_results(document: dict[str, Any]) -> None:
    del document["results"][: len(document["results"]) // 2]


def nothing_found(document: dict[str, Any]) -> None:
    document.update(total=0, results=[])


def the_last_page(document: dict[str, Any]) -> None:
    document["total"] = len(document["results"])


@pytest.mark.parametrize(
    "change",
    [no_results, half_of_the_results, nothing_found, the_last_page],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_update_that_search_announced_is_not_lost_by_one_bad_page(
    warehouse: Warehouse, serve: Serve, change: Callable[[dict[str, Any]], None], nth: int
) -> None:
    portal = portals.generated(deals=420, filled=3)
    serve(acme=portal)
    run(scan("1", mode="incremental", search_lag_s=0))
    for deal_id in portal.live_ids()[:400]:
        portal.update(deal_id, amount="77")
    # the first search only counts: the pages are the second and the third
    answers(portal, "search", change, nth=nth)

    run(scan("2", mode="incremental", search_lag_s=0))

    assert_equals_the_portal(warehouse, portal)


def test_a_search_that_keeps_hiding_what_it_announces_is_an_error(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0))
    watermark = object_row(warehouse, scan("1"))["watermark"]
    portal.update(portal.live_ids()[0], amount="77")
    fault = answers(portal, "search", no_results, count=None)

    with pytest.raises(
        HubSpotUnavailableError, match="announced 1 records above id -1, but returned 0"
    ):
        run(scan("2", search_lag_s=0))

    portal.faults.remove(fault)
    third = run(scan("3", search_lag_s=0))
    assert third["window_start"] == watermark.isoformat()
    assert_equals_the_portal(warehouse, portal)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_search_that_returns_a_record_that_does_not_exist_is_read_again_by_the_next_scan(
    warehouse: Warehouse, portal: Portal, place: str
) -> None:
    run(scan("1", search_lag_s=0))
    changed = portal.live_ids()[10:13]
    for deal_id in changed:
        portal.update(deal_id, amount="77")
    index = {"first": 0, "middle": 1, "last": 2}[place]

    def with_another_id(document: dict[str, Any]) -> None:
        if len(document["results"]) > index:
            document["results"][index]["id"] = str(changed[index] + 1)

    assert changed[index] + 1 not in portal.deals
    fault = answers(portal, "search", with_another_id, count=None)

    run(scan("2", mode="incremental", search_lag_s=0))
    portal.faults.remove(fault)
    run(scan("3", mode="incremental", search_lag_s=0))

    (warning,) = warnings(warehouse, "2")
    assert "search returned records that do not exist (records: 1)" in warning
    assert_equals_the_portal(warehouse, portal)


def test_a_window_whose_search_returns_a_record_that_does_not_exist_says_to_scan_it_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0))
    portal.update(portal.live_ids()[0], amount="77")
    minute, now = timedelta(minutes=1), datetime.now(UTC)

    def with_another_id(document: dict[str, Any]) -> None:
        for result in document["results"]:
            result["id"] = "7"

    answers(portal, "search", with_another_id, count=None)
    run(scan("2", window=Window(now - minute, now + minute), search_lag_s=0))

    assert any("scan this window again" in text for text in warnings(warehouse, "2"))


def archive_all(portal: Portal, ids: list[int]) -> None:
    for deal_id in ids:
        portal.archive(deal_id)


def purge_all(portal: Portal, ids: list[int]) -> None:
    for deal_id in ids:
        portal.purge(deal_id)


def merge_pairs(portal: Portal, ids: list[int]) -> None:
    for first, second in zip(ids[::2], ids[1::2], strict=True):
        portal.merge(first, second, "primary")


@pytest.mark.parametrize("leave", [archive_all, purge_all, merge_pairs])
@pytest.mark.parametrize("nth", [2, 3])
def test_records_that_leave_the_search_while_it_is_read_are_no_error(
    warehouse: Warehouse,
    serve: Serve,
    leave: Callable[[Portal, list[int]], None],
    nth: int,
) -> None:
    portal = portals.generated(deals=420, filled=3)
    serve(acme=portal)
    run(scan("1", mode="incremental", search_lag_s=0))
    ids = portal.live_ids()[:400]
    for deal_id in ids:
        portal.update(deal_id, amount="77")

    answers(portal, "search", lambda _: leave(portal, ids[-50:]), nth=nth)

    run(scan("2", mode="incremental", search_lag_s=0))

    assert warnings(warehouse, "2") == []
    assert_equals_the_portal(warehouse, portal)


# Batches


@pytest.mark.parametrize("count", [1, 2], ids=["once", "twice"])
def test_a_record_that_a_batch_leaves_out_without_a_word_is_asked_for_again(
    warehouse: Warehouse, portal: Portal, count: int
) -> None:
    run(scan("1", search_lag_s=0))
    for deal_id in portal.live_ids()[:20]:
        portal.update(deal_id, amount="77")
    answers(portal, "batch_read", one_result_less, count=count)

    run(scan("2", search_lag_s=0))

    assert_equals_the_portal(warehouse, portal)


def test_a_record_that_batches_always_leave_out_is_not_taken_for_one_that_is_gone(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0))
    portal.update(portal.live_ids()[0], amount="77")
    answers(portal, "batch_read", no_results, count=None)

    with pytest.raises(HubSpotUnavailableError, match="left out 1 of 1 deals of a batch"):
        run(scan("2", search_lag_s=0))

    assert not query(warehouse, "select from deals where vanished_at is not null")


@pytest.mark.parametrize("said", [None, {}, [], "", 7], ids=repr)
@pytest.mark.parametrize("count", [1, None], ids=["once", "always"])
def test_a_record_without_properties_is_read_again_and_then_named(
    warehouse: Warehouse, portal: Portal, said: object, count: int | None
) -> None:
    def take_properties(page: dict[str, Any]) -> None:
        for record in page["results"]:
            if record["id"] == str(portal.live_ids()[3]):
                record["properties"] = said

    answers(portal, "list", take_properties)
    answers(portal, "batch_read", take_properties, count=count)

    run(scan("1"))

    lacking = query(
        warehouse, "select observed from quality_results where check_name like 'records_came%%'"
    )
    if count == 1:
        # the list once, and the batch that asked again once: the next batch is good
        assert lacking in ([{"observed": 0}], [{"observed": 1}])
    else:
        assert lacking == [{"observed": 1}]


# Rows go back


def set_back(portal: Portal, by: timedelta, count: int, **values: str) -> None:
    """Change deals as HubSpot sometimes does: the modification time becomes an earlier one."""
    for deal_id in portal.live_ids()[:count]:
        portal.update(deal_id, **values)
        deal = portal.deals[deal_id]
        before = datetime.fromisoformat(deal.updated_at)
        deal.updated_at = (before - by).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        deal.properties["hs_lastmodifieddate"] = deal.updated_at
        portal.records.changed(deal)


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(days=400), timedelta(days=-30)])
def test_what_a_later_scan_reads_wins_whatever_its_modification_time(
    warehouse: Warehouse, portal: Portal, by: timedelta
) -> None:
    for deal_id in portal.live_ids()[:20]:
        portal.update(deal_id, amount="1")
    run(scan("1"))
    set_back(portal, by, 20, amount="77")

    if by > timedelta():
        run(scan("2", mode="full"))
    else:
        with pytest.raises(QualityError, match="modified_not_in_the_future"):
            run(scan("2", mode="full"))

    assert_equals_the_portal(warehouse, portal)


def test_times_that_were_ahead_and_are_corrected_in_hubspot_stop_no_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    set_back(portal, -timedelta(days=30), 5, amount="1")
    with pytest.raises(QualityError, match="modified_not_in_the_future = 5"):
        run(scan("1"))
    set_back(portal, timedelta(), 5, amount="2")

    run(scan("2"))

    assert_equals_the_portal(warehouse, portal)


# Lists that never end


def test_pages_that_always_answer_400_end_the_scan(portal: Portal) -> None:
    portal.short_pages_by = 90
    portal.add_fault(Fault("400", endpoint="list", query="after=", nth=6, count=None))

    with pytest.raises(ContractError, match="was read twice, and failed both times"):
        run(scan("1"))

    assert sum(portal.requests.values()) < MOST_REQUESTS


@pytest.mark.parametrize("cursor", ["id", "opaque"])
@pytest.mark.parametrize("archived", ["true", "false"])
def test_a_cursor_that_leads_to_itself_ends_the_scan(
    serve: Serve, archived: str, cursor: Any
) -> None:
    portal = portals.generated(deals=30, archived=30, cursor=cursor)
    portal.short_pages_by = 95
    serve(acme=portal)
    followed: list[str] = []

    def lead_back(page: dict[str, Any]) -> None:
        followed.append(page["paging"]["next"]["after"])
        page["paging"]["next"]["after"] = followed[0]

    answers(portal, "list", lead_back, query=f"archived={archived}", count=4)
    answers(portal, "list", lead_back, query=f"archived={archived}.*after=", count=None)

    with pytest.raises(HubSpotDealsError):
        run(scan("1"))

    assert sum(portal.requests.values()) < MOST_REQUESTS


def test_owners_whose_cursor_leads_to_itself_are_left_out_with_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    answers(portal, "owners", lambda page: page.update(paging={"next": {"after": "0"}}), count=None)

    run(scan("1"))

    (warning,) = warnings(warehouse, "1")
    assert "owners were not read: HubSpot's list /crm/owners/2026-03 leads back" in warning
    assert sum(portal.requests.values()) < MOST_REQUESTS


def test_associations_whose_cursor_leads_to_itself_are_left_out_with_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    def lead_back(document: dict[str, Any]) -> None:
        # the simulator's cursor of the first page
        for result in document["results"]:
            result["paging"] = {"next": {"after": "MC0yLTA="}}

    answers(portal, "associations", lead_back, count=None)

    run(scan("1", objects={**BARE, "deal_associations": ["contacts"]}))

    (warning,) = warnings(warehouse, "1")
    assert "associations with contacts were not read: HubSpot's list" in warning
    assert "leads back to a page that was read before" in warning
    assert sum(portal.requests.values()) < MOST_REQUESTS


# Refusals


def denied() -> Answer:
    return error(403, "FORBIDDEN", "Your plan does not include this.").answer


def test_a_403_without_a_scope_says_what_hubspot_says(portal: Portal) -> None:
    answered_with(portal, "list", denied, count=None)

    with pytest.raises(AccessDeniedError, match="Your plan does not include this") as raised:
        run(scan("1"))

    assert "scope" not in str(raised.value)


def test_a_403_of_the_network_edge_is_tried_again(warehouse: Warehouse, portal: Portal) -> None:
    answered_with(portal, "list", lambda: html(403, "Forbidden"), count=2)

    run(scan("1"))

    assert_equals_the_portal(warehouse, portal)


@pytest.mark.parametrize("endpoint", ["pipelines", "owners", "associations", "properties"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(denied, id="403"),
        pytest.param(lambda: error(400, "VALIDATION_ERROR", "No such type.").answer, id="400"),
        pytest.param(lambda: error(404, "NOT_FOUND", "Not here.").answer, id="404"),
        pytest.param(lambda: Answer(200, b'{"results": 7}'), id="another shape"),
    ],
)
def test_what_is_not_the_records_themselves_is_left_out_with_a_warning(
    warehouse: Warehouse, portal: Portal, endpoint: str, answer: Callable[[], Answer]
) -> None:
    run(scan("1", search_lag_s=0))
    watermark = object_row(warehouse, scan("1"))["watermark"]
    portal.update(portal.live_ids()[0], amount="77")
    answered_with(portal, endpoint, answer, count=None)

    second = run(scan("2", search_lag_s=0))

    assert warnings(warehouse, "2")
    assert object_row(warehouse, scan("2"))["watermark"] > watermark
    assert second["deals_written"] == 1
    assert_equals_the_portal(warehouse, portal)


def test_a_history_that_hubspot_refuses_is_named_and_the_others_are_read(
    warehouse: Warehouse, portal: Portal
) -> None:
    asked = portal.objects["deals"]
    real = portal.definitions["amount"]
    wanted = ["amount", "dealstage", "no_such_property"]
    objects = {"deal_property_history": wanted}
    del asked.definitions["amount"]

    run(scan("1", objects=objects))

    asked.definitions["amount"] = real
    (warning,) = warnings(warehouse, "1")
    assert "no history of amount, no_such_property" in warning
    read = query(warehouse, "select distinct property from property_history")
    assert read == [{"property": "dealstage"}]


def test_batches_of_histories_that_are_refused_stop_no_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    answered_with(
        portal,
        "batch_read",
        lambda: error(400, "VALIDATION_ERROR", "No history.").answer,
        count=None,
    )

    run(scan("1", objects={"deal_property_history": ["dealstage", "amount"]}))

    (warning,) = warnings(warehouse, "1")
    assert "no history of amount, dealstage" in warning
    assert_equals_the_portal(warehouse, portal)


def test_associations_that_are_left_out_without_a_word_stay_as_they_are(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))
    before = query(warehouse, "select * from associations order by from_id, to_object, to_id")
    answers(portal, "associations", no_results, count=None)

    run(scan("2"))

    assert before == query(
        warehouse, "select * from associations order by from_id, to_object, to_id"
    )
    assert any("did not return all associations" in text for text in warnings(warehouse, "2"))


def test_a_deal_whose_associations_are_left_out_shortens_those_of_no_other(
    warehouse: Warehouse, portal: Portal
) -> None:
    many, other = portal.live_ids()[:2]
    # five pages and more: each answer has one page of each deal
    portal.associations[many] = {"companies": [(n, 341, None) for n in range(1, 651)]}
    portal.associations[other] = {"companies": [(7, 341, None)]}
    objects = {**BARE, "deal_associations": ["companies"]}
    run(scan("1", objects=objects))

    def without_the_other(document: dict[str, Any]) -> None:
        document["results"] = [r for r in document["results"] if r["from"]["id"] != str(other)]

    answers(portal, "associations", without_the_other, count=None)

    run(scan("2", objects=objects))

    held = query(warehouse, "select from_id, count(*) as n from associations group by 1")
    of_each = {row["from_id"]: row["n"] for row in held}
    assert (of_each[many], of_each[other]) == (650, 1)
    assert any("missing records: 1" in text for text in warnings(warehouse, "2"))


def test_associations_that_are_left_out_once_are_asked_for_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    answers(portal, "associations", one_result_less, count=1)

    run(scan("1"))

    assert warnings(warehouse, "1") == []
    expected = sum(
        len(links) for ends in portal.associations_truth().values() for links in ends.values()
    )
    assert len(query(warehouse, "select from associations")) == expected


# Nulls


@pytest.mark.parametrize(
    ("endpoint", "where"),
    [
        ("properties", ["results", 0, "options"]),
        ("properties", ["results", 0, "calculated"]),
        ("properties", ["results", 0, "label"]),
        ("pipelines", ["results", 0, "label"]),
        ("pipelines", ["results", 0, "stages", 0, "metadata"]),
        ("pipelines", ["results", 0, "stages", 0, "label"]),
        ("pipelines", ["results", 0, "displayOrder"]),
        ("owners", ["results", 0, "archived"]),
        ("owners", ["results", 0, "teams"]),
        ("owners", ["results", 0, "email"]),
        ("list", ["results", 0, "archivedAt"]),
        ("list", ["results", 0, "url"]),
    ],
)
def test_a_null_by_which_nothing_is_lost_stops_nothing(
    warehouse: Warehouse, portal: Portal, endpoint: str, where: list[Any]
) -> None:
    def put(document: dict[str, Any]) -> None:
        if not document["results"]:
            return
        *path, last = where
        node: Any = document
        for key in path:
            node = node[key]
        node[last] = None

    answers(portal, endpoint, put, count=None)

    run(scan("1"))

    assert_equals_the_portal(warehouse, portal)


def test_a_record_on_the_list_of_the_archived_is_archived_though_it_does_not_say_so(
    warehouse: Warehouse, portal: Portal
) -> None:
    answers(
        portal,
        "list",
        lambda page: [record.pop("archived") for record in page["results"]] and None,
        query="archived=true",
        count=None,
    )

    run(scan("1"))

    assert_equals_the_portal(warehouse, portal)


def test_a_list_of_the_archived_that_was_cut_short_is_read_once_more(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    known = portal.archived_ids()[0]
    unknown = portal.create(dealname="archived before any scan saw it").id
    portal.archive(unknown)

    def leave_out(page: dict[str, Any]) -> None:
        left_out = {str(known), str(unknown)}
        page["results"] = [record for record in page["results"] if record["id"] not in left_out]

    answers(portal, "list", leave_out, query="archived=true")

    run(scan("2", search_lag_s=0, objects=BARE))

    assert_equals_the_portal(warehouse, portal)


@pytest.mark.parametrize("date", ["yesterday", "", "Sat, 28 Nov 2026 18:00:00 -0000"])
def test_a_clock_that_hubspot_does_not_state_stops_nothing(
    warehouse: Warehouse, portal: Portal, date: str
) -> None:
    def set_date(answer: Answer) -> Answer:
        answer.headers["Date"] = date
        return answer

    portal.add_fault(Fault("rewritten", rewrite=set_date, count=None))

    run(scan("1"))

    assert object_row(warehouse, scan("1"))["watermark"] <= datetime.now(UTC)
