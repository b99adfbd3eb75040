"""An entry of the tenants file: a HubSpot account, its objects, schedules and alerts.

Secrets (tokens, passwords, webhook addresses) are in the Airflow connections that an entry names.

A schedule is a cron expression with Jenkins' `H`, which spreads the tenants' runs: `H` is one value
of its field, `H(0-29)` one of a range, `H/15` every 15th from one on. The value depends only on the
tenant's id and the field, so it never changes. Croniter's own `H` derives all fields from the same
bits of a CRC: "H H * * *" uses only 240 of the day's 1,440 minutes. Its days go up to 31, which
some months don't have, and its weekdays from 0 to 7, both of which are Sunday.
"""

import difflib
import hashlib
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from croniter import CroniterBadDateError, croniter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo
from pydantic import field_validator as validates
from pydantic import model_validator as validates_whole

from include.hubspot.crm_objects import (
    COSTED_RECORDS,
    STANDARD_OBJECTS,
    CrmObject,
    standard_object,
)

#: Minute, hour, day of the month (every month has 28), month, day of the week (0 is Sunday).
_RANGES: Final = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
_HASHED: Final = re.compile(r"H(?:\((\d{1,2})-(\d{1,2})\))?(?:/(\d{1,2}))?")
#: Croniter's random values, which would change the schedule with each parse.
_RANDOM: Final = re.compile(r"(?:^|[\s,])[rR](?:$|[\s,(/])")


def plain_cron(expression: str, tenant_id: str) -> str:
    """Return *expression* with the tenant's values for `H`. Raises ValueError."""
    fields = expression.split()
    if not any(_HASHED.fullmatch(term) for field in fields for term in field.split(",")):
        plain = expression
    elif len(fields) != len(_RANGES):
        raise ValueError(f"{expression!r} with H must have five fields, as in 'H 3 * * *'")
    else:
        plain = " ".join(
            ",".join(_value(expression, term, position, tenant_id) for term in field.split(","))
            for position, field in enumerate(fields)
        )
    if not _is_cron(plain):
        raise ValueError(f"{expression!r} is not a cron expression such as 'H 3 * * *'")
    return plain


@lru_cache(maxsize=4096)
def _is_cron(expression: str) -> bool:
    if _RANDOM.search(expression) or not croniter.is_valid(expression):
        return False
    try:
        croniter(expression).get_next()
    except CroniterBadDateError:
        return False  # it has no date: 30 February
    return True


def _value(expression: str, term: str, position: int, tenant_id: str) -> str:
    hashed = _HASHED.fullmatch(term)
    if not hashed:
        return term
    lowest, highest = _RANGES[position]
    first, last = (int(hashed[1]), int(hashed[2])) if hashed[1] else (lowest, highest)
    if not lowest <= first < last <= highest:
        raise ValueError(
            f"{expression!r}: the range of {term!r} must be ascending and within {lowest}-{highest}"
        )
    if hashed[3] is None:
        return str(first + _draw(tenant_id, position) % (last - first + 1))
    step = int(hashed[3])
    if not 1 <= step <= last - first:
        raise ValueError(f"{expression!r}: the step of {term!r} must be 1 to {last - first}")
    return f"{first + _draw(tenant_id, position) % step}-{last}/{step}"


def _draw(tenant_id: str, position: int) -> int:
    digest = hashlib.sha256(f"{position}/{tenant_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


#: Names of objects become names of views.
OBJECT_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

PropertyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,100}$")]
#: HubSpot's name of an object type, its id (2-1234567) or its full name (p1234567_machine).
ObjectType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9_-]{0,99}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def near_miss(key: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)", or "" if no known key is similar."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


class OtherObject(_Model):
    """Settings of a CRM object other than deals: contacts, a custom object …"""

    object_type: ObjectType | None = Field(
        None, description="HubSpot's id (`2-1234567`) or full name of a custom object's type."
    )
    properties: Literal["all"] | tuple[PropertyName, ...] = Field(
        "all", description="`all`, or HubSpot's internal names of the properties to load."
    )
    associations: tuple[ObjectType, ...] = Field(
        (), description="Object types whose associations with this object are loaded."
    )
    property_history: Literal["all"] | tuple[PropertyName, ...] = Field(
        (), description="Properties whose earlier values are loaded, or `all`."
    )


