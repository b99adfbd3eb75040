"""Who the tenants are: `include/tenants.yaml` (or HUBSPOT_DEALS_TENANTS_FILE), validated once.

A bad entry never hides a good one: `load_tenants` returns both the tenants that can be used and
the problems found. Imported at parse time, so nothing heavy here.
"""

import difflib
import os
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from croniter import croniter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import field_validator as validates
from pydantic import model_validator as validates_whole

from include.errors import TenantsFileError
from include.objects import STANDARD_OBJECTS, CrmObject

DEFAULT_FILE = Path(__file__).with_name("tenants.yaml")
#: The tenant that HUBSPOT_ACCESS_TOKEN stands for.
ENVIRONMENT_TENANT_ID = "default"
#: Ids become part of DAG ids, connection ids and (environment) variable names: a strict slug.
TENANT_ID_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

#: Names of objects become names of views.
OBJECT_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

PropertyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,100}$")]
#: HubSpot's name of an object type, its id (2-1234567) or its full name (p1234567_machine).
ObjectType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9_-]{0,99}$")]


class OtherObject(BaseModel):
    """Another CRM object than deals that a tenant wants: contacts, a custom object …"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: HubSpot's id or full name of the type; the standard objects need none.
    object_type: ObjectType | None = None
    properties: Literal["all"] | tuple[PropertyName, ...] = "all"
    associations: tuple[ObjectType, ...] = ()
    property_history: tuple[PropertyName, ...] = ()


class Objects(BaseModel):
    """What is loaded besides deals. false, or an empty list, switches a part off."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, OtherObject]

    #: Pipelines and their stages.
    deal_pipelines: bool = True
    owners: bool = True
    #: The definitions of properties, of deals and of every other object that is loaded.
    deal_properties: bool = True
    deal_associations: Literal[False] | tuple[ObjectType, ...] = (
        "companies",
        "contacts",
        "line_items",
        "tickets",
    )
    deal_property_history: Literal[False] | tuple[PropertyName, ...] = ("dealstage", "amount")

    @validates_whole(mode="before")
    @classmethod
    def _empty_entries_are_objects(cls, entries: Any) -> Any:
        # `contacts:` and `contacts: true` say all that is needed
        if not isinstance(entries, dict):
            return entries
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
            if entry.object_type is None and name not in STANDARD_OBJECTS:
                known = [*type(self).model_fields, *STANDARD_OBJECTS]
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "a custom one needs 'object_type'"
                raise ValueError(f"unknown object {name!r} ({hint})")
        return self

    @property
    def others(self) -> tuple[CrmObject, ...]:
        return tuple(
            _crm_object(name, entry) for name, entry in sorted(self.__pydantic_extra__.items())
        )


def _crm_object(name: str, entry: OtherObject) -> CrmObject:
    object_type = entry.object_type or name
    known = STANDARD_OBJECTS.get(object_type, CrmObject(name, object_type))
    return replace(
        known,
        name=name,
        properties=entry.properties,
        associations=entry.associations,
        property_history=entry.property_history,
    )


