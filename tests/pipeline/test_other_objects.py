"""Other CRM objects than deals: named in the tenants file, read by the same code."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import QualityError, TenantsFileError
from include.hubspot.crm_objects import STANDARD_OBJECTS
from include.scan import Window
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, Token, portals
from tests.hubspot_simulator.definitions import definition
from tests.support.scans import (
    BARE,
    assert_equals_the_portal,
    object_row,
    query,
    run,
    scan,
    scan_row,
)

MACHINES = {"object_type": "2-7654321"}


pytestmark = pytest.mark.slow


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=5)
    portal.add_object("contacts", count=120, archived=7, seed=1)
    portal.add_object("companies", count=30, seed=2)
    portal.add_object("machines", object_type="2-7654321", count=15, seed=3)
    serve(acme=portal)
    return portal


def present(warehouse: Warehouse, name: str) -> dict[str, tuple[bool, dict[str, Any]]]:
    return {
        str(row["record_id"]): (
            row["archived"],
            {k: v for k, v in row["properties"].items() if v is not None},
        )
        for row in query(
            warehouse,
            "select * from records where _tenant_id = 'acme' and object = %s"
            " and vanished_at is null and merged_into_record_id is null",
            name,
        )
    }


def truth(portal: Portal, name: str) -> dict[str, tuple[bool, dict[str, Any]]]:
    return {
        record["id"]: (
            record["archived"],
            {k: v for k, v in record["properties"].items() if v is not None},
        )
        for record in portal.objects[name].truth()
    }


def test_any_object_is_loaded_by_naming_it(warehouse: Warehouse, portal: Portal) -> None:
    objects = {**BARE, "contacts": None, "companies": None, "machines": MACHINES}

    extracted = run(scan(objects=objects))

    assert extracted["objects"] == ["deals", "companies", "contacts", "machines"]
    for name in ("companies", "contacts", "machines"):
        assert present(warehouse, name) == truth(portal, name)
        found = object_row(warehouse, scan(), name)
        assert (found["mode"], found["unexplained"]) == ("full", 0)
        assert found["records_received"] == len(truth(portal, name))
    assert extracted["deals_loaded"] == 5


@pytest.mark.parametrize(
    "name", [pytest.param("contacts", id="lastmodifieddate"), pytest.param("machines", id="custom")]
)
def test_later_scans_read_what_changed_of_it(
    warehouse: Warehouse, portal: Portal, name: str
) -> None:
    objects = {**BARE, "contacts": None, "machines": MACHINES}
    run(scan("1", search_lag_s=0, objects=objects))
    records = portal.objects[name]
    updated, archived, one, other, gone = records.live_ids()[:5]
    prop = next(iter(records.by_id[updated].properties))
    records.update(updated, **{prop: "77"})
    records.archive(archived)
    merged = records.merge(one, other)
    records.purge(gone)
    created = records.create()

    run(scan("2", search_lag_s=0, objects=objects))

    found = object_row(warehouse, scan("2"), name)
    assert (found["mode"], found["unexplained"]) == ("incremental", 0)
    assert present(warehouse, name) == truth(portal, name)
    assert {str(created.id), str(merged.id)} <= set(present(warehouse, name))
    rows = query(
        warehouse,
        "select record_id, vanished_at is not null as vanished, merged_into_record_id as survivor"
        " from records where object = %s and record_id = any(%s) order by record_id",
        name,
        [one, other, gone],
    )
    assert [(row["record_id"], row["vanished"], row["survivor"]) for row in rows] == sorted(
        [(one, False, merged.id), (other, False, merged.id), (gone, True, None)]
    )


def test_an_object_added_later_is_read_whole_while_deals_go_on(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=BARE))

    second = run(scan("2", objects={**BARE, "contacts": None}))

    assert second["mode"] == "incremental"
    assert object_row(warehouse, scan("2"), "contacts")["mode"] == "full"
    assert present(warehouse, "contacts") == truth(portal, "contacts")


def test_two_objects_with_the_same_id_are_two_rows(warehouse: Warehouse, portal: Portal) -> None:
    record = portal.objects["contacts"].by_id[portal.objects["contacts"].live_ids()[0]]
    twin = portal.objects["companies"].by_id[portal.objects["companies"].live_ids()[0]]
    portal.objects["companies"].purge(twin.id)
    twin.id = record.id
    twin.properties["hs_object_id"] = str(record.id)
    portal.objects["companies"].records.add(twin)

    run(scan(objects={**BARE, "contacts": None, "companies": None}))

    assert present(warehouse, "contacts") == truth(portal, "contacts")
    assert present(warehouse, "companies") == truth(portal, "companies")


def test_associations_and_histories_of_any_object(warehouse: Warehouse, portal: Portal) -> None:
    contacts = portal.objects["contacts"]
    contact, company = contacts.live_ids()[0], portal.objects["companies"].live_ids()[0]
    contacts.associate(contact, "companies", company)
    prop = next(n for n in ("firstname", "email") if n in contacts.definitions)
    contacts.update(contact, **{prop: "Ada"})
    entry = {"associations": ["companies"], "property_history": [prop]}

    run(scan(objects={**BARE, "contacts": entry}))

    links = query(warehouse, "select * from associations where from_object = 'contacts'")
    assert [(row["from_id"], row["to_object"], row["to_id"]) for row in links] == [
        (contact, "companies", company)
    ]
    values = query(
        warehouse,
        "select value from property_history where object = 'contacts' and record_id = %s"
        " order by changed_at desc",
        contact,
    )
    assert values[0]["value"] == "Ada"


def test_deals_are_associated_with_custom_objects_by_their_type(
    warehouse: Warehouse, portal: Portal
) -> None:
    deal, machine = portal.live_ids()[0], portal.objects["machines"].live_ids()[0]
    portal.associate(deal, "2-7654321", machine, type_id=77, label="Sold with")

    run(scan(objects={**BARE, "deal_associations": ["2-7654321"]}))

    (link,) = query(warehouse, "select * from associations")
    assert (link["to_object"], link["to_id"], link["label"]) == ("2-7654321", machine, "Sold with")


def without(portal: Portal, *scopes: str) -> None:
    token = portal.tokens[0]
    kept = tuple(scope for scope in token.scopes if scope not in scopes)
    portal.tokens[0] = Token(token.text, scopes=kept)


def test_without_its_scope_an_object_is_left_out_and_the_scan_names_the_scope(
    warehouse: Warehouse, portal: Portal
) -> None:
    without(portal, "crm.objects.contacts.read", "crm.schemas.contacts.read")

    extracted = run(scan(objects={**BARE, "contacts": None, "companies": None}))

    assert extracted["deals_loaded"] == 5
    assert extracted["objects"] == ["deals", "companies"]
    (warning,) = scan_row(warehouse, scan())["warnings"]
    assert warning.startswith("contacts were not read: the token lacks crm.")
    assert "contacts.read" in warning
    skipped = object_row(warehouse, scan(), "contacts")
    assert (skipped["mode"], skipped["watermark"]) == ("skipped", None)


def test_when_the_scope_is_granted_the_object_is_read_whole(
    warehouse: Warehouse, portal: Portal
) -> None:
    granted = portal.tokens[0]
    without(portal, "crm.objects.contacts.read", "crm.schemas.contacts.read")
    run(scan("1", objects={**BARE, "contacts": None}))
    portal.tokens[0] = granted

    run(scan("2", objects={**BARE, "contacts": None}))

    assert object_row(warehouse, scan("2"), "contacts")["mode"] == "full"
    assert present(warehouse, "contacts") == truth(portal, "contacts")


def test_a_type_that_the_portal_does_not_have_is_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    extracted = run(scan(objects={**BARE, "robots": {"object_type": "2-999"}}))

    assert extracted["deals_loaded"] == 5
    (warning,) = scan_row(warehouse, scan())["warnings"]
    assert "robots were not read: HubSpot does not list object type '2-999'" in warning


def test_associations_with_an_object_that_may_not_be_read_are_left_out(
    warehouse: Warehouse, portal: Portal
) -> None:
    deal = portal.live_ids()[0]
    portal.associate(deal, "companies", portal.objects["companies"].live_ids()[0])
    without(portal, "crm.objects.contacts.read")

    run(scan(objects={**BARE, "deal_associations": ["companies", "contacts"]}))

    (warning,) = scan_row(warehouse, scan())["warnings"]
    assert warning == (
        "deals: associations with contacts were not read: "
        "the token lacks crm.objects.contacts.read."
    )
    assert len(query(warehouse, "select from associations where to_object = 'companies'")) == 1


def test_a_window_is_read_of_every_object(warehouse: Warehouse, portal: Portal) -> None:
    contacts = portal.objects["contacts"]
    moments = sorted(datetime.fromisoformat(r["updatedAt"]) for r in contacts.truth())
    window = Window(moments[0], moments[0] + timedelta(hours=1))

    run(scan(window=window, objects={**BARE, "contacts": None}))

    live = query(warehouse, "select updated_at from records where not archived")
    assert live
    assert all(window.start <= row["updated_at"] < window.end for row in live)
    assert datetime.now(UTC) > window.end


def test_views_of_another_object_have_its_properties(warehouse: Warehouse, portal: Portal) -> None:
    run(scan(objects={**BARE, "contacts": None}))

    schema = f"{warehouse.schema}__acme"
    live = query(warehouse, f"select * from {schema}.contacts")
    assert len(live) == 120
    assert {"record_id", "email"} <= set(live[0])
    assert len(query(warehouse, f"select from {schema}.contacts_all")) == 127


# Standard objects

#: Name in the tenants file → HubSpot's own, where that is another.
RENAMED = {"goals": "goal_targets", "payments": "commerce_payments"}


def test_every_standard_object_is_loaded_by_its_name_alone(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=1)
    # the key `users` of the tenants file is the switch of the account's users
    names = [name for name in STANDARD_OBJECTS if name not in ("deals", "users")]
    # a load takes a fifth of a second: those with a path of their own have records
    loaded = ("courses", *RENAMED)
    for name in (*names, "users"):
        portal.add_object(RENAMED.get(name, name), count=2 if name in loaded else 0)
    serve(acme=portal)

    run(scan(objects={**BARE, **dict.fromkeys(names), "crm_users": {"object_type": "users"}}))

    assert scan_row(warehouse, scan())["warnings"] == []
    modes = query(warehouse, "select object, mode from scan_objects where object <> 'deals'")
    read = dict.fromkeys([*names, "crm_users"], "full")
    assert {row["object"]: row["mode"] for row in modes} == read
    for name in loaded:
        assert present(warehouse, name) == truth(portal, RENAMED.get(name, name)) != {}


def test_without_its_scope_the_scan_names_an_objects_own_scope(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=1)
    portal.add_object("goal_targets", count=1)
    portal.add_object("commerce_payments", count=1)
    portal.tokens[0] = Token(portal.tokens[0].text, scopes=("crm.objects.deals.read",))
    serve(acme=portal)

    run(scan(objects={**BARE, "goals": None, "payments": None}))

    assert sorted(scan_row(warehouse, scan())["warnings"]) == [
        "goals were not read: the token lacks crm.objects.goals.read",
        "payments were not read: the token lacks crm.objects.commercepayments.read",
    ]


def test_associations_lead_to_standard_objects_by_their_names(
    warehouse: Warehouse, portal: Portal
) -> None:
    deal = portal.live_ids()[0]
    portal.associate(deal, "0-162", 7)

    run(scan(objects={**BARE, "deal_associations": ["services"]}))

    (link,) = query(warehouse, "select * from associations")
    assert (link["to_object"], link["to_id"]) == ("services", 7)


@pytest.mark.parametrize("refusal", ["400", "404"])
def test_an_object_that_cannot_be_searched_is_read_from_its_list_by_every_scan(
    warehouse: Warehouse, portal: Portal, refusal: str
) -> None:
    contracts = portal.add_object("contracts", count=450, archived=7, seed=5)
    portal.add_fault(Fault(refusal, endpoint="search:contracts", count=1_000))
    objects = {**BARE, "contracts": {"property_history": ["name"]}}
    live = contracts.live_ids()

    run(scan("1", search_lag_s=0, objects=objects))
    first = present(warehouse, "contracts")
    assert first == truth(portal, "contracts")

    contracts.update(live[0], name="updated")
    contracts.drift(live[1], weight="815")
    contracts.archive(live[2])
    contracts.restore(contracts.archived_ids()[-1])
    contracts.merge(live[3], live[4])
    contracts.purge(live[5])
    contracts.create(name="created")
    run(scan("2", search_lag_s=0, objects=objects))

    assert present(warehouse, "contracts") == truth(portal, "contracts") != first
    for run_id, received in (("1", 457), ("2", 456)):
        found = object_row(warehouse, scan(run_id), "contracts")
        assert (found["mode"], found["records_received"]) == ("full", received)
        assert found["reason"].startswith("HubSpot's search refuses this object")
        assert (found["portal_live"], found["unexplained"]) == (None, None)
        assert found["watermark"] is None, "the next scan reads everything"
        assert scan_row(warehouse, scan(run_id))["warnings"] == []
        assert object_row(warehouse, scan(run_id))["unexplained"] == 0
    assert query(warehouse, "select value from property_history where value = 'updated'")


def test_a_window_of_an_object_without_search_reads_its_list_and_moves_nothing(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.add_object("contracts", count=3)
    window = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))

    run(scan(window=window, objects={**BARE, "contracts": None}))

    assert present(warehouse, "contracts") == truth(portal, "contracts")
    found = object_row(warehouse, scan(), "contracts")
    assert (found["mode"], found["watermark"]) == ("full", None)


def test_an_object_that_search_refuses_from_now_on_is_read_from_its_list(
    warehouse: Warehouse, portal: Portal
) -> None:
    contacts, objects = portal.objects["contacts"], {**BARE, "contacts": None}
    run(scan("1", search_lag_s=0, objects=objects))
    portal.add_fault(Fault("400", endpoint="search:contacts", count=1_000))
    contacts.update(contacts.live_ids()[0], firstname="Ada")

    run(scan("2", search_lag_s=0, objects=objects))
    run(scan("3", search_lag_s=0, objects=objects, mode="full"))

    assert present(warehouse, "contacts") == truth(portal, "contacts")
    assert scan_row(warehouse, scan("3"))["warnings"] == []
    portal.faults = []
    contacts.update(contacts.live_ids()[0], firstname="Grace")
    run(scan("4", search_lag_s=0, objects=objects))
    assert object_row(warehouse, scan("4"), "contacts")["mode"] == "incremental"
    assert present(warehouse, "contacts") == truth(portal, "contacts")


def test_sensitive_values_of_a_custom_object_are_read_with_the_scope_of_custom_objects(
    warehouse: Warehouse, portal: Portal
) -> None:
    machines, token = portal.objects["machines"], portal.tokens[0]
    machines.definitions["iban"] = definition("iban", data_sensitivity="sensitive")
    token.scopes += ("crm.objects.custom.sensitive.read.v2",)
    machines.update(machines.live_ids()[0], iban="DE00")

    run(scan(objects={**BARE, "machines": MACHINES}))

    _, properties = present(warehouse, "machines")[str(machines.live_ids()[0])]
    assert properties["iban"] == "DE00"


# A preset


def test_a_preset_costs_only_the_objects_whose_scopes_the_token_lacks(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=20, associations=True)
    names = ("companies", "contacts", "tickets", "calls", "emails", "meetings", "notes", "tasks")
    for number, name in enumerate(names):
        added = portal.add_object(name, count=5 + number, archived=1, seed=number)
        added.associate(added.live_ids()[0], "deals", portal.live_ids()[0])
    lacking = ("crm.objects.companies.read", "crm.objects.contacts.read", "tickets")
    without(portal, *lacking, "crm.objects.tickets.read")
    without(portal, *(f"crm.schemas.{name}.read" for name in names))
    portal.tokens[0].scopes += tuple(f"crm.objects.{name}.read" for name in names[3:])
    serve(acme=portal)

    extracted = run(scan(objects="sales"))

    assert extracted["objects"] == ["deals", "calls", "emails", "meetings", "notes", "tasks"]
    assert scan_row(warehouse, scan())["state"] == "succeeded"
    warnings = scan_row(warehouse, scan())["warnings"]
    for name, scope in zip(names, lacking, strict=False):
        assert f"{name} were not read: the token lacks {scope}" in warnings
        assert object_row(warehouse, scan(), name)["mode"] == "skipped"
    assert_equals_the_portal(warehouse, portal)
    for name in names[3:]:
        assert present(warehouse, name) == truth(portal, name)
        links = query(warehouse, "select * from associations where from_object = %s", name)
        assert [(link["to_object"], link["to_id"]) for link in links] == [
            ("deals", portal.live_ids()[0])
        ]


def test_a_preset_loads_all_its_objects_with_their_histories_without_a_warning(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=5)
    names = ("companies", "contacts", "tickets", "calls", "emails", "meetings", "notes", "tasks")
    loaded = ("companies", "contacts", "tickets")
    for name in names:
        portal.add_object(name, count=3 if name in loaded else 0)
    serve(acme=portal)

    run(scan(objects="sales"))

    assert scan_row(warehouse, scan())["warnings"] == []
    for name in names:
        assert object_row(warehouse, scan(), name)["mode"] == "full"
    assert {
        (row["object"], row["property"])
        for row in query(warehouse, "select distinct object, property from property_history")
    } >= {
        ("deals", "dealstage"),
        ("companies", "lifecyclestage"),
        ("contacts", "lifecyclestage"),
        ("tickets", "hs_pipeline_stage"),
    }


def test_another_object_type_does_not_overwrite_the_rows_of_the_same_name(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.add_object("engines", object_type="2-1111111", count=15, seed=3)
    run(scan("1", objects={**BARE, "machines": MACHINES}))
    before = present(warehouse, "machines")

    with pytest.raises(TenantsFileError) as caught:
        run(scan("2", objects={**BARE, "machines": {"object_type": "2-1111111"}}))

    assert "objects: machines: its object_type is '2-1111111', but the rows" in str(caught.value)
    assert present(warehouse, "machines") == before


def test_an_object_type_that_is_set_back_is_read_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects={**BARE, "machines": MACHINES}))
    with pytest.raises(TenantsFileError):
        run(scan("2", objects={**BARE, "machines": {"object_type": "2-1111111"}}))

    run(scan("3", objects={**BARE, "machines": MACHINES}))

    assert present(warehouse, "machines") == truth(portal, "machines")


def test_the_loss_of_most_records_of_an_object_without_search_blocks_the_scan(
    warehouse: Warehouse, portal: Portal
) -> None:
    contracts = portal.add_object("contracts", count=300)
    settings: dict[str, Any] = {"search_lag_s": 0, "objects": {**BARE, "contracts": None}}
    run(scan("1", **settings))
    for contract_id in contracts.live_ids()[:290]:
        contracts.purge(contract_id)

    with pytest.raises(QualityError, match="most_records_are_still_there"):
        run(scan("2", **settings))

    row = object_row(warehouse, scan("2", **settings), "contracts")
    assert (row["vanished"], row["live_rows"]) == (290, 10)
