"""A tenant's rows as Fivetran's tables. fivetran_schema.yaml is the contract."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.types.json import Jsonb

from include.hubspot.crm_objects import STANDARD_OBJECTS, CrmObject
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.tenant_views.fivetran import views_of
from include.warehouse.tenant_views.plan import MAX_PROPERTIES, fivetran_schema
from include.warehouse.tenant_views.roles import (
    grant_again,
    loader_role,
    prepare_tenants,
)
from include.warehouse.tenant_views.views import publish_views
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, Token, portals
from tests.hubspot_simulator.record import Record, iso
from tests.support.scans import BARE, run, scan, scan_row
from tests.warehouse.tenant_views.conftest import Analyst
from tests.warehouse.tenant_views.views import (
    NOW,
    OURS,
    THEIRS,
    TYPED,
    add_deal,
    add_record,
    define,
    execute,
    insert,
    make_login,
    refused,
    rows,
)
from tests.warehouse.tenant_views.views import (
    views_of as own_views_of,
)

CONTRACT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "fivetran_schema.yaml").read_text()
)
SCHEMA = f"hubspot_deals_fivetran__{OURS}"
DEALS = STANDARD_OBJECTS["deals"]
ENGAGEMENTS = {
    "calls": "0-48",
    "emails": "0-49",
    "meetings": "0-47",
    "notes": "0-46",
    "tasks": "0-27",
}
OF_ENGAGEMENTS = {"associations": ["deals", "contacts", "companies", "tickets"]}
#: All that Fivetran's tables can be filled from.
EVERYTHING = {
    "deal_associations": ["companies", "contacts"],
    "companies": {"property_history": ["name"]},
    "contacts": {"property_history": ["email"]},
    "tickets": {
        "associations": ["deals", "contacts", "companies"],
        "property_history": ["hs_pipeline_stage"],
    },
    **dict.fromkeys(ENGAGEMENTS, OF_ENGAGEMENTS),
}


def publish(warehouse: Warehouse, *objects: CrmObject, tenant_id: str = OURS) -> list[str]:
    every = objects or (DEALS,)
    return publish_views(warehouse, tenant_id, [o.name for o in every], TYPED, every)


def select(warehouse: Warehouse, query: str, tenant_id: str = OURS) -> list[Any]:
    """Return what a query gives whose tables are found in the tenant's schema of Fivetran's."""
    with warehouse.connect() as connection:
        schema = fivetran_schema(warehouse.schema, tenant_id)
        connection.execute("select set_config('search_path', %s, true)", [schema])
        return connection.execute(query).fetchall()


def catalog(warehouse: Warehouse, tenant_id: str = OURS) -> dict[str, dict[str, str]]:
    """Return view → column → type, of the views that an analyst can read."""
    found = rows(
        warehouse,
        "select relname, attname::text, format_type(atttypid, null) from pg_attribute"
        " join pg_class on pg_class.oid = attrelid"
        " where relnamespace = (select oid from pg_namespace where nspname = %s) and attnum > 0"
        " and relname not like '\\_%%' order by relname, attnum",
        [fivetran_schema(warehouse.schema, tenant_id)],
    )
    tables: dict[str, dict[str, str]] = {}
    for table, column, its_type in found:
        tables.setdefault(table, {})[column] = its_type
    return tables


# Scanned tenants


def acme() -> Portal:
    """An account with all that Fivetran's tables show, and records in every state."""
    portal = portals.generated(1_000_001, deals=40, archived=3, nasty=True, property_count=80)
    for name in ("companies", "contacts", "tickets"):
        portal.add_object(name, count=6, archived=1, seed=2)
    # HubSpot numbers engagements of all types together
    ids = itertools.count(7_000)
    for name, type_id in ENGAGEMENTS.items():
        engagements = portal.add_object(name, object_type=type_id)
        moment = iso(NOW)
        for number in range(3):
            archived_at = moment if number == 2 else None
            record = Record(next(ids), {}, moment, moment, 1_000_001, engagements.type, archived_at)
            engagements.add(record)
    first, second = portal.objects["deals"].live_ids()[:2]
    company, contact, ticket = (
        portal.objects[name].live_ids()[0] for name in ("companies", "contacts", "tickets")
    )
    for type_id, label in ((341, None), (5, "Primary")):
        portal.objects["deals"].associate(first, "companies", company, type_id, label)
    portal.objects["deals"].associate(second, "contacts", contact)
    ends = (("deals", first), ("contacts", contact), ("companies", company))
    for to_type, to_id in ends:
        portal.objects["tickets"].associate(ticket, to_type, to_id)
    for name in ENGAGEMENTS:
        for record_id in portal.objects[name].live_ids():
            for to_type, to_id in (*ends, ("tickets", ticket)):
                portal.objects[name].associate(record_id, to_type, to_id)
                portal.objects[name].associate(record_id, to_type, to_id, 77, "Another label")
    portal.owners[0]["teams"] = [
        {"id": "501", "name": "North", "primary": True},
        {"id": "502", "name": "South", "primary": False},
    ]
    del portal.owners[1]["userId"]
    return portal


