"""Values that the tenant's views show as NULL are counted, by column, and named on the scan."""

import pytest

from include.pipeline.check_quality import check_quality
from include.warehouse.connection import Warehouse
from include.warehouse.records import DETAIL_CHARACTERS
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
from tests.hubspot_simulator.definitions import definition
from tests.support.scans import BARE, query, run, scan, scan_row

pytestmark = pytest.mark.slow

OBJECTS = {**BARE, "contacts": None}
#: Type → (texts that fit, texts that don't)
TEXTS = {
    "bool": (("true", "false", ""), ("true;false", "yes", "1", "True", " true")),
    "number": (("1343", "-1.5E7", " 7 ", ""), ("1343;1376", "12,50", "NaN", "1 000")),
    "date": (("2025-12-31", "1767139200000", ""), ("31.12.2025", "2025-02-30", "soon")),
    "datetime": (("2025-12-31T00:00:00Z", "1.7E12", ""), ("2025-W01", "1;2", "x" * 65_536)),
    "string": (("31.12.2025", "x;y"), ()),
}


@pytest.fixture
def portal(serve: Serve) -> Portal:
    """Deals and contacts with a property of each type, in which the first records misfit."""
    portal = portals.generated(deals=12, archived=1)
    portal.add_object("contacts", count=12, seed=1)
    for its in (portal.objects["deals"], portal.objects["contacts"]):
        for kind, (fitting, misfits) in TEXTS.items():
            its.definitions[f"my_{kind}"] = definition(f"my_{kind}", kind)
            for record_id, text in zip(its.live_ids(), [*misfits, *fitting], strict=False):
                its.update(record_id, **{f"my_{kind}": text})
        its.definitions["my_list"] = definition("my_list", "enumeration", "checkbox")
        its.update(its.live_ids()[0], my_list=";;a;b")
    serve(acme=portal)
    return portal


def expected(*objects: str) -> dict[str, int]:
    return {
        f"{name}.my_{kind}": len(misfits)
        for name in objects
        for kind, (_, misfits) in TEXTS.items()
        if misfits
    }


def status(warehouse: Warehouse, run_id: str) -> tuple[str, int | None]:
    (row,) = query(
        warehouse,
        "select status, observed from quality_results where scan_id = %s"
        " and check_name = 'values_fit_their_columns'",
        scan(run_id).id,
    )
    return row["status"], row["observed"]


@pytest.mark.usefixtures("portal")
def test_misfits_of_every_typed_column_of_every_objects_view_are_counted(
    warehouse: Warehouse,
) -> None:
    run(scan("1", objects=OBJECTS))

    counted = expected("deals", "contacts")
    assert scan_row(warehouse, scan("1"))["misfits"] == counted
    assert status(warehouse, "1") == ("warned", sum(counted.values()))
    for name in counted:
        view, column = name.split(".")
        (row,) = query(
            warehouse,
            f"select count(*) as missing from {warehouse.schema}__acme.{view}"
            f" where {column} is null and properties ->> %s <> ''",
            column,
        )
        assert row["missing"] == counted[name]


def test_the_records_with_misfits_are_stored_with_column_and_value(
    warehouse: Warehouse, portal: Portal
) -> None:
    deal_id = portal.live_ids()[-1]
    portal.update(deal_id, amount="a lot")

    run(scan("1", objects=OBJECTS))

    found = query(
        warehouse, "select object, record_id, detail from quality_records order by number"
    )
    assert len(found) == sum(expected("deals", "contacts").values()) + 1
    assert {"object": "deals", "record_id": deal_id, "detail": "amount: a lot"} in found
    first = portal.objects["contacts"].live_ids()[0]
    assert {"object": "contacts", "record_id": first, "detail": "my_bool: true;false"} in found
    assert max(len(row["detail"]) for row in found) == DETAIL_CHARACTERS


@pytest.mark.usefixtures("portal")
def test_a_full_scan_that_writes_nothing_counts_them_as_well(warehouse: Warehouse) -> None:
    run(scan("1", objects=OBJECTS))
    assert run(scan("2", mode="full", objects=OBJECTS))["deals_written"] == 0

    assert scan_row(warehouse, scan("2"))["misfits"] == expected("deals", "contacts")


def test_an_incremental_scan_counts_those_of_the_records_it_received(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=OBJECTS))
    contacts = portal.objects["contacts"]
    contacts.update(contacts.live_ids()[-1], my_number="a lot")

    run(scan("2", search_lag_s=0, objects=OBJECTS))
    run(scan("3", search_lag_s=0, objects=OBJECTS))

    assert scan_row(warehouse, scan("2"))["misfits"] == {"contacts.my_number": 1}
    # no deal was received, and still it is a warning
    assert status(warehouse, "2") == ("warned", 1)


def test_of_a_property_that_gets_another_type_all_values_are_counted(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=OBJECTS))
    portal.definitions["my_string"] |= {"type": "number"}

    run(scan("2", search_lag_s=0, objects=OBJECTS))

    assert scan_row(warehouse, scan("2"))["misfits"] == {"deals.my_string": 2}


def test_a_column_that_keeps_its_old_type_is_counted_by_what_it_shows(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=OBJECTS))
    with warehouse.connect() as connection:
        connection.execute(
            f"create view {warehouse.schema}.report as"
            f" select my_number from {warehouse.schema}__acme.deals"
        )
    portal.definitions["my_number"] |= {"type": "string"}

    run(scan("2", mode="full", objects=OBJECTS))

    counted = expected("deals", "contacts")
    assert scan_row(warehouse, scan("2"))["misfits"] == counted


def test_a_record_is_listed_once_if_its_value_fits_neither_type_of_a_column(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=OBJECTS))
    with warehouse.connect() as connection:
        connection.execute(
            f"create view {warehouse.schema}.report as"
            f" select my_number from {warehouse.schema}__acme.deals"
        )
    portal.definitions["my_number"] |= {"type": "bool"}

    run(scan("2", mode="full", objects=OBJECTS))

    listed = query(
        warehouse,
        "select record_id, detail from quality_records where scan_id = %s and object = 'deals'"
        " and detail like 'my_number: %%'",
        scan("2").id,
    )
    assert listed
    assert len({(row["record_id"], row["detail"]) for row in listed}) == len(listed)


def test_checking_again_counts_again_and_adds_nothing(warehouse: Warehouse, portal: Portal) -> None:
    deal = portal.live_ids()[0]
    portal.definitions["priority"] = definition("priority", "number")
    portal.update(deal, closedate="soon", priority="high", my_bool="true")
    run(scan("1", objects=OBJECTS))
    before = scan_row(warehouse, scan("1"))["misfits"]

    check_quality(scan("1", objects=OBJECTS))

    assert scan_row(warehouse, scan("1"))["misfits"] == before
    # the column of the table is `close_date`; `priority` of the view is another than the table's
    assert before["close_date"] == before["deals.priority"] == 1


@pytest.mark.usefixtures("portal")
def test_without_definitions_there_are_no_columns_to_misfit(warehouse: Warehouse) -> None:
    run(scan("1", objects={**OBJECTS, "deal_properties": False}))

    assert scan_row(warehouse, scan("1"))["misfits"] == {}
    assert status(warehouse, "1") == ("passed", 0)
