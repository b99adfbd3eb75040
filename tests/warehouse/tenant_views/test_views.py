"""The views of a tenant: what is in them, and when they are built again."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from psycopg import sql

from include.warehouse.connection import Warehouse
from include.warehouse.tenant_views import views
from include.warehouse.tenant_views.views import publish_views
from tests.warehouse.tenant_views.conftest import Analyst
from tests.warehouse.tenant_views.views import (
    NOW,
    OBJECTS,
    OURS,
    THEIRS,
    TYPED,
    add_deal,
    add_record,
    build_time,
    columns_of,
    comments_of,
    composed,
    define,
    execute,
    insert,
    make_login,
    oid_of,
    publish,
    refused,
    rows,
    views_of,
)

pytestmark = pytest.mark.slow

# What there is


def test_a_tenant_gets_these_views(warehouse: Warehouse) -> None:
    warnings = publish(warehouse)

    assert warnings == []
    assert views_of(warehouse) == {
        *("deals", "deals_all", "deal_properties", "deal_associations", "deal_property_history"),
        *("contacts", "contacts_all", "contacts_properties", "contacts_associations"),
        *("contacts_property_history", "account", "deal_pipelines", "deal_stages", "owners"),
        *("users", "teams", "roles", "scans", "scan_objects", "quality_results"),
        "quality_records",
        *("_deals", "_contacts"),
    }


def test_every_view_is_a_security_barrier_or_reads_nothing_but_one(warehouse: Warehouse) -> None:
    define(warehouse, "pipeline")
    define(warehouse, "dealstage")
    publish(warehouse)

    others = rows(
        warehouse,
        "select viewname, definition from pg_views join pg_class on relname = viewname"
        " and relnamespace = '{ours}'::regnamespace where schemaname::regnamespace = relnamespace"
        " and reloptions <> array['security_barrier=true']",
    )
    assert {name for name, _ in others} == {"deals", "deals_all", "contacts", "contacts_all"}
    for name, definition in others:
        inner = f"_{name.removesuffix('_all')}"
        read = re.findall(r"\b(?:from|join)\s+\(*(\S+?);?\s", f"{definition} ", re.IGNORECASE)
        # scalar subqueries look up labels; what unpacks the JSON reads the row that is there
        stages = f"{warehouse.schema}.pipeline_stages"
        labels = ["(", stages, stages, f"{warehouse.schema}.pipelines"] if inner == "_deals" else []
        assert read == [*labels, f"{warehouse.schema}__{OURS}.{inner}", "LATERAL"]
        assert definition.count(f"_tenant_id = '{OURS}'") == len(labels[1:])


def test_columns_of_deals_are_meta_columns_then_properties_by_name(warehouse: Warehouse) -> None:
    define(warehouse, "zebra")
    define(warehouse, "Amount (EUR)", "number", "number", archived=True)
    define(warehouse, "dealstage", "enumeration", "radio")
    define(warehouse, "email", crm_object="contacts")
    define(warehouse, "theirs", tenant_id=THEIRS)

    publish(warehouse)

    assert list(columns_of(warehouse, "deals")) == [
        *("deal_id", "created_at", "updated_at", "archived", "archived_at", "vanished_at"),
        *("merged_into_deal_id", "url", "properties", "_scan_id", "_extracted_at"),
        *("Amount (EUR)", "dealstage", "dealstage_label", "zebra"),
    ]
    assert list(columns_of(warehouse, "contacts_all"))[-1] == "email"
    assert {"record_id", "merged_into_record_id"} <= columns_of(warehouse, "contacts").keys()


def test_views_of_tables_show_no_tenant_and_no_object(warehouse: Warehouse) -> None:
    publish(warehouse)

    shown = {view: columns_of(warehouse, view).keys() for view in views_of(warehouse)}
    assert not any({"_tenant_id", "tenant_id", "from_object"} & names for names in shown.values())
    assert {view for view, names in shown.items() if "object" in names} == {
        "quality_records",
        "scan_objects",
    }
    assert {"from_id", "to_object", "to_id", "label"} <= shown["deal_associations"]


def test_deals_shows_live_rows_and_deals_all_every_row(warehouse: Warehouse) -> None:
    add_deal(warehouse, 1)
    add_deal(warehouse, 2, archived=True)
    add_deal(warehouse, 3, vanished_at=NOW)
    add_deal(warehouse, 4, merged_into_deal_id=1)
    add_deal(warehouse, 5, tenant_id=THEIRS)

    publish(warehouse)

    assert rows(warehouse, "select deal_id from {ours}.deals") == [(1,)]
    everything = rows(warehouse, "select deal_id from {ours}.deals_all order by 1")
    assert everything == [(1,), (2,), (3,), (4,)]


def test_another_object_shows_its_own_records(warehouse: Warehouse) -> None:
    define(warehouse, "email", crm_object="contacts")
    add_record(warehouse, 1, "contacts", properties={"email": "a@example.com"})
    add_record(warehouse, 2, "contacts", archived=True)
    add_record(warehouse, 3, "contacts", vanished_at=NOW)
    add_record(warehouse, 4, "contacts", merged_into_record_id=1)
    add_record(warehouse, 5, "companies")

    publish(warehouse)

    assert rows(warehouse, "select record_id, email from {ours}.contacts") == [(1, "a@example.com")]
    assert rows(warehouse, "select count(*) from {ours}.contacts_all") == [(4,)]


# Labels


def add_stage(
    warehouse: Warehouse,
    pipeline_id: str,
    stage_id: str,
    label: str,
    crm_object: str = "deals",
    *,
    tenant_id: str = OURS,
    **columns: object,
) -> None:
    row = {
        "_tenant_id": tenant_id,
        "object": crm_object,
        "pipeline_id": pipeline_id,
        "pipeline_label": f"Pipeline {pipeline_id}",
        "stage_id": stage_id,
        "stage_label": label,
        "metadata": {},
        "_scan_id": "s",
        **columns,
    }
    insert(warehouse, "pipeline_stages", row)
    execute(
        warehouse,
        "insert into {schema}.pipelines (_tenant_id, object, pipeline_id, label, listed)"
        " values (%s, %s, %s, %s, true) on conflict do nothing",
        [tenant_id, crm_object, pipeline_id, f"Pipeline {pipeline_id}"],
    )


def define_stages(warehouse: Warehouse, crm_object: str = "deals") -> None:
    names = ("pipeline", "dealstage") if crm_object == "deals" else PIPELINE_PROPERTIES
    for name in names:
        define(warehouse, name, "enumeration", "radio", crm_object=crm_object)


PIPELINE_PROPERTIES = ("hs_pipeline", "hs_pipeline_stage")


def test_deals_show_the_labels_of_their_pipeline_and_stage(warehouse: Warehouse) -> None:
    define_stages(warehouse)
    add_stage(warehouse, "a", "open", "Open in A")
    add_stage(warehouse, "b", "open", "Open in B")
    add_stage(warehouse, "b", "gone", "Gone", listed=False)
    # as deals hold it that have a stage of another pipeline: never listed
    add_stage(warehouse, "a", "gone", "gone", listed=False, metadata=None)
    add_stage(warehouse, "a", "held", "held", listed=False, metadata=None)
    add_stage(warehouse, "a", "theirs", "secret", tenant_id=THEIRS)
    add_stage(warehouse, "a", "ticket", "Of tickets", "tickets")
    held = ["open", "gone", "held", "theirs", "ticket", None]
    for deal_id, stage_id in enumerate(held):
        properties = {"pipeline": "a", "dealstage": stage_id}
        add_deal(warehouse, deal_id, stage_id=stage_id, pipeline_id="a", properties=properties)
    add_deal(warehouse, 6, stage_id="open", pipeline_id="b", properties={"pipeline": "b"})
    add_deal(warehouse, 7, stage_id="open", properties={})

    publish(warehouse)

    found = rows(
        warehouse,
        "select pipeline_label, dealstage_label from {ours}.deals order by deal_id",
    )
    labels = ["Open in A", "Gone", "held", None, None, None]
    assert found == [
        *(("Pipeline a", label) for label in labels),
        ("Pipeline b", "Open in B"),
        (None, "Open in A"),
    ]


def test_another_object_with_pipelines_shows_labels_and_has_views_of_them(
    warehouse: Warehouse,
) -> None:
    define_stages(warehouse, "tickets")
    define_stages(warehouse, "contacts")
    add_stage(warehouse, "0", "1", "New", "tickets", is_closed=False)
    add_record(warehouse, 1, "tickets", properties={"hs_pipeline": "0", "hs_pipeline_stage": "1"})

    publish(warehouse, objects=["deals", "contacts", "tickets"])

    labels = "select hs_pipeline_label, hs_pipeline_stage_label from {ours}.tickets"
    assert rows(warehouse, labels) == [("Pipeline 0", "New")]
    stages = "select pipeline_id, stage_label, is_closed from {ours}.tickets_stages"
    assert rows(warehouse, stages) == [("0", "New", False)]
    assert rows(warehouse, "select label from {ours}.tickets_pipelines") == [("Pipeline 0",)]
    assert rows(warehouse, "select * from {ours}.deal_stages") == []
    assert "contacts_stages" not in views_of(warehouse)
    assert "hs_pipeline_label" not in columns_of(warehouse, "contacts")


def test_a_property_that_is_called_like_a_label_keeps_its_name(warehouse: Warehouse) -> None:
    define_stages(warehouse)
    define(warehouse, "dealstage_label", "number", "number")
    add_stage(warehouse, "a", "open", "Open")
    add_deal(warehouse, 1, stage_id="open", pipeline_id="a", properties={"dealstage_label": "7"})

    publish(warehouse)

    (label,) = (n for n in columns_of(warehouse, "deals") if n.startswith("dealstage_label_"))
    found = rows(warehouse, f"select dealstage_label, {label} from {{ours}}.deals")
    assert found == [(7, "Open")]


def test_a_label_that_is_not_selected_costs_nothing(warehouse: Warehouse) -> None:
    define_stages(warehouse)
    publish(warehouse)

    def plan(columns: str) -> str:
        found = rows(warehouse, f"explain select {columns} from {{ours}}.deals where deal_id = 17")
        return "\n".join(line for (line,) in found)

    assert "pipeline_stages" not in plan("pipeline, dealstage")
    # once a query, not once a row
    assert "InitPlan" in plan("dealstage_label")
    assert "SubPlan" not in plan("dealstage_label")


# Values


@pytest.mark.parametrize(
    ("property_type", "field_type", "text", "value"),
    [
        ("string", "text", "x", "x"),
        ("string", "text", "", None),
        ("number", "number", "1.50", Decimal("1.50")),
        ("number", "number", "", None),
        ("number", "number", "a lot", None),
        ("number", "number", "\u20031", None),
        ("bool", "booleancheckbox", "true", True),
        ("bool", "booleancheckbox", "yes", None),
        ("date", "date", "2024-02-29", date(2024, 2, 29)),
        ("date", "date", "2023-02-29", None),
        ("date", "date", "1709164800000", date(2024, 2, 29)),
        ("datetime", "date", "2024-05-01T00:00:00Z", NOW),
        ("datetime", "date", "2024-05-01T00:00:00", NOW),
        ("datetime", "date", "1714521600000", NOW),
        ("datetime", "date", "soon", None),
        ("datetime", "date", "", None),
        ("enumeration", "checkbox", "a;b", ["a", "b"]),
        ("enumeration", "checkbox", "", None),
        ("enumeration", "select", "a;b", "a;b"),
    ],
)
def test_an_analyst_reads_a_property_in_its_type(
    warehouse: Warehouse,
    analyst: Analyst,
    property_type: str,
    field_type: str,
    text: str,
    value: object,
) -> None:
    define(warehouse, "it", property_type, field_type)
    add_deal(warehouse, 1, properties={"it": text})
    publish(warehouse)

    found = analyst(OURS).execute("select it from deals").fetchall()

    assert found == [(value,)]


def test_a_typed_column_is_read_instead_of_the_json(warehouse: Warehouse) -> None:
    define(warehouse, "dealstage", "enumeration", "radio")
    add_deal(warehouse, 1, stage_id="from the column", properties={"dealstage": "from the JSON"})

    publish(warehouse)

    assert rows(warehouse, "select dealstage from {ours}.deals") == [("from the column",)]


def test_typed_columns_are_those_of_deals_only(warehouse: Warehouse) -> None:
    define(warehouse, "amount", "number", "number", crm_object="contacts")
    add_record(warehouse, 1, "contacts", properties={"amount": "7"})

    publish(warehouse)

    assert rows(warehouse, "select amount from {ours}.contacts") == [(7,)]


@pytest.mark.parametrize(
    "name",
    ["ctid", "select", 'a"b', "it's", "100% {of} it\\", "Straße 🙂", " ", "tableoid", "-- x"],
)
def test_a_property_may_be_called_anything(warehouse: Warehouse, name: str) -> None:
    define(warehouse, name)
    add_deal(warehouse, 1, properties={name: "value"})

    assert publish(warehouse) == []

    statement = sql.SQL("select {} from {}").format(
        sql.Identifier(name), sql.Identifier(f"{warehouse.schema}__{OURS}", "deals")
    )
    with warehouse.connect() as connection:
        assert connection.execute(statement).fetchall() == [("value",)]


def test_names_that_do_not_fit_or_collide_get_other_columns(warehouse: Warehouse) -> None:
    names = ["url", "x" * 80 + "1", "x" * 80 + "2", "", "ä" * 50]
    for name in names:
        define(warehouse, name)
    add_deal(warehouse, 1, url="https://…", properties=dict.fromkeys(names, "value"))

    assert publish(warehouse) == []

    columns = list(columns_of(warehouse, "deals"))
    added = [name for name in columns if name.startswith(("property_", "x", "ä"))]
    assert len(added) == 5
    assert {"property_url", "property_"} <= set(added)
    assert rows(warehouse, "select url, property_url from {ours}.deals") == [("https://…", "value")]


def test_1200_properties_all_become_columns(warehouse: Warehouse) -> None:
    define_many(warehouse, 1_200)
    add_deal(warehouse, 1, properties={"p1200": "12"})

    assert publish(warehouse) == []

    assert rows(warehouse, "select p1, p1200 from {ours}.deals") == [(None, 12)]
    assert len(rows(warehouse, "select * from {ours}.deals")[0]) == 1_211


def test_properties_beyond_1500_are_left_out_with_a_warning_each_time(
    warehouse: Warehouse,
) -> None:
    define_many(warehouse, 1_501)

    first, second = publish(warehouse), publish(warehouse)

    assert first == second
    assert len(first) == 1
    assert first[0].startswith("The views of deals show 1500 of 1501 properties")
    assert len(columns_of(warehouse, "deals")) == 1_511


def define_many(warehouse: Warehouse, count: int) -> None:
    execute(
        warehouse,
        "insert into {schema}.property_definitions (_tenant_id, object, name, property_type,"
        " field_type, calculated, options, archived, listed, definition)"
        " select %s, 'deals', 'p' || n, 'number', 'number', false, '[]', false, true, '{{}}'"
        " from generate_series(1, %s) n",
        [OURS, count],
    )


# When they are rebuilt


def test_nothing_is_rebuilt_while_definitions_stay_the_same(warehouse: Warehouse) -> None:
    define(warehouse, "one")
    publish(warehouse)
    before = build_time(warehouse)

    publish(warehouse)

    assert build_time(warehouse) == before


def test_a_new_property_is_appended_and_analysts_views_survive(warehouse: Warehouse) -> None:
    define(warehouse, "m")
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select m from {ours}.deals")
    before = oid_of(warehouse, "deals")
    define(warehouse, "a")

    assert publish(warehouse) == []

    assert list(columns_of(warehouse, "deals"))[-2:] == ["m", "a"]
    assert oid_of(warehouse, "deals") == before


def test_a_changed_type_rebuilds_the_view_and_the_role_still_reads_it(
    warehouse: Warehouse, analyst: Analyst
) -> None:
    define(warehouse, "size", "string")
    add_deal(warehouse, 1, properties={"size": "3"})
    publish(warehouse)
    define(warehouse, "size", "number", "number")

    assert publish(warehouse) == []

    assert analyst(OURS).execute("select size from deals").fetchall() == [(3,)]


def test_a_column_keeps_its_type_while_something_depends_on_the_view(warehouse: Warehouse) -> None:
    define(warehouse, "size", "string")
    add_deal(warehouse, 1, properties={"size": "3", "new": "x"})
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select size from {ours}.deals")
    define(warehouse, "size", "number", "number")
    define(warehouse, "new")

    (warning,) = publish(warehouse)

    assert f"This depends on the view: view {warehouse.schema}.report. All other" in warning
    assert f"The view {warehouse.schema}__{OURS}.deals keeps these columns" in warning
    assert "properties changed: size (text)." in warning
    assert "drop what depends on the view, start a scan, and create it again" in warning
    assert columns_of(warehouse, "deals")["size"] == "text"
    assert columns_of(warehouse, "deals_all")["size"] == "numeric"
    assert rows(warehouse, "select size, new from {ours}.deals") == [("3", "x")]
    assert rows(warehouse, "select size from {schema}.report") == [("3",)]


@pytest.mark.parametrize(
    "dependent",
    [
        "create view {schema}.report as select deal_id from {ours}.deals",
        'create view {schema}."A report" as select size from {ours}.deals',
        "create materialized view {schema}.report as select size from {ours}.deals",
        "create view {schema}.inner_one as select * from {ours}.deals;"
        "create view {schema}.outer_one as select * from {schema}.inner_one",
        "create function {schema}.sizes() returns text return (select max(size) from {ours}.deals)",
        "create function {schema}.first_deal(d {ours}.deals) returns text return (d).size",
        "create table {schema}.copies (a {ours}.deals)",
        "create table {schema}.copies (a {ours}.deals[])",
        "create view {ours}.report as select size from {ours}.deals",
        "create rule ignored as on insert to {ours}.deals do instead nothing",
        "create trigger ignored instead of insert on {ours}.deals for each row"
        " execute function {schema}.refuse_outdated()",
        "alter view {ours}.deals alter column size set default 'x'",
    ],
    ids=lambda statement: statement[:32],
)
def test_whatever_depends_on_a_view_survives_and_is_named(
    warehouse: Warehouse, dependent: str
) -> None:
    define(warehouse, "size", "string")
    publish(warehouse)
    execute(warehouse, dependent)
    before = oid_of(warehouse, "deals")
    define(warehouse, "size", "number", "number")
    define(warehouse, "new")

    (warning,) = publish(warehouse)

    assert re.search(r"on the view: [a-z ]+ \S+.*\. All", warning)
    assert oid_of(warehouse, "deals") == before
    assert "new" in columns_of(warehouse, "deals")


def test_dependents_of_other_owners_in_other_schemas_are_named_as_they_are_called_now(
    warehouse: Warehouse, analyst: Analyst
) -> None:
    define(warehouse, "size", "string")
    publish(warehouse)
    execute(warehouse, "create schema tv_reports")
    jane = analyst(OURS)
    execute(warehouse, f"grant create, usage on schema tv_reports to tv_analyst_{OURS}")
    jane.execute("create view tv_reports.report as select size from deals_all")
    define(warehouse, "size", "number", "number")

    (before,) = publish(warehouse)
    jane.execute("alter view tv_reports.report rename to monthly")
    (after,) = publish(warehouse)

    assert "tv_reports.report" in before
    assert "tv_reports.monthly" in after
    assert columns_of(warehouse, "deals")["size"] == "numeric"
    assert columns_of(warehouse, "deals_all")["size"] == "text"


def test_nothing_is_built_again_while_the_same_views_depend_on_it(warehouse: Warehouse) -> None:
    define(warehouse, "size", "string")
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select size from {ours}.deals")
    define(warehouse, "size", "number", "number")
    first = publish(warehouse)
    changed = "select xmin::text, relname from pg_class where relkind = 'v'"
    before = rows(warehouse, changed)

    assert publish(warehouse) == first

    assert rows(warehouse, changed) == before


TYPES = {
    "text": ("string", "text"),
    "numeric": ("number", "number"),
    "boolean": ("bool", "booleancheckbox"),
    "date": ("date", "date"),
    "timestamp with time zone": ("datetime", "date"),
    "ARRAY": ("enumeration", "checkbox"),
}


def test_a_column_of_any_type_is_kept_beside_any_other(warehouse: Warehouse) -> None:
    pairs = {f"{old} to {new}": (old, new) for old in TYPES for new in TYPES}
    for name, (old, _) in pairs.items():
        define(warehouse, name, *TYPES[old])
    for deal_id, text in enumerate(["true", "2024-05-01", "1714521600000", "a;b", ""]):
        add_deal(warehouse, deal_id, properties=dict.fromkeys(pairs, text))
    publish(warehouse)
    before = rows(warehouse, "select * from {ours}.deals order by deal_id")
    execute(warehouse, "create view {schema}.report as select deal_id from {ours}.deals")
    for name, (_, new) in pairs.items():
        define(warehouse, name, *TYPES[new])

    (warning,) = publish(warehouse)

    assert " and 25 more. This depends" in warning
    kept = columns_of(warehouse, "deals")
    assert {name: kept[name] for name in pairs} == {name: old for name, (old, _) in pairs.items()}
    assert rows(warehouse, "select * from {ours}.deals order by deal_id") == before


def test_a_property_that_becomes_another_and_then_itself_again_needs_no_warning(
    warehouse: Warehouse,
) -> None:
    define(warehouse, "size", "string")
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select size from {ours}.deals")
    define(warehouse, "size", "number", "number")
    assert publish(warehouse)
    define(warehouse, "size", "string")

    assert publish(warehouse) == []

    assert columns_of(warehouse, "deals")["size"] == "text"


def test_many_columns_keep_their_types_and_five_are_named(warehouse: Warehouse) -> None:
    define_many(warehouse, 1_500)
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select p1 from {ours}.deals")
    execute(
        warehouse,
        "update {schema}.property_definitions set property_type = 'string' where name <> 'p1'",
    )

    (warning,) = publish(warehouse)

    assert ": p10 (numeric), p100 (numeric)" in warning
    assert " and 1494 more. " in warning
    assert set(columns_of(warehouse, "deals_all").values()) >= {"numeric", "text"}


def test_the_column_of_a_removed_property_stays_while_something_depends_on_the_view(
    warehouse: Warehouse,
) -> None:
    define(warehouse, "size", "number", "number")
    add_deal(warehouse, 1, properties={"size": "3"})
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select size from {ours}.deals")
    execute(warehouse, "delete from {schema}.property_definitions")
    define(warehouse, "new")

    (warning,) = publish(warehouse)

    assert ": size (numeric). This depends" in warning
    assert rows(warehouse, "select size, new from {ours}.deals") == [(3, None)]
    assert "size" not in columns_of(warehouse, "deals_all")


def test_more_columns_than_a_view_can_have_are_left_out_with_a_warning(
    warehouse: Warehouse,
) -> None:
    define_many(warehouse, 1_500)
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select p1 from {ours}.deals")
    execute(warehouse, "update {schema}.property_definitions set name = 'q' || name")

    (warning,) = publish(warehouse)

    assert "there is no room for 1411 new ones" in warning
    assert len(columns_of(warehouse, "deals")) == 1_600


def test_a_column_gets_its_new_type_once_nothing_depends_on_the_view(
    warehouse: Warehouse,
) -> None:
    define(warehouse, "size", "string")
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select size from {ours}.deals")
    define(warehouse, "size", "number", "number")
    publish(warehouse)
    execute(warehouse, "drop view {schema}.report")

    assert publish(warehouse) == []

    assert columns_of(warehouse, "deals")["size"] == "numeric"


def test_a_column_has_hubspots_label_and_description_as_its_comment(warehouse: Warehouse) -> None:
    define(warehouse, "size", label="Size", description="In m², 'about' 100 %")
    define(warehouse, "color", label="Colour")
    define(warehouse, "bare")

    publish(warehouse)

    for view in ("deals", "deals_all"):
        comments = comments_of(warehouse, view)
        assert comments["size"] == "Size: In m², 'about' 100 %"
        assert comments["color"] == "Colour"
        assert comments["bare"] is None
        assert comments["archived"] == comments_of(warehouse, "_deals")["archived"] is not None


def test_a_comment_follows_hubspots_label(warehouse: Warehouse) -> None:
    define(warehouse, "size", label="Size")
    publish(warehouse)
    define(warehouse, "size", label="Floor space")

    assert publish(warehouse) == []

    assert comments_of(warehouse, "deals")["size"] == "Floor space"


def test_views_of_tables_have_the_comments_of_the_tables(warehouse: Warehouse) -> None:
    publish(warehouse)

    assert comments_of(warehouse, "owners")["owner_type"] == "`PERSON` or `QUEUE`."


def test_one_deal_of_many_is_found_by_its_key(warehouse: Warehouse) -> None:
    define(warehouse, "note")
    define_stages(warehouse)
    publish(warehouse)
    execute(
        warehouse,
        "insert into {schema}.deals (_tenant_id, deal_id, archived, properties, _scan_id,"
        " _extracted_at) select %s, n, false, '{{}}', 's', now() from generate_series(1, 5000) n",
        [OURS],
    )
    execute(warehouse, "analyze {schema}.deals")

    plan = rows(warehouse, "explain select * from {ours}.deals where deal_id = 17")

    assert any("Index Scan" in line and "deals_pkey" in line for (line,) in plan), plan


def test_a_query_that_needs_no_json_unpacks_none(warehouse: Warehouse) -> None:
    define(warehouse, "dealstage")
    define(warehouse, "note")
    publish(warehouse)

    def plan(column: str) -> str:
        lines = rows(warehouse, f"explain verbose select {column} from {{ours}}.deals")
        return "\n".join(line for (line,) in lines)

    assert "||" not in plan("dealstage")
    assert "||" in plan("note")


def test_what_an_administrator_granted_survives_a_rebuild(warehouse: Warehouse) -> None:
    define(warehouse, "size", "string")
    define(warehouse, 'a "b"')
    publish(warehouse)
    for role in ("tv_bob", 'tv_"carol"', "tv_dave"):
        execute(warehouse, sql.SQL("create role {}").format(sql.Identifier(role)).as_string())
    execute(
        warehouse,
        "grant usage on schema {ours} to tv_bob;"
        "grant select on {ours}.deals to tv_bob with grant option;"
        'grant select (size, "a ""b"""), references (deal_id) on {ours}.deals to "tv_""carol""";'
        "grant select, update on {ours}.deals to public;"
        "set role tv_bob; grant select on {ours}.deals to tv_dave; reset role;"
        "comment on column {ours}.deals.size is 'in m² and ''quoted'' 100 %'",
    )
    before = granted(warehouse)
    define(warehouse, "size", "number", "number")

    assert publish(warehouse) == []

    assert columns_of(warehouse, "deals")["size"] == "numeric"
    assert granted(warehouse) == before
    assert len(before) == 8
    comments = "select col_description(attrelid, attnum) from pg_attribute where attname = 'size'"
    assert ("in m² and 'quoted' 100 %",) in rows(warehouse, comments)


