"""An alert's text, and its delivery by mail, Slack, webhook or Apprise.

Airflow's hooks and its notifier of mail are used by their `notify`: the notifier itself would read
the message as a Jinja template, and parts of it come from HubSpot. All channels are tried at once,
within the time that Airflow grants a callback. docs/alerts.md
"""

import html
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

from psycopg.rows import class_row

from include.errors import AlertNotDeliveredError
from include.tenants.model import (
    AppriseChannel,
    Channel,
    SlackChannel,
    SmtpChannel,
    WebhookChannel,
)
from include.warehouse.connection import Warehouse

#: Deliveries of an alert that are tried.
MAX_ATTEMPTS = 10
#: After so long, another process may send an alert that one has claimed: longer than any delivery.
LEASE_S = 120


@dataclass(frozen=True)
class Pending:
    """An alert that this process has claimed: no other process sends it now."""

    alert_id: int
    channel: str
    attempts: int
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Outbox:
    """The alerts of one tenant."""

    warehouse: Warehouse
    tenant_id: str

    def claim(self) -> list[Pending]:
        """Claim all alerts that are not delivered, the oldest first."""
        claimed: list[Pending] = self.warehouse.rows(
            """
            update {alerts} set claimed_at = now(), attempts = attempts + 1
            where alert_id in (
                select alert_id from {alerts}
                where tenant_id = %(tenant_id)s and sent_at is null
                    and attempts < %(max_attempts)s
                    and (claimed_at is null
                         or claimed_at < now() - make_interval(secs => %(lease_s)s))
                order by alert_id
                for update skip locked
            )
            returning alert_id, channel, attempts, message
            """,
            {"tenant_id": self.tenant_id, "max_attempts": MAX_ATTEMPTS, "lease_s": LEASE_S},
            tenant_id=self.tenant_id,
            row_factory=class_row(Pending),
        )
        return sorted(claimed, key=lambda alert: alert.alert_id)

    def record(self, alert: Pending, error: str | None) -> None:
        """Record whether a claimed alert was delivered; if not, the next event tries again."""
        self.warehouse.change(
            "update {alerts} set claimed_at = null, error = %(error)s,"
            " sent_at = case when %(error)s::text is null then now() end"
            " where alert_id = %(alert_id)s and sent_at is null",
            {"alert_id": alert.alert_id, "error": error},
            tenant_id=self.tenant_id,
        )


