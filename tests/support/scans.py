"""Running scans step by step as the DAG does, and looking at what they left."""

from typing import Any

from psycopg.rows import dict_row

from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import Extracted, extract_deals
from include.pipeline.validate_token import validate_token
from include.scan import Scan, Window
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.scans import ScanLog
from tests.hubspot_simulator import Portal
from tests.support.truth import Deals, as_stored, present, stored

#: Pages per chunk.
PAGES = 10
#: A tenant's `objects` that leave nothing but deals.
BARE = {
    "deal_pipelines": False,
    "owners": False,
    "users": False,
    "deal_associations": False,
    "deal_property_history": False,
}


class Killed(BaseException):
    """Nothing catches it, so nothing is tidied up: the nearest to a kill within one process."""


def scan(
    run_id: str = "manual__1",
    tenant_id: str = "acme",
    mode: str = "auto",
    window: Window | None = None,
    **settings: Any,
) -> Scan:
    """A scan of a tenant; *settings* are keys of its entry in the tenants file.

    Everything is read with every scan unless they say otherwise: tests don't wait for an hour. And
    no full scan becomes due while a test runs.
    """
    entry = {"id": tenant_id, "refresh_after_s": 0, "full_scan_schedule": None, **settings}
    return Scan(Tenant.model_validate(entry), run_id, mode, window)


def run(what: Scan) -> Extracted:
    validate_token(what)
    extracted = extract_deals(what, PAGES)
    check_quality(what)
    return extracted


def attempt(warehouse: Warehouse, what: Scan) -> ScanLog:
    """The next try of a scan's extraction."""
    log = ScanLog(warehouse, what)
    log.open()
    return log.next_attempt()


def deals(warehouse: Warehouse, tenant_id: str = "acme") -> Deals:
    """Every row of the tenant, whatever became of the deal."""
    with warehouse.connect() as connection:
        return stored(connection, warehouse.schema, tenant_id)


def assert_equals_the_portal(
    warehouse: Warehouse, portal: Portal, tenant_id: str = "acme", *, but: str = ""
) -> None:
    """The deals that are there are the portal's, value by value; merged ones point to the last.

    A merge into a deal that was deleted for good before a scan read it is known to no answer of
    HubSpot's: then a merged one points to an earlier survivor.

    :param but: a property that is not compared.
    """
    with warehouse.connect() as connection:
        held = present(connection, warehouse.schema, tenant_id)
        merged = dict(
            connection.execute(
                f"select deal_id, merged_into_deal_id from {warehouse.schema}.deals"
                " where _tenant_id = %s and merged_into_deal_id is not null",
                [tenant_id],
            ).fetchall()
        )
    truth = as_stored(portal.truth())
    assert _without(but, held) == _without(but, truth)
    known = set(map(int, truth))
    wrong = {
        deal_id: (into, survivors)
        for deal_id, into in merged.items()
        if into not in (survivors := _survivors(portal, deal_id))
        or (into != survivors[-1] and survivors[-1] in known)
    }
    assert wrong == {}


def _without(name: str, deals: Deals) -> Deals:
    return {
        deal_id: (archived, {n: value for n, value in properties.items() if n != name})
        for deal_id, (archived, properties) in deals.items()
    }


def _survivors(portal: Portal, deal_id: int) -> list[int]:
    """Return the deals that this one was merged into, one after the other."""
    survivors: list[int] = []
    while deal_id in portal.merged:
        deal_id = portal.merged[deal_id]
        survivors.append(deal_id)
    return survivors


def query(warehouse: Warehouse, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    """Run SQL whose tables are found in the warehouse's schema."""
    with warehouse.connect() as connection:
        connection.execute(f"set local search_path to {warehouse.schema}")
        cursor = connection.cursor(row_factory=dict_row)
        return cursor.execute(statement, list(parameters)).fetchall()


def scan_row(warehouse: Warehouse, what: Scan) -> dict[str, Any]:
    (row,) = query(warehouse, "select * from scans where scan_id = %s", what.id)
    return row


def object_row(warehouse: Warehouse, what: Scan, name: str = "deals") -> dict[str, Any]:
    (row,) = query(
        warehouse, "select * from scan_objects where scan_id = %s and object = %s", what.id, name
    )
    return row


def ids_received(warehouse: Warehouse, what: Scan, name: str = "deals") -> list[int]:
    """Return the ids of all records that the tries of an extraction loaded, repeated ones too."""
    chunks = "scan_chunks where scan_id = %s and object = %s"
    rows = query(warehouse, f"select unnest(ids) as id from {chunks}", what.id, name)
    return sorted(row["id"] for row in rows)
