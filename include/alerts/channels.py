"""Handing a message to a channel, by Airflow's hooks and its notifier of mail.

`notify` is called, not the notifier itself: that would read the message as a Jinja template, and
parts of it come from HubSpot. Providers are imported when they are needed.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from include.alerts.message import Message
from include.tenants.alerts import Channel

#: Of one request. SMTP's time-out is the connection's own (`timeout`, 30 s).
TIMEOUT_S = 10
T = TypeVar("T")
_STATUS = re.compile(r"\b([45]\d\d)\b")


class NotTakenError(Exception):
    """A channel did not take a message. Its text is ours, and holds no secret."""


def send(channel: Channel, message: Message) -> None:
    """Hand the message over. Raises NotTakenError, whatever the reason."""
    try:
        _SENDERS[channel.kind](channel, message)
    except NotTakenError:
        raise
    except Exception as exc:  # noqa: BLE001 - providers raise whatever they like
        # Not the text: addresses of webhooks are secrets, and libraries quote them.
        raise NotTakenError(_named(exc)) from None


def _send_mail(channel: Channel, message: Message) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    settings = _require(channel.smtp)
    SmtpNotifier(
        to=list(settings.to),
        from_email=settings.sender,
        subject=message.subject,
        html_content=message.html,
        mime_subtype="alternative",
        custom_headers={
            # RFC 3834: no out-of-office answers
            "Auto-Submitted": "auto-generated",
            "X-HubSpot-Deals-Event": message.event,
            "X-HubSpot-Deals-Tenant": message.tenant,
        },
        smtp_conn_id=settings.connection,
    ).notify(_NO_CONTEXT)


def _send_to_slack(channel: Channel, message: Message) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    hook = SlackWebhookHook(
        slack_webhook_conn_id=_require(channel.slack).connection,
        timeout=TIMEOUT_S,
        logger=_SILENT,
    )
    _silent(hook).send(text=message.subject, blocks=message.slack_blocks, unfurl_links=False)


def _post(channel: Channel, message: Message) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    settings = _require(channel.webhook)
    _silent(HttpHook(method="POST", http_conn_id=settings.connection)).run(
        endpoint=settings.endpoint,
        json=message.as_json(),
        # the provider's own default is to wait for ever
        extra_options={"timeout": TIMEOUT_S},
    )


def _send_by_apprise(channel: Channel, message: Message) -> None:
    import apprise
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    # Not AppriseNotifier: it throws Apprise's answer away, and with it that nothing was sent.
    hook = AppriseHook(_require(channel.apprise).connection)
    services = apprise.Apprise()
    with _silent_apprise():
        hook.set_config_from_conn(hook.get_connection(hook.apprise_conn_id), services)
        taken = services.notify(
            title=message.subject,
            body=message.text,
            notify_type=apprise.NotifyType(message.apprise_type),
            body_format=apprise.NotifyFormat.TEXT,
        )
    if not taken:
        raise NotTakenError("Apprise could not deliver to every service")


def _nothing(record: logging.LogRecord) -> bool:
    return False


_SENDERS = {
    "smtp": _send_mail,
    "slack": _send_to_slack,
    "webhook": _post,
    "apprise": _send_by_apprise,
}
_NO_CONTEXT: Any = {}
_SILENT = logging.getLogger(f"{__name__}.silent")
# Not `disabled`: Airflow's configuration of logging would undo that.
_SILENT.addFilter(_nothing)


def _require(settings: T | None) -> T:
    if settings is None:
        raise NotTakenError("the channel has no settings")
    return settings


def _silent(hook: T) -> T:
    """Have a hook log nothing: it would log what was answered, and the address within errors."""
    hook._log = _SILENT  # type: ignore[attr-defined]
    return hook


@contextmanager
def _silent_apprise() -> Iterator[None]:
    """Have Apprise's logger drop all, in any thread: it shows addresses that it does not know."""
    logger = logging.getLogger("apprise")

    def nothing(record: logging.LogRecord) -> bool:  # its own: others may send at the same time
        return _nothing(record)

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


def _named(exc: Exception) -> str:
    code = getattr(exc, "smtp_code", None)
    status = _STATUS.search(str(exc)) if type(exc).__name__.startswith("Airflow") else None
    if code or status:
        return f"{type(exc).__name__} {code or (status and status[1])}"
    return type(exc).__name__
