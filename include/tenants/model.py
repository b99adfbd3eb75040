"""An entry of the tenants file: a HubSpot account, what is loaded of it, when, and who is alerted.

Secrets (tokens, passwords, webhook addresses) live in the Airflow connections that an entry names.

A schedule is a cron expression with Jenkins' `H`: each tenant gets its own minute, hour and day.
`H` stands for one value of its field, `H(0-29)` for one of a range, `H/15` for every 15th from one
on. The value follows from the tenant's id and the field alone, so it never changes. Croniter's own
`H` takes every field from the same few bits of one CRC: "H H * * *" knows 240 of the day's 1,440
minutes, its days go up to 31, which most months skip, and its weekdays from 0 to 7, which is
Sunday twice.
"""

import difflib
import hashlib
import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from croniter import croniter
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
#: To croniter a value drawn anew each time: each parse would make another schedule.
_RANDOM: Final = re.compile(r"(?:^|[\s,])[rR](?:$|[\s,(/])")


def plain_cron(expression: str, tenant_id: str) -> str:
    """Return *expression* with the tenant's own values for `H`. Raises ValueError, in words."""
    fields = expression.split()
    if not any(_HASHED.fullmatch(term) for field in fields for term in field.split(",")):
        plain = expression
    elif len(fields) != len(_RANGES):
        raise ValueError(f"{expression!r} has H, and so must have five fields, as in 'H 3 * * *'")
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
    return not _RANDOM.search(expression) and croniter.is_valid(expression)


def _value(expression: str, term: str, position: int, tenant_id: str) -> str:
    hashed = _HASHED.fullmatch(term)
    if not hashed:
        return term
    lowest, highest = _RANGES[position]
    first, last = (int(hashed[1]), int(hashed[2])) if hashed[1] else (lowest, highest)
    if not lowest <= first < last <= highest:
        raise ValueError(
            f"{expression!r}: {term!r} must have a range that rises, within {lowest}-{highest}"
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
    """Return " (did you mean …?)", or nothing if no known key is near."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


class OtherObject(_Model):
    """Another CRM object than deals that a tenant wants: contacts, a custom object …"""

    #: HubSpot's id or full name of the type; the standard objects need none.
    object_type: ObjectType | None = None
    properties: Literal["all"] | tuple[PropertyName, ...] = "all"
    associations: tuple[ObjectType, ...] = ()
    property_history: Literal["all"] | tuple[PropertyName, ...] = ()


_WITH_THEIR_RECORDS = {"associations": ["deals", "contacts", "companies", "tickets"]}

#: What `objects: sales` says; a key beside `preset` says it otherwise.
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
    """What is loaded besides deals. false, or an empty list, switches a part off."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, OtherObject]

    #: Loads what sales teams look at besides deals, as far as no other key says otherwise.
    preset: Literal["sales"] | None = None
    #: Pipelines and their stages.
    deal_pipelines: bool = True
    owners: bool = True
    #: Users, teams and roles. "if_allowed": where the token may read them, else without a warning.
    users: Literal[True, False, "if_allowed"] = "if_allowed"
    #: The definitions of properties, of deals and of every other object that is loaded.
    deal_properties: bool = True
    deal_associations: Literal[False] | tuple[ObjectType, ...] = (
        "companies",
        "contacts",
        "line_items",
        "tickets",
    )
    deal_property_history: Literal[False, "all"] | tuple[PropertyName, ...] = (
        "dealstage",
        "amount",
    )

    @validates_whole(mode="before")
    @classmethod
    def _empty_entries_are_objects(cls, entries: Any) -> Any:
        # `contacts:` and `contacts: true` say all that is needed
        entries = as_objects(entries)
        if not isinstance(entries, dict):
            return entries
        if entries.get("preset") == "sales":
            entries = _refined(SALES_OBJECTS, entries)
        return {
            name: {} if name not in cls.model_fields and entry in (None, True) else entry
            for name, entry in entries.items()
            if entry is not False or name in cls.model_fields
        }

    @validates_whole(mode="after")
    def _others_can_be_found(self) -> "Objects":
        for name, entry in self.__pydantic_extra__.items():
            if name == "deals":
                raise ValueError("deals are always loaded: take 'deals' out")
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
            _crm_object(name, entry) for name, entry in sorted(self.__pydantic_extra__.items())
        )


