"""What else happens between the tries of a scan, or while it reads, is neither lost nor undone."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import OutdatedAttemptError, ScanKilledError
from include.pipeline import associations, scan_object
from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import Extracted, extract_deals
from include.pipeline.validate_token import validate_token
from include.scan import Scan, Window
from include.warehouse.connection import Warehouse
from include.warehouse.scans import Freshness, end_scan
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, Token
from tests.hubspot_simulator.crm_object import StoredObject
from tests.hubspot_simulator.definitions import definition
from tests.support.scans import BARE, PAGES, Killed, query, run, scan, scan_row

pytestmark = pytest.mark.slow

OLD = datetime(2020, 1, 1, tzinfo=UTC)
PLAIN: dict[str, Any] = {"search_lag_s": 0, "objects": BARE}
COMPANIES: dict[str, Any] = {
    "search_lag_s": 0,
    "objects": {**BARE, "deal_associations": ["companies"]},
}
CONTACTS: dict[str, Any] = {"search_lag_s": 0, "objects": {**BARE, "contacts": True}}


@pytest.fixture
def portal(small: Portal) -> Portal:
    return small


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(associations, "ALL_ASSOCIATIONS_MAX_RECORDS", 0)


def killed(what: Scan, name: str = "deals") -> None:
    """Begin a scan of 3 pages, and be killed when the first of an object is stored."""

    def on_checkpoint(shown: dict[str, Any]) -> None:
        if shown["object"] == name:
            raise Killed

    validate_token(what)
    with pytest.raises(Killed):
        extract_deals(what, 2, on_checkpoint)


def killed_in(module: Any, function: str, call: int, what: Scan) -> None:
    original, calls = getattr(module, function), 0

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(*arguments, **options)

    validate_token(what)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, function, dying)
        with pytest.raises(Killed):
            extract_deals(what, PAGES)


def resumed(what: Scan) -> Extracted:
    extracted = extract_deals(what, 2)
    assert extracted["went_on"]
    check_quality(what)
    return extracted


def define(of: Portal | StoredObject, name: str, created_at: datetime | None = OLD) -> None:
    moment = (created_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    of.definitions[name] = {
        **definition(name, "number", "number", standard=False),
        "createdAt": moment,
    }


def fill(of: Any, **values: str) -> None:
    for record_id in of.live_ids():
        of.update(record_id, **values)


def held(warehouse: Warehouse, name: str, table: str = "deals") -> int:
    return len(query(warehouse, f"select from {table} where properties ->> %s is not null", name))


def state(warehouse: Warehouse, deal_id: int) -> tuple[bool, int | None]:
    (row,) = query(warehouse, "select * from deals where deal_id = %s", deal_id)
    return row["vanished_at"] is not None, row["merged_into_deal_id"]


def companies_of(warehouse: Warehouse, deal_id: int) -> list[int]:
    rows = query(warehouse, "select to_id from associations where from_id = %s", deal_id)
    return [row["to_id"] for row in rows]


@pytest.mark.parametrize("how", ["purged", "merged"])
def test_a_resumed_window_does_not_bring_back_what_another_scan_found_gone(
    warehouse: Warehouse, portal: Portal, how: str
) -> None:
    run(scan("1", **PLAIN))
    fill(portal, amount="77")
    now = datetime.now(UTC)
    window = scan("b", window=Window(now - timedelta(hours=1), now + timedelta(hours=1)), **PLAIN)
    killed(window)
    gone, survivor = portal.live_ids()[:2]
    if how == "purged":
        portal.purge(gone)
    else:
        portal.merge(survivor, gone, survivor="primary")
    run(scan("2", **PLAIN))
    before = state(warehouse, gone)

    resumed(window)

    assert before == ((True, None) if how == "purged" else (False, survivor))
    assert state(warehouse, gone) == before


def test_a_resumed_full_scan_keeps_merges(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", **PLAIN))
    full = scan("b", mode="full", **PLAIN)
    killed(full)
    gone, survivor = portal.live_ids()[:2]
    portal.merge(survivor, gone, survivor="primary")
    run(scan("2", **PLAIN))

    resumed(full)
    run(scan("3", **PLAIN))

    assert state(warehouse, gone) == (False, survivor)


def test_a_deal_merged_while_it_is_read_is_marked_as_merged(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", **PLAIN))
    gone, survivor = portal.live_ids()[0], portal.live_ids()[-1]
    portal.after_list_request(2, lambda p: p.merge(survivor, gone, survivor="primary"))

    run(scan("2", mode="full", **PLAIN))

    assert state(warehouse, gone) == (False, survivor)


def test_of_two_new_deals_merged_while_they_are_read_one_is_live(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = Portal(2_000_001, [Token("pat-na1-small")])
    ids = [portal.create(dealname=str(n), amount="100").id for n in range(350)]
    serve(acme=portal)
    portal.after_list_request(2, lambda p: p.merge(ids[-1], ids[0], survivor="primary"))

    run(scan("1", search_lag_s=3_600, objects=BARE))

    rows = query(
        warehouse,
        "select properties ->> 'hs_merged_object_ids' as ids from deals where deal_id = %s",
        ids[-1],
    )
    assert rows == [{"ids": str(ids[0])}]
    assert state(warehouse, ids[0]) == (False, ids[-1])


def test_the_same_of_an_object_without_search(warehouse: Warehouse, portal: Portal) -> None:
    contracts = portal.add_object("contracts", count=300)
    settings: dict[str, Any] = {"search_lag_s": 0, "objects": {**BARE, "contracts": None}}
    run(scan("1", **settings))
    gone, survivor = contracts.live_ids()[0], contracts.live_ids()[-1]
    contracts.after_list_request(2, lambda _: contracts.merge(survivor, gone, "primary"))

    run(scan("2", **settings))

    (row,) = query(
        warehouse, "select merged_into_record_id as into from records where record_id = %s", gone
    )
    assert row["into"] == survivor


@pytest.mark.usefixtures("large")
def test_associations_left_out_before_a_kill_are_a_warning_or_are_read(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(associations, "ASSOCIATIONS_BATCH_SIZE", 50)
    monkeypatch.setattr("include.hubspot.client.backoff_s", lambda _: 0)
    left_out = portal.live_ids()[0]
    for deal_id in portal.live_ids():
        portal.associations[deal_id] = {"companies": [(4711, 341, None)]}

    def without_it(answer: Any) -> Any:
        document = json.loads(answer.body)
        document["results"] = [r for r in document["results"] if r["from"]["id"] != str(left_out)]
        answer.body = json.dumps(document).encode()
        return answer

    portal.faults = [Fault("rewritten", endpoint="associations", count=None, rewrite=without_it)]
    what = scan("1", **COMPANIES)
    killed_in(associations, "replace_associations", 3, what)
    portal.faults = []
    resumed(what)
    run(scan("2", **COMPANIES))

    assert scan_row(warehouse, what)["warnings"] or companies_of(warehouse, left_out) == [4711]


def test_a_scan_resumed_after_a_newer_one_takes_no_property_away_for_good(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", **PLAIN))
    older = scan("b", mode="full", **PLAIN)
    killed(older)
    define(portal, "size", None)
    fill(portal, size="9")
    run(scan("2", **PLAIN))
    after_newer = held(warehouse, "size")
    resumed(older)

    run(scan("3", **PLAIN))
    run(scan("4", **PLAIN))

    assert (after_newer, held(warehouse, "size")) == (300, 300)


def hide_from_the_token(portal: Portal) -> Callable[[], None]:
    (token,) = portal.tokens
    more = token.scopes
    token.scopes = tuple(s for s in more if "sensitive" not in s)
    return lambda: setattr(token, "scopes", more)


def archive_the_property(portal: Portal) -> Callable[[], None]:
    hidden = portal.definitions.pop("size")
    return lambda: portal.definitions.update(size=hidden)


@pytest.mark.parametrize("hide", [hide_from_the_token, archive_the_property])
def test_a_property_hidden_between_two_tries_is_read_when_it_is_back(
    warehouse: Warehouse, portal: Portal, hide: Callable[[Portal], Callable[[], None]]
) -> None:
    define(portal, "size")
    if hide is hide_from_the_token:
        portal.definitions["size"]["dataSensitivity"] = "sensitive"
        portal.tokens[0].scopes += ("crm.objects.deals.sensitive.read.v2",)
    fill(portal, size="9")
    run(scan("1", **PLAIN))
    what = scan("2", mode="full", **PLAIN)
    killed(what)
    show_again = hide(portal)
    resumed(what)
    show_again()

    run(scan("3", **PLAIN))

    assert scan_row(warehouse, what)["warnings"] == []
    assert held(warehouse, "size") == 300


@pytest.fixture
def contacts(warehouse: Warehouse, portal: Portal) -> StoredObject:
    """Contacts whose property `size` has been read."""
    contacts = portal.add_object("contacts", count=300)
    define(contacts, "size")
    fill(contacts, size="9")
    run(scan("1", **CONTACTS))
    return contacts


def test_an_object_refused_midway_had_rows_written_without_a_property(
    warehouse: Warehouse, portal: Portal, contacts: StoredObject
) -> None:
    hidden = contacts.definitions.pop("size")
    portal.faults = [Fault("403", endpoint="list:contacts", query="archived=true", count=None)]
    run(scan("2", mode="full", **CONTACTS))
    portal.faults = []
    contacts.definitions["size"] = hidden

    run(scan("3", **CONTACTS))

    assert held(warehouse, "size", "records") == 300


def test_an_object_that_a_retry_leaves_out_had_rows_written_without_a_property(
    warehouse: Warehouse, contacts: StoredObject
) -> None:
    hidden = contacts.definitions.pop("size")
    killed(scan("2", mode="full", **CONTACTS), "contacts")
    resumed(scan("2", mode="full", **PLAIN))
    contacts.definitions["size"] = hidden

    run(scan("3", **CONTACTS))

    assert held(warehouse, "size", "records") == 300


@pytest.mark.usefixtures("large")
def test_an_outdated_try_does_not_say_that_associations_are_known(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scan("1", **COMPANIES))
    outdated, changed = scan("2", mode="full", **COMPANIES), portal.live_ids()[0]
    note, is_first = Freshness.note, [True]

    def stopped_for_a_while(self: Freshness, what: str) -> None:
        if what.startswith("associations:") and is_first.pop():
            is_first.append(False)
            with warehouse.connect() as connection:
                end_scan(connection, outdated.id, ScanKilledError("-", remedy="-"))
            portal.associations[changed] = {"companies": [(4711, 5, "Primary")]}
            portal.update(changed, amount="1")
            portal.faults = [Fault("403", endpoint="associations", count=None)]
            run(scan("3", **COMPANIES))
            portal.faults = []
        note(self, what)

    monkeypatch.setattr(Freshness, "note", stopped_for_a_while)
    validate_token(outdated)
    with pytest.raises(OutdatedAttemptError):
        extract_deals(outdated, PAGES)

    run(scan("4", **COMPANIES))

    assert companies_of(warehouse, changed) == [4711]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("late", [False, True])
def test_a_late_check_keeps_what_a_later_scan_without_success_received(
    warehouse: Warehouse, portal: Portal, late: bool
) -> None:
    restored = portal.live_ids()[0]
    portal.associations[restored] = {"companies": [(4711, 341, None)]}
    portal.archive(restored)
    run(scan("1", **COMPANIES))
    earlier, later = scan("2", mode="incremental", **COMPANIES), scan("3", **COMPANIES)
    validate_token(earlier)
    extract_deals(earlier, PAGES)
    if not late:
        check_quality(earlier)
    portal.restore(restored)
    killed_in(associations, "replace_associations", 1, scan("3", mode="incremental", **COMPANIES))
    with warehouse.connect() as connection:
        end_scan(connection, later.id, ScanKilledError("-", remedy="-"))
    if late:
        check_quality(earlier)

    run(scan("4", mode="incremental", **COMPANIES))

    assert companies_of(warehouse, restored) == [4711]


def test_a_kill_does_not_lose_a_warning(warehouse: Warehouse, portal: Portal) -> None:
    portal.owners = [{**portal.owners[0], "id": "none"}]
    settings: dict[str, Any] = {
        "search_lag_s": 0,
        "refresh_after_s": 3_600,
        "objects": {**BARE, "owners": True},
    }
    what = scan("1", **settings)
    killed_in(scan_object, "plan_scan", 1, what)

    extract_deals(what, PAGES)

    (warning,) = scan_row(warehouse, what)["warnings"]
    assert "owners: an entry was left out" in warning
