from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from psycopg.types.json import Jsonb

from include.warehouse.tenant_views.views import publish_views
from include.web.cursor import cursor_of
from include.web.models import TenantOrder
from tests.support.scans import query
from tests.support.status_rows import add_scan, insert, run_of
from tests.web.api.conftest import DEALS, Site, tenants_file
from tests.web.api.servers import Server

pytestmark = pytest.mark.e2e


def test_a_tenant_with_everything_that_is_known_of_it(simple: Server) -> None:
    tenant = simple.get("/tenants/initech").json()

    assert tenant["state"] == "failing"
    assert tenant["last_scan"]["scan_id"] == run_of("initech", 2)[0]
    assert tenant["last_scan"]["error_type"] == "TokenRejectedError"
    assert (tenant["deals_live"], tenant["deals_archived"]) == (1_200, 3)
    checked = {"passed": 1, "warned": 1, "failed": 0, "no_rows": 0}
    assert tenant["quality"] == {"scan_id": run_of("initech", 1)[0], **checked}
    assert tenant["quota"] == {"used_today": None, "daily_limit": 250_000, "share": 0.9}
    assert 86_000 < tenant["freshness_s"] < 90_000
    assert [entry["state"] for entry in tenant["history"]] == ["succeeded", "failed"]
    assert tenant["history"][0]["deals_received"] == DEALS


def test_a_scan_all_of_whose_tasks_were_cleared_has_no_phase_before_its_start(site: Site) -> None:
    cleared, began = datetime.now(UTC) - timedelta(minutes=5), timedelta(minutes=20)
    scan = add_scan(
        site.warehouse,
        "globex",
        98,
        state="failed",
        started_at=cleared,
        extraction_started_at=cleared - began,
    )

    history = site.simple.get("/tenants/globex").json()["history"]
    phases = site.simple.get(f"/scans/{scan}").json()["phases"]
    query(site.warehouse, "delete from scans where scan_id = %s returning scan_id", scan)

    entry = next(entry for entry in history if entry["scan_id"] == scan)
    assert (entry["token_s"], entry["read_s"], entry["seconds"]) == (0, 30, 30)
    assert (phases["token"], phases["check"]) == (0, None)


def test_paused_and_next_run_come_from_airflow(simple: Server) -> None:
    tenants = {tenant["id"]: tenant for tenant in simple.get("/tenants").json()["tenants"]}

    assert [name for name, tenant in tenants.items() if tenant["paused"]] == ["paused"]
    assert [name for name, tenant in tenants.items() if tenant["next_run_at"]] == ["timed"]


def test_a_tenant_whose_dag_airflow_does_not_know_yet_is_not_paused(simple: Server) -> None:
    with tenants_file(simple, [{"id": "brandnew"}]):
        tenant = simple.get("/tenants/brandnew").json()

    assert (tenant["paused"], tenant["next_run_at"]) == (False, None)


@pytest.mark.usefixtures("timed_is_stale")
def test_a_tenant_whose_dag_airflow_has_deactivated_is_late(simple: Server) -> None:
    assert simple.get("/tenants/timed").json()["state"] == "late"


@pytest.mark.parametrize("sort", get_args(TenantOrder))
def test_a_list_in_pages_is_the_whole_list(simple: Server, sort: str) -> None:
    path = f"/tenants?sort={sort}"
    whole = simple.get(path).json()["tenants"]

    pages, cursor = [], ""
    while cursor is not None:
        page = simple.get(f"{path}&limit=1{f'&cursor={cursor}' if cursor else ''}").json()
        pages += page["tenants"]
        cursor = page["next_cursor"]
        assert page["total"] == len(whole)

    assert [tenant["id"] for tenant in pages] == [tenant["id"] for tenant in whole]


@pytest.mark.parametrize(("sort", "shown"), [("last_scan", 1), ("-last_scan", 2)])
def test_pages_join_although_the_last_tenant_shown_is_scanned_meanwhile(
    site: Site, sort: str, shown: int
) -> None:
    path = f"/tenants?sort={sort}"
    whole = [tenant["id"] for tenant in site.simple.get(path).json()["tenants"]]
    first = site.simple.get(f"{path}&limit={shown}").json()

    add_scan(site.warehouse, whole[shown - 1], 96, age=timedelta())
    rest = site.simple.get(f"{path}&limit={shown}&cursor={first['next_cursor']}").json()
    query(site.warehouse, "delete from scans where run_id = 'manual__96' returning scan_id")

    assert [tenant["id"] for tenant in rest["tenants"]] == whole[shown : 2 * shown]


def test_a_cursor_with_a_value_of_another_type_is_400(simple: Server) -> None:
    forged = cursor_of("tenants search= state=None sort=deals_live", ["many", "acme"])

    answer = simple.get(f"/tenants?sort=deals_live&cursor={forged}")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.parametrize(("user", "seen"), [("admin", 3), ("acme_reader", 1)])
def test_invalid_entries_that_one_may_see_are_counted(fab: Server, user: str, seen: int) -> None:
    invalid = [{"id": name, "shedule": "x"} for name in ("acme", "globex", "No Id")]

    with tenants_file(fab, [*invalid, {"id": "initech"}]):
        answer = fab.get("/tenants", user).json()

    assert answer["problems"] == seen