def globex() -> Portal:
    return portals.generated(1_000_002, "pat-na1-globex", deals=30, archived=2, seed=5)


@pytest.mark.slow
def test_scanned_tenants_have_fivetrans_tables(warehouse: Warehouse, serve: Serve) -> None:
    portal = acme()
    serve(tv_acme=portal, tv_globex=globex())
    settings: dict[str, Any] = {"fivetran_views": True, "objects": EVERYTHING}
    run(scan("1", OURS, **settings))
    run(scan("1", THEIRS, **settings | {"objects": {}}))
    deals, live = portal.objects["deals"], portal.objects["deals"].live_ids()
    deals.update(live[0], dealstage="closedwon")
    deals.archive(live[1])
    deals.purge(live[2])
    deals.merge(live[3], live[4])
    deals.archive(live[5])
    run(scan("2", OURS, mode="full", **settings))
    deals.restore(live[5])
    run(scan("3", OURS, mode="full", **settings))

    found = catalog(warehouse)

    assert found.keys() == CONTRACT.keys()
    for table, contract in CONTRACT.items():
        wanted = {name: its_type.rstrip("!") for name, its_type in contract["columns"].items()}
        assert {n: its_type for n, its_type in found[table].items() if n in wanted} == wanted
        assert [n for n in found[table].keys() - wanted if not n.startswith("property_")] == []
    for tenant_id in (OURS, THEIRS):
        tables = catalog(warehouse, tenant_id)
        assert [p for table in tables for p in broken_promises(warehouse, table, tenant_id)] == []
    assert [table for table in CONTRACT if not select(warehouse, f"select from {table}")] == []
    for tenant_id in (OURS, THEIRS):
        theirs = "select count(*), count(*) filter (where {}), sum({}) from {}"
        gone = "archived or vanished_at is not null or merged_into_deal_id is not null"
        (truth,) = rows(
            warehouse,
            theirs.format(gone, "amount", "{schema}.deals") + " where _tenant_id = %s",
            [tenant_id],
        )
        shown = theirs.format("is_deleted", "property_amount", "deal")
        assert select(warehouse, shown, tenant_id) == [truth]
    assert select(warehouse, "select merged_deal_id from merged_deal") == [
        (live[3],),
        (live[4],),
    ]
    deleted = f"select is_deleted from deal where deal_id = any(array{live[1:6]}) order by deal_id"
    assert select(warehouse, deleted) == [(True,)] * 4 + [(False,)]
    stages = f"select value, _fivetran_active from deal_stage where deal_id = {live[0]}"
    assert select(warehouse, stages + " order by date_entered")[-1] == ("closedwon", True)
    assert select(
        warehouse,
        "select count(distinct deal_id) = (select count(*) from deal where"
        " deal_pipeline_stage_id <> '') from deal_stage",
    ) == [(True,)]
    assert select(warehouse, "select type, count(*) from engagement group by 1 order by 1") == [
        (name, 2) for name in ("CALL", "EMAIL", "MEETING", "NOTE", "TASK")
    ]
    assert select(warehouse, "select count(*) from engagement_deal") == [(10,)]
    assert select(warehouse, "select label from property where name = 'amount'") == [("Amount",)]


