"""Models of requests and responses, for validation and for OpenAPI.

The fields of a model that is a row of the warehouse are also the columns that are selected.
"""

from collections.abc import Collection
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
TaskId = Literal["validate_token", "extract_deals", "check_quality"]
TenantState = Literal["failing", "running", "late", "ok", "never"]
NextCursor = Annotated[str | None, Field(description="null on the last page.")]
#: Sort orders of tenants; "-" is descending.
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
    """Fields of scans in lists and in details."""

    scan_id: str
    tenant: str
    dag_id: str
    run_id: str
    mode: str = Field(description="The requested mode; `objects` has the mode of each object.")
    state: ScanState
    started_at: datetime = Field(description="For a queued scan: when it was requested.")
    finished_at: datetime | None
    seconds: float | None = Field(description="From `started_at` to `finished_at`.")
    deals_received: int
    deals_written: int
    requests: int
    throttled: int = Field(description="Requests that HubSpot answered with 429.")


class ScanSummary(ScanBase):
    """A scan in a list."""

    warnings: int
    error_type: str | None
    error: str | None = Field(description="Why it failed or waits; the first sentence.")


class ScanList(BaseModel):
    scans: list[ScanSummary]
    next_cursor: NextCursor


class Quality(BaseModel):
    """Numbers of quality checks by status, in the last scan that was checked (``scan_id``)."""

    scan_id: str
    passed: int
    warned: int
    failed: int
    no_rows: int


class DailyQuota(BaseModel):
    """`Quota`, as far as the warehouse knows it."""

    used_today: int | None = Field(description="null: no scan has sent requests today.")
    daily_limit: int


class Quota(DailyQuota):
    """The account's daily API quota for all its apps, as HubSpot last reported it."""

    share: float = Field(description="The tenant's `daily_quota_share`.")


class Incident(BaseModel):
    """An open incident."""

    kind: str
    since: datetime
    error_type: str | None
    scan_id: str | None = Field(description="Its newest scan; null: no scan was recorded.")


class TenantStatus(BaseModel):
    """A tenant's fields that come from the warehouse.

    ``last_ended_state``: of the newest scan that succeeded or failed. ``deals_live``,
    ``deals_archived``: of the last successful scan but windows. ``is_late``: an incident
    `deadline` is open.
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
    is_late: bool = False


class Tenant(BaseModel):
    """A tenant and its state."""

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
    running_state: ScanState | None = Field(description="Of `running_scan_id`.")
    last_success_at: datetime | None
    freshness_s: float | None = Field(
        description="Maximum age of the deals: seconds since the last successful scan without a"
        " window first started."
    )
    deals_live: int | None
    deals_archived: int | None
    quality: Quality | None
    quota: Quota | None
    incident: Incident | None


class TenantList(BaseModel):
    tenants: list[Tenant]
    next_cursor: NextCursor
    total: int = Field(description="On all pages.")
    states: dict[TenantState, int] = Field(
        description="Number of tenants in each state, of those that match `search`."
    )
    incidents: int = Field(
        description="Number of these tenants with an open incident that is not a warning."
    )
    problems: int = Field(
        description="Number of invalid entries of the tenants file whose tenants you may see."
    )


class HistoryEntry(BaseModel):
    """A scan in a tenant's history."""

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
    quota_used: float | None = Field(description="Used part of the daily quota, 0 to 1.")
    freshness_s: float | None = Field(
        description="Maximum age of the deals when the scan started; null: no successful scan"
        " before it in `history`."
    )


class TenantDetail(Tenant):
    history: list[HistoryEntry] = Field(description="The last 60 scans, the newest last.")


class Stage(BaseModel):
    """A stage and its live deals."""

    pipeline_id: str | None
    stage_id: str | None
    pipeline: str | None = Field(description="Label of the pipeline.")
    stage: str | None = Field(description="Label of the stage.")
    deals: int
    amount: float | None = Field(description="Sum of `amount_in_home_currency`.")
    currency: str | None = Field(description="Currency of the account.")


class StageList(BaseModel):
    stages: list[Stage]


class ViewColumn(BaseModel):
    view: str
    name: str
    type: str = Field(description="PostgreSQL's name of the type.")
    comment: str | None = Field(description="HubSpot's label and description of the property.")


class ObjectSchema(BaseModel):
    """``watermark``: the next scan reads records modified since then; null: all records."""

    object: str
    watermark: datetime | None
    view: str
    columns: list[ViewColumn] = Field(description="Columns of the view of live records.")


class Drift(BaseModel):
    """Changes of HubSpot's properties by object, from the last scan that found any."""

    drift: dict[str, dict[str, list[str]]]
    seen_at: datetime


class TenantSchema(BaseModel):
    schema_name: str
    objects: list[ObjectSchema]
    drift: Drift | None


#: The highest fraction until the scan succeeds: associations and histories are read after records.
ALL_READ = 0.99


