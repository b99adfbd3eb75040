"""What is said of an event, and how each kind of channel says it. Pure.

A `Message` is what the outbox keeps, and its `as_json` what webhooks get: docs/alerts.md
"""

import html
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

#: Of the JSON. Raised when a field changes its meaning or goes; new fields come without.
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
#: In this order; PostgreSQL keeps none.
FIGURES = (
    "deals_received",
    "deals_written",
    "pages",
    "requests",
    "throttled",
    "attempt",
    "seconds",
)
_LINKS = {"log": "Task log", "run": "Airflow run", "status": "Status page"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Message:
    """An alert.

    :param round: 1 when the incident is told for the first time, then 2, 3 …
    :param at: when it happened; `since` is when the incident began. ISO 8601, UTC.
    :param links: `run`, `log` and `status`: addresses in Airflow's UI.
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
        figures = document["figures"]
        known = [name for name in FIGURES if name in figures]
        names = [*known, *sorted(figures.keys() - set(known))]
        fields = {name: value for name, value in document.items() if name != "version"}
        return cls(**{**fields, "figures": {name: figures[name] for name in names}})

    @property
    def subject(self) -> str:
        """One line without control characters: it becomes a mail header."""
        what = _TITLES[self.event]
        kind = f" ({self.error_type})" if self.error_type else ""
        again = f", still after {self.runs} runs" if self.round > 1 else ""
        return _CONTROL.sub(" ", f"[HubSpot deals] {self.tenant}: {what}{kind}{again}")

    @property
    def apprise_type(self) -> str:
        """Apprise's word for how bad it is."""
        if self.event == "recovery":
            return "success"
        return "failure" if self.event in ("failure", "quality") else "warning"

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        blocks = ["\n".join(_sentences(self)), _table(self)]
        if self.figures:
            blocks.append("\n".join(f"{_label(k)}: {v}" for k, v in self.figures.items()))
        if self.links:
            blocks.append("\n".join(f"{_LINKS[name]}: {self.links[name]}" for name in self._shown))
        return "\n\n".join(blocks) + "\n"

    @property
    def html(self) -> str:
        """The text, escaped, with its addresses as links."""
        escaped = html.escape(self.text)
        for url in {html.escape(url) for url in self.links.values()}:
            escaped = escaped.replace(f": {url}\n", f': <a href="{url}">{url}</a>\n')
        return f'<pre style="font-family: sans-serif; white-space: pre-wrap">{escaped}</pre>'

    @property
    def slack_blocks(self) -> list[dict[str, Any]]:
        """Block Kit; whatever is not ours is escaped, so that it can't mention anybody."""
        sections = ["\n".join(_sentences(self)), _table(self)]
        links = " · ".join(f"<{self.links[name]}|{_LINKS[name]}>" for name in self._shown)
        blocks: list[dict[str, Any]] = [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": self.subject[:150]},
            }
        ]
        blocks += [_section(_for_slack(text)) for text in sections]
        if self.figures:
            figures = ", ".join(f"{_label(k).lower()} {v}" for k, v in self.figures.items())
            blocks.append(
                {
                    "type": "context",
                    "elements": [{"type": "mrkdwn", "text": _for_slack(figures)}],
                }
            )
        return [*blocks, _section(links)] if links else blocks

    @property
    def _shown(self) -> list[str]:
        return [name for name in _LINKS if name in self.links]


def _sentences(message: Message) -> list[str]:
    if message.event == "recovery":
        return [message.why]
    task = f" at {message.task_id}" if message.task_id else ""
    lines = [f"Tenant {message.tenant}: {_TITLES[message.event]}{task}.", "", message.why]
    if message.remedy:
        lines += ["", f"What to do: {message.remedy}"]
    if message.runbook:
        lines.append(f"More: {message.runbook}")
    return lines


def _table(message: Message) -> str:
    runs = f" ({message.runs} runs)" if message.runs > 1 else ""
    rows = {
        "Scan": message.scan_id,
        "Run": f"{message.dag_id}, {message.run_id}",
        "When": message.at,
        "Since": f"{message.since}{runs}",
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:SLACK_TEXT_LIMIT]}}


def _for_slack(text: str) -> str:
    return html.escape(text, quote=False)