#: Version of the JSON. Raised when a field changes its meaning or is removed.
VERSION = 1
#: Slack refuses longer texts in a section.
SLACK_TEXT_LIMIT = 3000
_TITLES = {
    "failure": "scan failed",
    "quality": "quality check blocks the scan",
    "warning": "scan succeeded with warnings",
    "deadline": "scan is late",
    "quota": "scan waits for HubSpot",
    "recovery": "all clear",
}
#: In the order in which they are shown: `jsonb` does not keep one.
FIGURES = (
    "deals_received",
    "deals_written",
    "pages",
    "requests",
    "throttled",
    "seconds",
)
_LINKS = {
    "runbook": "Runbook",
    "log": "Task log",
    "run": "Airflow run",
    "status": "Status page",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Message:
    """An alert.

    :param round: 1 for the first alert of the incident, then 2, 3 …
    :param at: when it happened; `since` is when the incident began. ISO 8601, UTC.
    :param links: `run`, `log`, `status` and `runbook`: addresses in Airflow's UI.
    """

    event: str
    round: int
    tenant: str
    dag_id: str
    run_id: str
    scan_id: str
    task_id: str | None
    error_type: str | None
    why: str
    remedy: str
    runbook: str | None
    at: str
    since: str
    runs: int
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Self:
        fields = {name: value for name, value in document.items() if name != "version"}
        figures = fields["figures"]
        fields["figures"] = {name: figures[name] for name in sorted(figures, key=_place)}
        return cls(**fields)

    @property
    def subject(self) -> str:
        """One line without control characters: it becomes a mail header."""
        what = _TITLES[self.event]
        kind = f" ({self.error_type})" if self.error_type else ""
        again = f", still after {self.runs} runs" if self.round > 1 else ""
        return _CONTROL.sub(" ", f"[HubSpot deals] {self.tenant}: {what}{kind}{again}")

    @property
    def apprise_type(self) -> str:
        """The severity, as Apprise names it."""
        if self.event == "recovery":
            return "success"
        return "failure" if self.event in ("failure", "quality") else "warning"

    @property
    def paragraphs(self) -> list[str]:
        """The message: what happened, which scan, its figures, and where to look."""
        runs = f" ({self.runs} runs)" if self.runs > 1 else ""
        scan = {
            "Scan": self.scan_id,
            "Run": f"{self.dag_id}, {self.run_id}",
            "When": self.at,
            "Since": f"{self.since}{runs}",
        }
        figures = {name.replace("_", " ").capitalize(): n for name, n in self.figures.items()}
        links = {label: self.links[name] for name, label in _LINKS.items() if name in self.links}
        tables = [
            "\n".join(f"{label}: {value}" for label, value in table.items())
            for table in (scan, figures, links)
            if table
        ]
        return [_sentences(self), *tables]

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        return "\n\n".join(self.paragraphs) + "\n"

    @property
    def html(self) -> str:
        """The text, escaped, with its addresses as links."""
        escaped = html.escape(self.text)
        for url in {html.escape(url) for url in self.links.values()}:
            escaped = escaped.replace(f": {url}\n", f': <a href="{url}">{url}</a>\n')
        return f'<pre style="font-family: sans-serif; white-space: pre-wrap">{escaped}</pre>'

    @property
    def slack_blocks(self) -> list[dict[str, Any]]:
        """Block Kit; the text is escaped, so that what HubSpot says can't mention users."""
        blocks = [("header", "plain_text", self.subject[:150])]
        for text in self.paragraphs:
            escaped = html.escape(text, quote=False)
            blocks.append(("section", "mrkdwn", escaped[:SLACK_TEXT_LIMIT]))
        return [{"type": kind, "text": {"type": of, "text": text}} for kind, of, text in blocks]


def _place(figure: str) -> tuple[int, str]:
    return (FIGURES.index(figure) if figure in FIGURES else len(FIGURES)), figure


def _sentences(message: Message) -> str:
    if message.event == "recovery":
        return message.why
    task = f" at {message.task_id}" if message.task_id else ""
    lines = [f"Tenant {message.tenant}: {_TITLES[message.event]}{task}.", "", message.why]
    if message.remedy:
        lines += ["", f"What to do: {message.remedy}"]
    return "\n".join(lines)


#: Of one request. SMTP's time-out is the connection's own (`timeout`, 30 s).
TIMEOUT_S = 10
T = TypeVar("T")
_STATUS = re.compile(r"\b([45]\d\d)\b")


class DeliveryError(Exception):
    """A channel did not accept a message. The text holds no secret."""


def send(channel: Channel, message: Message) -> None:
    """Send the message. Raises DeliveryError, whatever the reason."""
    try:
        _SENDERS[channel.kind](getattr(channel, channel.kind), message)
    except DeliveryError:
        raise
    except Exception as exc:  # noqa: BLE001 - providers raise whatever they like
        # Not the text: addresses of webhooks are secrets, and libraries quote them.
        raise DeliveryError(_named(exc)) from None


def _send_mail(settings: SmtpChannel, message: Message) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

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


def _send_to_slack(settings: SlackChannel, message: Message) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    hook = SlackWebhookHook(
        slack_webhook_conn_id=settings.connection,
        timeout=TIMEOUT_S,
        logger=_SILENT,
    )
    _silent(hook).send(text=message.subject, blocks=message.slack_blocks, unfurl_links=False)


def _post(settings: WebhookChannel, message: Message) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    _silent(HttpHook(method="POST", http_conn_id=settings.connection)).run(
        endpoint=settings.endpoint,
        json=message.as_json(),
        # by default the provider waits without end
        extra_options={"timeout": TIMEOUT_S},
    )


def _send_by_apprise(settings: AppriseChannel, message: Message) -> None:
    import apprise
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    # Not AppriseNotifier: it drops Apprise's answer, which says whether anything was sent.
    hook = AppriseHook(settings.connection)
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
        raise DeliveryError("Apprise could not deliver to every service")


def _nothing(record: logging.LogRecord) -> bool:
    return False


_SENDERS: dict[str, Callable[[Any, Message], None]] = {
    "smtp": _send_mail,
    "slack": _send_to_slack,
    "webhook": _post,
    "apprise": _send_by_apprise,
}
_NO_CONTEXT: Any = {}
_SILENT = logging.getLogger(f"{__name__}.silent")
# Not `disabled`: Airflow's configuration of logging would undo that.
_SILENT.addFilter(_nothing)


def _silent(hook: T) -> T:
    """Silence a hook's logger: it logs answers, and errors that hold the address."""
    hook._log = _SILENT  # type: ignore[attr-defined]
    return hook


@contextmanager
def _silent_apprise() -> Iterator[None]:
    """Silence Apprise's logger, in all threads: it logs addresses that it cannot parse."""
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


log = logging.getLogger(__name__)

#: Airflow kills a task that goes on for `task_success_overtime` (20 s) after it succeeded, and a
#: DAG processor's child after `dag_file_processor_timeout` (50 s, parsing included).
DELIVERY_TIMEOUT_S = 15.0


@dataclass
class DeliveryBudget:
    """How long all deliveries of this process may still take together.

    Callbacks of many runs share a process of the DAG processor. The next event delivers what is
    left over.
    """

    left_s: float = DELIVERY_TIMEOUT_S


@dataclass(frozen=True)
class Delivery:
    """Sends a tenant's alerts through its channels."""

    tenant_id: str
    channels: Sequence[Channel]
    budget: DeliveryBudget

    def of_outbox(self, outbox: Outbox) -> None:
        """Deliver the alerts of the outbox, and record the results."""
        if not self.budget.left_s:
            log.warning("tenant %s: no time left; the next event sends the alerts", self.tenant_id)
            return
        claimed = outbox.claim()
        known = {channel.label: channel for channel in self.channels}
        sendable = [alert for alert in claimed if alert.channel in known]
        errors = self._send_all(
            [(known[alert.channel], Message.of_json(alert.message)) for alert in sendable]
        )
        errors_by_alert = dict(zip((alert.alert_id for alert in sendable), errors, strict=True))
        for alert in claimed:
            error = errors_by_alert.get(alert.alert_id, "the tenant has no such channel any more")
            outbox.record(alert, error)
            self._log(alert, error)

    def unrecorded(self, message: Message) -> bool:
        """Send a message that PostgreSQL can't record; True: a channel took it."""
        errors = self._send_all([(channel, message) for channel in self.channels])
        for channel, error in zip(self.channels, errors, strict=True):
            log.log(
                logging.ERROR if error else logging.INFO,
                "tenant %s: alert %s by %s, not in the outbox: %s",
                self.tenant_id,
                message.event,
                channel.label,
                error or "sent",
            )
        return None in errors

    def _send_all(self, messages: Sequence[tuple[Channel, Message]]) -> list[str | None]:
        """Send each channel's messages in a thread; return the error of each, None if it was sent.

        The messages of a channel keep their order. A thread that hangs is abandoned.
        """
        started, budget_s = time.monotonic(), self.budget.left_s
        errors: list[str | None] = [f"no answer in {budget_s:.0f} s"] * len(messages)

        def send_in_order(label: str) -> None:
            for number, (channel, message) in enumerate(messages):
                if channel.label == label:
                    try:
                        send(channel, message)
                        errors[number] = None
                    except DeliveryError as exc:
                        errors[number] = str(exc)

        labels = {channel.label for channel, _ in messages}
        # daemons: a task's process must end although a channel hangs
        threads = [threading.Thread(target=send_in_order, args=(x,), daemon=True) for x in labels]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, started + budget_s - time.monotonic()))
        self.budget.left_s = max(0.0, started + budget_s - time.monotonic())
        return errors.copy()  # an abandoned thread may still write to the list

    def _log(self, alert: Pending, error: str | None) -> None:
        event = alert.message["event"]
        if error is None:
            log.info("tenant %s: alert %s sent by %s", self.tenant_id, event, alert.channel)
            return
        gave_up = alert.attempts >= MAX_ATTEMPTS
        log.error(
            "%s",
            AlertNotDeliveredError(
                f"the alert {event!r} was not delivered by {alert.channel} (attempt"
                f" {alert.attempts} of {MAX_ATTEMPTS}): {error}.",
                tenant_id=self.tenant_id,
                remedy="It is given up."
                if gave_up
                else "The run is not touched by it; the tenant's next event tries again.",
            ),
        )
