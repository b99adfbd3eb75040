"""Requests that no honest client sends."""

import base64
import hashlib
import json
import socket
from urllib.parse import quote, urlsplit

import pytest

from tests.support.status_rows import SECRET_VALUE
from tests.web.api.conftest import Site
from tests.web.api.servers import Server

pytestmark = pytest.mark.e2e

INJECTIONS = [
    pytest.param("' or '1'='1", id="or"),
    pytest.param("acme'; drop table scans; --", id="drop"),
    pytest.param('"; select pg_sleep(30); --', id="sleep"),
    pytest.param("%(tenant_id)s {scans} %s %", id="placeholders"),
    pytest.param("{{ conf.get('core', 'fernet_key') }}", id="template"),
    pytest.param("<script>alert(1)</script>", id="script"),
    pytest.param("acme\x00", id="nul"),
    pytest.param("acme\r\nX-Evil: 1", id="header"),
    pytest.param("\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"), id="surrogate"),
    pytest.param("../../../etc/passwd", id="dots"),
    pytest.param("%", id="wildcard"),
    pytest.param("🦄" * 30, id="unicode"),
]
PARAMETERS = [
    "/tenants?search={}",
    "/tenants?state={}",
    "/tenants?limit={}",
    "/tenants?cursor={}",
    "/tenants/{}",
    "/scans?tenant={}",
    "/scans?state={}",
    "/scans?limit={}",
    "/scans?cursor={}",
    "/scans/{}",
    "/scans/{}/deals",
    "/scans/00000000-0000-5000-8000-000000000000/deals?cursor={}",
    "/scans/00000000-0000-5000-8000-000000000000/deals?limit={}",
    "/scans/00000000-0000-5000-8000-000000000000/deals?format={}",
    "/ui?tenant={}",
    "/ui?dag_id=x&run_id={}",
    "/static/x/{}",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injections_in_every_parameter_do_nothing(simple: Server, text: str) -> None:
    for template in PARAMETERS:
        answer = simple.get(template.format(quote(text, safe="")))

        assert answer.status_code in (200, 400, 404, 422), (template, answer.text)
        assert "X-Evil" not in answer.headers
        if answer.headers["Content-Type"] != "text/html; charset=utf-8":
            assert "<script>" not in answer.text or answer.headers["Content-Type"].startswith(
                ("application/problem+json", "application/json", "text/javascript")
            )
    assert len(simple.get("/scans?limit=1000").json()["scans"]) >= 3


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("key", ["tenant", "mode", "window_start", "window_end", "x"])
def test_injections_in_every_key_of_a_start_are_refused(
    simple: Server, key: str, text: str
) -> None:
    answer = simple.post("/scans", json={"tenant": "acme", key: text})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert text not in answer.json()["detail"]


def test_a_wildcard_is_no_wildcard(simple: Server) -> None:
    assert simple.get("/tenants?search=%25").json()["total"] == 0
    assert simple.get("/tenants?search=_").json()["total"] == 0


def raw(server: Server, target: str) -> tuple[int, str]:
    """Send a path as it is: clients tidy them up."""
    url = urlsplit(server.url)
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
        f"Authorization: Bearer {server.token('admin')}\r\n\r\n"
    )
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1]), answer.decode(errors="replace")


@pytest.mark.parametrize(
    "path",
    [
        "/hubspot-deals/static/x/../../app.py",
        "/hubspot-deals/static/x/..%2f..%2fapp.py",
        "/hubspot-deals/static/x/%2e%2e/%2e%2e/app.py",
        "/hubspot-deals/static/x/..%5c..%5capp.py",
        "/hubspot-deals/static/x//etc/passwd",
        "/hubspot-deals/static/x/%2fetc%2fpasswd",
        "/hubspot-deals/static/x/page.js%00.py",
        "/hubspot-deals/static/x/vendor/README.md",
        "/hubspot-deals/tenants/..%2f..%2fhealth",
        "/hubspot-deals/tenants/%00",
        "/hubspot-deals/tenants/%ff%fe",
        "/hubspot-deals//tenants",
        "/hubspot-deals/tenants/",
        "/hubspot-deals/scans/" + "a" * 20_000,
    ],
    ids=lambda path: path[:50],
)
def test_path_tricks_lead_nowhere(simple: Server, path: str) -> None:
    status, answer = raw(simple, path)

    assert status in (404, 422)
    assert "root:" not in answer
    assert "FastAPI(" not in answer


def changed(cursor: str, at: int) -> str:
    other = "A" if cursor[at] != "A" else "B"
    return cursor[:at] + other + cursor[at + 1 :]


def forged(what: str, position: object) -> str:
    """A cursor as the server would make it, forged with knowledge of its code."""
    body = json.dumps(position, separators=(",", ":")).encode()
    check = hashlib.blake2b(what.encode() + b"\0" + body, digest_size=9).digest()
    return base64.urlsafe_b64encode(check + body).decode().rstrip("=")


@pytest.mark.parametrize(
    "path", ["/tenants?limit=1", "/scans?limit=1", "/scans/{scan}/deals?limit=1"]
)
def test_a_changed_cursor_is_400_wherever_it_is_changed(
    simple: Server, acme_scan: str, path: str
) -> None:
    address = path.format(scan=acme_scan)
    cursor = simple.get(address).json()["next_cursor"]

    for at in range(0, len(cursor), 3):
        answer = simple.get(f"{address}&cursor={changed(cursor, at)}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


def test_a_cursor_of_another_list_or_other_filters_is_400(
    simple: Server, acme_scan: str, globex_scan: str
) -> None:
    cursor = simple.get("/scans?limit=1").json()["next_cursor"]
    of_deals = simple.get(f"/scans/{acme_scan}/deals?limit=1").json()["next_cursor"]

    for path in (
        f"/tenants?cursor={cursor}",
        f"/scans?tenant=acme&cursor={cursor}",
        f"/scans/{globex_scan}/deals?cursor={of_deals}",
    ):
        assert simple.get(path).json()["code"] == "invalid-cursor", path


@pytest.mark.parametrize(
    "position",
    [["x", "y"], [1, 2], [None, "x"], {}, "text", 3, [], [True], [-1], [2**70], [[]], [None]],
    ids=str,
)
def test_a_cursor_that_somebody_made_himself_is_400(
    simple: Server, acme_scan: str, position: object
) -> None:
    scans = forged("scans tenant=None state=None", position)
    deals = forged(f"deals {acme_scan}", position)

    assert simple.get(f"/scans?cursor={scans}").json()["code"] == "invalid-cursor"
    assert simple.get(f"/scans/{acme_scan}/deals?cursor={deals}").json()["code"] == "invalid-cursor"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"tenant": 1}', b"[" * 5_000],
    ids=["empty", "list", "null", "broken", "no-utf8", "number", "deep"],
)
def test_a_body_that_is_no_wish_is_422(simple: Server, body: bytes) -> None:
    answer = simple.post("/scans", data=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


def test_a_form_of_another_site_starts_no_scan(simple: Server) -> None:
    answer = simple.post(
        "/scans", data='{"tenant": "acme"}', headers={"Content-Type": "text/plain"}
    )

    assert answer.status_code == 415


def test_neither_tokens_nor_values_are_in_the_logs(site: Site, acme_scan: str) -> None:
    for server in (site.simple, site.fab):
        server.get(f"/scans/{acme_scan}/deals?format=ndjson")
        log = server.log.read_text()

        assert "request finished" in log
        assert SECRET_VALUE not in log
        assert str(site.warehouse.parameters["password"]) not in log
        assert server.token("admin") not in log
        assert "Traceback" not in log
