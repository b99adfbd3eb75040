"""Every way out of a tenant's views that we could think of."""

import psycopg
import pytest

from include.warehouse.connection import Warehouse
from tests.warehouse.tenant_views.conftest import Analyst
from tests.warehouse.tenant_views.views import (
    OURS,
    THEIRS,
    add_deal,
    define,
    execute,
    insert,
    publish,
    refused,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def ours(warehouse: Warehouse, analyst: Analyst) -> psycopg.Connection:
    """An analyst of one tenant, in a warehouse where another has a secret."""
    for tenant_id in (OURS, THEIRS):
        for name in ("note", "size"):
            define(warehouse, name, tenant_id=tenant_id)
    define(warehouse, "size", "number", "number")
    add_deal(warehouse, 1, properties={"note": "own", "size": "1"}, stage_id="own")
    add_deal(warehouse, 2, properties={"note": "archived"}, archived=True)
    for deal_id in range(10, 20):
        secret = {"note": "secret", "size": "4711"}
        add_deal(warehouse, deal_id, tenant_id=THEIRS, properties=secret, stage_id="secret")
    execute(warehouse, "analyze {schema}.deals")
    publish(warehouse)
    publish(warehouse, THEIRS)
    return analyst(OURS)


@pytest.mark.parametrize(
    "table",
    [
        *("deals", "records", "pipeline_stages", "pipelines", "owners", "associations", "scans"),
        *("users", "teams", "roles"),
        *("property_definitions", "property_history", "history_reads", "scan_objects", "tenants"),
        *("scan_chunks", "quality_results", "tenant_views", "schema_migrations", "_dlt_loads"),
    ],
)
def test_base_tables_are_closed(warehouse: Warehouse, ours: psycopg.Connection, table: str) -> None:
    refused(ours, f"select * from {warehouse.schema}.{table}")


def test_other_tenants_schemas_are_closed(warehouse: Warehouse, ours: psycopg.Connection) -> None:
    refused(ours, f"select * from {warehouse.schema}__{THEIRS}.deals")


def test_what_the_views_read_is_closed(ours: psycopg.Connection) -> None:
    refused(ours, "select * from _deals")


def test_staging_is_closed(warehouse: Warehouse, ours: psycopg.Connection) -> None:
    refused(ours, f"select * from {warehouse.schema}_stg_slot1.deals")


def test_functions_of_the_warehouse_are_closed(
    warehouse: Warehouse, ours: psycopg.Connection
) -> None:
    refused(ours, f"select {warehouse.schema}.as_number('1')")


def test_another_tenants_role_can_not_be_taken(ours: psycopg.Connection) -> None:
    refused(ours, f"set role hubspot_{THEIRS}")
    refused(ours, f"grant hubspot_{THEIRS} to current_user")
    refused(ours, "set session authorization postgres")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into deal_stages (pipeline_id) values ('x')",
        "update deal_stages set stage_label = 'x'",
        "delete from owners",
        "merge into owners using (select '1' as id) s on owner_id = id when matched then delete",
        "select * from deals for update",
        "comment on view deals is 'mine'",
        "alter view deals reset (security_barrier)",
        "alter view deals set (security_invoker)",
        "drop view deals",
        "create or replace view deals as select 1 as deal_id",
        "create or replace rule leak as on select to deals do instead select 1",
    ],
)
def test_nothing_is_written_or_changed(ours: psycopg.Connection, statement: str) -> None:
    refused(ours, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into deals_all (deal_id, archived) values (9, false)",
        "update deals set url = 'x'",
        "delete from deals",
        "merge into deals using (select 1 as id) s on deal_id = id when matched then delete",
    ],
)
def test_no_view_of_records_takes_a_write(ours: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="view"):
        ours.execute(statement)


def test_an_analyst_can_not_grant_access(ours: psycopg.Connection) -> None:
    rights = "select relacl from pg_class where oid = 'deals'::regclass"
    before = ours.execute(rights).fetchall()

    # PostgreSQL only warns that nothing was granted
    ours.execute("grant select on deals to public")

    assert ours.execute(rights).fetchall() == before


def test_a_view_can_not_be_locked_against_the_loader(ours: psycopg.Connection) -> None:
    with ours.transaction():
        refused(ours, "lock table deals in access exclusive mode")


