import csv
import json

import pytest

from tests.support.status_rows import SECRET_VALUE
from tests.web.api.conftest import DEALS, WRONG
from tests.web.api.servers import Server

pytestmark = pytest.mark.e2e


def test_deals_in_pages_are_all_deals_in_order(simple: Server, acme_scan: str) -> None:
    ids, cursor = [], ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = simple.get(f"/scans/{acme_scan}/deals?limit=500{more}").json()
        ids += [deal["deal_id"] for deal in page["deals"]]
        cursor = page["next_cursor"]

    assert ids == list(range(1, DEALS + 1))


def test_a_deal_has_typed_columns_and_every_property(simple: Server, acme_scan: str) -> None:
    (deal,) = simple.get(f"/scans/{acme_scan}/deals?limit=1").json()["deals"]

    assert deal["deal_name"] == 'Deal 1 😀 "quoted"'
    assert deal["amount"] == 1.25
    assert deal["created_at"] == "2026-01-01T00:00:00Z"
    assert deal["archived"] is False
    assert deal["properties"] == {"dealname": "Deal 1", "secret": SECRET_VALUE, "empty": None}


@pytest.mark.parametrize("by", ["accept", "format"])
def test_the_whole_result_as_ndjson(simple: Server, acme_scan: str, by: str) -> None:
    headers = {"Accept": "application/x-ndjson"} if by == "accept" else {}
    parameter = "?format=ndjson" if by == "format" else ""

    answer = simple.get(f"/scans/{acme_scan}/deals{parameter}", headers=headers)

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert "Content-Length" not in answer.headers
    deals = [json.loads(line) for line in answer.text.splitlines()]
    assert [deal["deal_id"] for deal in deals] == list(range(1, DEALS + 1))


def test_a_line_is_what_a_page_holds(simple: Server, acme_scan: str) -> None:
    line = simple.get(f"/scans/{acme_scan}/deals?format=ndjson").text.splitlines()[0]

    (deal,) = simple.get(f"/scans/{acme_scan}/deals?limit=1").json()["deals"]

    assert json.loads(line) == deal


def test_format_wins_over_accept(simple: Server, acme_scan: str) -> None:
    headers = {"Accept": "application/x-ndjson"}

    answer = simple.get(f"/scans/{acme_scan}/deals?format=json&limit=1", headers=headers)

    assert answer.headers["Content-Type"] == "application/json"


def test_a_scan_that_wrote_nothing_has_no_deals(simple: Server, failed_scan: str) -> None:
    page = simple.get(f"/scans/{failed_scan}/deals")
    stream = simple.get(f"/scans/{failed_scan}/deals?format=ndjson")

    assert page.json() == {"deals": [], "next_cursor": None}
    assert (stream.status_code, stream.text) == (200, "")


def test_records_that_a_check_found_in_pages_are_all_in_order(
    simple: Server, acme_scan: str
) -> None:
    records, cursor = [], ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = simple.get(f"/scans/{acme_scan}/checks/values_fit?limit=2{more}").json()
        records += page["records"]
        cursor = page["next_cursor"]

    assert [(record["record_id"], record["detail"]) for record in records] == list(WRONG)
    assert {record["object"] for record in records} == {"deals"}
    (result,) = (
        check
        for check in simple.get(f"/scans/{acme_scan}").json()["quality"]
        if check["check"] == "values_fit"
    )
    assert result["records"] == len(WRONG)


def test_the_records_as_csv_hold_no_formula_for_a_spreadsheet(
    simple: Server, acme_scan: str
) -> None:
    answer = simple.get(f"/scans/{acme_scan}/checks/values_fit?format=csv&limit=1")

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="acme-values_fit.csv"'
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["record_id"] for row in rows] == [str(deal_id) for deal_id, _ in WRONG]
    assert [row["detail"] for row in rows] == ["amount: a lot", "'" + str(WRONG[1][1]), ""]


def test_a_check_that_found_nothing_has_no_records(simple: Server, acme_scan: str) -> None:
    page = simple.get(f"/scans/{acme_scan}/checks/every_deal_is_there")

    assert page.json() == {"records": [], "next_cursor": None}


def test_a_check_that_did_not_run_is_not_found(simple: Server, acme_scan: str) -> None:
    answer = simple.get(f"/scans/{acme_scan}/checks/no_such_check")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
