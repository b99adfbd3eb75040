import pytest

from include.warehouse.connection import Warehouse
from include.warehouse.records import RecordTable
from tests.support.status_rows import insert

ROW = {"archived": False, "_scan_id": "1", "_extracted_at": "2026-11-24Z", "properties": "{}"}


def add(warehouse: Warehouse, tenant_id: str, object_name: str, *ids: int) -> RecordTable:
    """Add rows of one object of a tenant."""
    for record_id in ids:
        key = {"deal_id": record_id}
        if object_name != "deals":
            key = {"object": object_name, "record_id": record_id}
        table = "deals" if object_name == "deals" else "records"
        insert(warehouse, table, {"_tenant_id": tenant_id, **key, **ROW})
    return RecordTable(warehouse, tenant_id, object_name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(("acme", "deals"), ("globex", "deals"), id="deals of two tenants"),
        pytest.param(("acme", "contacts"), ("globex", "contacts"), id="contacts of two tenants"),
        pytest.param(("acme", "contacts"), ("acme", "companies"), id="two objects of a tenant"),
    ],
)
def test_a_chain_of_merges_stays_with_its_tenant_and_object(
    warehouse: Warehouse, ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    our_table = add(warehouse, *ours, 1, 2, 9)
    add(warehouse, *theirs, 1, 2, 9, 10).mark_merged({1: 9, 2: 9, 9: 10})

    our_table.mark_merged({1: 9, 2: 9})

    assert dict(
        our_table.query("select row.{id}, row.{merged_into} from {table} as row where {of_object}")
    ) == {1: 9, 2: 9, 9: None}


def test_merges_in_a_circle_come_to_an_end(warehouse: Warehouse) -> None:
    table = add(warehouse, "acme", "deals", 1, 2, 3)

    assert table.mark_merged({1: 2, 2: 3, 3: 1}) == 3
