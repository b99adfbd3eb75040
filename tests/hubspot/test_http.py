import http.server as http_server
import itertools
import threading
from collections.abc import Iterator

import pytest
import requests

from include.errors import HubSpotUnavailableError, TokenMalformedError
from include.hubspot import http
from include.hubspot.http import Http, new_session, prepared
from include.hubspot.retry import RetryableError


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.local:3128")
    monkeypatch.setenv("NO_PROXY", "hubspot.internal")

    assert new_session("https://api.hubapi.com").proxies["https"] == "http://proxy.local:3128"
    assert new_session("https://hubspot.internal").proxies == {}


def test_a_bundle_of_certificates_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert new_session("https://api.hubapi.com").verify is True

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/private.pem")

    assert new_session("https://api.hubapi.com").verify == "/etc/private.pem"


def test_a_request_is_what_requests_itself_would_send() -> None:
    url = "https://api.hubapi.com/crm/objects/2026-03/deals/search?a=b%2Cc"
    ours = prepared("POST", url, "token", json={"limit": 1})
    theirs = requests.Session().prepare_request(
        requests.Request("POST", url, json={"limit": 1}, headers={"Authorization": "Bearer token"})
    )

    assert ours.url == theirs.url
    assert ours.body == theirs.body
    assert set(ours.headers) == set(theirs.headers)
    assert ours.headers["Authorization"] == "Bearer token"
    assert ours.headers["Content-Length"] == str(len(ours.body))


def test_a_form_is_in_the_body_and_in_nothing_else() -> None:
    request = prepared(
        "POST", "https://example.com/oauth", form={"refresh_token": "a&b=ü", "x": "y"}
    )

    assert request.body == "refresh_token=a%26b%3D%C3%BC&x=y"
    assert (request.method, request.url) == ("POST", "https://example.com/oauth")
    assert request.headers["Content-Length"] == str(len(request.body))
    assert "Authorization" not in request.headers


class _Endless(http_server.BaseHTTPRequestHandler):
    """Answers with a body that does not end before the client goes away."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in itertools.count():
                self.wfile.write(b"x" * 1_000)
        except OSError:
            return

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def endless() -> Iterator[str]:
    with http_server.ThreadingHTTPServer(("127.0.0.1", 0), _Endless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("limit", ["ANSWER_MAX_S", "ANSWER_MAX_BYTES"])
def test_an_answer_that_does_not_end_is_given_up(
    endless: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(http, limit, 0.1)

    with pytest.raises(RetryableError) as caught:
        Http(endless, timeout_s=(5.0, 5.0)).send("GET", "/", "token")

    assert isinstance(caught.value.error, HubSpotUnavailableError)
    assert "did not end" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "token", ["pat\nX", "pat\n x", "pat\r\n", "pat\u2028", "pat \u00e9", "a b"]
)
def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(TokenMalformedError) as caught:
        prepared("GET", "https://api.hubapi.com/", token)

    assert "pat" not in str(caught.value)
