"""One object's part of a scan: plan, read, prove, and read what belongs to its records."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from include.errors import AccessDeniedError, ContractError
from include.hubspot import search
from include.hubspot.client import requests_a_page
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import SEARCH_PAGE_SIZE
from include.metrics import count
from include.pipeline.associations import read_associations
from include.pipeline.context import ObjectProgress, ScanContext, reason_of
from include.pipeline.history import read_histories
from include.pipeline.load.chunk_writer import ChunkWriter
from include.pipeline.plan import (
    Definitions,
    LastScan,
    Plan,
    cheaper_plan,
    plan_scan,
    property_names,
    read_definitions,
)
from include.pipeline.read.reader import RecordReader
from include.pipeline.reconcile import Reconciler
from include.warehouse.checkpoints import ScanObjects
from include.warehouse.property_history import forget_history_reads
from include.warehouse.records import RecordTable
from include.warehouse.reference_data import save_definitions, stored_definitions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectScanned:
    """What came of it.

    ``held``: rows in PostgreSQL of the records received; ``live``: of all, None: not counted.
    """

    plan: Plan
    pages: int
    received: int
    held: int
    live: int | None
    archived: int
    written: int


def scan_optional_object(extraction: ScanContext, crm_object: CrmObject) -> bool:
    """Scan an object besides deals; if the token may not read it, warn and say False."""
    scan_log = ScanObjects(extraction.warehouse, extraction.scan, crm_object.name)
    try:
        scan_object(extraction, crm_object)
    except AccessDeniedError as exc:
        reason = reason_of(exc, crm_object.read_scope)
    except ContractError as exc:
        unknown = exc.status in (400, 404)
        prefix = f"HubSpot does not list object type {crm_object.object_type!r}: "
        reason = f"{prefix if unknown else ''}{exc.what}"
    else:
        return True
    extraction.warn(f"{crm_object.name} were not read: {reason}")
    scan_log.open(mode="skipped", reason=reason)
    return False


def scan_object(extraction: ScanContext, crm_object: CrmObject) -> ObjectScanned:
    """Bring everything of one object up to date.

    Raises what HubSpot's and PostgreSQL's failures mean; what was loaded until then stays, and is
    of use, but counts for nothing: the scan's watermark is only that of a successful one.
    """
    scan_log = ScanObjects(extraction.warehouse, extraction.scan, crm_object.name)
    begun = scan_log.begun() if extraction.goes_on else None
    if begun and begun["mode"] != "skipped":
        definitions = _definitions(extraction, crm_object)
        plan, progress, names = (
            Plan.of_row(begun),
            ObjectProgress.of_row(begun),
            begun["properties_asked"],
        )
    else:
        definitions, names, plan = _decide(extraction, crm_object, scan_log)
        progress = ObjectProgress()
        if extraction.scan.rewrite_rows:
            table = RecordTable(extraction.warehouse, extraction.tenant.id, crm_object.name)
            forget_history_reads(table)
        scan_log.open(**plan.columns(), properties_asked=names)
    log.info(
        "tenant %s: %s: %s scan because %s",
        extraction.tenant.id,
        crm_object.name,
        plan.mode,
        plan.reason,
    )
    return _read(extraction, crm_object, names, plan, progress, scan_log, definitions.names)


def _decide(
    extraction: ScanContext, crm_object: CrmObject, scan_log: ScanObjects
) -> tuple[Definitions, list[str], Plan]:
    """Return what the portal defines, what of it is asked for, and how the object is read."""
    definitions = _definitions(extraction, crm_object)
    names = property_names(crm_object, definitions)
    plan = _plan(extraction, crm_object, scan_log, names, definitions)
    if plan.mode == "full" and definitions.stored:
        # what is read once a week is read with the properties of now
        definitions = _read_definitions(extraction, crm_object)
        names = property_names(crm_object, definitions)
    return definitions, names, plan


def _plan(
    extraction: ScanContext,
    crm_object: CrmObject,
    scan_log: ScanObjects,
    names: Sequence[str],
    definitions: Definitions,
) -> Plan:
    watermark, last_full_at, asked = scan_log.past()
    plan = plan_scan(
        extraction.scan,
        LastScan(watermark, last_full_at, frozenset(asked)),
        extraction.hubspot_now,
        names,
        definitions.live,
    )
    client, object_type = extraction.client, crm_object.object_type
    live, archived = scan_log.last_known()
    if plan.mode == "full":
        if live is None:
            live = search.count(client, object_type, [])
        return replace(plan, expected=_sum(live, archived))
    if plan.window_start is None:
        return plan
    filters = search.modified_between(
        crm_object.modified_property, plan.window_start, plan.window_end
    )
    modified = search.count(client, object_type, filters)
    plan = replace(plan, modified=modified, expected=_sum(modified, archived))
    if plan.mode == "window":
        return plan
    if extraction.scan.mode != "auto" or modified <= SEARCH_PAGE_SIZE:
        return plan
    total = search.count(client, object_type, [])
    plan = cheaper_plan(
        plan, total, client.transport.limiter.requests_per_s, requests_a_page=requests_a_page(names)
    )
    return replace(plan, expected=_sum(total, archived)) if plan.mode == "full" else plan


def _sum(live: int, archived: int | None) -> int:
    """Return what will come. Archived records come with every scan; a first one can't count them:
    HubSpot's search finds live ones only.
    """
    return live + (archived or 0)


def _read(
    extraction: ScanContext,
    crm_object: CrmObject,
    names: Sequence[str],
    plan: Plan,
    progress: ObjectProgress,
    scan_log: ScanObjects,
    defined: Collection[str],
) -> ObjectScanned:
    by_creation = crm_object.created_property in defined
    table = RecordTable(extraction.warehouse, extraction.tenant.id, crm_object.name)
    writer = ChunkWriter(extraction, table, scan_log, progress)
    reader = RecordReader(extraction, crm_object, names, table, writer, progress)
    reader.read(plan)
    if plan.mode != "window":
        reconciled = Reconciler(
            extraction, crm_object, reader, table, by_creation=by_creation
        ).reconcile()
        scan_log.set(
            portal_live=reconciled.portal_live,
            warehouse_live=reconciled.warehouse_live,
            difference=reconciled.difference,
            unexplained=reconciled.unexplained,
        )
    if crm_object.associations:
        done = progress.position.associations
        scan_log.set(
            associations=read_associations(extraction, crm_object, table, plan.mode, writer, done)
        )
    if crm_object.property_history:
        read_histories(extraction, crm_object, table, defined)
    writer.checkpoint()
    counts = table.counts(extraction.scan.id, extraction.started_at)
    result = ObjectScanned(
        plan=plan,
        pages=progress.pages,
        received=scan_log.count_received(),
        held=counts.held,
        # in a window it says nothing, and to count takes a look at every row of the tenant
        live=table.count_live(None) if plan.mode != "window" else None,
        archived=counts.archived,
        written=counts.written,
    )
    scan_log.set(
        records_received=result.received,
        records_archived=result.archived,
        rows_written=result.written,
    )
    count(
        "records_written",
        result.written,
        tenant=extraction.tenant.id,
        mode=extraction.scan.mode,
        object=crm_object.name,
    )
    return result


def _definitions(extraction: ScanContext, crm_object: CrmObject) -> Definitions:
    """Return what the portal defines; not asked again if it was asked recently.

    They may be up to `search_lag_s` old: filling in a new property also modifies its record, and
    records modified within `search_lag_s` are read again.
    """
    what, lag_s = f"properties:{crm_object.name}", extraction.tenant.search_lag_s
    if extraction.tenant.objects.deal_properties and extraction.is_fresh(what, lag_s):
        stored = stored_definitions(extraction.warehouse, extraction.scan, crm_object.name)
        return Definitions.of_stored(stored)
    return _read_definitions(extraction, crm_object)


def _read_definitions(extraction: ScanContext, crm_object: CrmObject) -> Definitions:
    """Ask what the portal defines, and keep it if the tenant wants it kept.

    If HubSpot refuses, what an earlier scan has kept is used, with a warning: to ask for fewer
    properties would empty the others in every row that is written.
    """
    known = stored_definitions(extraction.warehouse, extraction.scan, crm_object.name)
    try:
        definitions = _asked_definitions(extraction, crm_object)
        lost = {d.name for d in known if not d.archived} - definitions.names
        if lost - {definition.name for definition in definitions.archived}:
            # Definitions are hardly ever removed: a list that was cut short looks the same.
            definitions = _asked_definitions(extraction, crm_object)
    except (AccessDeniedError, ContractError) as exc:
        if not known and crm_object.properties == "all":
            raise
        extraction.warn(
            f"{crm_object.name}: property definitions were not read: "
            f"{reason_of(exc, 'a scope')}; those of an earlier scan are used"
        )
        return Definitions.of_stored(known)
    if extraction.tenant.objects.deal_properties:
        drift = save_definitions(
            extraction.warehouse,
            extraction.scan,
            crm_object.name,
            [*definitions.live, *definitions.archived],
        )
        extraction.freshness.note(f"properties:{crm_object.name}")
        if drift:
            extraction.totals.drift[crm_object.name] = drift
            log.warning(
                "tenant %s: %s: schema drift %s", extraction.tenant.id, crm_object.name, drift
            )
    return definitions


def _asked_definitions(extraction: ScanContext, crm_object: CrmObject) -> Definitions:
    sensitivities = extraction.client.readable_sensitivities(crm_object.object_type)
    return read_definitions(extraction.client, crm_object, sensitivities)
