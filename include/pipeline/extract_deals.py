"""The second task of a scan: bring the tenant's rows up to date with its portal."""

import gc
import logging
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, TypedDict

from include.errors import AccessDeniedError, ContractError
from include.hubspot.answers import Role, Team, User
from include.hubspot.client import HubSpotClient
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import SETTINGS_SCOPES
from include.hubspot.hook import HubSpotHook
from include.hubspot.json_repair import Repairs
from include.metrics import count
from include.pipeline.context import Progress, ScanContext
from include.pipeline.load.chunk_writer import OnCheckpoint
from include.pipeline.load.typed_columns import COLUMNS_BY_PROPERTY
from include.pipeline.scan_object import ObjectScanned, scan_object, scan_or_skip
from include.scan import Scan
from include.warehouse.checkpoints import (
    ScanObjects,
    begun_objects,
    forget_objects,
    require_same_object_types,
)
from include.warehouse.client_state import SharedLimits, SharedTokens
from include.warehouse.connection import Warehouse, open_warehouse
from include.warehouse.fencing import tenant_lease
from include.warehouse.reference_data import (
    add_unlisted_stages,
    require_same_portal,
    save_account,
    save_owners,
    save_pipelines,
    save_users,
)
from include.warehouse.scans import ScanLog
from include.warehouse.tenant_views.plan import tenant_schema
from include.warehouse.tenant_views.views import publish_views

if TYPE_CHECKING:
    from include.pipeline.load.dlt_loader import DltLoader

log = logging.getLogger(__name__)

DEFAULT_PORT = 5432
CLOCK_RESOLUTION = timedelta(seconds=3)
CLOCK_SKEW_WORTH_A_WARNING_S = 60


class Extracted(TypedDict):
    """The XCom value of `extract_deals`. Times are ISO 8601, or None."""

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
    on_checkpoint: OnCheckpoint | None = None,
) -> Extracted:
    """Load deals, related data, and the tenant's other objects.

    An unfinished extraction resumes from its last checkpoint; a finished one starts over. The
    tenant's lease is held throughout, so the tenant's runs read one after the other. The token's
    account is checked again before anything is written, because the token may have been replaced
    since `validate_token`.

    :param checkpoint_pages: a crash at any moment costs at most this many pages.
    :param on_checkpoint: called with each checkpoint after its commit; its errors are logged.
    """
    # First, so that an earlier try that is still running can no longer write, and loses its lease.
    scan_log = ScanLog(open_warehouse(scan.tenant.id), scan).next_attempt()
    with scan_log.warehouse.keeping_connections() as warehouse:
        return _extract(replace(scan_log, warehouse=warehouse), checkpoint_pages, on_checkpoint)


def _extract(
    scan_log: ScanLog, checkpoint_pages: int, on_checkpoint: OnCheckpoint | None
) -> Extracted:
    scan, warehouse, tenant = scan_log.scan, scan_log.warehouse, scan_log.scan.tenant
    with (
        scan_log.step("extracting"),
        tenant_lease(warehouse, tenant.id) as lease,
        ExitStack() as resources,
    ):
        # The objects of imported modules stay: exclude them from garbage collection, which would
        # take a twentieth of a scan's CPU to look at them.
        gc.freeze()
        resources.callback(gc.unfreeze)
        hook = HubSpotHook(tenant.connection_id)
        client = hook.get_conn(
            SharedLimits(warehouse),
            SharedTokens(warehouse),
            daily_quota_share=tenant.daily_quota_share,
        )
        resources.callback(_count_requests, scan, client)
        account = client.account()
        portal_id = account.portal_id
        require_same_portal(warehouse, scan, portal_id)
        require_same_object_types(warehouse, scan)

        @cache
        def loader() -> "DltLoader":
            # imported when the first records are there: see ChunkWriter
            from include.pipeline.load.dlt_loader import DltLoader

            gc.freeze()  # dlt's modules too
            return resources.enter_context(DltLoader(warehouse, tenant.id, lease))

        context = _start(scan_log, client, portal_id)
        save_account(warehouse, scan, account)
        deals, *others = tenant.crm_objects
        _read_reference_data(context, deals)
        scan_one = partial(
            scan_object,
            context,
            loader=loader,
            checkpoint_pages=checkpoint_pages,
            on_checkpoint=on_checkpoint,
        )
        scanned = scan_one(deals)
        read = [deals]
        for crm_object in others:
            if scan_or_skip(context, crm_object, scan_one):
                read.append(crm_object)
                if crm_object.has_pipelines:
                    _read_pipelines(context, crm_object)
        # This scan has not read the associations of other objects, or with other types. The next
        # scan that does must read all of them.
        context.freshness.forget_others(
            "associations:", (f"{one.name}:{to}" for one in read for to in one.associations)
        )
        if tenant.objects.deal_pipelines:
            add_unlisted_stages(warehouse, scan)
        # Objects that could not be read keep their views: their rows are still there.
        warnings = publish_views(
            warehouse,
            tenant.id,
            [crm_object.name for crm_object in tenant.crm_objects],
            COLUMNS_BY_PROPERTY,
            fivetran=tenant.crm_objects if tenant.fivetran_views else (),
        )
        context.warn(*warnings)
        scan_log.set(**context.columns(), extraction_finished_at=context.clock())
    report_lineage(hook, warehouse, tenant.id, portal_id)
    return _extracted(context, scanned, [crm_object.name for crm_object in read])