class Tenant(BaseModel):
    """One HubSpot account and how it is scanned. Every key but `id` has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, StringConstraints(pattern=TENANT_ID_PATTERN)]
    #: Cron expression, or null for "only when triggered".
    schedule: str | None = "0 3 * * *"
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
    full_scan_schedule: str | None = "0 0 * * 0"
    #: How late HubSpot's search may be; each scan reads again what changed in the last so many s.
    search_lag_s: Annotated[int, Field(ge=0, le=86_400)] = 3_600
    #: Pipelines, owners, definitions and associations that were read less than so many seconds ago
    #: are not read again, unless a full scan was asked for.
    refresh_after_s: Annotated[int, Field(ge=0, le=604_800)] = 3_600
    #: Of the account's daily API quota: once all but the rest is used up, by whomever, scans wait.
    daily_quota_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    #: What is loaded besides deals.
    objects: Objects = Objects.model_validate({})
    #: Tries after the first, for errors that waiting can heal.
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    #: Shown as the DAG's owner in the Airflow UI.
    owner: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "hubspot-deals"

    @validates("schedule", "full_scan_schedule")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None and not croniter.is_valid(value):
            raise ValueError(f"{value!r} is not a cron expression such as '0 3 * * *'")
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
        return f"hubspot_deals__{self.id}"

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


@dataclass(frozen=True)
class Tenants:
    """What a tenants file holds: the usable tenants, and what is wrong with the others."""

    enabled: tuple[Tenant, ...]
    problems: tuple[TenantsFileError, ...]


def load_tenants(environ: Mapping[str, str] = os.environ) -> Tenants:
    """Read the tenants file that *environ* points to.

    Raises TenantsFileError when the file as a whole can't be used; entries that can't are
    returned as `problems`.
    """
    path = Path(environ.get("HUBSPOT_DEALS_TENANTS_FILE") or DEFAULT_FILE)
    tenants: dict[str, Tenant] = {}
    problems: list[TenantsFileError] = []
    for position, entry in enumerate(_entries(path), start=1):
        try:
            tenant = _tenant(path, position, entry)
            if tenant.id in tenants:
                raise TenantsFileError(
                    f"{path}: tenant {tenant.id!r} is listed twice; the second entry is ignored.",
                    remedy="Remove one of the two.",
                )
        except TenantsFileError as problem:
            problems.append(problem)
        else:
            tenants[tenant.id] = tenant
    if environ.get("HUBSPOT_ACCESS_TOKEN") and ENVIRONMENT_TENANT_ID not in tenants:
        tenants[ENVIRONMENT_TENANT_ID] = Tenant(id=ENVIRONMENT_TENANT_ID)
    return Tenants(tuple(t for t in tenants.values() if t.enabled), tuple(problems))


def _entries(path: Path) -> list[Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except OSError as exc:
        raise TenantsFileError(
            f"{path}: can't be read ({exc.strerror}).",
            remedy="Check HUBSPOT_DEALS_TENANTS_FILE and the file's permissions.",
        ) from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise TenantsFileError(
            f"{path}: is not valid YAML{where}: {getattr(exc, 'problem', None) or exc}.",
            remedy="Correct the file; no DAG starts a new run until then.",
        ) from exc
    if isinstance(document, dict) and set(document) == {"tenants"}:
        document = document["tenants"]
    if not isinstance(document, list | None):
        raise TenantsFileError(
            f"{path}: expected a list of tenants under the key 'tenants'.",
            remedy="The smallest file is:  tenants: [{id: acme}]",
        )
    return document or []


def _tenant(path: Path, position: int, entry: object) -> Tenant:
    name = entry.get("id") if isinstance(entry, dict) else None
    label = f"tenant {name!r}" if name else f"entry {position}"
    if not isinstance(entry, dict):
        raise TenantsFileError(
            f"{path}: {label}: expected keys such as 'id: acme', found {entry!r}.",
            remedy="The smallest entry is `- id: acme`.",
        )
    try:
        return Tenant.model_validate(entry)
    except ValidationError as exc:
        problems = "; ".join(dict.fromkeys(_problem(error) for error in exc.errors()))
        raise TenantsFileError(
            f"{path}: {label}: {problems}.",
            remedy="Its DAG is not generated until this is corrected; the others are.",
        ) from exc


def _problem(error: Any) -> str:
    if error["loc"][0] == "objects":
        return _problem_of_objects(error)
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, Tenant.model_fields, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"unknown key {key!r}{hint}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    if key == "id":
        return f"id {error['input']!r} must match {TENANT_ID_PATTERN}"
    if key == "properties":
        return "key 'properties': expected 'all' or a list of HubSpot's internal property names"
    return f"key {key!r}: {error['msg'].removeprefix('Value error, ')}"


def _problem_of_objects(error: Any) -> str:
    # pydantic names the branch of a union it tried: "tuple[…]", "literal[…]"
    path = ".".join(str(part) for part in error["loc"] if "[" not in str(part))
    if error["type"] == "extra_forbidden":
        keys = ", ".join(OtherObject.model_fields)
        return f"unknown key {path!r} (possible: {keys})"
    return f"key {path!r}: {error['msg'].removeprefix('Value error, ')}"