_WITH_THEIR_RECORDS = {"associations": ["deals", "contacts", "companies", "tickets"]}

#: The meaning of `objects: sales`; keys beside `preset` override it.
#: docs/configuration.md#the-preset-sales
SALES_OBJECTS: dict[str, Any] = {
    "deal_property_history": ["dealstage", "amount", "closedate", "pipeline", "hubspot_owner_id"],
    "companies": {"property_history": ["lifecyclestage", "hubspot_owner_id"]},
    "contacts": {
        "associations": ["companies"],
        "property_history": ["lifecyclestage", "hubspot_owner_id"],
    },
    "tickets": {
        "associations": ["deals", "contacts", "companies"],
        "property_history": ["hs_pipeline_stage", "hs_ticket_priority", "hubspot_owner_id"],
    },
    **dict.fromkeys(("calls", "emails", "meetings", "notes", "tasks"), _WITH_THEIR_RECORDS),
}


class Objects(_Model):
    """What is loaded besides deals. `false` or an empty list disables a part."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, OtherObject]

    preset: Literal["sales"] | None = Field(
        None, description="Loads the objects of the preset; other keys override it."
    )
    deal_pipelines: bool = Field(True, description="Pipelines and stages of deals.")
    owners: bool = Field(True, description="Owners of records; scope `crm.objects.owners.read`.")
    users: Literal[True, False, "if_allowed"] = Field(
        "if_allowed",
        description="Users, teams and roles. `if_allowed`: no warning if a scope is missing.",
    )
    deal_properties: bool = Field(
        True, description="Definitions of properties, of all objects; the views need them."
    )
    deal_associations: Literal[False] | tuple[ObjectType, ...] = Field(
        ("companies", "contacts", "line_items", "tickets"),
        description="Object types whose associations with deals are loaded.",
    )
    deal_property_history: Literal[False, "all"] | tuple[PropertyName, ...] = Field(
        ("dealstage", "amount"), description="Properties of deals whose earlier values are loaded."
    )

    @validates_whole(mode="before")
    @classmethod
    def _empty_entries_are_objects(cls, entries: Any) -> Any:
        entries = as_objects(entries)
        if not isinstance(entries, dict):
            return entries
        # `contacts:` and `contacts: true` are valid
        entries = {
            name: {} if name not in cls.model_fields and entry in (None, True) else entry
            for name, entry in entries.items()
        }
        if entries.get("preset") == "sales":
            entries = merged(SALES_OBJECTS, entries)
        return {
            name: entry
            for name, entry in entries.items()
            if entry is not False or name in cls.model_fields
        }

    @validates_whole(mode="after")
    def _others_can_be_found(self) -> "Objects":
        for name, entry in self.__pydantic_extra__.items():
            if name == "deals":
                raise ValueError("remove 'deals', which are always loaded")
            if not re.fullmatch(OBJECT_NAME_PATTERN, name):
                raise ValueError(f"object {name!r} must match {OBJECT_NAME_PATTERN}")
            if entry.object_type is None and standard_object(name) is None:
                known = [*type(self).model_fields, *STANDARD_OBJECTS]
                hint = near_miss(name, known) or " (a custom one needs 'object_type')"
                raise ValueError(f"unknown object {name!r}{hint}")
        return self

    @property
    def others(self) -> tuple[CrmObject, ...]:
        return tuple(
            replace(
                standard_object(entry.object_type or name)
                or CrmObject(name, entry.object_type or name),
                name=name,
                properties=entry.properties,
                associations=entry.associations,
                property_history=entry.property_history,
            )
            for name, entry in sorted(self.__pydantic_extra__.items())
        )


def as_objects(value: Any) -> Any:
    """Return the value of `objects` as a mapping; it can also be the name of a preset."""
    return {"preset": value} if isinstance(value, str) else value


def merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return *entry* with missing keys from *defaults*, also in nested mappings."""
    result = dict(defaults)
    for key, value in entry.items():
        below = result.get(key)
        if key == "objects":
            below, value = as_objects(below), as_objects(value)
        if isinstance(below, dict) and isinstance(value, dict):
            value = merged(below, value)
        result[key] = value
    return result


