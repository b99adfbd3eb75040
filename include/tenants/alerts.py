"""Who is told what of a tenant's scans: the key `alerts` of its entry. docs/alerts.md

Secrets (passwords, webhook addresses) live in the Airflow connections that channels name.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic import model_validator as validates_whole

AlertKind = Literal["failure", "quality", "warning", "deadline", "quota", "recovery"]
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,250}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$", max_length=254)]
ChannelKind = Literal["smtp", "slack", "webhook", "apprise"]


class SmtpChannel(BaseModel):
    """Mail, by Airflow's SMTP provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    connection: ConnectionId = "smtp_default"
    #: None: the connection's `from_email`.
    sender: Address | None = Field(default=None, alias="from")


class SlackChannel(BaseModel):
    """A Slack incoming webhook."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: ConnectionId = "slack_default"


class WebhookChannel(BaseModel):
    """A POST of JSON to whatever the HTTP connection names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: ConnectionId = "http_default"
    #: Path below the connection's host.
    endpoint: Annotated[str, StringConstraints(pattern=r"^[^\s@]{1,500}$")] | None = None


class AppriseChannel(BaseModel):
    """Everything that Apprise knows to reach."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: ConnectionId = "apprise_default"


class Channel(BaseModel):
    """One way to reach people: a mapping with exactly one key, which says what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smtp: SmtpChannel | None = None
    slack: SlackChannel | None = None
    webhook: WebhookChannel | None = None
    apprise: AppriseChannel | None = None

    @validates_whole(mode="before")
    @classmethod
    def _a_name_is_a_channel(cls, entry: Any) -> Any:
        # `slack:` says all that is needed where the connection has its default name
        if not isinstance(entry, dict):
            return entry
        return {name: {} if settings is None else settings for name, settings in entry.items()}

    @validates_whole(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a channel is one of smtp, slack, webhook, apprise")
        return self

    @property
    def kind(self) -> ChannelKind:
        (name,) = self.model_fields_set
        return name  # type: ignore[return-value]

    @property
    def label(self) -> str:
        """What the channel is called in the table `alerts` and in logs: it holds no secret."""
        settings = getattr(self, self.kind)
        where = [self.kind, settings.connection]
        if self.smtp:
            where.append(",".join(self.smtp.to))
        if self.webhook and self.webhook.endpoint:
            where.append(self.webhook.endpoint)
        return ":".join(where)


class AlertSettings(BaseModel):
    """What a tenant's people are told, and through which channels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: tuple[AlertKind, ...] = ("failure", "quality", "deadline", "quota", "recovery")
    #: None: nobody is told; incidents are recorded all the same.
    channels: tuple[Channel, ...] = ()
    #: A tenant that keeps failing for the same reason is told of again after so many seconds.
    repeat_after_s: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400