@pytest.mark.parametrize(
    "statement",
    [
        "create table {schema}.mine ()",
        "create view {schema}.mine as select 1 as it",
        "create function {schema}.f() returns int language sql return 1",
        "create type {schema}.mine as enum ()",
        "create schema mine",
    ],
)
def test_nothing_is_created(warehouse: Warehouse, ours: psycopg.Connection, statement: str) -> None:
    refused(ours, statement.format(schema=f"{warehouse.schema}__{OURS}"))


def seen_by(connection: psycopg.Connection, query: str) -> set[str]:
    """Return what a function that reveals its arguments was given in *query*."""
    noticed: list[str] = []
    connection.execute("set client_min_messages to notice")
    connection.add_notice_handler(lambda notice: noticed.append(notice.message_primary or ""))
    connection.execute(query)
    return set(noticed)


LEAK = """
    create function pg_temp.leak(value text) returns boolean language plpgsql
    cost 0.0000001 as $$
    begin
        raise notice '%', value;
        return true;
    end
    $$
"""
LEAK_OPERATOR = """
    create function pg_temp.leak(value text, other text) returns boolean language plpgsql
    cost 0.0000001 as $$
    begin
        raise notice '%', value;
        return true;
    end
    $$;
    create operator pg_temp.<<< (function = pg_temp.leak, leftarg = text, rightarg = text,
                                 restrict = eqsel)
"""


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("select * from deals where pg_temp.leak(note)", {"own"}),
        ("select * from deals where pg_temp.leak(dealstage)", {"own"}),
        ("select * from deals_all where pg_temp.leak(note)", {"own", "archived"}),
        ("select * from deals where pg_temp.leak(dealstage_label)", {"own stage"}),
        ("select * from deal_stages where pg_temp.leak(stage_label)", {"own stage"}),
        ("select * from users where pg_temp.leak(email)", {"own@example.com"}),
        ("select count(*) from deals where pg_temp.leak(deals::text) and note = 'x'", None),
        ("select 1 from deals a join deals b on pg_temp.leak(a.note) and a.url = b.url", {"own"}),
    ],
)
def test_a_cheap_function_that_tells_all_sees_own_rows_only(
    warehouse: Warehouse, ours: psycopg.Connection, query: str, seen: set[str] | None
) -> None:
    define(warehouse, "dealstage")
    for tenant_id, whose in ((OURS, "own"), (THEIRS, "secret")):
        stage = {"pipeline_id": "a", "pipeline_label": "A", "stage_id": whose, "_scan_id": "s"}
        stage |= {"object": "deals", "stage_label": f"{whose} stage", "metadata": {}}
        insert(warehouse, "pipeline_stages", {"_tenant_id": tenant_id, **stage})
        execute(
            warehouse,
            "insert into {schema}.users (_tenant_id, user_id, email, role_ids,"
            " secondary_team_ids, listed) values (%s, 1, %s, '[]', '[]', true)",
            [tenant_id, f"{whose}@example.com"],
        )
    publish(warehouse)
    ours.execute(LEAK)

    noticed = seen_by(ours, query)

    assert not any("secret" in text for text in noticed)
    if seen is not None:
        assert noticed == seen


def test_a_cheap_operator_that_tells_all_sees_own_rows_only(ours: psycopg.Connection) -> None:
    ours.execute(LEAK_OPERATOR)

    noticed = seen_by(ours, "select * from deals where note operator(pg_temp.<<<) 'x'")

    assert noticed == {"own"}


def test_an_error_made_from_a_value_tells_nothing_of_others(ours: psycopg.Connection) -> None:
    # 'secret' is no integer: had it been looked at, the cast would fail and quote it
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match='"own"'):
        ours.execute("select * from deals where note::integer = 1")


@pytest.mark.parametrize("options", ["", "(verbose)", "(analyze, verbose, buffers)"])
def test_explain_tells_no_values_of_others(ours: psycopg.Connection, options: str) -> None:
    plan = str(ours.execute(f"explain {options} select * from deals where size > 1").fetchall())

    assert THEIRS not in plan
    assert "secret" not in plan
    assert "4711" not in plan


def test_statistics_tell_no_values_of_others(ours: psycopg.Connection) -> None:
    assert ours.execute("select * from pg_stats where tablename = 'deals'").fetchall() == []
    refused(ours, "select * from pg_statistic")