def granted(warehouse: Warehouse) -> set[Any]:
    """Who but the owner may do what with `deals` and its columns."""
    return set(
        rows(
            warehouse,
            "select column_name, grantee::regrole::text, privilege_type, is_grantable"
            " from (select null as column_name, relowner, relacl as acl from pg_class"
            " where oid = '{ours}.deals'::regclass union all select attname, relowner, attacl"
            " from pg_attribute join pg_class on pg_class.oid = attrelid"
            " where attrelid = '{ours}.deals'::regclass) as it, aclexplode(acl)"
            " where grantee <> relowner",
        )
    )


def test_a_view_over_a_barrier_in_use_waits_for_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "VIEW_LOCK_TIMEOUT", "20ms")
    publish(warehouse)
    execute(warehouse, "alter table {schema}.deals add column deal_size text")
    define(warehouse, "deal_size")
    typed = {**TYPED, "deal_size": "deal_size"}

    with warehouse.connect() as reader:
        reader.execute(composed(warehouse, "select count(*) from {ours}._deals"))
        warnings = publish_views(warehouse, OURS, OBJECTS, typed)

    assert len(warnings) == 1
    assert "_deals stays as it was: queries used it" in warnings[0]
    assert publish_views(warehouse, OURS, OBJECTS, typed) == []
    assert "deal_size" in columns_of(warehouse, "deals")


