"""The second task of a scan: bring the tenant's rows up to date with its portal."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict

from include.hubspot.client import HubSpotClient, Identity
from include.hubspot.hook import HubSpotHook
from include.metrics import count
from include.pipeline.context import Checkpoint, ScanContext, ScanTotals
from include.pipeline.load.typed_columns import COLUMNS_BY_PROPERTY
from include.pipeline.scan_object import ObjectScanned, scan_object, scan_optional_object
from include.scan import Scan
from include.warehouse.binding import require_same_portal
from include.warehouse.checkpoints import forget_objects
from include.warehouse.connection import Warehouse, open_warehouse
from include.warehouse.fencing import TenantLease, tenant_lease
from include.warehouse.oauth_tokens import SharedTokens
from include.warehouse.rate_limits import SharedLimits
from include.warehouse.reference_data import add_unlisted_stages, save_owners, save_pipelines
from include.warehouse.scans import Freshness, ScanLog
from include.warehouse.tenant_views.plan import tenant_schema
from include.warehouse.tenant_views.views import publish_views

log = logging.getLogger(__name__)

CLOCK_RESOLUTION = timedelta(seconds=3)
CLOCK_SKEW_WORTH_A_WARNING_S = 60


class Extracted(TypedDict):
    """What `extract_deals` hands on through XCom. Times are ISO 8601, or None."""

    scan_id: str
    mode: str
    reason: str
    window_start: str | None
    window_end: str | None
    pages: int
    deals_extracted: int
    deals_loaded: int
    deals_live: int | None
    deals_archived: int
    deals_written: int
    objects: list[str]
    warnings: int
    requests: int
    throttled: int
    attempt: int
    went_on: bool


def extract_deals(
    scan: Scan,
    checkpoint_pages: int,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
) -> Extracted:
    """Read deals, what lies around them, and the tenant's other objects.

    An extraction that was begun and did not end goes on from its last checkpoint; one that ended
    begins anew. The tenant's lock is held throughout: runs of any kind read one after the other.
    The token's account is checked again before anything is written, since the token may have been
    replaced since `validate_token`.

    :param checkpoint_pages: a kill at any moment costs so many pages at most.
    :param on_checkpoint: called with each checkpoint, once it is committed.
    """
    # First of all, so that a try whose supervisor died gives up, and with it the lock.
    scan_log = ScanLog(open_warehouse(scan.tenant.id), scan).next_attempt()
    with scan_log.warehouse.keeping_connections() as warehouse:
        return _extract(replace(scan_log, warehouse=warehouse), checkpoint_pages, on_checkpoint)


def _extract(
    scan_log: ScanLog,
    checkpoint_pages: int,
    on_checkpoint: Callable[[Checkpoint], None] | None,
) -> Extracted:
    scan, warehouse, tenant = scan_log.scan, scan_log.warehouse, scan_log.scan.tenant
    with (
        scan_log.step("extracting"),
        tenant_lease(warehouse, tenant.id) as lock,
        ExitStack() as resources,
    ):
        hook = HubSpotHook(tenant.connection_id)
        client = hook.get_conn(
            resources.enter_context(closing(SharedLimits(warehouse, tenant.id))),
            SharedTokens(warehouse, tenant.id),
            daily_quota_share=tenant.daily_quota_share,
        )
        resources.callback(_count_requests, scan, client)
        identity = Identity(client)
        require_same_portal(warehouse, scan, identity.account.portal_id)
        extraction = _start(scan_log, client, identity, lock, resources, checkpoint_pages)
        extraction.on_checkpoint = on_checkpoint
        _read_surroundings(extraction)
        deals, *others = tenant.crm_objects
        scanned = scan_object(extraction, deals)
        names = [deals.name, *(o.name for o in others if scan_optional_object(extraction, o))]
        if tenant.objects.deal_pipelines:
            add_unlisted_stages(warehouse, scan)
        # Also those that could not be read now: their rows are still there.
        _publish(extraction, [crm_object.name for crm_object in tenant.crm_objects])
        scan_log.set(**extraction.progress_columns(), extraction_finished_at=extraction.clock())
    report_lineage(hook, warehouse, tenant.id, identity.account.portal_id)
    return _handed_on(extraction, scanned, names)


def _start(
    scan_log: ScanLog,
    client: HubSpotClient,
    identity: Identity,
    lock: TenantLease,
    resources: ExitStack,
    checkpoint_pages: int,
) -> ScanContext:
    scan, warehouse = scan_log.scan, scan_log.warehouse
    clock = warehouse.clock(scan.tenant.id)
    begun = scan_log.begun()
    scan_log.number_extraction(begins=begun is None)
    if begun:
        started_at, hubspot_now = begun["extraction_started_at"], begun["hubspot_started_at"]
        totals = ScanTotals.of_row(begun)
        log.info("tenant %s: going on from the checkpoint of an earlier try", scan.tenant.id)
    else:
        started_at, totals = clock(), ScanTotals()
        hubspot_now = _by_hubspots_clock(client, started_at)
        forget_objects(warehouse, scan)
        # From here on rows are written, so from here on the tenant's rows are this account's.
        scan_log.set(
            **totals.columns(0, 0),
            portal_id=identity.account.portal_id,
            extraction_started_at=started_at,
            hubspot_started_at=hubspot_now,
            extraction_finished_at=None,
        )
    extraction = ScanContext(
        scan=scan,
        warehouse=warehouse,
        client=client,
        identity=identity,
        lock=lock,
        resources=resources,
        scan_log=scan_log,
        freshness=Freshness(warehouse, scan.tenant.id),
        clock=clock,
        started_at=started_at,
        hubspot_now=hubspot_now,
        checkpoint_pages=checkpoint_pages,
        goes_on=begun is not None,
        totals=totals,
    )
    ahead_s = (started_at - hubspot_now).total_seconds()
    if ahead_s > CLOCK_SKEW_WORTH_A_WARNING_S:
        extraction.warn(
            f"PostgreSQL's clock is {ahead_s:.0f} s ahead of HubSpot's. Nothing is lost by it; "
            "set the clock of the database server."
        )
    return extraction


def _by_hubspots_clock(client: HubSpotClient, now: datetime) -> datetime:
    """Return the earlier of two clocks: with ours ahead, the watermark would skip changes.

    HubSpot states whole seconds: less than that, and the answer's way to us, is no difference.
    """
    server_time = client.server_time
    if server_time is None or now - server_time < CLOCK_RESOLUTION:
        return now
    return server_time


def _read_surroundings(extraction: ScanContext) -> None:
    """Read what deals point to by id: pipelines, stages, owners."""
    wanted = extraction.tenant.objects
    if wanted.deal_pipelines and not extraction.is_fresh("pipelines:deals"):
        with extraction.optional("pipelines and stages of deals", "crm.objects.deals.read"):
            _read_pipelines(extraction)
    if wanted.owners and not extraction.is_fresh("owners"):
        with extraction.optional("owners", "crm.objects.owners.read"):
            owners = [
                owner
                for archived in (False, True)
                for owner in extraction.client.owners(archived=archived)
            ]
            for warning in save_owners(extraction.warehouse, extraction.scan, owners):
                extraction.warn(warning)
            extraction.freshness.note("owners")


def _read_pipelines(extraction: ScanContext) -> None:
    # asked twice: every account has a pipeline, and to believe an empty list unlists all of them
    pipelines = extraction.client.pipelines("deals") or extraction.client.pipelines("deals")
    if pipelines:
        for warning in save_pipelines(extraction.warehouse, extraction.scan, pipelines):
            extraction.warn(warning)
        extraction.freshness.note("pipelines:deals")
    else:
        extraction.warn(
            "HubSpot lists no pipeline of deals, and every account has one; those that are known "
            "stay as they are"
        )


def _count_requests(scan: Scan, client: HubSpotClient) -> None:
    tags = {"tenant": scan.tenant.id, "mode": scan.mode}
    count("requests", client.requests, **tags)
    count("requests_throttled", client.throttled, **tags)


def _publish(extraction: ScanContext, object_names: list[str]) -> None:
    for warning in publish_views(
        extraction.warehouse, extraction.tenant.id, object_names, COLUMNS_BY_PROPERTY
    ):
        extraction.warn(warning)


def _handed_on(extraction: ScanContext, deals: ObjectScanned, names: list[str]) -> Extracted:
    start, end = deals.plan.window_start, deals.plan.window_end
    return {
        "scan_id": extraction.scan.id,
        "mode": deals.plan.mode,
        "reason": deals.plan.reason,
        "window_start": start.isoformat() if start else None,
        "window_end": end.isoformat() if end else None,
        "pages": deals.pages,
        "deals_extracted": deals.received,
        "deals_loaded": deals.held,
        "deals_live": deals.live,
        "deals_archived": deals.archived,
        "deals_written": deals.written,
        "objects": names,
        "warnings": len(extraction.totals.warnings),
        "requests": extraction.totals.requests + extraction.client.requests,
        "throttled": extraction.totals.throttled + extraction.client.throttled,
        "attempt": extraction.scan_log.attempt or 0,
        "went_on": extraction.goes_on,
    }


DEFAULT_PORT = "5432"


def report_lineage(hook: HubSpotHook, warehouse: Warehouse, tenant_id: str, portal_id: int) -> None:
    """Say that the account's deals became rows of `deals`, which the tenant's view shows."""
    from airflow.sdk import plugins_manager
    from airflow.sdk.lineage import get_hook_lineage_collector

    if not plugins_manager.get_hook_lineage_readers_plugins():
        return
    collector = get_hook_lineage_collector()
    collector.add_input_asset(hook, uri=f"hubspot://{portal_id}/deals")
    for schema, table in (
        (warehouse.schema, "deals"),
        (tenant_schema(warehouse.schema, tenant_id), "deals"),
    ):
        collector.add_output_asset(
            hook,
            scheme="postgres",
            asset_kwargs={
                "host": _of(warehouse, "host", "localhost"),
                "port": int(_of(warehouse, "port", DEFAULT_PORT)),
                "database": _of(warehouse, "dbname", "postgres"),
                "schema": schema,
                "table": table,
            },
        )


def _of(warehouse: Warehouse, parameter: str, default: str) -> str:
    return str(warehouse.parameters.get(parameter) or default)
