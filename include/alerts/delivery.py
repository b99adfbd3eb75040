"""The text of an alert, and its delivery by mail, Slack, webhook or Apprise. See docs/alerts.md.

Parts of a message come from HubSpot, so it must not be rendered as a Jinja template: the mail
notifier is called through `notify`, which renders nothing. Channels are used in parallel, within
the time that Airflow grants a callback.
"""

import html
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, TypeVar

from psycopg import sql
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

MAX_ATTEMPTS = 10
#: After this time, another process may claim the alert. Longer than any delivery.
LEASE_S = 120

#: A condition on `alerts`: undelivered, not given up, not claimed by a process that may be sending.
_CLAIMABLE = sql.SQL(
    "tenant_id = %(tenant_id)s and sent_at is null and attempts < %(max_attempts)s"
    " and (claimed_at is null or claimed_at < now() - make_interval(secs => %(lease_s)s))"
)


@dataclass(frozen=True)
class Pending:
    """An alert that this process has claimed for `LEASE_S`."""

    alert_id: int
    channel: str
    attempts: int
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Outbox:
    """The alerts of one tenant."""

    warehouse: Warehouse
    tenant_id: str

    @property
    def _values(self) -> dict[str, Any]:
        return {"tenant_id": self.tenant_id, "max_attempts": MAX_ATTEMPTS, "lease_s": LEASE_S}

    def hand_over(self, channels: Sequence[str]) -> None:
        """Copy undelivered alerts of channels that the tenant no longer has to those it has.

        A channel may have been removed because its address was wrong.
        """
        self.warehouse.change(
            """
            insert into {alerts} (incident_id, tenant_id, event, round, channel, message)
            select incident_id, tenant_id, event, round, label, message
            from {alerts}, unnest(%(channels)s::text[]) as label
            where {claimable} and channel <> all (%(channels)s)
            order by alert_id
            on conflict do nothing
            """,
            {**self._values, "channels": list(channels)},
            {"claimable": _CLAIMABLE},
        )

    def claim(self) -> list[Pending]:
        """Claim all undelivered alerts, oldest first."""
        claimed: list[Pending] = self.warehouse.rows(
            """
            update {alerts} set claimed_at = now(), attempts = attempts + 1
            where alert_id in (
                select alert_id from {alerts} where {claimable}
                order by alert_id
                for update skip locked
            )
            returning alert_id, channel, attempts, message
            """,
            self._values,
            {"claimable": _CLAIMABLE},
            row_factory=class_row(Pending),
        )
        return sorted(claimed, key=lambda alert: alert.alert_id)

    def record(self, alert: Pending, error: str | None) -> None:
        """Record the result of a delivery. After an error, the tenant's next event tries again."""
        self.warehouse.change(
            "update {alerts} set claimed_at = null, error = %(error)s,"
            " sent_at = case when %(error)s::text is null then now() end"
            " where alert_id = %(alert_id)s and sent_at is null",
            {"alert_id": alert.alert_id, "error": error},
        )


