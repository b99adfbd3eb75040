"""A scan that writes every row again repairs what was damaged in PostgreSQL only."""

from dataclasses import replace
from typing import Any

import pytest

from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.scan import Scan
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
from tests.support.scans import Killed, assert_equals_the_portal, object_row, query, run, scan

pytestmark = pytest.mark.slow

OBJECTS = {"contacts": {"property_history": ["email"], "associations": ["companies"]}}
#: What HubSpot sent, as far as it is text; the hashes that say it is held are left as they are.
DAMAGE = {
    "deals": "deal_name = 'GrÃ¶ÃŸe', currency = 'x', url = 'x',"
    ' properties = properties || \'{"dealname": "Ã¤", "x": 1}\','
    " amount = -1, archived_at = null",
    "records": "url = 'x', properties = '{\"x\": \"Ã¤\"}', created_at = null",
    "associations": "label = 'Ã¤'",
    "property_history": "value = 'Ã¤', source_id = 'Ã¤'",
    "owners": "first_name = 'Ã¤', email = 'Ã¤', teams = null",
    "users": "email = 'Ã¤', role_ids = '[]', super_admin = true",
    "teams": "name = 'Ã¤', user_ids = '[]'",
    "roles": "name = 'Ã¤', requires_billing_write = true",
    "pipelines": "label = 'Ã¤'",
    "pipeline_stages": "stage_label = 'Ã¤', pipeline_label = 'Ã¤', probability = 7",
    "property_definitions": "label = 'Ã¤', options = '[]', definition = '{}'",
}
#: Columns that say when a row was written.
MOVING = {"_scan_id", "_extracted_at", "last_seen_at", "first_seen_at"}


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=60, archived=5, associations=True)
    portal.add_object("contacts", count=120, archived=3, seed=1)
    contacts = portal.objects["contacts"]
    contacts.update(contacts.live_ids()[0], email="größe@example.com")
    portal.update(portal.live_ids()[0], dealname="Größe ändern", dealstage="contractsent")
    serve(acme=portal)
    return portal


def rewriting(run_id: str) -> Scan:
    return replace(scan(run_id, mode="full", objects=OBJECTS), rewrite_rows=True)


def everything(warehouse: Warehouse) -> dict[str, list[dict[str, Any]]]:
    return {
        table: sorted(
            ({k: v for k, v in row.items() if k not in MOVING} for row in query(
                warehouse, f"select * from {table}"
            )),
            key=str,
        )
        for table in DAMAGE
    }  # fmt: skip


def damage(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"set local search_path to {warehouse.schema}")
        for table, assignments in DAMAGE.items():
            cursor = connection.execute(f"update {table} set {assignments}".encode())
            assert cursor.rowcount, table


def test_every_row_is_written_again(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", objects=OBJECTS))
    before = everything(warehouse)
    damage(warehouse)
    assert run(scan("2", mode="full", objects=OBJECTS))["deals_written"] == 0
    assert everything(warehouse)["deals"] != before["deals"]

    run(rewriting("3"))

    assert everything(warehouse) == before
    assert_equals_the_portal(warehouse, portal)
    deals = object_row(warehouse, rewriting("3"))
    assert (deals["mode"], deals["reason"]) == ("full", "rewriting all rows was requested")
    assert deals["rows_written"] == deals["records_received"] == 65
    assert object_row(warehouse, rewriting("3"), "contacts")["rows_written"] == 123


def test_the_scan_after_it_writes_nothing(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1", objects=OBJECTS))
    run(rewriting("2"))

    assert run(scan("3", mode="full", objects=OBJECTS))["deals_written"] == 0

    assert object_row(warehouse, scan("3"), "contacts")["rows_written"] == 0


@pytest.mark.parametrize("name", ["deals", "contacts"])
def test_a_try_that_was_killed_is_gone_on_with(
    warehouse: Warehouse, portal: Portal, name: str
) -> None:
    run(scan("1", objects=OBJECTS))
    before = everything(warehouse)
    damage(warehouse)
    what = rewriting("2")
    validate_token(what)

    def kill(checkpoint: dict[str, Any]) -> None:
        if checkpoint["object"] == name:
            raise Killed

    with pytest.raises(Killed):
        extract_deals(what, 1, kill)
    assert extract_deals(what, 1)["went_on"]
    check_quality(what)

    assert everything(warehouse) == before
