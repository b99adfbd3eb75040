"""Requests with a mistake, and what the API says of it; HEAD, and addresses people type."""

import pytest
import requests

from tests.web.api.conftest import DEALS, Site
from tests.web.api.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_runs")]

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def problem(answer: requests.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Content-Type": "text/plain"}, id="text"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, id="form"),
        pytest.param({"Content-Type": "nonsense"}, id="no media type"),
        pytest.param({"Content-Type": ""}, id="empty"),
    ],
)
@pytest.mark.parametrize("body", [b'{"tenant": "globex"}', b"", b"{"])
def test_a_body_that_is_not_declared_as_json_is_refused_with_the_header_to_send(
    simple: Server, headers: dict[str, str], body: bytes
) -> None:
    answer = simple.post("/scans", data=body, headers=headers)

    assert problem(answer)[:2] == (415, "not-json")
    assert "Content-Type: application/json" in answer.json()["remedy"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"],
)
def test_every_content_type_of_json_is_read(simple: Server, content_type: str) -> None:
    headers = {"Content-Type": content_type}

    answer = simple.post("/scans", data=b'{"tenant": "globex", "mode": "x"}', headers=headers)

    assert problem(answer)[:2] == (422, "invalid-request")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        pytest.param('{"tenant": "globex",}', "line 1, column 21", id="comma"),
        pytest.param(
            '{\n  "tenant": "globex"\n  "mode": "full"\n}', "line 3, column 3", id="no comma"
        ),
        pytest.param("{\n", "line 2, column 1", id="not closed"),
        pytest.param("tenant=globex", "line 1, column 1", id="form"),
        pytest.param('{"tenant": "ä", }', "line 1, column 17", id="beyond ASCII"),
    ],
)
def test_bad_json_is_refused_with_its_line_and_column(
    simple: Server, body: str, place: str
) -> None:
    headers = {"Content-Type": "application/json"}

    status, code, detail = problem(simple.post("/scans", data=body.encode(), headers=headers))

    assert (status, code) == (422, "invalid-request")
    assert detail.startswith(f"body, {place}: ")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/tenants?stat=failing", "(did you mean 'state'?)"),
        ("/tenants?limti=5", "(did you mean 'limit'?)"),
        ("/scans?tenants=acme", "(did you mean 'tenant'?)"),
        ("/scans/00000000-0000-5000-8000-000000000000?x=1", "unknown parameter"),
        ("/scans/00000000-0000-5000-8000-000000000000/deals?formta=ndjson", "'format'"),
        ("/tenants/acme?verbose=true", "unknown parameter"),
        ("/tenants?limit=5&sorted=id", "unknown parameter"),
    ],
)
def test_an_unknown_parameter_is_refused_and_not_ignored(
    simple: Server, path: str, hint: str
) -> None:
    status, code, detail = problem(simple.get(path))

    assert (status, code) == (422, "invalid-request")
    assert hint in detail


@pytest.mark.parametrize("path", ["/scans?tenant=acne", "/tenants/acne"])
def test_an_unknown_tenant_is_refused_with_the_id_it_is_like(simple: Server, path: str) -> None:
    status, code, detail = problem(simple.get(path))

    assert (status, code) == (404, "not-found")
    assert "(did you mean 'acme'?)" in detail


def test_a_start_of_an_unknown_tenant_names_the_id_it_is_like(simple: Server) -> None:
    assert "(did you mean 'globex'?)" in problem(simple.post("/scans", json={"tenant": "glbex"}))[2]


def test_scans_of_a_tenant_that_left_the_tenants_file_are_still_listed(
    site: Site, simple: Server
) -> None:
    dag = "hubspot_deals__acme"
    with site.warehouse.connect() as connection:
        connection.run(
            "insert into {scans} (scan_id, tenant_id, dag_id, run_id, mode, state, finished_at)"
            " values ('00000000-0000-5000-8000-00000000dead', 'gone', %s, 'r', 'auto',"
            " 'succeeded', now())",
            [dag],
        )
    try:
        assert len(simple.get("/scans?tenant=gone").json()["scans"]) == 1
        assert simple.get("/scans?tenant=gone&state=failed").json()["scans"] == []
    finally:
        with site.warehouse.connect() as connection:
            connection.run("delete from {scans} where tenant_id = 'gone'")


def test_a_tenant_that_the_user_may_not_see_is_no_hint(fab: Server) -> None:
    answer = fab.get("/tenants/initec", "acme_user")

    assert problem(answer)[:2] == (404, "not-found")
    assert "initech" not in answer.text


@pytest.mark.parametrize(
    "path", ["/health", "/tenants", "/scans", "/tenants/acme", "/ui", "/docs", "/openapi.json"]
)
def test_head_answers_as_get_without_the_body(simple: Server, path: str) -> None:
    got, head = simple.get(path), simple.ask("HEAD", path)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_head_of_a_stream_ends_at_once(simple: Server, acme_scan: str) -> None:
    path = f"/scans/{acme_scan}/deals?format=ndjson"

    head = simple.ask("HEAD", path)

    assert (head.status_code, head.content) == (200, b"")
    assert len(simple.get(path).text.splitlines()) == DEALS


def test_head_needs_a_login_as_get_does(simple: Server) -> None:
    assert simple.ask("HEAD", "/tenants", None).status_code == 401


def test_a_method_that_an_address_does_not_have_names_those_it_has(simple: Server) -> None:
    answer = simple.ask("DELETE", "/scans")

    assert problem(answer) == (405, "method-not-allowed", "Allowed methods: GET, HEAD, POST.")
    assert answer.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", ["", "/"])
def test_the_address_of_the_app_leads_to_the_page(simple: Server, path: str) -> None:
    headers = {"Authorization": f"Bearer {simple.token('admin')}", **BROWSER}

    answer = requests.get(simple.base + path, headers=headers, timeout=60)

    assert answer.status_code == 200
    assert answer.url == f"{simple.base}/ui"


@pytest.mark.parametrize("path", ["/ui?tenant=acme", "/docs", "/"])
def test_a_browser_that_is_signed_out_is_led_to_the_login_and_back(
    simple: Server, path: str
) -> None:
    answer = simple.get(path, None, headers=BROWSER)

    assert answer.status_code == 303
    login = requests.get(simple.url + answer.headers["Location"], allow_redirects=False, timeout=60)
    assert login.status_code == 307
    assert "login" in login.headers["Location"]
    after = login.headers["Location"].partition("next=")[2]
    assert requests.utils.unquote(after) == f"/hubspot-deals{path}"


def test_every_example_of_a_start_is_a_request_that_succeeds(simple: Server) -> None:
    schemas = simple.get("/openapi.json").json()["components"]["schemas"]
    examples = schemas["StartScan"]["examples"]

    assert examples
    for example in examples:
        assert simple.post("/scans", json={**example, "force": True}).status_code == 201
