"""What the routes take and give, for validation and for OpenAPI.

Where a model is a row of the warehouse, its fields are also the columns that are selected.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from include.tenants.model import TENANT_ID_PATTERN

TenantId = Annotated[str, StringConstraints(pattern=TENANT_ID_PATTERN)]
SCAN_ID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
Mode = Literal["auto", "incremental", "full"]
ScanState = Literal[
    "queued",
    "validating",
    "extracting",
    "checking",
    "waiting",
    "succeeded",
    "failed",
    "cancelled",
]
TenantState = Literal["failing", "running", "late", "ok", "never"]
#: What lists of tenants can be sorted by; "-" before a name: the other way round.
TenantOrder = Literal[
    "id",
    "last_scan",
    "freshness",
    "deals_live",
    "quota",
    "next_run",
    "-id",
    "-last_scan",
    "-freshness",
    "-deals_live",
    "-quota",
    "-next_run",
]


class ScanBase(BaseModel):
    """What lists and details of scans have in common."""

    scan_id: str
    tenant: str
    dag_id: str
    run_id: str
    mode: str = Field(description="What was asked for; what was done: `objects`.")
    state: ScanState
    started_at: datetime = Field(description="Of a queued scan: when it was asked for.")
    finished_at: datetime | None
    seconds: float | None = Field(description="From `started_at` to `finished_at`.")
    deals_received: int
    deals_written: int
    requests: int
    throttled: int = Field(description="Requests that HubSpot answered with 429.")


class ScanSummary(ScanBase):
    """One scan in a line."""

    warnings: int
    error_type: str | None
    error: str | None = Field(description="The first sentence of why it failed, or waits.")


class ScanList(BaseModel):
    scans: list[ScanSummary]
    next_cursor: str | None = Field(description="null: this was the last page.")


class Quality(BaseModel):
    """How many checks ended so, in the last scan that was checked."""

    passed: int
    warned: int
    failed: int
    no_rows: int


class DailyQuota(BaseModel):
    """The account's daily API quota, as HubSpot stated it last: all its apps together."""

    used_today: int | None = Field(description="null: no scan has asked today.")
    daily_limit: int


class Quota(DailyQuota):
    """The account's daily API quota, as HubSpot stated it last: all its apps together."""

    share: float = Field(description="The tenant's `daily_quota_share`.")


class Incident(BaseModel):
    """What is wrong and not over yet."""

    kind: str
    since: datetime
    error_type: str | None


class TenantStatus(BaseModel):
    """What the warehouse knows of a tenant.

    ``last_ended_state``: of the newest scan that succeeded or failed. ``deals_live``,
    ``deals_archived``: as counted by the last successful scan that read everything.
    """

    portal_id: int | None = None
    last_scan: ScanSummary | None = None
    last_ended_state: ScanState | None = None
    last_success_at: datetime | None = None
    freshness_s: float | None = None
    deals_live: int | None = None
    deals_archived: int | None = None
    quality: Quality | None = None
    quota: DailyQuota | None = None
    incident: Incident | None = None


class Tenant(BaseModel):
    """One tenant, and where it stands."""

    id: str
    dag_id: str
    state: TenantState
    schedule: str | None
    timezone: str
    paused: bool
    next_run_at: datetime | None
    portal_id: int | None
    last_scan: ScanSummary | None
    running_scan_id: str | None
    last_success_at: datetime | None
    freshness_s: float | None = Field(
        description="Seconds since the last successful scan started: how old the deals are at most."
    )
    deals_live: int | None
    deals_archived: int | None
    quality: Quality | None
    quota: Quota | None
    incident: Incident | None


class TenantList(BaseModel):
    tenants: list[Tenant]
    next_cursor: str | None = Field(description="null: this was the last page.")
    total: int = Field(description="Of all pages.")
    states: dict[TenantState, int] = Field(
        description="How many of the tenants that match `search` are in each state."
    )
    incidents: int = Field(description="How many of these have an open incident.")


class HistoryEntry(BaseModel):
    """One scan of a chart."""

    scan_id: str
    started_at: datetime
    state: ScanState
    mode: str = Field(description="How deals were read.")
    deals_received: int
    deals_written: int
    seconds: float | None
    token_s: float | None = Field(description="Of `seconds`, as in a scan's `phases`.")
    read_s: float | None
    check_s: float | None
    deals_live: int | None = Field(description="In the warehouse; null: not counted.")
    quota_used: float | None = Field(description="Of the account's daily quota, 0 to 1.")


class TenantDetail(Tenant):
    history: list[HistoryEntry] = Field(description="The last 60 scans, the newest last.")


class Stage(BaseModel):
    """The live deals in one stage."""

    pipeline_id: str | None
    stage_id: str | None
    pipeline: str | None = Field(description="Its label.")
    stage: str | None = Field(description="Its label.")
    deals: int
    amount: float | None = Field(description="Sum of `amount_in_home_currency`.")
    currency: str | None = Field(description="The account's.")


class StageList(BaseModel):
    stages: list[Stage]


class ViewColumn(BaseModel):
    view: str
    name: str
    type: str = Field(description="As PostgreSQL calls it.")
    comment: str | None = Field(description="HubSpot's label and description of the property.")


class Watermark(BaseModel):
    object: str
    watermark: datetime | None


class ObjectSchema(Watermark):
    """``watermark``: the next scan reads what was modified since then; null: everything."""

    view: str
    columns: list[ViewColumn] = Field(description="Of the view of live records.")