def broken_promises(warehouse: Warehouse, table: str, tenant_id: str) -> list[str]:
    """Return what is wrong with a table's rows: NULL in a column that is never NULL, keys twice."""
    columns: dict[str, str] = CONTRACT[table]["columns"]
    nulls = " or ".join(f'"{name}" is null' for name in columns if columns[name][-1] == "!")
    key = ", ".join(f'"{name}"' for name in CONTRACT[table]["key"])
    counts = f"count(*), count(distinct ({key})), count(*) filter (where {nulls})"
    ((count, keys, with_nulls),) = select(warehouse, f"select {counts} from {table}", tenant_id)
    problems = [f"{table}: {count} rows have {keys} keys"] if count != keys else []
    return [*problems, f"{table}: {with_nulls} rows have a NULL"] if with_nulls else problems


@pytest.mark.slow
def test_synced_moves_with_each_successful_scan(warehouse: Warehouse, serve: Serve) -> None:
    serve(tv_acme=portals.generated(deals=3))
    settings: dict[str, Any] = {"fivetran_views": True, "objects": BARE}
    ends = []

    for run_id in "12":
        run(what := scan(run_id, OURS, **settings))
        ends.append(select(warehouse, "select distinct _fivetran_synced from deal"))
        assert ends[-1] == [(scan_row(warehouse, what)["finished_at"],)]

    assert rows(warehouse, "select rows_written from {schema}.scan_objects order by scan_id") in (
        [(0,), (3,)],
        [(3,), (0,)],
    )
    assert ends[0] < ends[1]


@pytest.mark.slow
def test_a_scan_says_which_views_an_unreadable_object_leaves_empty(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=3)
    portal.add_object("tickets", count=2)
    portal.tokens[0] = Token(portal.tokens[0].text, scopes=("crm.objects.deals.read",))
    serve(tv_acme=portal)
    objects = {**BARE, "tickets": {}}

    run(with_views := scan("1", OURS, fivetran_views=True, objects=objects))
    run(without := scan("2", OURS, objects=objects))

    said = "Fivetran's tables get no rows of it: ticket, ticket_pipeline, ticket_pipeline_stage, "
    assert [said in text for text in scan_row(warehouse, with_views)["warnings"]] == [True]
    assert [said in text for text in scan_row(warehouse, without)["warnings"]] == [False]


# Rows of each kind


def add_scan(warehouse: Warehouse, scan_id: str, state: str, **columns: object) -> None:
    row = {"scan_id": scan_id, "tenant_id": OURS, "dag_id": "d", "run_id": scan_id, "mode": "auto"}
    insert(warehouse, "scans", {**row, "state": state, **columns})


def test_rows_of_a_tenant_without_a_successful_scan_are_synced_too(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1)
    publish(warehouse)

    synced = "select _fivetran_synced from deal"
    assert select(warehouse, synced) == [(datetime(1970, 1, 1, tzinfo=UTC),)]
    add_scan(warehouse, "failed", "failed", started_at=NOW, finished_at=NOW + timedelta(1))
    assert select(warehouse, synced) == [(NOW,)]


def test_a_failed_scan_does_not_move_synced(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1)
    publish(warehouse)
    add_scan(warehouse, "1", "succeeded", started_at=NOW, finished_at=NOW + timedelta(hours=1))
    add_scan(
        warehouse, "2", "failed", started_at=NOW + timedelta(1), finished_at=NOW + timedelta(2)
    )

    assert select(warehouse, "select _fivetran_synced from deal") == [(NOW + timedelta(hours=1),)]