AlertKind = Literal["failure", "quality", "warning", "deadline", "quota", "recovery"]
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,250}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$", max_length=254)]
ChannelKind = Literal["smtp", "slack", "webhook", "apprise"]


class SmtpChannel(_Model):
    """Mail through Airflow's SMTP provider."""

    to: tuple[Address, ...] = Field(min_length=1, description="Recipients.")
    connection: ConnectionId = Field("smtp_default", description="Of type `smtp`.")
    sender: Address | None = Field(
        None, alias="from", description="The sender; `null`: the connection's `from_email`."
    )


class SlackChannel(_Model):
    """A Slack incoming webhook."""

    connection: ConnectionId = Field("slack_default", description="Of type `slackwebhook`.")


class WebhookChannel(_Model):
    """A POST of JSON to the host of an HTTP connection."""

    connection: ConnectionId = Field("http_default", description="Of type `http`.")
    endpoint: Annotated[str, StringConstraints(pattern=r"^[^\s@]{1,500}$")] | None = Field(
        None, description="Path below the connection's host, without secrets: logs show it."
    )


class AppriseChannel(_Model):
    """Any service that Apprise supports."""

    connection: ConnectionId = Field("apprise_default", description="Of type `apprise`.")


class Channel(_Model):
    """A mapping with exactly one key: the channel's kind."""

    smtp: SmtpChannel | None = None
    slack: SlackChannel | None = None
    webhook: WebhookChannel | None = None
    apprise: AppriseChannel | None = None

    @validates_whole(mode="before")
    @classmethod
    def _a_name_is_a_channel(cls, entry: Any) -> Any:
        # `slack:` is valid: all its settings have defaults
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
        """The channel's name in the table `alerts` and in logs, without secrets."""
        settings = getattr(self, self.kind)
        where = [self.kind, settings.connection]
        if self.smtp:
            where.append(",".join(self.smtp.to))
        if self.webhook and self.webhook.endpoint:
            where.append(self.webhook.endpoint)
        return ":".join(where)


class AlertSettings(_Model):
    """Which alerts are sent for a tenant, and through which channels."""

    on: tuple[AlertKind, ...] = Field(
        ("failure", "quality", "deadline", "quota", "recovery"),
        description="Events that are sent. Incidents are recorded in any case.",
    )
    channels: tuple[Channel, ...] = Field((), description="Where to send; `[]`: nowhere.")
    repeat_after_s: int = Field(
        86_400,
        ge=60,
        le=31_536_000,
        description="Seconds after which an incident that is still open is sent again.",
    )


#: Ids become part of the ids of DAGs and connections and of environment variables.
TENANT_ID_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

DAG_ID_PREFIX = "hubspot_deals__"
#: Exists in every Airflow.
DEFAULT_POOL = "default_pool"
POOL_PATTERN = r"^[A-Za-z0-9_.-]{1,100}$"

#: Other schemes, such as javascript:, must not become links in Airflow's UI.
OWNER_LINK_PATTERN = r"mailto:[^\s@/]+@[^\s@/]+|https://[^\s/@]+(/\S*)?"


