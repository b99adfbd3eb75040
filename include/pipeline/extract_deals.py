"""The second task of a scan: bring the tenant's rows up to date with its portal."""

import logging
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack, closing
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
from include.pipeline.scan_object import ObjectScanned, is_scanned, scan_object
from include.scan import Scan
from include.warehouse.checkpoints import begun_objects, forget_objects
from include.warehouse.connection import Warehouse, open_warehouse
from include.warehouse.fencing import tenant_lease
from include.warehouse.oauth_tokens import SharedTokens
from include.warehouse.rate_limits import SharedLimits
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
    on_checkpoint: OnCheckpoint | None = None,
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
    scan_log: ScanLog, checkpoint_pages: int, on_checkpoint: OnCheckpoint | None
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
        account = client.account()
        portal_id = account.portal_id
        require_same_portal(warehouse, scan, portal_id)

        @cache
        def loader() -> "DltLoader":
            # not before it is needed: see ChunkWriter
            from include.pipeline.load.dlt_loader import DltLoader

            return resources.enter_context(DltLoader(warehouse, tenant.id, lock))

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
        names = [deals.name]
        for crm_object in others:
            if is_scanned(context, crm_object, scan_one):
                names.append(crm_object.name)
                if crm_object.has_pipelines:
                    _read_pipelines(context, crm_object)
        if tenant.objects.deal_pipelines:
            add_unlisted_stages(warehouse, scan)
        # Also those that could not be read now: their rows are still there.
        every = tenant.crm_objects
        for warning in publish_views(
            warehouse,
            tenant.id,
            [crm_object.name for crm_object in every],
            COLUMNS_BY_PROPERTY,
            fivetran=every if tenant.fivetran_views else (),
        ):
            context.warn(warning)
        scan_log.set(**context.columns(), extraction_finished_at=context.clock())
    report_lineage(hook, warehouse, tenant.id, portal_id)
    return _extracted(context, scanned, names)


def _start(scan_log: ScanLog, client: HubSpotClient, portal_id: int) -> ScanContext:
    """Take up the extraction that an earlier try began and did not end, or begin anew."""
    scan, warehouse = scan_log.scan, scan_log.warehouse
    clock = warehouse.clock(scan.tenant.id)
    row = scan_log.begun()
    scan_log.number_extraction(begins=row is None)
    if row:
        log.info("tenant %s: going on from the checkpoint of an earlier try", scan.tenant.id)
        begun = begun_objects(warehouse, scan)
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
        # From here on rows are written, so from here on the tenant's rows are this account's.
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
            f"PostgreSQL's clock is {ahead_s:.0f} s ahead of HubSpot's. Nothing is lost by it; "
            "set the clock of the database server."
        )
    return context


def _by_hubspots_clock(client: HubSpotClient, now: datetime) -> datetime:
    """Return the earlier of two clocks: with ours ahead, the watermark would skip changes.

    HubSpot states whole seconds: less than that, and the answer's way to us, is no difference.
    """
    server_time = client.transport.server_time
    if server_time is None or now - server_time < CLOCK_RESOLUTION:
        return now
    return server_time


def _read_reference_data(context: ScanContext, deals: CrmObject) -> None:
    """Read what deals point to by id: pipelines, stages, owners; and users, teams, roles."""
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
            for warning in save_owners(context.warehouse, context.scan, owners):
                context.warn(warning)
            context.freshness.note("owners")
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
            # the client's methods are called like the lists
            listed = list(getattr(client, what)())
        except AccessDeniedError:
            if demanded:
                raise
    if listed is None:
        log.info("tenant %s: %s are not read: the token may not", context.tenant.id, what)
    elif what == "users" and not listed:
        context.warn(
            "HubSpot lists no user, and every account has one; those known stay as they are"
        )
        return
    else:
        for warning in save_users(context.warehouse, context.scan, what, listed):
            context.warn(warning)
    context.freshness.note(what)


def _read_pipelines(context: ScanContext, crm_object: CrmObject) -> None:
    name, object_type = crm_object.name, crm_object.object_type
    if context.is_fresh(f"pipelines:{name}"):
        return
    with context.optional(f"pipelines and stages of {name}", crm_object.read_scope):
        try:
            # Asked twice: an empty list can be a mistake, and would mark all as not listed.
            pipelines = context.client.pipelines(object_type) or context.client.pipelines(
                object_type
            )
        except ContractError as exc:
            if name == "deals" or exc.status not in (400, 404):
                raise
            pipelines = []
        if pipelines:
            for warning in save_pipelines(context.warehouse, context.scan, name, pipelines):
                context.warn(warning)
        elif name == "deals":
            context.warn(
                "HubSpot lists no pipeline of deals, and every account has one; those that are "
                "known stay as they are"
            )
            return
        else:
            log.info("tenant %s: HubSpot lists no pipeline of %s", context.tenant.id, name)
        context.freshness.note(f"pipelines:{name}")


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
        "deals_extracted": deals.received,
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
    """Say that the account's deals became rows of `deals`, which the tenant's view shows."""
    from airflow.sdk import plugins_manager
    from airflow.sdk.lineage import get_hook_lineage_collector

    if not plugins_manager.get_hook_lineage_readers_plugins():
        return
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