#: Version of the webhook's JSON. Raise it when a field is removed or changes its meaning.
VERSION = 1
#: Characters in a section block; Slack rejects more.
SLACK_TEXT_LIMIT = 3000
_TITLES = {
    "failure": "scan failed",
    "quality": "scan failed a quality check",
    "warning": "scan succeeded with warnings",
    "deadline": "scan is late",
    "quota": "scan waits for HubSpot",
    "recovery": "all clear",
}
#: In the order in which they are shown; `jsonb` does not keep the order of keys.
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
    """An alert. docs/alerts.md#webhook-json describes the fields."""

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
        # while a new version is deployed, this one reads alerts that may have new fields
        known = {part.name: document[part.name] for part in fields(cls) if part.name in document}
        figures = known["figures"]
        names = (*FIGURES, *sorted(figures))
        known["figures"] = {name: figures[name] for name in names if name in figures}
        return cls(**known)

    @property
    def subject(self) -> str:
        """One line without control characters: it becomes a mail header."""
        what = _TITLES[self.event]
        kind = f" ({self.error_type})" if self.error_type else ""
        # one run alone can wait for HubSpot for days
        after = f" after {self.runs} runs" if self.runs > 1 else ""
        again = f", still{after}" if self.round > 1 else ""
        return _CONTROL.sub(" ", f"[HubSpot deals] {self.tenant}: {what}{kind}{again}")

    @property
    def apprise_type(self) -> str:
        """Apprise's name of the severity."""
        if self.event == "recovery":
            return "success"
        return "failure" if self.event in ("failure", "quality") else "warning"

    @property
    def paragraphs(self) -> list[str]:
        """What happened, the scan, its figures, and links."""
        runs = f" ({self.runs} runs)" if self.runs > 1 else ""
        scan = {
            "Scan": self.scan_id,
            "Run": f"{self.dag_id}, {self.run_id}",
            "When": self.at,
            "Since": f"{self.since}{runs}",
        }
        figures = {
            # the JSON keeps the name of the result, people read what it means
            name.replace("no_rows", "not_applicable").replace("_", " ").capitalize(): n
            for name, n in self.figures.items()
        }
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
        """The escaped text, with links."""
        escaped = html.escape(self.text)
        for url in {html.escape(url) for url in self.links.values()}:
            escaped = escaped.replace(f": {url}\n", f': <a href="{url}">{url}</a>\n')
        return f'<pre style="font-family: sans-serif; white-space: pre-wrap">{escaped}</pre>'

    @property
    def slack_blocks(self) -> list[dict[str, Any]]:
        """Slack's Block Kit. Escaped, so that a text from HubSpot can't mention Slack users."""
        blocks = [("header", "plain_text", self.subject[:150])]
        for text in self.paragraphs:
            escaped = html.escape(text, quote=False)
            blocks.append(("section", "mrkdwn", escaped[:SLACK_TEXT_LIMIT]))
        return [{"type": kind, "text": {"type": of, "text": text}} for kind, of, text in blocks]


def _sentences(message: Message) -> str:
    if message.event == "recovery":
        return message.why
    task = f" at {message.task_id}" if message.task_id else ""
    lines = [f"Tenant {message.tenant}: {_TITLES[message.event]}{task}.", "", message.why]
    if message.remedy:
        lines += ["", f"What to do: {message.remedy}"]
    return "\n".join(lines)


#: For one HTTP request. SMTP's time-out is a setting of its connection (`timeout`, 30 s).
TIMEOUT_S = 10
T = TypeVar("T")
_STATUS = re.compile(r"\b([45]\d\d)\b")


class DeliveryError(Exception):
    """A channel did not accept a message. The text contains no secret."""


def send(channel: Channel, message: Message) -> None:
    """Send the message. Raises only DeliveryError."""
    try:
        _SENDERS[channel.kind](getattr(channel, channel.kind), message)
    except DeliveryError:
        raise
    except Exception as exc:  # noqa: BLE001 - providers raise any exception
        # Without the text: libraries quote addresses of webhooks, which are secrets.
        raise DeliveryError(_class_and_status(exc)) from None


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
        # the provider has no time-out by default
        extra_options={"timeout": TIMEOUT_S},
    )


def _send_by_apprise(settings: AppriseChannel, message: Message) -> None:
    import apprise
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    # AppriseNotifier ignores the result of `notify`, so a failure would go unnoticed.
    hook = AppriseHook(settings.connection)
    services = apprise.Apprise()
    with _silent_apprise():
        hook.set_config_from_conn(hook.get_connection(hook.apprise_conn_id), services)
        delivered = services.notify(
            title=message.subject,
            body=message.text,
            notify_type=apprise.NotifyType(message.apprise_type),
            body_format=apprise.NotifyFormat.TEXT,
        )
    if not delivered:
        raise DeliveryError("Apprise could not deliver to every service")