def as_objects(value: Any) -> Any:
    """Return what `objects` holds as a mapping, where a preset's name stands in its place."""
    return {"preset": value} if isinstance(value, str) else value


def _refined(preset: dict[str, Any], entries: dict[str, Any]) -> dict[str, Any]:
    """Return a preset with what *entries* say otherwise, key by key of each object."""
    refined = {**preset, **entries}
    for name in preset.keys() & entries.keys():
        if isinstance(preset[name], dict) and entries[name] is not False:
            given = {} if entries[name] in (None, True) else entries[name]
            refined[name] = {**preset[name], **given} if isinstance(given, dict) else given
    return refined


def _crm_object(name: str, entry: OtherObject) -> CrmObject:
    object_type = entry.object_type or name
    known = standard_object(object_type) or CrmObject(name, object_type)
    return replace(
        known,
        name=name,
        properties=entry.properties,
        associations=entry.associations,
        property_history=entry.property_history,
    )


AlertKind = Literal["failure", "quality", "warning", "deadline", "quota", "recovery"]
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,250}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$", max_length=254)]
ChannelKind = Literal["smtp", "slack", "webhook", "apprise"]


class SmtpChannel(_Model):
    """Mail, by Airflow's SMTP provider."""

    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    connection: ConnectionId = "smtp_default"
    #: None: the connection's `from_email`.
    sender: Address | None = Field(default=None, alias="from")


class SlackChannel(_Model):
    """A Slack incoming webhook."""

    connection: ConnectionId = "slack_default"


class WebhookChannel(_Model):
    """A POST of JSON to whatever the HTTP connection names."""

    connection: ConnectionId = "http_default"
    #: Path below the connection's host.
    endpoint: Annotated[str, StringConstraints(pattern=r"^[^\s@]{1,500}$")] | None = None


class AppriseChannel(_Model):
    """Everything that Apprise knows to reach."""

    connection: ConnectionId = "apprise_default"


class Channel(_Model):
    """One way to reach people: a mapping with exactly one key, which says what it is."""

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


class AlertSettings(_Model):
    """Which alerts are sent for a tenant, and through which channels."""

    on: tuple[AlertKind, ...] = ("failure", "quality", "deadline", "quota", "recovery")
    #: None: no alert is sent; incidents are recorded all the same.
    channels: tuple[Channel, ...] = ()
    #: A tenant that keeps failing for the same reason is alerted again after so many seconds.
    repeat_after_s: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400


#: Ids become part of DAG ids, connection ids and (environment) variable names: a strict slug.
TENANT_ID_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

DAG_ID_PREFIX = "hubspot_deals__"
#: Airflow's pool that is always there, and the names that other pools may have.
DEFAULT_POOL = "default_pool"
POOL_PATTERN = r"^[A-Za-z0-9_.-]{1,100}$"

#: An address or a page: nothing else may become a link in Airflow's UI.
OWNER_LINK_PATTERN = r"mailto:[^\s@/]+@[^\s@/]+|https://[^\s/@]+(/\S*)?"


