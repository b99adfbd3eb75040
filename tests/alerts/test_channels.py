import smtplib

import pytest

from include.alerts import delivery
from include.alerts.delivery import DeliveryError, send
from include.ops.local.processes import free_port
from include.tenants import Channel
from tests.alerts.messages import MESSAGE, message
from tests.support.receivers import Mailbox, Receiver, http_connections, smtp_connection

pytestmark = pytest.mark.slow

MAIL = Channel.model_validate({"smtp": {"to": ["ops@example.com", "boss@example.com"]}})
SLACK = Channel.model_validate({"slack": None})
WEBHOOK = Channel.model_validate({"webhook": {"endpoint": "hooks/deals"}})
APPRISE = Channel.model_validate({"apprise": None})


def test_mail_arrives_with_subject_text_and_links(mailbox: Mailbox) -> None:
    send(MAIL, MESSAGE)

    (mail,) = mailbox.mails
    body = mail.get_body()
    assert mail["Subject"] == MESSAGE.subject
    assert (mail["From"], mail["To"]) == ("alerts@example.com", "ops@example.com, boss@example.com")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert body is not None
    assert f'<a href="{MESSAGE.links["runbook"]}">' in body.get_content()


def test_the_sender_of_the_channel_wins_over_the_connections(mailbox: Mailbox) -> None:
    send(Channel.model_validate({"smtp": {"to": ["a@b.c"], "from": "me@b.c"}}), MESSAGE)

    assert mailbox.mails[0]["From"] == "me@b.c"


def test_a_webhook_gets_the_documented_json(receiver: Receiver) -> None:
    send(WEBHOOK, MESSAGE)

    assert receiver.requests == [("/hooks/deals", MESSAGE.as_json())]


def test_slack_gets_text_and_blocks(receiver: Receiver) -> None:
    send(SLACK, MESSAGE)

    ((path, body),) = receiver.requests
    assert path == "/slack/T00/B00/slack-secret"
    assert body["text"] == MESSAGE.subject
    assert body["blocks"][0]["type"] == "header"


def test_apprise_gets_title_body_and_type(receiver: Receiver) -> None:
    send(APPRISE, message(event="recovery"))

    ((path, body),) = receiver.requests
    assert path == "/apprise-secret"
    assert (body["title"], body["type"]) == (message(event="recovery").subject, "success")


@pytest.mark.parametrize("channel", [MAIL, SLACK, WEBHOOK, APPRISE], ids=lambda c: c.kind)
def test_a_message_is_no_template(channel: Channel, mailbox: Mailbox, receiver: Receiver) -> None:
    send(channel, message(why="HubSpot says '{{ 6 * 7 }} {% raw %}'"))

    # decoded: apprise has all later mails of a process sent in base64
    mails = [part.get_content() for mail in mailbox.mails for part in mail.iter_parts()]
    assert "{{ 6 * 7 }}" in (mails or [str(body) for _, body in receiver.requests])[0]


@pytest.mark.parametrize("channel", [SLACK, WEBHOOK, APPRISE], ids=lambda c: c.kind)
def test_a_refusal_is_noticed_and_logged_without_the_address(
    channel: Channel, receiver: Receiver
) -> None:
    receiver.status = 503

    with pytest.raises(DeliveryError) as caught:
        send(channel, MESSAGE)

    assert "secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert "503" in str(caught.value) or channel.kind == "apprise"


@pytest.mark.parametrize("channel", [MAIL, SLACK, WEBHOOK, APPRISE], ids=lambda c: c.kind)
def test_a_channel_that_is_not_there_is_noticed(
    channel: Channel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_port = free_port()
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", smtp_connection(closed_port))
    for name, value in http_connections(f"http://127.0.0.1:{closed_port}").items():
        monkeypatch.setenv(name, value)

    with pytest.raises(DeliveryError) as caught:
        send(channel, MESSAGE)

    assert "secret" not in str(caught.value)


def test_a_connection_that_does_not_exist_is_noticed() -> None:
    channel = Channel.model_validate({"webhook": {"connection": "nowhere"}})

    with pytest.raises(DeliveryError, match="NotFound"):
        send(channel, MESSAGE)


def test_a_mail_servers_code_is_logged(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> str:
        return "554 no"

    monkeypatch.setattr(mailbox, "handle_DATA", refuse)

    with pytest.raises(DeliveryError, match=r"SMTPDataError 554"):
        send(MAIL, MESSAGE)
    assert delivery._class_and_status(smtplib.SMTPResponseException(421, b"x")).endswith("421")
