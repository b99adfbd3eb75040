"""One object's part of a scan: plan, read, reconcile, and read associations and histories."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.errors import AccessDeniedError, ContractError
from include.hubspot import search
from include.hubspot.client import requests_a_page
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import SEARCH_PAGE_SIZE
from include.metrics import count
from include.pipeline.associations import read_associations
from include.pipeline.context import Progress, ScanContext, reason_of
from include.pipeline.history import read_histories
from include.pipeline.load.chunk_writer import ChunkWriter, OnCheckpoint
from include.pipeline.plan import NOT_SEARCHABLE, Plan, cheaper_plan, plan_scan
from include.pipeline.properties import (
    Definitions,
    known_definitions,
    property_names,
    read_definitions,
    warn_of_unknown_properties,
)
from include.pipeline.read.reader import RecordReader
from include.pipeline.reconcile import reconcile
from include.warehouse.checkpoints import Past, ScanObjects
from include.warehouse.property_history import forget_history_reads
from include.warehouse.records import Counts, RecordTable
from include.warehouse.reference_data import first_seen
from include.warehouse.tenant_views.fivetran import views_of
from include.warehouse.values import to_moment

if TYPE_CHECKING:
    from include.pipeline.load.dlt_loader import DltLoader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectScanned:
    """The result. ``counts``: of the received records. ``live``: rows of all records, or None."""

    plan: Plan
    pages: int
    counts: Counts
    live: int | None


def scan_or_skip(
    context: ScanContext, crm_object: CrmObject, scan_one: Callable[[CrmObject], object]
) -> bool:
    """Scan an object other than deals; if HubSpot refuses it, warn and return False."""
    try:
        scan_one(crm_object)
    except AccessDeniedError as exc:
        reason = reason_of(exc, crm_object.read_scope)
    except ContractError as exc:
        unknown = exc.status in (400, 404)
        prefix = f"HubSpot does not list object type {crm_object.object_type!r}: "
        reason = f"{prefix if unknown else ''}{exc.what.removesuffix('.')}"
    else:
        return True
    views = views_of(crm_object) if context.tenant.fivetran_views else []
    unfilled = f". Fivetran's tables get no rows of it: {', '.join(views)}" if views else ""
    context.warn(f"{crm_object.name} were not read: {reason}{unfilled}")
    object_log = ScanObjects(context.warehouse, context.scan, crm_object.name)
    object_log.open(mode="skipped", reason=reason)
    return False


def scan_object(
    context: ScanContext,
    crm_object: CrmObject,
    loader: Callable[[], "DltLoader"],
    checkpoint_pages: int,
    on_checkpoint: OnCheckpoint | None,
) -> ObjectScanned:
    """Bring the rows, associations and histories of one object up to date.

    Rows that were loaded before an error stay, but only a successful scan moves the watermark.

    :param loader: returns the loader; called when the first rows are there.
    :param checkpoint_pages: a crash at any moment costs at most this many pages.
    """
    object_log = ScanObjects(context.warehouse, context.scan, crm_object.name)
    table = RecordTable(context.warehouse, context.tenant.id, crm_object.name)
    if begun := context.begun.get(crm_object.name):
        definitions = known_definitions(context, crm_object)
        plan = Plan.of_row(begun)
        asked = tuple(begun["properties_asked"])
        names = property_names(replace(crm_object, properties=asked), definitions)
        progress = context.progress[crm_object.name]
        object_log.set_properties_asked(_known(asked, definitions))
    else:
        definitions, names, plan = _decide(context, crm_object, object_log)
        progress = context.progress[crm_object.name] = Progress()
        if context.scan.rewrite_rows:
            forget_history_reads(table)
        object_log.open(
            **plan.columns(),
            properties_asked=_known(names, definitions),
            object_type=crm_object.object_type,
        )
    warn_of_unknown_properties(context, crm_object, definitions)
    crm_object = replace(crm_object, searchable=plan.searchable)
    log.info(
        "tenant %s: %s: %s scan because %s",
        context.tenant.id,
        crm_object.name,
        plan.mode,
        plan.reason,
    )
    writer = ChunkWriter(
        context, table, object_log, progress, loader, checkpoint_pages, on_checkpoint
    )
    reader = RecordReader(context, crm_object, names, table, writer, progress)
    if unknown := reader.read(plan):
        remedy = "scan this window again."
        if plan.mode != "window":
            object_log.set(watermark=plan.window_start)
            remedy = "the next scan reads this period again."
        context.warn(
            f"{crm_object.name}: HubSpot's search returned records that do not exist (records: "
            f"{unknown}). It may have left out others: {remedy}"
        )
    if plan.mode != "window" and crm_object.searchable:
        by_creation = crm_object.created_property in definitions.names
        object_log.set(**reconcile(context, crm_object, reader, table, by_creation=by_creation))
    if crm_object.associations:
        done = progress.position.associations
        object_log.set(
            associations=read_associations(context, crm_object, table, plan.mode, writer, done)
        )
    if crm_object.property_history:
        read_histories(context, crm_object, table, definitions.names)
    writer.checkpoint()
    counts = table.counts(context.scan.id, context.started_at)
    object_log.set(
        records_received=counts.received,
        records_archived=counts.archived,
        rows_written=counts.written,
    )
    tags = {"tenant": context.tenant.id, "mode": context.scan.mode, "object": crm_object.name}
    count("records_written", counts.written, **tags)
    # counting reads every row of the tenant, which a window of a few records is not worth
    live = table.count_live(None) if plan.mode != "window" else None
    object_log.set(live_rows=live)
    return ObjectScanned(plan, progress.pages, counts, live)


def _known(names: Sequence[str], definitions: Definitions) -> list[str]:
    """Return the names that the portal defines.

    HubSpot sends no values of the others: if they appear later, they have not been read.
    """
    return [name for name in names if name in definitions.names] or list(names)


def _decide(
    context: ScanContext, crm_object: CrmObject, object_log: ScanObjects
) -> tuple[Definitions, list[str], Plan]:
    """Return the portal's definitions, the properties to ask for, and the plan."""
    definitions = known_definitions(context, crm_object)
    names = property_names(crm_object, definitions)
    past = object_log.past()
    recreated = _recreated(context, crm_object, definitions, past)
    plan = plan_scan(context.scan, past, context.hubspot_now, names, definitions.live, recreated)
    try:
        plan = _counted(context, crm_object, object_log, names, plan)
    except ContractError as exc:
        # deals are always searchable, so for them this is an error
        if exc.status not in (400, 404) or crm_object.name == "deals":
            raise
        plan = Plan("full", NOT_SEARCHABLE)
    if plan.mode == "full" and definitions.stored:
        # full scans are rare, so each one asks for the properties that the portal has now
        definitions = read_definitions(context, crm_object)
        names = property_names(crm_object, definitions)
    return definitions, names, plan