class Tenant(_Model):
    """One HubSpot account and how it is scanned. Every key but `id` has a default."""

    id: Annotated[str, StringConstraints(pattern=TENANT_ID_PATTERN)] = Field(
        description="Names the DAG, the connection and the tenant's rows. Never change it."
    )
    schedule: str | None = Field(
        "H 3 * * *",
        validate_default=True,
        description="Cron expression of the runs; `H` is a fixed value that differs from tenant "
        "to tenant. `null`: only when triggered.",
    )
    timezone: str = Field("UTC", description="IANA time zone of both schedules.")
    enabled: bool = Field(True, description="`false`: no DAG; rows stay.")
    portal_id: int | None = Field(
        None, gt=0, description="HubSpot account that the token must belong to."
    )
    checkpoint_pages: int = Field(
        100,
        ge=1,
        le=1000,
        description="At most this many pages (of 100 records) are read again after a crash. Larger "
        "values need more memory.",
    )
    properties: Literal["all"] | tuple[PropertyName, ...] = Field(
        "all", description="Properties of deals to load besides the standard ones."
    )
    full_scan_schedule: str | None = Field(
        "H 0 * * H",
        validate_default=True,
        description="Cron expression: the first run after such a moment reads everything. `null`: "
        "only the first scan does.",
    )
    search_lag_s: int = Field(
        3_600,
        ge=0,
        le=86_400,
        description="How late HubSpot's search may show a change: scans read that far back again.",
    )
    refresh_after_s: int = Field(
        3_600,
        ge=0,
        le=604_800,
        description="Pipelines, owners, users, definitions and associations younger than this are "
        "not read again, except by a requested full scan. At most `search_lag_s`.",
    )
    daily_quota_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of the account's daily requests after which scans wait until tomorrow.",
    )
    objects: Objects = Field(
        Objects.model_validate({}), description="What is loaded besides deals."
    )
    fivetran_views: bool = Field(
        False, description="Also build views with the tables of Fivetran's HubSpot connector."
    )
    retries: int = Field(3, ge=0, le=20, description="Airflow's retries after transient errors.")
    task_timeout_s: int = Field(
        86_400, ge=60, le=2_592_000, description="Airflow ends a task that takes longer."
    )
    pool: Annotated[str, StringConstraints(pattern=POOL_PATTERN)] = Field(
        DEFAULT_POOL, description="Airflow pool of the tasks."
    )
    priority: int = Field(
        1,
        ge=1,
        le=1000,
        description="Of two waiting tasks, the one with the higher priority starts first.",
    )
    deadline_s: int | None = Field(
        None,
        ge=1,
        le=2_592_000,
        description="Seconds after queueing when an unfinished scan raises the alert `deadline`.",
    )
    alerts: AlertSettings = Field(
        AlertSettings.model_validate({}), description="Which alerts are sent, and where."
    )
    owner: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        "hubspot-deals", description="The DAG's owner in the Airflow UI."
    )
    owner_link: Annotated[str, StringConstraints(max_length=500)] | None = Field(
        None, description="Where the owner links to: `mailto:<address>` or `https://<page>`."
    )

    @validates("schedule", "full_scan_schedule")
    @classmethod
    def _is_plain_cron(cls, value: str | None, info: ValidationInfo) -> str | None:
        # an invalid id is missing here; any id then finds the problems of the expression
        values: dict[str, Any] = info.data
        return None if value is None else plain_cron(value, values.get("id", ""))

    @validates("owner_link")
    @classmethod
    def _is_link(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(OWNER_LINK_PATTERN, value):
            raise ValueError(
                f"{value!r} must be like mailto:team@example.com or https://example.com/page"
            )
        return value

    @validates("timezone")
    @classmethod
    def _is_time_zone(cls, value: str) -> str:
        # zoneinfo.available_timezones() would read 600 files
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from exc
        return value

    @property
    def dag_id(self) -> str:
        return f"{DAG_ID_PREFIX}{self.id}"

    @property
    def connection_id(self) -> str:
        return f"hubspot_{self.id}"

    @property
    def crm_objects(self) -> tuple[CrmObject, ...]:
        """Deals, then the tenant's other objects."""
        deals = replace(
            STANDARD_OBJECTS["deals"],
            properties=self.properties,
            associations=self.objects.deal_associations or (),
            property_history=self.objects.deal_property_history or (),
        )
        return (deals, *self.objects.others)

    @property
    def first_scan_cost(self) -> str:
        """A sentence about the number of requests of a first scan."""
        costs = (
            f"{crm_object.name} {crm_object.first_scan_requests}"
            + (f" (histories {crm_object.history_requests})" if crm_object.property_history else "")
            for crm_object in self.crm_objects
        )
        return (
            f"a first scan sends about this many requests for each {COSTED_RECORDS:,} records: "
            f"{', '.join(costs)}"
        )
