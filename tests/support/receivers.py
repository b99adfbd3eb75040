"""Real receivers on 127.0.0.1: an SMTP server, an HTTP server for webhooks, a StatsD server."""

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


@dataclass
class StatsD:
    """What a StatsD server got over UDP: ``lines`` of our metrics, as they came."""

    socket: socket.socket
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def receive(self) -> None:
        while True:
            try:
                packet = self.socket.recv(65_535)
            except OSError:
                return
            self.lines += [
                line.removeprefix("airflow.hubspot_deals.")
                for line in packet.decode().splitlines()
                if line.startswith("airflow.hubspot_deals.")
            ]


@contextmanager
def receiving_mail(box: Mailbox, port: int) -> Iterator[None]:
    """Run an SMTP server that puts its mails into *box*."""
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield
    finally:
        controller.stop()


@contextmanager
def receiving_metrics() -> Iterator[StatsD]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        receiver = StatsD(listening)
        threading.Thread(target=receiver.receive, daemon=True).start()
        yield receiver


@contextmanager
def receiving_posts() -> Iterator[Receiver]:
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