def _start(scan_log: ScanLog, client: HubSpotClient, portal_id: int) -> ScanContext:
    """Resume the unfinished extraction of an earlier try, or start one."""
    scan, warehouse = scan_log.scan, scan_log.warehouse
    clock = warehouse.clock()
    row = scan_log.begun()
    scan_log.number_extraction(begins=row is None)
    if row:
        log.info("tenant %s: resuming from the last checkpoint of an earlier try", scan.tenant.id)
        begun = begun_objects(warehouse, scan)
        for name in begun.keys() - {crm_object.name for crm_object in scan.tenant.crm_objects}:
            # its unfinished row would count as read once the scan succeeds
            del begun[name]
            ScanObjects(warehouse, scan, name).open(
                mode="skipped", reason="the tenants file no longer names it"
            )
        context = ScanContext(
            scan_log,
            client,
            clock,
            started_at=row["extraction_started_at"],
            hubspot_now=row["hubspot_started_at"],
            resumed=True,
            begun=begun,
            progress={name: Progress.of_row(begun[name]) for name in begun},
            requests_before=row["requests"],
            throttled_before=row["throttled"],
            misfits=Counter(row["misfits"]),
            repairs=Repairs(**row["repairs"]),
            warnings=row["warnings"],
            schema_drift=row["schema_drift"],
        )
    else:
        started_at = clock()
        context = ScanContext(
            scan_log, client, clock, started_at, _by_hubspots_clock(client, started_at)
        )
        forget_objects(warehouse, scan)
        # Before the first row is written, so that `require_same_portal` knows whose rows these are.
        scan_log.set(
            **context.counts(),
            portal_id=portal_id,
            extraction_started_at=started_at,
            hubspot_started_at=context.hubspot_now,
            extraction_finished_at=None,
        )
    ahead_s = (context.started_at - context.hubspot_now).total_seconds()
    if ahead_s > CLOCK_SKEW_WORTH_A_WARNING_S:
        context.warn(
            f"PostgreSQL's clock is {ahead_s:.0f} s ahead of HubSpot's. No changes are missed, but "
            "correct the clock of the database server."
        )
    return context


def _by_hubspots_clock(client: HubSpotClient, now: datetime) -> datetime:
    """Return the earlier of *now* and HubSpot's time: a later watermark would skip changes.

    HubSpot's time has whole seconds and is a response old, so smaller differences are ignored.
    """
    server_time = client.transport.server_time
    if server_time is None or now - server_time < CLOCK_RESOLUTION:
        return now
    return server_time


def _read_reference_data(context: ScanContext, deals: CrmObject) -> None:
    """Read what deals refer to by id: pipelines, stages, owners; and users, teams, roles."""
    wanted = context.tenant.objects
    if wanted.deal_pipelines:
        _read_pipelines(context, deals)
    if wanted.owners and not context.is_fresh("owners"):
        with context.optional("owners", "crm.objects.owners.read"):
            owners = [
                owner
                for archived in (False, True)
                for owner in context.client.owners(archived=archived)
            ]
            context.warn(*save_owners(context.warehouse, context.scan, owners))
            context.note_fresh("owners")
    for what, scopes in SETTINGS_SCOPES.items():
        if wanted.users and not context.is_fresh(what):
            with context.optional(what, " or ".join(scopes)):
                _read_users(context, what, scopes)