def add_stage(warehouse: Warehouse, pipeline_id: str, stage_id: str, *, listed: bool) -> None:
    row = {"_tenant_id": OURS, "object": "deals", "pipeline_id": pipeline_id, "stage_id": stage_id}
    labels = {"pipeline_label": pipeline_id, "stage_label": f"{stage_id} of {pipeline_id}"}
    insert(warehouse, "pipeline_stages", {**row, **labels, "listed": listed, "_scan_id": "s"})


def test_a_stage_of_two_pipelines_is_there_once_as_hubspot_lists_it(warehouse: Warehouse) -> None:
    for pipeline_id, listed in (("a", False), ("b", True), ("c", False)):
        add_stage(warehouse, pipeline_id, "won", listed=listed)
    publish(warehouse)

    stages = "select stage_id, pipeline_id, label, active, _fivetran_deleted"
    assert select(warehouse, f"{stages} from deal_pipeline_stage") == [
        ("won", "b", "won of b", True, False)
    ]


def add_history(warehouse: Warehouse, record_id: int, value: str | None, day: int) -> None:
    row = {"_tenant_id": OURS, "object": "deals", "record_id": record_id, "property": "dealstage"}
    moment = NOW + timedelta(days=day)
    insert(warehouse, "property_history", {**row, "value": value, "changed_at": moment})


def test_a_stage_ends_when_the_next_one_begins(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1, stage_id="won")
    for day, value in enumerate(("new", "", "won")):
        add_history(warehouse, 1, value, day)
    publish(warehouse)

    assert select(
        warehouse,
        "select value, date_entered, _fivetran_end, _fivetran_active from deal_stage order by 2",
    ) == [
        ("new", NOW, NOW + timedelta(1), False),
        ("won", NOW + timedelta(2), datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC), True),
    ]


def test_a_deal_without_history_is_in_its_present_stage(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1, stage_id="won", stage_entered_at=NOW, archived=True)
    add_deal(warehouse, 2, stage_id="new", created_at=NOW - timedelta(1))
    add_deal(warehouse, 3)
    publish(warehouse)

    stages = "select deal_id, value, date_entered, _fivetran_active from deal_stage order by 1"
    assert select(warehouse, stages) == [
        (1, "won", NOW, True),
        (2, "new", NOW - timedelta(1), True),
    ]


def test_merges_name_the_last_survivor_once(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1, merged_into_deal_id=3, properties={"hs_merged_object_ids": "7;8"})
    add_deal(warehouse, 2, merged_into_deal_id=3)
    add_deal(warehouse, 3, properties={"hs_merged_object_ids": "1;2;7;x"})
    publish(warehouse)

    assert select(warehouse, "select deal_id, merged_deal_id from merged_deal order by 2") == [
        *((3, 1), (3, 2), (3, 7), (3, 8)),
    ]


def add_owner(warehouse: Warehouse, owner_id: str, **columns: object) -> None:
    teams = Jsonb(columns.pop("teams", None))
    row = {"_tenant_id": OURS, "owner_id": owner_id, "archived": False, "teams": teams}
    insert(warehouse, "owners", {**row, **columns})


def test_owners_without_a_user_are_owners_all_the_same(warehouse: Warehouse) -> None:
    add_owner(warehouse, "11", user_id=1, email="ada@example.com", archived=True)
    add_owner(warehouse, "12", user_id=1, email="ada@example.com")
    add_owner(warehouse, "13")
    add_owner(warehouse, "not a number", user_id=4)
    publish(warehouse)

    assert select(warehouse, "select owner_id, active_user_id from owner order by 1") == [
        *((11, 1), (12, 1), (13, None)),
    ]
    assert select(warehouse, "select id, email, _fivetran_deleted from users order by 1") == [
        (1, "ada@example.com", False),
        (4, None, False),
    ]


