"""A try that is broken off, and what the next one makes of it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from include.errors import OutdatedAttemptError, ScanKilledError
from include.pipeline import associations, history, scan_object
from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import Extracted, extract_deals
from include.pipeline.load import chunk_writer
from include.pipeline.load.dlt_loader import DltLoader
from include.pipeline.read.concurrency import PageBudget
from include.pipeline.validate_token import validate_token
from include.scan import Scan
from include.warehouse.checkpoints import Chunk, ScanObjects
from include.warehouse.connection import Warehouse
from include.warehouse.scans import CancelledRun, ScanLog, cancel, end_scan
from tests.chaos.promise import READERS_AT_THEIR_END
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, portals
from tests.hubspot_simulator.crm_object import StoredObject
from tests.hubspot_simulator.errors import Answer
from tests.support.scans import (
    BARE,
    Killed,
    assert_equals_the_portal,
    ids_received,
    object_row,
    query,
    run,
    scan,
    scan_row,
)

pytestmark = pytest.mark.slow

CHECKPOINT_PAGES = 8


#: For tests in which it matters where a reader goes on.
any_cursor = pytest.mark.parametrize("portal", ["id", "opaque"], indirect=True)


@pytest.fixture
def portal(request: pytest.FixtureRequest, serve: Serve) -> Portal:
    portal = portals.generated(
        deals=2_000,
        archived=300,
        cursor=getattr(request, "param", "id"),
        associations=True,
        requests_per_window=1_000_000,
    )
    serve(acme=portal)
    return portal


@pytest.fixture
def searching(warehouse: Warehouse, small: Portal) -> Scan:
    """A scan that searches for 200 modified deals, killed when 100 of them are loaded."""
    run(scan("1", search_lag_s=0, objects=BARE))
    for deal_id in small.live_ids()[:200]:
        small.update(deal_id, amount="77")
    what = scan("2", search_lag_s=0, objects=BARE)
    validate_token(what)
    with pytest.raises(Killed):
        extract_deals(what, 2, killed_at(1))
    return what


def killed_at(checkpoint: int) -> Callable[[dict[str, Any]], None]:
    seen = 0

    def on_checkpoint(shown: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == checkpoint:
            raise Killed

    return on_checkpoint


def killed_at_object(name: str) -> Callable[[dict[str, Any]], None]:
    def on_checkpoint(shown: dict[str, Any]) -> None:
        if shown["object"] == name:
            raise Killed

    return on_checkpoint


def extract(what: Scan, on_checkpoint: Callable[[dict[str, Any]], None] | None = None) -> Extracted:
    return extract_deals(what, CHECKPOINT_PAGES, on_checkpoint)


def extract_until(module: ModuleType, function: str, call: int, what: Scan) -> None:
    """Extract, and be killed at the given call of a function that saves."""
    save, calls = getattr(module, function), count(1)

    def kill(*arguments: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return save(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, function, kill)
        with pytest.raises(Killed):
            extract(what)


@any_cursor
@pytest.mark.parametrize("checkpoint", [1, 3, 5])
def test_a_retry_reads_only_what_no_checkpoint_covers(
    warehouse: Warehouse, portal: Portal, checkpoint: int
) -> None:
    what = scan(objects=BARE)
    validate_token(what)
    with pytest.raises(Killed):
        extract(what, killed_at(checkpoint))
    extracted = extract(what)
    check_quality(what)

    assert extracted["went_on"]
    assert extracted["deals_extracted"] == 2_300
    assert_equals_the_portal(warehouse, portal)
    assert ids_received(warehouse, what) == sorted(portal.deals)
    # ranges of ids are split while a request is outstanding, so their requests depend on the load
    if portal.cursor == "opaque":
        # 20 pages of live deals, 3 of archived ones; and one to find out what cursors are, each try
        again = portal.requests["list"] - (20 + 3)
        assert again <= CHECKPOINT_PAGES + READERS_AT_THEIR_END + 2


def test_the_figures_are_those_of_all_tries_together(warehouse: Warehouse, portal: Portal) -> None:
    what = scan(objects=BARE)
    validate_token(what)
    before = sum(portal.requests.values())
    with pytest.raises(Killed):
        extract(what, killed_at(2))

    extracted = extract(what)

    row = object_row(warehouse, what)
    assert row["records_received"] == row["rows_written"] == 2_300
    assert row["pages"] >= 23
    # requests of pages that were read ahead when the kill came are not counted
    sent = sum(portal.requests.values()) - before
    assert sent - CHECKPOINT_PAGES - 2 <= extracted["requests"] <= sent


def test_a_checkpoint_states_how_far_the_scan_is(warehouse: Warehouse, portal: Portal) -> None:
    what, shown = scan(objects=BARE), []
    validate_token(what)

    extract(what, shown.append)

    assert [one["object"] for one in shown] == ["deals"] * len(shown)
    assert shown[-1]["pages"] == object_row(warehouse, what)["pages"]
    assert shown[-1]["position"]["live"]["remaining"] == []


def test_a_checkpoint_that_airflow_does_not_take_is_stored_nevertheless(
    warehouse: Warehouse, portal: Portal
) -> None:
    def refuse(shown: dict[str, Any]) -> None:
        raise ValueError("not JSON")

    what = scan(objects=BARE)
    validate_token(what)
    extract(what, refuse)

    assert_equals_the_portal(warehouse, portal)


def test_what_comes_slowly_is_stored_before_a_chunk_is_full(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.latency_s = 0.05
    what, shown = scan(objects=BARE), []
    validate_token(what)

    extract(what, shown.append)

    assert shown[0]["pages"] < CHECKPOINT_PAGES // 2


def small_portal(serve: Serve, deals: int) -> Portal:
    portal = portals.generated(deals=deals, requests_per_window=1_000_000)
    serve(acme=portal)
    return portal


def test_pages_that_turn_out_to_be_large_make_chunks_smaller(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_writer, "CHUNK_BYTES", 1)
    monkeypatch.setattr(DltLoader, "load", lambda *_: None)
    small_portal(serve, deals=1_000)
    what, pages = scan(objects=BARE), []
    validate_token(what)

    def note(shown: dict[str, Any]) -> None:
        pages.append(shown["pages"])
        if shown["pages"] >= 7:
            raise Killed

    with pytest.raises(Killed):
        extract(what, note)

    assert {after - before for before, after in pairwise(pages)} == {1}


def test_readers_get_less_far_ahead_of_pages_that_turn_out_to_be_large(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_writer, "CHUNK_BYTES", 1)
    monkeypatch.setattr(DltLoader, "load", lambda *_: None)
    allowed: list[int] = []
    monkeypatch.setattr(PageBudget, "resize", lambda _, pages: allowed.append(pages))
    small_portal(serve, deals=500)
    what = scan(objects=BARE)
    validate_token(what)

    with pytest.raises(Killed):
        extract(what, killed_at(1))

    assert allowed == [2], "one page that is loaded, and the next"


def test_a_tenants_file_that_changed_counts_for_objects_that_were_not_begun(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = small_portal(serve, deals=100)
    portal.add_object("contacts", count=20)
    portal.add_object("companies", count=30)
    before, after = {**BARE, "contacts": True}, {**BARE, "contacts": True, "companies": True}
    validate_token(scan(objects=before))
    with pytest.raises(Killed):
        extract(scan(objects=before), killed_at_object("contacts"))

    extracted = extract(scan(objects=after))

    assert extracted["went_on"]
    assert set(extracted["objects"]) == {"deals", "contacts", "companies"}
    assert object_row(warehouse, scan(), "companies")["records_received"] == 30


def test_objects_that_were_done_are_compared_with_hubspots_count_once_more(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = small_portal(serve, deals=100)
    portal.add_object("contacts", count=20)
    what = scan(objects={**BARE, "contacts": True}, search_lag_s=0)
    validate_token(what)
    with pytest.raises(Killed):
        extract(what, killed_at_object("contacts"))
    gone = portal.live_ids()[7]
    portal.purge(gone)

    extract(what)

    marked = query(warehouse, "select deal_id from deals where vanished_at is not null")
    assert marked == [{"deal_id": gone}]


def test_an_extraction_that_ended_begins_anew_when_it_is_cleared(
    warehouse: Warehouse, portal: Portal
) -> None:
    what = scan(objects=BARE)
    validate_token(what)
    extract(what)
    lists = portal.requests["list"]

    again = extract(what)

    assert not again["went_on"]
    assert abs(portal.requests["list"] - lists * 2) <= 2
    assert again["deals_written"] == 0
    assert scan_row(warehouse, what)["attempt"] == 3


def test_associations_go_on_where_they_were(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.pipeline.associations.ASSOCIATIONS_BATCH_SIZE", 100)
    what = scan(objects={**BARE, "deal_associations": ["contacts"]})
    validate_token(what)
    extract_until(associations, "replace_associations", 8, what)
    asked = portal.requests["associations"]

    extract(what)

    # 20 batches, of which 7 were stored
    assert portal.requests["associations"] - asked == 13
    rows = query(warehouse, "select count(distinct from_id) as n from associations")
    truth = portal.associations_truth()
    assert rows == [{"n": sum("contacts" in ends for ends in truth.values())}]


def test_an_outdated_try_writes_nothing_more(warehouse: Warehouse, portal: Portal) -> None:
    what = scan(objects=BARE)
    validate_token(what)

    def be_overtaken(shown: dict[str, Any]) -> None:
        if not query(warehouse, "select from scans where attempt > 2"):
            ScanLog(warehouse, what).next_attempt()

    with pytest.raises(OutdatedAttemptError):
        extract(what, be_overtaken)

    (held,) = query(warehouse, "select count(*) as n from deals")
    assert 0 < held["n"] <= CHECKPOINT_PAGES // 2 * 100
    # nor does it say of the newer try that it failed
    assert scan_row(warehouse, what)["state"] == "extracting"


@any_cursor
def test_what_changed_between_two_tries_is_not_missed(warehouse: Warehouse, portal: Portal) -> None:
    what = scan("1", search_lag_s=0, objects=BARE)
    validate_token(what)
    with pytest.raises(Killed):
        extract(what, killed_at(4))
    live = portal.live_ids()
    for deal_id in live[:3]:
        portal.update(deal_id, amount="1.00")
    portal.archive(live[3])
    portal.purge(live[4])
    portal.create(dealname="new")
    extract(what)
    check_quality(what)

    following = scan("2", search_lag_s=0, objects=BARE)
    validate_token(following)
    extract(following)
    check_quality(following)

    assert_equals_the_portal(warehouse, portal)


def test_a_retry_of_a_search_goes_on_above_what_was_loaded(
    warehouse: Warehouse, small: Portal, searching: Scan
) -> None:
    asked = small.requests["batch_read"]

    extracted = extract_deals(searching, 2)

    assert extracted["went_on"]
    assert small.requests["batch_read"] - asked == 1
    assert_equals_the_portal(warehouse, small)


def test_a_retry_still_says_that_search_returned_a_record_that_does_not_exist(
    warehouse: Warehouse, small: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    changed = small.live_ids()[:200]
    for deal_id in changed:
        small.update(deal_id, amount="77")

    def with_another_id(answer: Answer) -> Answer:
        return replace(answer, body=answer.body.replace(f'"{changed[0]}"'.encode(), b'"7"'))

    fault = small.add_fault(
        Fault("rewritten", endpoint="search", rewrite=with_another_id, count=None)
    )
    what = scan("2", search_lag_s=0, objects=BARE)
    validate_token(what)
    with pytest.raises(Killed):
        extract_deals(what, 2, killed_at(1))
    small.faults.remove(fault)

    extract_deals(what, 2)
    check_quality(what)
    run(scan("3", mode="incremental", search_lag_s=0, objects=BARE))

    (warning,) = scan_row(warehouse, what)["warnings"]
    assert "search returned records that do not exist (records: 1)" in warning
    assert_equals_the_portal(warehouse, small)


def test_a_retry_keeps_what_the_first_try_decided(
    warehouse: Warehouse, small: Portal, searching: Scan
) -> None:
    decided = ("mode", "reason", "window_start", "window_end", "watermark", "properties_asked")
    before = object_row(warehouse, searching)
    # a scan that begins now would be full, and ask for it
    small.definitions["score"] = {**small.definitions["days_to_close"], "name": "score"}

    extract_deals(searching, 2)

    after = object_row(warehouse, searching)
    assert {name: after[name] for name in decided} == {name: before[name] for name in decided}


def test_what_was_loaded_before_its_checkpoint_was_written_is_not_sent_again(
    warehouse: Warehouse, small: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, chunks, sent = scan(objects=BARE), 0, 0
    checkpoint, load = ScanObjects.checkpoint, DltLoader.load

    def kill(self: ScanObjects, log: ScanLog, chunk: Chunk | None, *figures: Any) -> None:
        nonlocal chunks
        chunks += chunk is not None
        if chunks == 2:
            raise Killed
        checkpoint(self, log, chunk, *figures)

    def count(self: DltLoader, table: pa.Table, *arguments: Any, **options: Any) -> None:
        nonlocal sent
        sent += table.num_rows
        load(self, table, *arguments, **options)

    validate_token(what)
    with monkeypatch.context() as patched:
        patched.setattr(ScanObjects, "checkpoint", kill)
        with pytest.raises(Killed):
            extract_deals(what, 2)
    monkeypatch.setattr(DltLoader, "load", count)

    extract_deals(what, 2)

    # of three pages, one had a checkpoint, and one was loaded only
    assert sent == 100
    assert object_row(warehouse, what)["records_received"] == 300
    assert_equals_the_portal(warehouse, small)


def test_histories_go_on_where_they_were(warehouse: Warehouse, small: Portal) -> None:
    what = scan(objects={**BARE, "deal_property_history": ["amount"]})
    validate_token(what)
    extract_until(history, "save_histories", 3, what)
    asked = small.requests["batch_read"]

    extract(what)

    # six batches of 50, of which two were stored
    assert small.requests["batch_read"] - asked == 4
    known = query(warehouse, "select count(distinct record_id) as n from property_history")
    assert known == [{"n": 300}]


def test_a_scan_whose_chunks_are_gone_begins_anew(warehouse: Warehouse, small: Portal) -> None:
    broken_off = scan("1", mode="full", objects=BARE)
    validate_token(broken_off)
    with pytest.raises(Killed):
        extract_deals(broken_off, 2, killed_at(1))
    killed = ScanKilledError("it was killed.", tenant_id="acme", remedy="Clear it.")
    with warehouse.connect() as connection:
        end_scan(connection, broken_off.id, killed)
    run(scan("2", objects=BARE))

    extracted = extract(broken_off)

    assert not extracted["went_on"]
    assert extracted["deals_extracted"] == 300


def test_an_object_without_search_goes_on_where_its_list_was(
    warehouse: Warehouse, small: Portal
) -> None:
    contracts = small.add_object("contracts", count=900, archived=10)
    what = scan(objects={**BARE, "contracts": None})
    validate_token(what)
    with pytest.raises(Killed):
        extract_deals(what, 4, killed_at_object("contracts"))
    asked = small.requests["list:contracts"]
    before = small.requests["search:contracts"]

    extract(what)

    # ten pages in all, one after the other
    assert 0 < small.requests["list:contracts"] - asked < 10
    assert ids_received(warehouse, what, "contracts") == sorted(contracts.by_id)
    assert small.requests["search:contracts"] == before, "whether it can be searched was known"
    held = query(warehouse, "select record_id, archived from records where object = 'contracts'")
    assert {(row["record_id"], row["archived"]) for row in held} == {
        (record.id, record.archived) for record in contracts.by_id.values()
    }
    assert len(held) == 910


def test_an_object_that_a_retry_leaves_out_is_not_counted_as_read(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = small_portal(serve, deals=10)
    contacts = portal.add_object("contacts", count=300)
    both, deals_only = {**BARE, "contacts": True}, BARE
    run(scan("1", objects=both, search_lag_s=0))
    for contact_id in contacts.live_ids():
        contacts.update(contact_id, firstname="changed")
    validate_token(scan("2", objects=both, search_lag_s=0))
    with pytest.raises(Killed):
        extract_deals(scan("2", objects=both, search_lag_s=0), 2, killed_at_object("contacts"))
    extract(scan("2", objects=deals_only, search_lag_s=0))
    check_quality(scan("2", objects=deals_only, search_lag_s=0))

    run(scan("3", objects=both, search_lag_s=0))

    held = query(
        warehouse,
        "select properties ->> 'firstname' as name, count(*) as n from records group by 1",
    )
    assert held == [{"name": "changed", "n": 300}]


def test_a_deal_that_only_a_retry_received_has_its_associations_read_too(
    warehouse: Warehouse, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(associations, "ALL_ASSOCIATIONS_MAX_RECORDS", 0)
    monkeypatch.setattr(associations, "ASSOCIATIONS_BATCH_SIZE", 10)
    portal = small_portal(serve, deals=60)
    restored = portal.live_ids()[0]
    portal.associations[restored] = {"companies": [(4711, 341, None)]}
    portal.archive(restored)
    objects = {**BARE, "deal_associations": ["companies"]}
    settings: dict[str, Any] = {"search_lag_s": 0, "objects": objects}
    run(scan("1", **settings))
    for deal_id in portal.live_ids()[:30]:
        portal.update(deal_id, amount="77")
    what = scan("2", mode="incremental", **settings)
    validate_token(what)
    extract_until(associations, "replace_associations", 3, what)
    portal.restore(restored)

    extract(what)
    check_quality(what)
    run(scan("3", **settings))

    held = query(warehouse, "select to_id from associations where from_id = %s", restored)
    assert held == [{"to_id": 4711}]


def test_a_kill_after_new_definitions_were_stored_does_not_hide_the_change(
    warehouse: Warehouse, small: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=BARE))
    small.definitions["brand_new"] = {**small.definitions["description"], "name": "brand_new"}
    what = scan("2", search_lag_s=0, objects=BARE)
    validate_token(what)
    extract_until(scan_object, "plan_scan", 1, what)

    extract(what)
    check_quality(what)

    assert scan_row(warehouse, what)["schema_drift"] == {"deals": {"added": ["brand_new"]}}


def end_as_failed(warehouse: Warehouse, what: Scan) -> None:
    killed = ScanKilledError("it was killed.", tenant_id="acme", remedy="Clear it.")
    with warehouse.connect() as connection:
        end_scan(connection, what.id, killed)


def end_as_cancelled(warehouse: Warehouse, what: Scan) -> None:
    tenant = what.tenant
    cancel(warehouse, CancelledRun(what.id, tenant.id, tenant.dag_id, what.run_id, what.mode))


def restored(contacts: StoredObject, contact_id: int) -> Callable[[], object]:
    """Archive a contact, and return what restores it."""
    contacts.archive(contact_id)
    return lambda: contacts.restore(contact_id)


def sent_again(contacts: StoredObject, contact_id: int) -> Callable[[], object]:
    """Remove a contact without a trace, and return what brings it back as it was."""
    contact, links = contacts.by_id[contact_id], contacts.associations[contact_id]
    contacts.purge(contact_id)

    def bring_back() -> None:
        contacts.records.add(contact)
        contacts.associations[contact_id] = links

    return bring_back


@pytest.mark.parametrize(
    ("hide", "end", "between"),
    [
        (restored, end_as_failed, "nothing"),
        (restored, end_as_cancelled, "nothing"),
        (sent_again, end_as_failed, "nothing"),
        (restored, end_as_failed, "contacts not wanted"),
        (restored, end_as_failed, "contacts without associations"),
        (restored, end_as_failed, "contacts refused"),
    ],
)
def test_the_next_scan_reads_the_associations_of_what_a_scan_without_success_received(
    warehouse: Warehouse,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    hide: Callable[[StoredObject, int], Callable[[], object]],
    end: Callable[[Warehouse, Scan], None],
    between: str,
) -> None:
    monkeypatch.setattr(associations, "ALL_ASSOCIATIONS_MAX_RECORDS", 0)
    portal = small_portal(serve, deals=2)
    contacts = portal.add_object("contacts", count=20)
    contact_id = contacts.live_ids()[0]
    contacts.associations[contact_id] = {"companies": [(4711, 279, None)]}
    settings: dict[str, Any] = {
        "search_lag_s": 0,
        "objects": {**BARE, "contacts": {"associations": ["companies"]}},
    }
    come_back = hide(contacts, contact_id)
    run(scan("1", **settings))
    come_back()
    broken_off = scan("2", mode="incremental", **settings)
    validate_token(broken_off)
    extract_until(associations, "replace_associations", 1, broken_off)
    end(warehouse, broken_off)

    if between == "contacts not wanted":
        run(scan("3", search_lag_s=0, objects=BARE))
    elif between == "contacts without associations":
        run(scan("3", search_lag_s=0, objects={**BARE, "contacts": True}))
    elif between == "contacts refused":
        portal.faults = [Fault("403", endpoint="list:contacts", count=None)]
        run(scan("3", mode="full", **settings))
        portal.faults = []
    run(scan("4", mode="incremental", **settings))

    held = query(warehouse, "select to_id from associations where from_id = %s", contact_id)
    assert held == [{"to_id": 4711}]
