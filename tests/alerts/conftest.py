"""Receivers of alerts, and the connections that lead to them."""

from collections.abc import Iterator

import pytest

from include.ops.local.processes import free_port
from tests.support.receivers import (
    Mailbox,
    Receiver,
    http_connections,
    receiving_mail,
    receiving_posts,
    smtp_connection,
)


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", smtp_connection(box.port))
    with receiving_mail(box, box.port):
        yield box


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with receiving_posts() as got:
        for name, value in http_connections(got.url).items():
            monkeypatch.setenv(name, value)
        yield got
