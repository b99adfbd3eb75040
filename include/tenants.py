"""Who the tenants are: `include/tenants.yaml` (or HUBSPOT_DEALS_TENANTS_FILE), validated once.

A bad entry never hides a good one: `load_tenants` returns both the tenants that can be used and
the problems found. Imported at parse time, so nothing heavy here.
"""

import difflib
import os
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from croniter import croniter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import field_validator as validates

from include.errors import TenantsFileError

DEFAULT_FILE = Path(__file__).with_name("tenants.yaml")
#: The tenant that HUBSPOT_ACCESS_TOKEN stands for.
ENVIRONMENT_TENANT_ID = "default"
#: Ids become part of DAG ids, connection ids and (environment) variable names: a strict slug.
TENANT_ID_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

PropertyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,100}$")]


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
    #: Pages (of 100 deals) that are loaded and committed together.
    checkpoint_pages: Annotated[int, Field(ge=1, le=1000)] = 100
    #: "all" properties of the portal, or just these besides the standard ones.
    properties: Literal["all"] | tuple[PropertyName, ...] = "all"
    #: Tries after the first, for errors that waiting can heal.
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    #: Shown as the DAG's owner in the Airflow UI.
    owner: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "hubspot-deals"

    @validates("schedule")
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