def test_views_of_an_object_that_is_no_longer_wanted_are_dropped(warehouse: Warehouse) -> None:
    publish(warehouse)

    assert publish(warehouse, objects=["deals"]) == []

    assert not {name for name in views_of(warehouse) if "contacts" in name}


def test_an_unwanted_view_that_is_used_stays_with_a_warning(warehouse: Warehouse) -> None:
    publish(warehouse)
    execute(warehouse, "create view {schema}.report as select record_id from {ours}.contacts")

    warnings = publish(warehouse, objects=["deals"])

    assert len(warnings) == 1
    assert "contacts stays as it was: view" in warnings[0]
    left = {name for name in views_of(warehouse) if "contacts" in name}
    assert left == {"contacts", "_contacts"}


def test_a_dropped_schema_or_view_is_built_again(warehouse: Warehouse, analyst: Analyst) -> None:
    publish(warehouse)
    execute(warehouse, "drop view {ours}.owners")
    publish(warehouse)
    assert "owners" in views_of(warehouse)

    execute(warehouse, "drop schema {ours} cascade")
    publish(warehouse)

    assert analyst(OURS).execute("select count(*) from deals").fetchall() == [(0,)]


def test_what_others_made_in_the_schema_is_neither_replaced_nor_dropped_nor_shown(
    warehouse: Warehouse, analyst: Analyst
) -> None:
    publish(warehouse, objects=["deals"])
    execute(warehouse, "create view {ours}.contacts as select 'mine' as it")
    execute(warehouse, "create table {ours}.notes_of_an_analyst ()")

    warnings = publish(warehouse)

    assert len(warnings) == 1
    assert f"{OURS}.contacts is not a view that this pipeline built" in warnings[0]
    assert rows(warehouse, "select it from {ours}.contacts") == [("mine",)]
    assert rows(warehouse, "select from {ours}.notes_of_an_analyst") == []
    refused(analyst(OURS), "select * from contacts")