def test_a_warning_is_not_counted_as_an_incident(site: Site) -> None:
    before = site.simple.get("/tenants").json()["incidents"]
    row = {"tenant_id": "initech", "error_type": "x", "cause": "x", "said": "x", "scan_ids": []}

    insert(site.warehouse, "incidents", {**row, "kind": "warning"})
    with_warning = site.simple.get("/tenants").json()["incidents"]
    insert(site.warehouse, "incidents", {**row, "kind": "failure"})
    with_both = site.simple.get("/tenants").json()["incidents"]
    query(site.warehouse, "delete from incidents where tenant_id = 'initech' returning kind")

    assert (with_warning, with_both) == (before, before + 1)


def test_search_and_state_choose(simple: Server) -> None:
    found = simple.get("/tenants?search=LOB").json()
    failing = simple.get("/tenants?state=failing").json()
    never = simple.get("/tenants?state=never&limit=1").json()

    assert [tenant["id"] for tenant in found["tenants"]] == ["globex"]
    assert [tenant["id"] for tenant in failing["tenants"]][-1] == "initech"
    assert (failing["total"], failing["next_cursor"]) == (len(failing["tenants"]), None)
    assert all(tenant["state"] == "never" for tenant in never["tenants"])


def test_an_unknown_tenant_is_404(simple: Server) -> None:
    answer = simple.get("/tenants/hooli")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_the_warehouse_is_found_by_an_airflow_connection_as_well(fab: Server) -> None:
    assert fab.get("/tenants/acme", "acme_reader").json()["deals_live"] == 1_200


def test_the_live_deals_are_counted_by_stage_with_their_labels(site: Site) -> None:
    with site.warehouse.connect() as connection:
        connection.run("delete from {deals} where _tenant_id = 'initech'")
        connection.run(
            "insert into {accounts} (_tenant_id, portal_id, time_zone, company_currency,"
            " additional_currencies) values ('initech', 1, 'UTC', 'EUR', '[]')"
        )
        connection.run(
            "insert into {pipeline_stages} (_tenant_id, object, pipeline_id, stage_id,"
            " pipeline_label, stage_label, _scan_id) values"
            " ('initech', 'deals', 'p', 's', 'Sales', 'Won', 'x'),"
            " ('initech', 'tickets', 'p', 's', 'Support', 'Open', 'x'),"
            " ('acme', 'deals', 'p', 's', 'Foreign', 'Foreign', 'x')"
        )
        connection.run(
            "insert into {deals} (_tenant_id, deal_id, pipeline_id, stage_id,"
            " amount_in_home_currency, archived, vanished_at, merged_into_deal_id, properties,"
            " _scan_id, _extracted_at)"
            " select 'initech', id, 'p', stage, 10, archived, vanished_at, merged, '{{}}', 'x',"
            " now() from (values (1, 's', false, null, null), (2, 's', false, null, null),"
            " (3, 'old', false, null, null), (4, 's', true, null, null),"
            " (5, 's', false, now(), null), (6, 's', false, null, 1))"
            " as deal (id, stage, archived, vanished_at, merged)"
        )
    try:
        stages = site.simple.get("/tenants/initech/stages").json()["stages"]
    finally:
        with site.warehouse.connect() as connection:
            for table in ("accounts", "deals", "pipeline_stages"):
                connection.run(f"delete from {{{table}}} where _tenant_id = 'initech'")
            connection.run("delete from {pipeline_stages} where pipeline_label = 'Foreign'")

    assert [(row["pipeline"], row["stage"], row["deals"], row["amount"]) for row in stages] == [
        ("Sales", "Won", 2, 20.0),
        ("p", "old", 1, 10.0),
    ]
    assert {row["currency"] for row in stages} == {"EUR"}


def test_the_schema_of_a_tenant_names_columns_types_labels_watermark_and_drift(
    site: Site,
) -> None:
    drift = {"deals": {"added": ["region"]}}
    watermark = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    add_scan(site.warehouse, "acme", 97, state="failed", deals={"watermark": datetime.now(UTC)})
    with site.warehouse.connect() as connection:
        connection.run(
            "update {scan_objects} set watermark = %s"
            " where tenant_id = 'acme' and object = 'deals' and scan_id = %s",
            [watermark, run_of("acme", 1)[0]],
        )
        connection.run(
            "insert into {property_definitions} (_tenant_id, object, name, label, property_type,"
            " field_type, calculated, options, archived, listed, definition) values"
            " ('acme', 'deals', 'amount', 'Amount', 'number', 'number', false, '[]', false, true,"
            """ '{{"description": "What it is worth"}}')"""
        )
        connection.run(
            "update {scans} set schema_drift = %s"
            " where tenant_id = 'acme' and run_id = 'manual__1'",
            [Jsonb(drift)],
        )
    publish_views(site.warehouse, "acme", ["deals"], {})

    answer = site.simple.get("/tenants/acme/schema").json()
    query(site.warehouse, "delete from scans where run_id = 'manual__97' returning scan_id")

    assert answer["schema_name"] == "deals_of_the_api__acme"
    assert (answer["drift"]["drift"], len(answer["objects"])) == (drift, 1)
    (deals,) = answer["objects"]
    types = {column["name"]: column["type"] for column in deals["columns"]}
    assert (types["deal_id"], types["amount"]) == ("bigint", "numeric")
    assert datetime.fromisoformat(deals["watermark"]) == watermark
    comments = {column["name"]: column["comment"] for column in deals["columns"]}
    assert comments["amount"].startswith("Amount")


@pytest.mark.parametrize("what", ["stages", "schema"])
def test_what_the_warehouse_holds_of_another_tenant_is_not_shown(fab: Server, what: str) -> None:
    assert fab.get(f"/tenants/initech/{what}", "acme_user").status_code == 404
    assert fab.get(f"/tenants/acme/{what}", "acme_user").status_code == 200
