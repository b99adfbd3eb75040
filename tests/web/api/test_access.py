"""Who gets in, and to what: asked of Airflow's real API server, with two real auth managers."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.status_rows import SECRET_VALUE
from tests.web.api.conftest import Site, tenants_file
from tests.web.api.routes import Route, guarded_routes, routes
from tests.web.api.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_runs")]

START = {"tenant": "acme"}
ROUTES = [pytest.param(route, id=f"{route.method} {route.template}") for route in guarded_routes()]


def problem(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


def test_the_routes_are_all_there() -> None:
    assert len(routes()) >= 11


def test_health_is_open_and_tells_nothing(simple: Server) -> None:
    answer = simple.get("/health", user=None)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("route", ROUTES)
def test_no_token_is_401(simple: Server, route: Route) -> None:
    answer = simple.ask(route.method, route.path, user=None)

    assert problem(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES)
def test_a_bad_token_is_401(simple: Server, route: Route) -> None:
    headers = {"Authorization": "Bearer not.a.token"}

    assert problem(simple.ask(route.method, route.path, user=None, headers=headers)) == (
        401,
        "unauthenticated",
    )


def test_a_token_signed_with_another_secret_is_401(simple: Server) -> None:
    head, body, signature = simple.token("admin").split(".")
    forged = f"{head}.{body}.{signature[::-1]}"

    answer = simple.get("/tenants", user=None, headers={"Authorization": f"Bearer {forged}"})

    assert problem(answer) == (401, "unauthenticated")


def test_a_bad_body_without_a_token_is_401_too(simple: Server) -> None:
    headers = {"Content-Type": "application/json"}

    answer = simple.post("/scans", user=None, data='{"tenant":', headers=headers)

    assert problem(answer) == (401, "unauthenticated")


def test_a_viewer_reads_everything_but_starts_and_cancels_nothing(
    simple: Server, acme_scan: str
) -> None:
    read = [
        simple.get(path, "viewer").status_code
        for path in ("/tenants", "/tenants/acme", "/scans", f"/scans/{acme_scan}/deals")
    ]

    assert read == [200, 200, 200, 200]
    assert problem(simple.post("/scans", "viewer", json=START)) == (403, "forbidden")
    assert problem(simple.post(f"/scans/{acme_scan}/cancel", "viewer")) == (403, "forbidden")


@pytest.mark.parametrize("user", ["acme_reader", "acme_user"])
def test_lists_show_only_the_tenants_of_ones_dags(fab: Server, user: str) -> None:
    tenants = fab.get("/tenants?limit=1000", user).json()
    scans = fab.get("/scans?limit=1000", user).json()["scans"]

    assert [tenant["id"] for tenant in tenants["tenants"]] == ["acme"]
    assert tenants["total"] == 1
    assert {scan["tenant"] for scan in scans} == {"acme"}


@pytest.mark.parametrize("user", ["nobody", "acme_dag_only"])
def test_who_may_read_no_runs_sees_nothing(fab: Server, user: str, acme_scan: str) -> None:
    nothing = {"tenants": [], "next_cursor": None, "total": 0, "states": {}, "incidents": 0}
    with tenants_file(fab, [{"id": "acme", "shedule": "x"}]):
        assert fab.get("/tenants", user).json() == {**nothing, "problems": 0}
    assert fab.get("/scans", user).json() == {"scans": [], "next_cursor": None}
    assert problem(fab.get("/tenants/acme", user)) == (404, "not-found")
    assert problem(fab.get(f"/scans/{acme_scan}", user)) == (404, "not-found")
    assert problem(fab.post("/scans", user, json=START)) == (404, "not-found")


def test_filters_do_not_show_what_one_may_not_see(fab: Server) -> None:
    by_tenant = fab.get("/scans?tenant=globex", "acme_reader")
    by_search = fab.get("/tenants?search=globex", "acme_reader")
    by_state = fab.get("/tenants?state=ok&limit=1000", "acme_reader")

    assert by_tenant.status_code == 404
    assert by_search.json()["tenants"] == []
    assert "globex" not in by_state.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/tenants/globex", id="tenant"),
        pytest.param("GET", "/scans/{scan}", id="scan"),
        pytest.param("GET", "/scans/{scan}/deals", id="deals"),
        pytest.param("GET", "/scans/{scan}/deals?format=ndjson", id="stream"),
        pytest.param("GET", "/scans/{scan}/checks/values_fit", id="checked records"),
        pytest.param("POST", "/scans/{scan}/cancel", id="cancel"),
    ],
)
def test_another_tenants_things_look_as_if_they_were_not_there(
    fab: Server, globex_scan: str, method: str, path: str
) -> None:
    unknown = "00000000-0000-5000-8000-000000000000"

    answer = fab.ask(method, path.format(scan=globex_scan), "acme_user")
    of_nothing = fab.ask(method, path.format(scan=unknown).replace("globex", "hooli"), "acme_user")

    assert problem(answer) == problem(of_nothing) == (404, "not-found")
    assert answer.json()["detail"] == of_nothing.json()["detail"]
    assert SECRET_VALUE not in answer.text


def test_another_tenants_queued_run_is_not_seen_either(site: Site) -> None:
    started = site.fab.post("/scans", "admin", json={"tenant": "globex"}).json()

    answer = site.fab.get(f"/scans/{started['scan_id']}", "acme_user")

    assert problem(answer) == (404, "not-found")
    assert "globex" not in site.fab.get("/scans", "acme_user").text


def test_a_role_for_one_tenant_starts_and_cancels_its_scans_only(fab: Server) -> None:
    other = fab.post("/scans", "acme_user", json={"tenant": "globex"})
    started = fab.post("/scans", "acme_user", json=START)
    by_a_reader = fab.post(f"/scans/{started.json()['scan_id']}/cancel", "acme_reader")
    cancelled = fab.post(f"/scans/{started.json()['scan_id']}/cancel", "acme_user")

    assert problem(other) == (404, "not-found")
    assert problem(by_a_reader) == (403, "forbidden")
    assert (started.status_code, cancelled.status_code) == (201, 202)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_documentation_is_for_everybody_who_is_signed_in(fab: Server, path: str) -> None:
    assert fab.get(path, "nobody").status_code == 200


# Requests that a browser sends for another site's page, with the cookie


@pytest.fixture
def cookie(simple: Server) -> dict[str, str]:
    return {"Cookie": f"_token={simple.token('admin')}"}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no-origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="same-site"),
        pytest.param({"Sec-Fetch-Site": "none"}, id="none"),
        pytest.param({"Origin": "https://evil.example"}, id="origin"),
        pytest.param({"Origin": "null"}, id="null-origin"),
        pytest.param(
            {"Sec-Fetch-Site": "cross-site", "Authorization": "Basic YTpi"}, id="basic-auth"
        ),
    ],
)
@pytest.mark.parametrize("path", ["/scans", "/scans/{scan}/cancel"])
def test_a_change_by_cookie_from_elsewhere_is_refused(
    simple: Server, cookie: dict[str, str], acme_scan: str, path: str, headers: dict[str, str]
) -> None:
    answer = simple.post(
        path.format(scan=acme_scan), user=None, json=START, headers={**cookie, **headers}
    )

    assert problem(answer) == (403, "cross-site")


@pytest.mark.parametrize("by", ["Sec-Fetch-Site", "Origin"])
def test_a_change_by_cookie_from_our_own_page_is_done(
    simple: Server, cookie: dict[str, str], by: str
) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"} if by == "Sec-Fetch-Site" else {by: simple.url}

    answer = simple.post("/scans", user=None, json=START, headers={**cookie, **headers})

    assert answer.status_code == 201, answer.text


def test_reading_by_cookie_needs_no_origin(simple: Server, cookie: dict[str, str]) -> None:
    assert simple.get("/tenants", user=None, headers=cookie).status_code == 200


def test_a_bad_token_is_not_made_good_by_a_cookie(simple: Server, cookie: dict[str, str]) -> None:
    headers = {**cookie, "Authorization": "Bearer x"}

    assert problem(simple.post("/scans", user=None, json=START, headers=headers)) == (
        401,
        "unauthenticated",
    )


def answers_of_all_kinds(site: Site, scan: str) -> Iterator[requests.Response]:
    yield site.simple.get("/tenants")
    yield site.simple.get("/tenants", user=None)
    yield site.simple.get("/nowhere")
    yield site.simple.get(f"/scans/{scan}/deals?format=ndjson")
    yield site.simple.get("/docs")


def test_every_answer_carries_security_headers(site: Site, acme_scan: str) -> None:
    for answer in answers_of_all_kinds(site, acme_scan):
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


def audit_log(site: Site, event: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = site.simple.airflow(
        "GET", f"/eventLogs?event={event}&limit=1000&order_by=-when"
    ).json()["event_logs"]
    return entries


def test_a_start_is_in_airflows_audit_log_with_the_callers_name(site: Site) -> None:
    site.fab.post("/scans", "acme_user", json=START).raise_for_status()

    (entry, *_) = audit_log(site, "trigger_dag_run")

    assert (entry["owner"], entry["dag_id"]) == ("acme_user", "hubspot_deals__acme")
