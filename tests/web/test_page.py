"""The page's document and its files, as the API server sends them."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.scan import scan_id
from include.web import page
from include.web.static_files import DIRECTORY, external_views, static_files

HOSTILE = "\"><script>alert('x')</script>"


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A signed-in user."""
    app = FastAPI()
    app.include_router(page.router)
    app.dependency_overrides[page.require_login] = lambda: None
    with TestClient(app) as client:
        yield client


@pytest.fixture
def stranger() -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(page.router)
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("path", ["/ui", "/static/x/page.js"])
def test_who_has_not_signed_in_gets_nothing(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code == 401


def test_the_import_map_is_the_only_script_that_the_policy_lets_through_inline(
    client: TestClient,
) -> None:
    answer = client.get("/ui")
    (inline,) = re.findall(r"<script[^>]*>(.+?)</script>", answer.text)
    policy = answer.headers["Content-Security-Policy"]

    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()

    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe" not in policy


def test_every_file_that_the_document_names_is_there(client: TestClient) -> None:
    text = client.get("/ui").text
    named = re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    (import_map,) = re.findall(r"importmap\">(.+?)</script>", text)
    named += json.loads(import_map)["imports"].values()

    missing = [name for name in named if client.get(f"/{name}").status_code != 200]

    assert len(named) == 7
    assert missing == []


def test_a_run_of_airflow_is_shown_as_its_scan(client: TestClient) -> None:
    text = client.get("/ui", params={"dag_id": "hubspot_deals__acme", "run_id": "manual__1"}).text

    assert f'data-scan="{scan_id("hubspot_deals__acme", "manual__1")}"' in text
    assert 'data-tenant="acme"' in text


@pytest.mark.parametrize("name", ["tenant", "scan", "dag_id", "run_id"])
def test_what_an_address_says_never_becomes_markup(client: TestClient, name: str) -> None:
    text = client.get("/ui", params={"dag_id": "x", name: HOSTILE}).text

    assert "<script>alert" not in text


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        pytest.param("page.js", "text/javascript; charset=utf-8", id="script"),
        pytest.param("vendor/preact/preact.mjs", "text/javascript; charset=utf-8", id="module"),
        pytest.param("page.css", "text/css; charset=utf-8", id="style"),
        pytest.param("icon.svg", "image/svg+xml", id="image"),
    ],
)
def test_a_file_comes_with_its_type_and_is_kept_for_good(
    client: TestClient, name: str, content_type: str
) -> None:
    answer = client.get(f"/{static_files().path(name)}")

    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Cache-Control"] == page.IMMUTABLE
    assert answer.content == (DIRECTORY / name).read_bytes()


def test_a_file_that_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    path = f"/{static_files().path('page.js')}"
    etag = client.get(path).headers["ETag"]

    answer = client.get(path, headers={"If-None-Match": etag})

    assert answer.status_code == 304
    assert answer.content == b""


def test_a_file_of_another_version_is_not_kept(client: TestClient) -> None:
    answer = client.get("/static/of-an-older-server/page.js")

    assert answer.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "page.html",
        "vendor/README.md",
        "../page.py",
        "..%2fpage.py",
        "%2e%2e/%2e%2e/tenants.yaml",
        "%2fetc%2fpasswd",
        "....//page.py",
        "vendor/..%5c..%5cpage.py",
        "page.js%00",
        "",
    ],
)
def test_nothing_else_can_be_had(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{static_files().version}/{name}").status_code == 404


def test_no_two_views_of_airflows_ui_have_the_same_route() -> None:
    views = external_views()

    assert {view["destination"] for view in views} == {"nav", "dag", "dag_run"}
    assert len({view["url_route"] for view in views}) == len(views)