def test_teams_without_their_own_table_come_from_owners(warehouse: Warehouse) -> None:
    north, south = ({"id": n, "name": n, "primary": n == "5"} for n in ("5", "6"))
    add_owner(warehouse, "11", user_id=1, teams=[north, south])
    add_owner(warehouse, "12", user_id=2, teams=[{**south, "primary": True}])
    add_owner(warehouse, "13", teams="nothing known")
    publish(warehouse)

    assert select(warehouse, "select id, name from team order by 1") == [(5, "5"), (6, "6")]
    assert select(warehouse, "select team_id, user_id, is_secondary_user from team_user") == [
        *((5, 1, False), (6, 1, True), (6, 2, False)),
    ]
    assert select(warehouse, "select owner_id, team_id, is_team_primary from owner_team") == [
        *((11, 5, True), (11, 6, False), (12, 6, True)),
    ]
    assert select(warehouse, "select id, primary_team_id from users") == [(1, 5), (2, 6)]


def test_users_teams_and_roles_come_first_from_their_own_tables(warehouse: Warehouse) -> None:
    ours = {"_tenant_id": OURS, "listed": True}
    user = {"user_id": 1, "email": "ada@example.com", "role_ids": Jsonb(["8", "9"])}
    teams = {"primary_team_id": 5, "secondary_team_ids": Jsonb([])}
    insert(warehouse, "users", {**ours, **user, **teams})
    members = {"user_ids": Jsonb(["1"]), "secondary_user_ids": Jsonb([2, "1"])}
    insert(warehouse, "teams", {**ours, "team_id": 5, "name": "North", **members})
    role = {"role_id": 8, "name": "Sales", "requires_billing_write": False}
    insert(warehouse, "roles", {**ours, **role, "listed": False})
    add_owner(warehouse, "11", user_id=1, email="old@example.com", archived=True)
    add_owner(warehouse, "12", user_id=3, archived=True)
    publish(warehouse)

    assert select(
        warehouse, "select id, email, primary_team_id, role_id, _fivetran_deleted from users"
    ) == [(1, "ada@example.com", 5, 8, False), (3, None, None, None, True)]
    assert select(warehouse, "select user_id, is_secondary_user from team_user") == [
        *((1, False), (2, True)),
    ]
    assert select(warehouse, "select id, name, _fivetran_deleted from role") == [(8, "Sales", True)]


def associate(
    warehouse: Warehouse, one: tuple[str, int], other: tuple[str, int], kind: int
) -> None:
    (from_object, from_id), (to_object, to_id) = one, other
    row = {"_tenant_id": OURS, "from_object": from_object, "from_id": from_id}
    row |= {"to_object": to_object, "to_id": to_id, "type_id": kind}
    insert(warehouse, "associations", {**row, "category": "HUBSPOT_DEFINED"})


def test_two_labels_are_two_rows_of_deal_company_and_one_of_an_engagement(
    warehouse: Warehouse,
) -> None:
    deals = replace(DEALS, associations=("0-2", "calls"))
    calls = replace(STANDARD_OBJECTS["calls"], associations=("deals",))
    for kind in (5, 341):
        associate(warehouse, ("deals", 1), ("0-2", 7), kind)
        associate(warehouse, ("deals", 1), ("calls", 9), kind)
        associate(warehouse, ("calls", 9), ("deals", 1), kind)
    publish(warehouse, deals, calls)

    assert select(warehouse, "select company_id, type_id from deal_company order by 2") == [
        *((7, 5), (7, 341)),
    ]
    assert select(warehouse, "select deal_id, engagement_id from engagement_deal") == [(1, 9)]