def test_a_view_in_use_is_left_to_the_next_scan(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "VIEW_LOCK_TIMEOUT", "20ms")
    publish(warehouse)
    define(warehouse, "new")

    with warehouse.connect() as reader:
        reader.execute(composed(warehouse, "select count(*) from {ours}.deals"))
        warnings = publish(warehouse)

    assert len(warnings) == 1
    assert "deals stays as it was: queries used it" in warnings[0]
    assert publish(warehouse) == []
    assert "new" in columns_of(warehouse, "deals")


def test_an_object_that_would_collide_is_skipped_with_a_warning(warehouse: Warehouse) -> None:
    warnings = publish(warehouse, objects=["deals", "deals_all", "owners", "contacts"])

    assert [text.split(" gets")[0] for text in warnings] == [
        "The object deals_all",
        "The object owners",
    ]
    assert "contacts" in views_of(warehouse)


def test_a_schema_name_over_63_bytes_is_cut(warehouse: Warehouse, database_url: str) -> None:
    tenant_id = "tv_" + "long" * 9
    long = Warehouse.from_url(database_url, "tv_" + "d" * 40)
    execute(warehouse, f"alter schema {{schema}} rename to {long.schema}")

    publish_views(long, tenant_id, OBJECTS, TYPED)

    stored = rows(long, "select schema_name from {schema}.tenant_views")[0][0]
    assert len(stored) == 63
    assert rows(long, "select count(*) from pg_views where schemaname = %s", [stored]) == [(23,)]


