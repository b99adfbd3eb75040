"""What is sent to HubSpot is encrypted, and to HubSpot only."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.errors import CertificateRejectedError, ConfigError, HubSpotUnavailableError
from include.hubspot.hook import HubSpotHook
from tests.support.certificates import self_signed

TOKEN = "pat-na1-tls"


class _Impostor(BaseHTTPRequestHandler):
    """Answers everything, and remembers the tokens that it was sent."""

    tokens: list[str | None]

    def do_GET(self) -> None:
        self.tokens.append(self.headers["Authorization"])
        body = json.dumps({"portalId": 7, "timeZone": "UTC", "accountType": "STANDARD"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Impostor:
    def __init__(self, url: str, certificate: Path, tokens: list[str | None]) -> None:
        self.url, self.certificate, self.tokens = url, certificate, tokens


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Impostor]:
    """A TLS server whose certificate is self-signed."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    tokens: list[str | None] = []
    handler = type("Handler", (_Impostor,), {"tokens": tokens})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.server_address[1]}"
        yield Impostor(url, certificate, tokens)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hook(monkeypatch: pytest.MonkeyPatch, host: str, **extra: object) -> HubSpotHook:
    connection = {"conn_type": "hubspot", "password": TOKEN, "host": host, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_HUBSPOT_ACME", json.dumps(connection))
    return HubSpotHook("hubspot_acme")


def test_a_self_signed_certificate_is_refused_at_once_and_gets_no_token(
    impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = hook(monkeypatch, impostor.url).get_conn()
    pauses: list[float] = []
    client.transport.sleep = pauses.append

    with pytest.raises(CertificateRejectedError, match="can't be trusted") as caught:
        client.account()

    assert pauses == []
    assert impostor.tokens == []
    assert TOKEN not in str(caught.value)


def test_a_private_authority_is_trusted_if_it_is_named(
    impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(impostor.certificate))

    account = hook(monkeypatch, impostor.url).get_conn().account()

    assert account.portal_id == 7
    assert impostor.tokens == [f"Bearer {TOKEN}"]


def test_a_certificate_of_another_host_is_refused(
    impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(impostor.certificate))
    client = hook(monkeypatch, impostor.url.replace("127.0.0.1", "localhost")).get_conn()

    with pytest.raises(CertificateRejectedError):
        client.account()

    assert impostor.tokens == []


def test_a_handshake_that_breaks_off_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            caller, _ = server.accept()
            caller.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        client = hook(monkeypatch, url).get_conn(retry_timeout_s=0.0)

        with pytest.raises(HubSpotUnavailableError):
            client.account()


@pytest.mark.parametrize("host", ["http://hubspot.example.com", "HTTP://10.1.2.3:8090", "ftp://h"])
def test_plain_text_over_a_network_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(ConfigError, match="would be sent in plain text") as caught:
        hook(monkeypatch, host).get_conn()

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("host", ["http://127.0.0.1:8090", "http://localhost", "http://[::1]:1"])
def test_plain_text_within_the_machine_is_fine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert hook(monkeypatch, host).get_conn().transport.base_url == host


@pytest.mark.parametrize("value", [True, "true"])
def test_plain_text_can_be_allowed(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    client = hook(monkeypatch, "http://simulator:8090", allow_plain_http=value).get_conn()

    assert client.transport.base_url == "http://simulator:8090"


@pytest.mark.parametrize("value", [False, "no", "", None, 1])
def test_nothing_but_true_allows_it(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    with pytest.raises(ConfigError):
        hook(monkeypatch, "http://simulator:8090", allow_plain_http=value).get_conn()


def test_without_a_connection_the_environment_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("HUBSPOT_API_BASE_URL", "http://simulator:8090")
    with pytest.raises(ConfigError, match="HUBSPOT_ALLOW_PLAIN_HTTP"):
        HubSpotHook("hubspot_default").get_conn()

    monkeypatch.setenv("HUBSPOT_ALLOW_PLAIN_HTTP", "true")

    assert HubSpotHook("hubspot_default").get_conn().transport.base_url == "http://simulator:8090"