def _recreated(
    context: ScanContext, crm_object: CrmObject, definitions: Definitions, past: Past
) -> list[str]:
    """Return the properties that were deleted and created again since the last full scan.

    Deleting a property modifies no record, so rows may have the old one's values.
    """
    created_at = {
        definition.name: moment
        for definition in definitions.live
        if (moment := to_moment(definition.created_at))
        and past.last_full_at is not None
        and moment > past.last_full_at
    }
    seen_at = first_seen(context.warehouse, context.scan, crm_object.name, created_at)
    return [name for name, moment in created_at.items() if seen_at.get(name, moment) < moment]


def _counted(
    context: ScanContext,
    crm_object: CrmObject,
    object_log: ScanObjects,
    names: Sequence[str],
    plan: Plan,
) -> Plan:
    """Count by search what *plan* will read, and return a full plan if that is cheaper.

    ``expected`` of the plan is live plus archived records. The first scan doesn't know how many are
    archived (search counts live records only), so it expects fewer than it gets.
    """
    client, object_type = context.client, crm_object.object_type
    live, archived = object_log.last_known()
    if plan.mode == "full":
        # for objects other than deals, this also shows whether search still accepts them
        if live is None or crm_object.name != "deals":
            live = search.count(client, object_type, [])
        return replace(plan, expected=live + (archived or 0))
    if plan.window_start is None:
        return plan
    filters = search.modified_between(
        crm_object.modified_property, plan.window_start, plan.window_end
    )
    modified = search.count(client, object_type, filters)
    plan = replace(plan, modified=modified, expected=modified + (archived or 0))
    if plan.mode == "window" or context.scan.mode != "auto" or modified <= SEARCH_PAGE_SIZE:
        return plan
    total = search.count(client, object_type, [])
    cheaper = cheaper_plan(
        plan,
        total,
        client.transport.limiter.requests_per_s,
        requests_a_page=requests_a_page(names),
    )
    return replace(cheaper, expected=total + (archived or 0)) if cheaper.mode == "full" else plan
