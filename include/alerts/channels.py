"""Handing a message to a channel, by Airflow's notifiers and hooks.

`notify` is called, not the notifier itself: that would read the message as a Jinja template, and
parts of it come from HubSpot. Providers are imported when they are needed.
"""

import re
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
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    SlackWebhookNotifier(
        slack_webhook_conn_id=_require(channel.slack).connection,
        text=message.subject,
        blocks=message.slack_blocks,
        unfurl_links=False,
        timeout=TIMEOUT_S,
    ).notify(_NO_CONTEXT)  # type: ignore[no-untyped-call]


def _post(channel: Channel, message: Message) -> None:
    from airflow.providers.http.notifications.http import HttpNotifier

    settings = _require(channel.webhook)
    HttpNotifier(
        http_conn_id=settings.connection,
        endpoint=settings.endpoint,
        json=message.as_json(),
        # the provider's own default is to wait for ever
        extra_options={"timeout": TIMEOUT_S},
    ).notify(_NO_CONTEXT)


def _send_by_apprise(channel: Channel, message: Message) -> None:
    import apprise
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    # Not AppriseNotifier: it throws Apprise's answer away, and with it that nothing was sent.
    hook = AppriseHook(_require(channel.apprise).connection)
    services = apprise.Apprise()
    hook.set_config_from_conn(hook.get_connection(hook.apprise_conn_id), services)
    taken = services.notify(
        title=message.subject,
        body=message.text,
        notify_type=apprise.NotifyType(message.apprise_type),
        body_format=apprise.NotifyFormat.TEXT,
    )
    if not taken:
        raise NotTakenError("Apprise could not deliver to every service")


_SENDERS = {
    "smtp": _send_mail,
    "slack": _send_to_slack,
    "webhook": _post,
    "apprise": _send_by_apprise,
}
_NO_CONTEXT: Any = {}


def _require(settings: T | None) -> T:
    if settings is None:
        raise NotTakenError("the channel has no settings")
    return settings


def _named(exc: Exception) -> str:
    code = getattr(exc, "smtp_code", None)
    status = _STATUS.search(str(exc)) if type(exc).__name__.startswith("Airflow") else None
    if code or status:
        return f"{type(exc).__name__} {code or (status and status[1])}"
    return type(exc).__name__