def test_engagements_that_are_gone_are_not_counted(warehouse: Warehouse) -> None:
    add_record(warehouse, 1, "emails", properties={"hs_email_direction": "INCOMING_EMAIL"})
    add_record(warehouse, 2, "emails", archived=True)
    add_record(warehouse, 3, "notes", properties={"hubspot_owner_id": "7", "hs_timestamp": ""})
    publish(warehouse, DEALS, STANDARD_OBJECTS["emails"], STANDARD_OBJECTS["notes"])

    assert select(warehouse, "select id, type from engagement order by 1") == [
        *((1, "INCOMING_EMAIL"), (3, "NOTE")),
    ]
    emails = "select engagement_id, type, _fivetran_deleted from engagement_email order by 1"
    assert select(warehouse, emails) == [(1, "INCOMING_EMAIL", False), (2, "EMAIL", True)]
    notes = "select type, property_hubspot_owner_id, property_hs_timestamp from engagement_note"
    assert select(warehouse, notes) == [("NOTE", 7, None)]


@pytest.mark.parametrize("object_type", ["contacts", "0-1"])
def test_an_object_is_found_by_its_type_whatever_it_is_called(
    warehouse: Warehouse, object_type: str
) -> None:
    add_record(warehouse, 1, "kunden", properties={"email": "ada@example.com"})
    define(warehouse, "email", crm_object="kunden")
    define(warehouse, "email", crm_object="contact")
    of_its_own = CrmObject("contact", "2-123")
    publish(warehouse, DEALS, CrmObject("kunden", object_type), of_its_own)

    assert select(warehouse, "select id, property_email from contact") == [(1, "ada@example.com")]
    assert select(warehouse, "select hubspot_object, name from property order by 1") == [
        ("2-123", "email"),
        ("contact", "email"),
    ]


# Columns of properties


def test_properties_are_typed_and_several_values_stay_one_text(warehouse: Warehouse) -> None:
    kinds = (("size", "number", "number"), ("tags", "enumeration", "checkbox"))
    for kind in (*kinds, ("day", "date", "date"), ("amount", "string", "text")):
        define(warehouse, *kind, label="Label of it")
    values = {"size": "a lot", "tags": "a;b", "day": "2024-05-01", "amount": "1e300"}
    add_deal(warehouse, 1, properties=values, amount=None, owner_id="96000001")
    publish(warehouse)

    columns = "property_size, property_tags, property_day::text, property_amount, owner_id"
    assert select(warehouse, f"select {columns} from deal") == [
        (None, "a;b", "2024-05-01", None, 96_000_001)
    ]
    comments = rows(
        warehouse,
        "select col_description(attrelid, attnum) from pg_attribute"
        " where attrelid = %s::regclass and attname in ('property_tags', '_fivetran_synced')"
        " order by attname",
        [f"{SCHEMA}.deal"],
    )
    assert comments == [("When the tenant's last successful scan ended.",), ("Label of it",)]


def test_a_deal_has_its_fixed_columns_without_definitions(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1, properties={"dealname": "It", "createdate": "2024-05-01T00:00:00Z"})
    publish(warehouse)

    assert (
        catalog(warehouse)["deal"].items()
        == {
            name: its_type.rstrip("!") for name, its_type in CONTRACT["deal"]["columns"].items()
        }.items()
    )
    assert select(warehouse, "select property_dealname, property_createdate from deal") == [
        ("It", NOW)
    ]


def test_a_name_of_more_than_63_bytes_is_cut(warehouse: Warehouse) -> None:
    fits, longer = "f" * 54, "g" * 55
    for name in (fits, longer):
        define(warehouse, name)
    add_deal(warehouse, 1, properties={longer: "its value"})
    publish(warehouse)

    (cut,) = (name for name in catalog(warehouse)["deal"] if name.startswith("property_g"))
    assert f"property_{fits}" in catalog(warehouse)["deal"]
    assert len(cut) == 63
    assert select(warehouse, f"select {cut} from deal") == [("its value",)]