class Progress(BaseModel):
    """Counted at checkpoints. Unknown values are null."""

    pages: int
    records_received: int
    expected: int | None
    fraction: float | None = Field(
        description="Part of the records, 0 to 1. Below 1 until the scan has succeeded, because"
        " associations and histories are read last. null before the first record and during the"
        " quality checks."
    )
    records_per_s: float | None = Field(description="Median of the last few checkpoints.")
    requests_per_s: float | None = Field(description="Since the extraction began.")
    time_left_s: float | None
    updated_at: datetime | None

    @classmethod
    def of(cls, scan: "ScanRow", wanted: Collection[str] | None) -> "Progress":
        """Return a scan's progress.

        :param wanted: the tenant's objects; the total is unknown until each of them has been
            counted. None: only the objects that were begun.
        """
        received = sum(part.records_received for part in scan.objects)
        expected = scan.expected(wanted)
        fraction, time_left_s = None, None
        if expected is not None:
            # the portal may have got more records since the count
            expected = max(expected, received)
        if scan.state == "succeeded":
            fraction = 1.0
        elif expected and received and scan.state != "checking":
            fraction = min(ALL_READ, received / expected)
            if scan.state == "extracting" and fraction < ALL_READ and scan.records_per_s:
                time_left_s = (expected - received) / scan.records_per_s
        return cls(
            pages=scan.pages,
            records_received=received,
            expected=expected,
            fraction=fraction,
            records_per_s=scan.records_per_s,
            requests_per_s=_rate(
                scan.requests, seconds_between(scan.extraction_started_at, scan.figures_at)
            ),
            time_left_s=time_left_s,
            updated_at=scan.figures_at,
        )


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - start).total_seconds()) if start and end else None


def _rate(count: int, took_s: float | None) -> float | None:
    return count / took_s if took_s else None


class ScanObject(BaseModel):
    """A scan's results for one object."""

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
        0, description="Number of records that `/scans/{id}/checks/{check}` lists."
    )


class CheckedRecord(BaseModel):
    """A record that a quality check found. ``url``: the record in HubSpot."""

    object: str
    record_id: int
    detail: str | None
    url: str | None


class CheckedRecordList(BaseModel):
    records: list[CheckedRecord]
    next_cursor: NextCursor


class ScanError(BaseModel):
    """Why a scan failed or waits."""

    type: str
    message: str
    remedy: str | None
    runbook: str | None = Field(description="Address of the runbook's heading.")


class ScanLinks(BaseModel):
    self: str
    deals: str
    cancel: str
    page: str
    airflow_run: str
    runbook: str | None


class Phases(BaseModel):
    """Durations of a scan's phases in seconds; null: not begun or unknown.

    ``queued``: until the run's first task began. ``token``: `validate_token` and the wait for
    `extract_deals`. ``read``: `extract_deals`, including loading. ``check``: `check_quality`.
    """

    queued: float | None
    token: float | None
    read: float | None
    check: float | None


class ScanRow(ScanBase):
    """A scan in the warehouse. The defaults are those of a queued scan.

    ``token_s``, ``read_s``, ``check_s``: as in `Phases`.
    """

    warnings: list[str] = Field(default_factory=list)
    misfits: dict[str, int] = Field(default_factory=dict)
    error_type: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    pages: int = 0
    error: str | None = None
    remedy: str | None = None
    extraction_started_at: datetime | None = None
    extraction_finished_at: datetime | None = None
    figures_at: datetime | None = None
    records_per_s: float | None = None
    token_s: float | None = None
    read_s: float | None = None
    check_s: float | None = None
    objects: list[ScanObject] = Field(default_factory=list)
    quality: list[QualityResult] = Field(default_factory=list)

    def expected(self, wanted: Collection[str] | None) -> int | None:
        """Return the number of expected records, None unless it is known for each object."""
        counts = [part.expected for part in self.objects if part.mode != "skipped"]
        known = [count for count in counts if count is not None]
        missing = set(wanted or ()) - {part.object for part in self.objects}
        return sum(known) if counts and len(known) == len(counts) and not missing else None


class ScanDetail(ScanBase):
    """A scan with all details."""

    warnings: list[str]
    misfits: dict[str, int] = Field(
        description="Number of values that did not fit their column, by column: `close_date` of"
        " the table `deals`, `deals.my_number` of a view."
    )
    error_type: str | None
    window_start: datetime | None
    window_end: datetime | None
    tries: int | None = Field(
        description="Tries of the task with the most tries; null: Airflow has no such run."
    )
    task: TaskId = Field(description="The task that it is in, or that ended it.")
    will_retry: bool = Field(
        description="The last try has failed, and Airflow has not ended the run."
    )
    phases: Phases
    progress: Progress
    objects: list[ScanObject]
    quality: list[QualityResult]
    error: ScanError | None
    links: ScanLinks


class StartScan(BaseModel):
    """A request to start a scan."""

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
    mode: Mode = Field(
        "auto", description="`incremental`: changes; `full`: everything; `auto`: what is due."
    )
    rewrite_rows: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="Write unchanged rows too. The scan is full.",
    )
    window_start: AwareDatetime | None = Field(
        None, description="Read records modified at this time or later. Not with `full`."
    )
    window_end: AwareDatetime | None = Field(
        None, description="Read records modified before this time; `null`: now."
    )
    checkpoint_pages: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = Field(
        None, description="`null`: the tenant's setting."
    )
    force: Annotated[bool, Field(strict=True)] = Field(
        False, description="Queue it even if a scan of the tenant is running or queued."
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
    """A deal in the warehouse. `properties` has all values exactly as HubSpot sent them."""

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
    next_cursor: NextCursor
