import json

import msgspec
import psycopg
import pytest

from include.errors import WarehouseUnavailableError
from include.warehouse.connection import Warehouse
from include.web.cursor import InvalidCursorError
from include.web.deals import deals_page, deals_stream
from tests.support.scans import query
from tests.support.status_rows import add_deals, add_scan, run_of
from tests.support.waiting import until

SCAN = run_of("acme", 1)[0]


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    add_scan(warehouse, "acme", 1)
    add_deals(warehouse, "acme", 1, 1_234)
    add_deals(warehouse, "globex", 1, 10)
    return warehouse


def test_pages_join_to_all_deals_of_the_scan(filled: Warehouse) -> None:
    ids, cursor = [], None
    while True:
        page = deals_page(filled, SCAN, 500, cursor)
        ids += [deal["deal_id"] for deal in page.deals]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert ids == list(range(1, 1_235))


def test_the_last_page_says_so_even_if_it_is_full(filled: Warehouse) -> None:
    assert deals_page(filled, SCAN, 1_234).next_cursor is None
    assert deals_page(filled, SCAN, 1_233).next_cursor is not None


def test_the_stream_is_all_deals_in_order(filled: Warehouse) -> None:
    ids = [deal["deal_id"] for deals in deals_stream(filled, SCAN) for deal in deals]

    assert ids == list(range(1, 1_235))


def test_a_stream_shows_the_moment_at_which_it_began(filled: Warehouse) -> None:
    stream = deals_stream(filled, SCAN)
    first = len(next(stream))

    query(filled, "delete from deals where deal_id > 100 returning deal_id")
    rest = sum(len(deals) for deals in stream)

    assert first + rest == 1_234


def open_streams(warehouse: Warehouse) -> int:
    """Return how many transactions of streams PostgreSQL holds open."""
    return len(
        query(
            warehouse,
            "select pid from pg_stat_activity where state = 'idle in transaction'"
            " and query ilike %s and datname = current_database()",
            "fetch forward%",
        )
    )


def test_a_stream_that_is_not_read_to_its_end_gives_its_connection_back(
    filled: Warehouse,
) -> None:
    stream = deals_stream(filled, SCAN)
    next(stream)
    before = open_streams(filled)

    stream.close()

    assert before == 1
    until(lambda: not open_streams(filled), "PostgreSQL has ended the session", timeout_s=30.0)


def test_a_stream_that_nobody_reads_on_is_ended_by_postgresql(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.web.warehouse.IDLE_TIMEOUT", "300ms")
    stream = deals_stream(filled, SCAN)
    next(stream)
    until(lambda: not open_streams(filled), "PostgreSQL has ended the session", timeout_s=30.0)

    with pytest.raises((WarehouseUnavailableError, psycopg.Error)):
        next(stream)


def test_properties_are_passed_on_as_postgresql_holds_them(filled: Warehouse) -> None:
    query(
        filled,
        "update deals set properties = %s::jsonb where deal_id = 1 returning deal_id",
        json.dumps({"odd": '\u2028 </script> \\ " 💶', "n": "1e400"}),
    )

    (deal,) = deals_page(filled, SCAN, 1).deals

    encoded = json.loads(msgspec.json.encode(deal))
    assert encoded["properties"] == {"odd": '\u2028 </script> \\ " 💶', "n": "1e400"}


def test_numbers_that_are_no_json_numbers_are_null(filled: Warehouse) -> None:
    query(filled, "update deals set amount = 'NaN' where deal_id = 1 returning deal_id")

    (deal,) = deals_page(filled, SCAN, 1).deals

    assert json.loads(msgspec.json.encode(deal))["amount"] is None


@pytest.mark.parametrize("cursor", ["", "abc", "A" * 30])
def test_a_bad_cursor_is_refused(filled: Warehouse, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        deals_page(filled, SCAN, 10, cursor)


def test_pages_are_found_by_an_index(filled: Warehouse) -> None:
    with filled.connect() as connection:
        connection.execute(f"analyze {filled.schema}.deals")

    (plan,) = query(
        filled,
        "explain (format json) select deal_id from deals where _scan_id = %s and deal_id > 5"
        " order by deal_id limit 10",
        SCAN,
    )

    assert "deals_scan" in json.dumps(plan["QUERY PLAN"])
    assert '"Sort"' not in json.dumps(plan["QUERY PLAN"])


def test_before_there_are_tables_a_scan_has_no_deals(empty_warehouse: Warehouse) -> None:
    assert deals_page(empty_warehouse, SCAN).deals == []
    assert list(deals_stream(empty_warehouse, SCAN)) == []