@pytest.mark.slow
def test_of_more_properties_than_postgresql_takes_the_needed_ones_are_there(
    warehouse: Warehouse,
) -> None:
    execute(
        warehouse,
        "insert into {schema}.property_definitions (_tenant_id, object, name, property_type,"
        " field_type, calculated, options, archived, listed, definition)"
        " select %s, 'deals', 'a' || n, 'string', 'text', false, '[]', false, true, '{{}}'"
        " from generate_series(1, 1700) n",
        [OURS],
    )
    add_deal(warehouse, 1, properties={"dealname": "It"})

    (warning,) = publish(warehouse)

    assert "1500 of 1700 properties" in warning
    found = catalog(warehouse)["deal"]
    assert len([name for name in found if name.startswith("property_")]) == MAX_PROPERTIES
    assert CONTRACT["deal"]["columns"].keys() <= found.keys()
    (row,) = select(warehouse, "select * from deal")
    assert "It" in row


# Made and kept like the tenant's own views


def leaking(session: psycopg.Connection) -> list[str | None]:
    """Make a cheap function that raises a notice with each value; return the list of these."""
    session.execute(
        "create function pg_temp.leak(value text) returns boolean language plpgsql"
        " cost 0.0000001 as $$ begin raise notice '%', value; return true; end $$"
    )
    noticed: list[str | None] = []
    session.add_notice_handler(lambda notice: noticed.append(notice.message_primary))
    return noticed


def test_the_role_reads_its_tenants_tables_and_no_others(
    warehouse: Warehouse, analyst: Analyst
) -> None:
    for tenant_id, deal_id in ((OURS, 1), (THEIRS, 2)):
        add_deal(warehouse, deal_id, tenant_id=tenant_id, properties={"dealname": tenant_id})
        publish(warehouse, tenant_id=tenant_id)
    ours = analyst(OURS)
    noticed = leaking(ours)

    seen = ours.execute(f"select deal_id from {SCHEMA}.deal where pg_temp.leak(property_dealname)")

    assert seen.fetchall() == [(1,)]
    assert noticed == [OURS]
    refused(ours, f"select * from {SCHEMA}._deal")
    refused(ours, f"select * from {fivetran_schema(warehouse.schema, THEIRS)}.deal")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="view"):
        ours.execute(f"delete from {SCHEMA}.deal_pipeline")


@pytest.mark.parametrize("view", ["users", "property", "engagement_deal", "deal_stage", "owner"])
def test_a_function_that_tells_all_sees_rows_of_one_tenant(
    warehouse: Warehouse, analyst: Analyst, view: str
) -> None:
    calls = replace(STANDARD_OBJECTS["calls"], associations=("deals",))
    define(warehouse, "secret", tenant_id=THEIRS)
    theirs = {"_tenant_id": THEIRS}
    insert(warehouse, "owners", {**theirs, "owner_id": "99", "user_id": 99, "archived": False})
    ends = {"from_object": "calls", "from_id": 99, "to_object": "deals", "to_id": 99}
    insert(warehouse, "associations", {**theirs, **ends, "type_id": 1, "category": "secret"})
    add_deal(warehouse, 99, tenant_id=THEIRS, stage_id="secret")
    publish(warehouse, DEALS, calls)
    ours = analyst(OURS)
    noticed = leaking(ours)

    ours.execute(f"select count(*) from {SCHEMA}.{view} as it where pg_temp.leak(it::text)")

    assert noticed == []


def test_views_come_and_go_with_the_setting(warehouse: Warehouse) -> None:
    recorded = "select schema_name from {schema}.tenant_views order by 1"
    publish_views(warehouse, OURS, ["deals"], TYPED)
    assert catalog(warehouse) == {}
    publish(warehouse)
    assert "deal" in catalog(warehouse)
    assert rows(warehouse, recorded) == [(f"hubspot_deals__{OURS}",), (SCHEMA,)]

    assert publish_views(warehouse, OURS, ["deals"], TYPED) == []

    assert catalog(warehouse) == {}
    assert rows(warehouse, recorded) == [(f"hubspot_deals__{OURS}",)]
    assert "deals" in own_views_of(warehouse)