class Tenant(_Model):
    """One HubSpot account and how it is scanned. Every key but `id` has a default."""

    id: Annotated[str, StringConstraints(pattern=TENANT_ID_PATTERN)]
    #: Cron expression, or null for "only when triggered". `H` is the tenant's own value when the
    #: entry is read; here it is a plain expression.
    schedule: Annotated[str | None, Field(validate_default=True)] = "H 3 * * *"
    #: IANA name; the schedule is read in it.
    timezone: str = "UTC"
    #: false: no DAG is generated; rows already loaded stay.
    enabled: bool = True
    #: HubSpot account id; binds the tenant before its first scan does.
    portal_id: Annotated[int, Field(gt=0)] | None = None
    #: Pages (of 100 deals) that a kill costs at most; half of them are loaded together.
    checkpoint_pages: Annotated[int, Field(ge=1, le=1000)] = 100
    #: "all" properties of the portal, or just these besides the standard ones.
    properties: Literal["all"] | tuple[PropertyName, ...] = "all"
    #: When a scan is due that reads everything again (cron), or null: only the first one does.
    full_scan_schedule: Annotated[str | None, Field(validate_default=True)] = "H 0 * * H"
    #: How late HubSpot's search may be; each scan reads again what changed in the last so many s.
    search_lag_s: Annotated[int, Field(ge=0, le=86_400)] = 3_600
    #: Pipelines, owners, definitions and associations that were read less than so many seconds ago
    #: are not read again, unless a full scan was asked for.
    refresh_after_s: Annotated[int, Field(ge=0, le=604_800)] = 3_600
    #: Of the account's daily API quota: once all but the rest is used up, by whomever, scans wait.
    daily_quota_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    #: What is loaded besides deals.
    objects: Objects = Objects.model_validate({})
    #: Also show the rows as the tables that Fivetran's HubSpot connector writes, in a schema of
    #: their own.
    fivetran_views: bool = False
    #: Tries after the first, for errors that waiting can heal.
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    #: After so many seconds Airflow ends a task of the tenant; the next try goes on where it was.
    task_timeout_s: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    #: Airflow's pool that its tasks take their slots from.
    pool: Annotated[str, StringConstraints(pattern=POOL_PATTERN)] = DEFAULT_POOL
    #: Of two tasks that wait for a slot the one with the higher priority gets it.
    priority: Annotated[int, Field(ge=1, le=1000)] = 1
    #: After so many seconds in the queue and at work a scan is late, and that is an event.
    deadline_s: Annotated[int, Field(ge=1, le=2_592_000)] | None = None
    #: Who gets alerts when something goes wrong, and when it is over.
    alerts: AlertSettings = AlertSettings()
    #: Shown as the DAG's owner in the Airflow UI.
    owner: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "hubspot-deals"
    #: Where a click on the owner leads: mailto:… or https://…
    owner_link: Annotated[str, StringConstraints(max_length=500)] | None = None

    @validates("schedule", "full_scan_schedule")
    @classmethod
    def _is_plain_cron(cls, value: str | None, info: ValidationInfo) -> str | None:
        # without an id that is valid there is no tenant: then any one shows what is wrong here
        values: dict[str, Any] = info.data
        return None if value is None else plain_cron(value, values.get("id", ""))

    @validates("owner_link")
    @classmethod
    def _is_link(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(OWNER_LINK_PATTERN, value):
            raise ValueError(
                f"{value!r} is neither mailto:somebody@example.com nor https://example.com/page"
            )
        return value

    @validates("timezone")
    @classmethod
    def _is_time_zone(cls, value: str) -> str:
        # A look-up, not zoneinfo.available_timezones(): that one reads 600 files.
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
        """What is scanned, deals first."""
        deals = replace(
            STANDARD_OBJECTS["deals"],
            properties=self.properties,
            associations=self.objects.deal_associations or (),
            property_history=self.objects.deal_property_history or (),
        )
        return (deals, *self.objects.others)

    @property
    def first_scan_cost(self) -> str:
        """How many requests a first scan sends, for a person."""
        costs = (
            f"{crm_object.name} {crm_object.first_scan_requests}"
            + (f" (histories {crm_object.history_requests})" if crm_object.property_history else "")
            for crm_object in self.crm_objects
        )
        return (
            f"a first scan sends about this many requests for each {COSTED_RECORDS:,} records: "
            f"{', '.join(costs)}"
        )
