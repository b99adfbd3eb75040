"""One HubSpot account and how it is scanned: an entry of the tenants file."""

import re
import zoneinfo
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo
from pydantic import field_validator as validates

from include.objects import STANDARD_OBJECTS, CrmObject
from include.tenants.alerts import AlertSettings
from include.tenants.objects import Objects, PropertyName
from include.tenants.schedule import plain_cron

#: Ids become part of DAG ids, connection ids and (environment) variable names: a strict slug.
TENANT_ID_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

DAG_ID_PREFIX = "hubspot_deals__"
#: Airflow's pool that is always there, and the names that other pools may have.
DEFAULT_POOL = "default_pool"
POOL_PATTERN = r"^[A-Za-z0-9_.-]{1,100}$"

#: An address or a page: nothing else may become a link in Airflow's UI.
OWNER_LINK_PATTERN = r"mailto:[^\s@/]+@[^\s@/]+|https://[^\s/@]+(/\S*)?"


class Tenant(BaseModel):
    """One HubSpot account and how it is scanned. Every key but `id` has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    #: Who is told when something goes wrong, and when it is over.
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
