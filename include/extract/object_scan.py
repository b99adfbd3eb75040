"""One object's part of a scan: plan, read, prove, and read what belongs to its records."""

import logging
from dataclasses import dataclass

from include.errors import ContractError, ScopeMissingError
from include.extract.associations import read_associations
from include.extract.extraction import Extraction
from include.extract.history import read_histories
from include.extract.plan import Past, Plan, plan_scan
from include.extract.properties import Definitions, property_names, read_definitions
from include.extract.reader import RecordReader
from include.extract.reconciliation import Reconciler
from include.extract.writer import RecordWriter
from include.objects import CrmObject
from include.warehouse.property_definitions import save_definitions
from include.warehouse.record_table import RecordTable
from include.warehouse.scan_objects import ScanObjects

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectScanned:
    """What came of it. ``held``: rows in PostgreSQL of the records received; ``live``: of all."""

    plan: Plan
    pages: int
    received: int
    held: int
    live: int
    archived: int
    written: int


def scan_optional_object(extraction: Extraction, crm_object: CrmObject) -> bool:
    """Scan an object besides deals; if the token may not read it, warn and say False."""
    scan_log = ScanObjects(extraction.warehouse, extraction.scan, crm_object.name)
    try:
        scan_object(extraction, crm_object)
    except ScopeMissingError as exc:
        scopes = ", ".join(exc.scopes) or crm_object.read_scope
        reason = f"the token lacks {scopes}"
    except ContractError as exc:
        if exc.status not in (400, 404):
            raise
        reason = f"HubSpot does not list object type {crm_object.object_type!r}: {exc.what}"
    else:
        return True
    extraction.warn(f"{crm_object.name} were not read: {reason}")
    scan_log.open(mode="skipped", reason=reason)
    return False


def scan_object(extraction: Extraction, crm_object: CrmObject) -> ObjectScanned:
    """Bring everything of one object up to date.

    Raises what HubSpot's and PostgreSQL's failures mean; what was loaded until then stays, and is
    of use, but counts for nothing: the scan's watermark is only that of a successful one.
    """
    definitions = _definitions(extraction, crm_object)
    names = property_names(crm_object, definitions)
    scan_log = ScanObjects(extraction.warehouse, extraction.scan, crm_object.name)
    watermark, last_full_at, asked = scan_log.past()
    plan = plan_scan(
        extraction.scan,
        Past(watermark, last_full_at, frozenset(asked)),
        extraction.hubspot_now,
        names,
        definitions.live,
    )
    log.info(
        "tenant %s: %s: %s scan because %s",
        extraction.tenant.id,
        crm_object.name,
        plan.mode,
        plan.reason,
    )
    scan_log.open(
        mode=plan.mode,
        reason=plan.reason,
        window_start=plan.window_start,
        window_end=plan.window_end,
        watermark=plan.watermark,
        properties_asked=names if plan.mode == "full" else [],
    )
    return _read(extraction, crm_object, definitions, names, plan, scan_log)


def _read(
    extraction: Extraction,
    crm_object: CrmObject,
    definitions: Definitions,
    names: list[str],
    plan: Plan,
    scan_log: ScanObjects,
) -> ObjectScanned:
    table = RecordTable(extraction.warehouse, extraction.tenant.id, crm_object.name)
    writer = RecordWriter(extraction, table, scan_log)
    reader = RecordReader(extraction, crm_object, names, table, writer)
    reader.read(plan)
    if plan.mode != "window":
        reconciled = Reconciler(
            extraction,
            crm_object,
            reader,
            table,
            by_creation=crm_object.created_property in definitions.names,
        ).reconcile()
        scan_log.set(
            portal_live=reconciled.portal_live,
            warehouse_live=reconciled.warehouse_live,
            difference=reconciled.difference,
            unexplained=reconciled.unexplained,
        )
    if crm_object.associations:
        scan_log.set(associations=read_associations(extraction, crm_object, table, plan.mode))
    if crm_object.property_history:
        read_histories(extraction, crm_object, table)
    held, archived, written = table.count_seen(extraction.scan.id, extraction.started_at)
    result = ObjectScanned(
        plan=plan,
        pages=writer.pages,
        received=scan_log.count_received(),
        held=held,
        live=table.count_live(None),
        archived=archived,
        written=written,
    )
    scan_log.set(
        pages=result.pages,
        records_received=result.received,
        records_archived=result.archived,
        duplicates_dropped=writer.duplicates_dropped,
        rows_written=result.written,
        restored=reader.restored,
        merged=writer.merged,
        vanished=reader.vanished,
    )
    return result


def _definitions(extraction: Extraction, crm_object: CrmObject) -> Definitions:
    """Read what the portal defines, and keep it if the tenant wants it kept."""
    sensitivities = extraction.identity.readable_sensitivities(crm_object.object_type)
    definitions = read_definitions(extraction.client, crm_object, sensitivities)
    if extraction.tenant.objects.deal_properties:
        drift = save_definitions(
            extraction.warehouse,
            extraction.scan,
            crm_object.name,
            [*definitions.live, *definitions.archived],
        )
        if drift:
            extraction.drift[crm_object.name] = drift
            log.warning(
                "tenant %s: %s: schema drift %s", extraction.tenant.id, crm_object.name, drift
            )
    return definitions