# Roles


def test_the_role_can_not_log_in(warehouse: Warehouse) -> None:
    publish(warehouse)

    role = rows(
        warehouse,
        "select rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls"
        " from pg_roles where rolname = %s",
        [f"hubspot_{OURS}"],
    )
    assert role == [(False, False, False, False, False)]


def test_a_role_that_is_there_is_used(warehouse: Warehouse, analyst: Analyst) -> None:
    execute(warehouse, f"create role hubspot_{OURS} nologin")

    assert publish(warehouse) == []

    assert analyst(OURS).execute("select count(*) from deals").fetchall() == [(0,)]


def test_a_loader_that_may_not_create_roles_builds_views_and_says_what_to_run(
    warehouse: Warehouse, database_url: str, analyst: Analyst
) -> None:
    loader = as_loader(warehouse, database_url)

    warnings = publish(loader)

    statement = f'create role "hubspot_{OURS}" nologin'
    assert len(warnings) == 1
    assert f"An administrator must run: {statement};" in warnings[0]
    assert "deals" in views_of(warehouse)
    assert publish(loader) == warnings
    execute(warehouse, statement)
    assert publish(loader) == []
    assert analyst(OURS).execute("select count(*) from deals").fetchall() == [(0,)]


def test_a_loader_that_may_not_create_schemas_says_what_to_run(
    warehouse: Warehouse, database_url: str
) -> None:
    loader = as_loader(warehouse, database_url)
    execute(warehouse, f"revoke create on database {database_of(warehouse)} from tv_loader")

    warning, _ = publish(loader)

    statement = f'create schema "{warehouse.schema}__{OURS}" authorization "tv_loader"'
    assert f"An administrator must run: {statement};" in warning
    execute(warehouse, statement)
    assert all("create schema" not in warning for warning in publish(loader))
    assert "deals" in views_of(warehouse)


