"""Real receivers on 127.0.0.1: an SMTP server, and an HTTP server for webhooks."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """What an SMTP server took."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(cast("EmailMessage", mail))
        return "250 OK"


@dataclass
class Receiver:
    """What an HTTP server got; `status` is what it answers."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, Any]] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", smtp_connection(box.port))
    yield box
    controller.stop()


@contextmanager
def serving() -> Iterator[Receiver]:
    """Run an HTTP server that takes whatever is posted to it."""
    got = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.requests.append((self.path, json.loads(body)))
            self.send_response(got.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    got.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield got
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as got:
        for name, value in http_connections(got.url).items():
            monkeypatch.setenv(name, value)
        yield got


def smtp_connection(port: int) -> str:
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": "alerts@example.com"}
    return json.dumps(
        {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": {**extra, "timeout": 5}}
    )


def http_connections(url: str) -> dict[str, str]:
    """Connections of the other channels; the secrets in them are in every address."""
    host = url.removeprefix("http://")
    return {
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "host": url}),
        "AIRFLOW_CONN_SLACK_DEFAULT": json.dumps(
            {
                "conn_type": "slackwebhook",
                "host": f"{url}/slack",
                "password": "T00/B00/slack-secret",
            }
        ),
        "AIRFLOW_CONN_APPRISE_DEFAULT": json.dumps(
            {
                "conn_type": "apprise",
                "extra": {"config": {"path": f"json://{host}/apprise-secret", "tag": "all"}},
            }
        ),
    }