def test_what_analysts_built_on_a_view_survives_switching_it_off(warehouse: Warehouse) -> None:
    publish(warehouse)
    execute(warehouse, f"create view public.theirs as select deal_id from {SCHEMA}.deal")

    (warning,) = publish_views(warehouse, OURS, ["deals"], TYPED)

    assert f"The view {SCHEMA}.deal stays as it was" in warning
    assert rows(warehouse, "select count(*) from public.theirs") == [(0,)]
    execute(warehouse, "drop view public.theirs")
    assert publish_views(warehouse, OURS, ["deals"], TYPED) == []
    assert catalog(warehouse) == {}


def test_a_column_that_others_use_keeps_its_type(warehouse: Warehouse) -> None:
    define(warehouse, "size", "number", "number")
    add_deal(warehouse, 1, properties={"size": "7"})
    publish(warehouse)
    execute(warehouse, f"create view public.theirs as select property_size from {SCHEMA}.deal")
    define(warehouse, "size", "string", "text")

    warnings = publish(warehouse)

    assert [f"The view {SCHEMA}.deal keeps these columns" in text for text in warnings] == [True]
    assert rows(warehouse, "select property_size + 1 from public.theirs") == [(8,)]
    execute(warehouse, "delete from {schema}.property_definitions where name = 'size'")
    publish(warehouse)
    assert rows(warehouse, "select property_size + 1 from public.theirs") == [(8,)]
    execute(warehouse, "drop view public.theirs")


def test_an_unchanged_tenants_views_are_not_built_again(warehouse: Warehouse) -> None:
    built = "select schema_name, built_at from {schema}.tenant_views order by 1"
    publish(warehouse)
    before = rows(warehouse, built)

    publish(warehouse)

    assert rows(warehouse, built) == before


def test_a_view_of_an_object_that_is_not_loaded_does_not_exist(warehouse: Warehouse) -> None:
    publish(warehouse, DEALS, STANDARD_OBJECTS["tickets"])
    assert {"ticket", "ticket_pipeline_stage", "users"} <= catalog(warehouse).keys()

    publish(warehouse)

    found = catalog(warehouse).keys()
    assert found.isdisjoint(
        {*views_of(STANDARD_OBJECTS["tickets"]), "company", "engagement", "deal_company"}
    )


def test_the_schema_is_prepared_for_a_loader_that_may_not_make_one(warehouse: Warehouse) -> None:
    execute(warehouse, f"create role {loader_role(warehouse.schema)}")
    schemas = "select nspname from pg_namespace where nspname like '%%tv\\_acme' order by 1"

    prepare_tenants(warehouse, [OURS])
    assert rows(warehouse, schemas, []) == [(f"hubspot_deals__{OURS}",)]
    prepare_tenants(warehouse, [OURS], fivetran=True)

    assert rows(warehouse, schemas, []) == [(f"hubspot_deals__{OURS}",), (SCHEMA,)]
    execute(warehouse, f"drop owned by {loader_role(warehouse.schema)}")
    execute(warehouse, f"drop role {loader_role(warehouse.schema)}")


def test_a_login_makes_the_second_schema_although_its_group_may_not(
    warehouse: Warehouse, database_url: str
) -> None:
    group = loader_role(warehouse.schema)
    execute(warehouse, f"create role {group}")
    prepare_tenants(warehouse, [OURS])
    grant_again(warehouse)
    url = make_login(database_url, "tv_login", f"in role {group}")
    database = warehouse.parameters["dbname"]
    execute(warehouse, f'grant create on database "{database}" to tv_login')

    warnings = publish(Warehouse.from_url(url, warehouse.schema))

    assert warnings == []
    assert "deal" in catalog(warehouse)
    execute(warehouse, f"drop owned by {group} cascade")
    execute(warehouse, "drop owned by tv_login cascade")
    execute(warehouse, f"drop role tv_login, {group}")


def test_the_setting_is_off_by_default() -> None:
    assert Tenant(id="acme").fivetran_views is False