_SENDERS: dict[str, Callable[[Any, Message], None]] = {
    "smtp": _send_mail,
    "slack": _send_to_slack,
    "webhook": _post,
    "apprise": _send_by_apprise,
}
_NO_CONTEXT: Any = {}
_SILENT = logging.getLogger(f"{__name__}.silent")
# A filter: Airflow's logging configuration would reset `disabled`.
_SILENT.addFilter(lambda record: False)


def _silent(hook: T) -> T:
    """Silence a hook's logger, which logs responses and errors that contain the address."""
    hook._log = _SILENT  # type: ignore[attr-defined]
    return hook


@contextmanager
def _silent_apprise() -> Iterator[None]:
    """Silence Apprise's logger, which logs addresses that it can't parse, in all threads."""
    logger = logging.getLogger("apprise")

    # A new function for each call: removing a shared filter would end the silence of other threads.
    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


def _class_and_status(exc: Exception) -> str:
    code = getattr(exc, "smtp_code", None)
    status = _STATUS.search(str(exc)) if type(exc).__name__.startswith("Airflow") else None
    if code or status:
        return f"{type(exc).__name__} {code or (status and status[1])}"
    return type(exc).__name__


log = logging.getLogger(__name__)

#: Airflow kills a task's process `task_success_overtime` (20 s) after the task succeeded, and a
#: DAG processor's child after `dag_file_processor_timeout` (50 s, including parsing).
DELIVERY_TIMEOUT_S = 15.0


@dataclass
class DeliveryBudget:
    """Time left for all deliveries of this process.

    Many runs' callbacks share one process of the DAG processor. Alerts for which no time is left
    stay in the outbox until the tenant's next event.
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
            log.warning(
                "tenant %s: no time left to send alerts; the tenant's next event sends them",
                self.tenant_id,
            )
            return
        known = {channel.label: channel for channel in self.channels}
        outbox.hand_over(list(known))
        claimed = outbox.claim()
        sendable = [alert for alert in claimed if alert.channel in known]
        errors = self._send_all(
            [(known[alert.channel], Message.of_json(alert.message)) for alert in sendable]
        )
        errors_by_alert = dict(zip((alert.alert_id for alert in sendable), errors, strict=True))
        for alert in claimed:
            error = errors_by_alert.get(alert.alert_id, "the tenant no longer has this channel")
            outbox.record(alert, error)
            self._log(alert, error)

    def unrecorded(self, message: Message) -> None:
        """Send a message that PostgreSQL can't record."""
        errors = self._send_all([(channel, message) for channel in self.channels])
        for channel, error in zip(self.channels, errors, strict=True):
            log.log(
                logging.ERROR if error else logging.INFO,
                "tenant %s: alert %s by %s, without the outbox: %s",
                self.tenant_id,
                message.event,
                channel.label,
                error or "sent",
            )

    def _send_all(self, messages: Sequence[tuple[Channel, Message]]) -> list[str | None]:
        """Send the messages; return the error of each, None if it was sent.

        Each channel has a thread, which keeps the order. A thread that hangs is abandoned; if it
        continues later, it sends nothing more, because the next event sends the rest.
        """
        started, budget_s = time.monotonic(), self.budget.left_s
        errors: list[str | None] = [f"no answer in {budget_s:.0f} s"] * len(messages)

        def send_in_order(label: str) -> None:
            for number, (channel, message) in enumerate(messages):
                in_time = time.monotonic() < started + budget_s
                if channel.label == label and in_time:
                    try:
                        send(channel, message)
                        errors[number] = None
                    except DeliveryError as exc:
                        errors[number] = str(exc)

        labels = {channel.label for channel, _ in messages}
        # daemon threads: a task's process must end even if a channel hangs
        threads = [threading.Thread(target=send_in_order, args=(x,), daemon=True) for x in labels]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, started + budget_s - time.monotonic()))
        self.budget.left_s = max(0.0, started + budget_s - time.monotonic())
        return errors.copy()  # an abandoned thread may still change the list

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
                remedy="No further attempt will be made."
                if gave_up
                else "The run is not affected. The tenant's next event tries again.",
            ),
        )