def _read_users(context: ScanContext, what: str, scopes: Collection[str]) -> None:
    """Read the settings API's list of users, teams or roles."""
    client, demanded = context.client, context.tenant.objects.users is True
    listed: list[User | Team | Role] | None = None
    if demanded or not client.scopes or not client.scopes.isdisjoint(scopes):
        try:
            # the client's methods have the names of the lists
            listed = list(getattr(client, what)())
        except AccessDeniedError:
            # a token that states a scope and is refused nevertheless lacks something else
            if demanded or client.scopes:
                raise
    if listed is None:
        lacking = " or ".join(scopes)
        log.info("tenant %s: %s skipped: the token lacks %s", context.tenant.id, what, lacking)
    elif what == "users" and not listed:
        context.warn(
            "HubSpot lists no users, although every account has one. The stored users were not "
            "changed."
        )
        return
    else:
        context.warn(*save_users(context.warehouse, context.scan, what, listed))
    context.note_fresh(what)


def _read_pipelines(context: ScanContext, crm_object: CrmObject) -> None:
    name, object_type = crm_object.name, crm_object.object_type
    if context.is_fresh(f"pipelines:{name}"):
        return
    with context.optional(f"pipelines and stages of {name}", crm_object.read_scope):
        try:
            # Ask twice: an empty list can be an error, and would mark all as not listed.
            pipelines = context.client.pipelines(object_type) or context.client.pipelines(
                object_type
            )
        except ContractError as exc:
            if name == "deals" or exc.status not in (400, 404):
                raise
            pipelines = []
        if pipelines:
            context.warn(*save_pipelines(context.warehouse, context.scan, name, pipelines))
        elif name == "deals":
            context.warn(
                "HubSpot lists no pipelines of deals, although every account has one. The stored "
                "pipelines were not changed."
            )
            return
        else:
            log.info("tenant %s: HubSpot lists no pipelines of %s", context.tenant.id, name)
        context.note_fresh(f"pipelines:{name}")


def _count_requests(scan: Scan, client: HubSpotClient) -> None:
    tags = {"tenant": scan.tenant.id, "mode": scan.mode}
    count("requests", client.transport.requests, **tags)
    count("requests_throttled", client.transport.throttled, **tags)


def _extracted(context: ScanContext, deals: ObjectScanned, names: list[str]) -> Extracted:
    start, end = deals.plan.window_start, deals.plan.window_end
    return {
        "scan_id": context.scan.id,
        "mode": deals.plan.mode,
        "reason": deals.plan.reason,
        "window_start": start.isoformat() if start else None,
        "window_end": end.isoformat() if end else None,
        "pages": deals.pages,
        "deals_extracted": deals.counts.received,
        "deals_loaded": deals.counts.held,
        "deals_live": deals.live,
        "deals_archived": deals.counts.archived,
        "deals_written": deals.counts.written,
        "objects": names,
        "warnings": len(context.warnings),
        "requests": context.requests,
        "throttled": context.throttled,
        "attempt": context.scan_log.attempt or 0,
        "went_on": context.resumed,
    }


def report_lineage(hook: HubSpotHook, warehouse: Warehouse, tenant_id: str, portal_id: int) -> None:
    """Report the account's deals as input, and the table and the tenant's view as outputs."""
    from airflow.sdk.lineage import get_hook_lineage_collector

    collector = get_hook_lineage_collector()
    collector.add_input_asset(hook, uri=f"hubspot://{portal_id}/deals")
    server = {
        "host": str(warehouse.parameters.get("host") or "localhost"),
        "port": int(warehouse.parameters.get("port") or DEFAULT_PORT),
        "database": str(warehouse.parameters.get("dbname") or "postgres"),
    }
    for schema in (warehouse.schema, tenant_schema(warehouse.schema, tenant_id)):
        collector.add_output_asset(
            hook, scheme="postgres", asset_kwargs={**server, "schema": schema, "table": "deals"}
        )