class Drift(BaseModel):
    """What the last scan that noticed a change of HubSpot's properties noticed, by object."""

    drift: dict[str, dict[str, list[str]]]
    seen_at: datetime


class TenantSchema(BaseModel):
    schema_name: str
    objects: list[ObjectSchema]
    drift: Drift | None


class Progress(BaseModel):
    """Counted at checkpoints. null wherever nothing is known."""

    pages: int
    records_received: int
    expected: int | None
    fraction: float | None = Field(
        description="0 to 1, of the records. Below 1 until the scan has succeeded: associations and"
        " histories are read last. null: nothing is read yet, or the checks run."
    )
    records_per_s: float | None = Field(description="Over the last few checkpoints.")
    requests_per_s: float | None = Field(description="Since the extraction began.")
    time_left_s: float | None
    updated_at: datetime | None


class ScanObject(BaseModel):
    """What the scan did about one object."""

    object: str
    mode: str
    reason: str
    pages: int
    expected: int | None
    records_received: int
    records_archived: int
    duplicates_dropped: int
    rows_written: int
    restored: int
    merged: int
    vanished: int
    associations: int | None
    portal_live: int | None
    warehouse_live: int | None
    difference: int | None
    unexplained: int | None


class QualityResult(BaseModel):
    check: str
    status: str
    severity: str
    observed: float | None
    at_most: float
    why: str
    runbook: str | None = Field(None, description="With `warned` and `failed`: how to fix it.")
    records: int = Field(
        0, description="How many of the records concerned `/scans/{id}/checks/{check}` lists."
    )


class CheckedRecord(BaseModel):
    """A record that a check found. ``url``: of the record in HubSpot."""

    object: str
    record_id: int
    detail: str | None
    url: str | None


class CheckedRecordList(BaseModel):
    records: list[CheckedRecord]
    next_cursor: str | None = Field(description="null: this was the last page.")


class ScanError(BaseModel):
    """Why a scan failed, or waits."""

    type: str
    message: str
    remedy: str | None
    runbook: str | None = Field(description="The heading of the runbook, as an address.")


class ScanLinks(BaseModel):
    self: str
    deals: str
    cancel: str
    page: str
    airflow_run: str
    runbook: str | None


class Phases(BaseModel):
    """How long each phase of a scan took, in seconds; null: not begun, or not known.

    ``queued``: until the run's first task began. ``token``: `validate_token`, and the wait for
    `extract_deals`. ``read``, which includes loading: `extract_deals`. ``check``: `check_quality`.
    """

    queued: float | None
    token: float | None
    read: float | None
    check: float | None


class ScanDetail(ScanBase):
    """All that is known of a scan."""

    warnings: list[str]
    misfits: dict[str, int] = Field(
        description="How many values did not fit, by column: `close_date` of the table `deals`,"
        " `deals.my_number` of a view."
    )
    error_type: str | None
    window_start: datetime | None
    window_end: datetime | None
    tries: int | None = Field(
        description="Airflow's tries of the task that needed most; null: Airflow has no such run."
    )
    phases: Phases
    progress: Progress
    objects: list[ScanObject]
    quality: list[QualityResult]
    error: ScanError | None
    links: ScanLinks


class StartScan(BaseModel):
    """What to scan."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"tenant": "acme"},
                {"tenant": "acme", "mode": "full", "force": True},
                {"tenant": "acme", "window_start": "2026-01-01T00:00:00Z", "force": True},
            ]
        },
    )

    tenant: TenantId = Field(description="The tenant's id.")
    mode: Mode = Field("auto", description="What is due, what changed, or everything.")
    rewrite_rows: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="Write unchanged rows too. The scan is full.",
    )
    window_start: AwareDatetime | None = Field(
        None, description="Read only what was modified from then on. Not with `full`."
    )
    window_end: AwareDatetime | None = Field(
        None, description="Read only what was modified before; `null`: until now."
    )
    checkpoint_pages: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = Field(
        None, description="`null`: the tenant's setting."
    )
    force: Annotated[bool, Field(strict=True)] = Field(
        False, description="Queue it although a scan of the tenant is running or queued."
    )


class Started(BaseModel):
    scan_id: str
    run_id: str
    tenant: str
    state: Literal["queued"] = "queued"
    links: ScanLinks


class Retried(BaseModel):
    scan_id: str
    state: Literal["queued"] = "queued"


class Cancelled(BaseModel):
    scan_id: str
    state: Literal["cancelled"] = "cancelled"


class Deal(BaseModel):
    """A deal as the warehouse holds it. `properties` has every value as HubSpot sent it."""

    deal_id: int
    deal_name: str | None
    deal_type: str | None
    pipeline_id: str | None
    stage_id: str | None
    owner_id: str | None
    amount: float | None
    amount_in_home_currency: float | None
    currency: str | None
    probability: float | None
    forecast_category: str | None
    priority: str | None
    is_closed: bool | None
    is_won: bool | None
    close_date: datetime | None
    stage_entered_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    archived: bool
    archived_at: datetime | None
    vanished_at: datetime | None
    merged_into_deal_id: int | None
    url: str | None
    extracted_at: datetime
    properties: dict[str, str | None]


class DealList(BaseModel):
    deals: list[Deal]
    next_cursor: str | None = Field(description="null: this was the last page.")
