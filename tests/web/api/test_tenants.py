import pytest

from tests.support.status_rows import run_of
from tests.web.api.conftest import DEALS
from tests.web.api.servers import Server

pytestmark = pytest.mark.e2e


def test_a_tenant_with_everything_that_is_known_of_it(simple: Server) -> None:
    tenant = simple.get("/tenants/initech").json()

    assert tenant["state"] == "failing"
    assert tenant["last_scan"]["scan_id"] == run_of("initech", 2)[0]
    assert tenant["last_scan"]["error_type"] == "TokenRejectedError"
    assert (tenant["deals_live"], tenant["deals_archived"]) == (1_200, 3)
    assert tenant["quality"] == {"passed": 1, "warned": 1, "failed": 0, "no_rows": 0}
    assert tenant["quota"] == {"used_today": None, "daily_limit": 250_000, "share": 0.9}
    assert 86_000 < tenant["freshness_s"] < 90_000
    assert [entry["state"] for entry in tenant["history"]] == ["succeeded", "failed"]
    assert tenant["history"][0]["deals_received"] == DEALS


def test_paused_and_next_run_come_from_airflow(simple: Server) -> None:
    tenants = {tenant["id"]: tenant for tenant in simple.get("/tenants").json()["tenants"]}

    assert [name for name, tenant in tenants.items() if tenant["paused"]] == ["paused"]
    assert [name for name, tenant in tenants.items() if tenant["next_run_at"]] == ["timed"]


def test_a_list_in_pages_is_the_whole_list(simple: Server) -> None:
    whole = simple.get("/tenants").json()["tenants"]

    pages, cursor = [], ""
    while cursor is not None:
        page = simple.get(f"/tenants?limit=1{f'&cursor={cursor}' if cursor else ''}").json()
        pages += page["tenants"]
        cursor = page["next_cursor"]
        assert page["total"] == len(whole)

    assert [tenant["id"] for tenant in pages] == [tenant["id"] for tenant in whole]


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