def database_of(warehouse: Warehouse) -> str:
    return str(warehouse.parameters["dbname"])


def as_loader(warehouse: Warehouse, database_url: str) -> Warehouse:
    """The same warehouse through a role that owns its schema and may do nothing else."""
    url = make_login(database_url, "tv_loader", "nosuperuser nocreaterole")
    execute(warehouse, f"grant create on database {database_of(warehouse)} to tv_loader")
    execute(warehouse, "grant all on schema {schema} to tv_loader")
    execute(warehouse, "grant all on all tables in schema {schema} to tv_loader")
    return Warehouse.from_url(url, warehouse.schema)


def test_tenants_and_processes_publish_at_the_same_time(warehouse: Warehouse) -> None:
    tenants = [OURS, THEIRS, "tv_three", "tv_four"] * 4
    for tenant_id in set(tenants):
        define(warehouse, "it", tenant_id=tenant_id)
    together = threading.Barrier(len(tenants))

    def run(tenant_id: str) -> list[str]:
        together.wait()
        return publish(warehouse, tenant_id)

    with ThreadPoolExecutor(len(tenants)) as threads:
        warnings = list(threads.map(run, tenants))

    assert warnings == [[]] * len(tenants)
    assert rows(warehouse, "select count(*) from {schema}.tenant_views") == [(4,)]


def test_two_warehouses_of_one_server_create_the_same_role_at_the_same_time(
    warehouse: Warehouse,
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with warehouse.connect() as other:
            other.execute(f"create role hubspot_{OURS} nologin")
            published = thread.submit(publish, warehouse)
            wait_for_a_blocked_session(warehouse)

        assert published.result(timeout=20) == []


def wait_for_a_blocked_session(warehouse: Warehouse) -> None:
    blocked = (
        "select from pg_stat_activity where query like 'create role%' and wait_event_type = 'Lock'"
    )
    waited = threading.Event()
    for _ in range(400):
        if rows(warehouse, blocked):
            return
        waited.wait(0.01)
    raise AssertionError("nothing waits for the other session's role")
