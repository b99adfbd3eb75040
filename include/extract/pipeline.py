"""The second task of a scan: read every deal of the portal and load it."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypedDict

from include.extract.batch import to_batch
from include.extract.loader import DealLoader
from include.extract.properties import property_names
from include.extract.tally import Tally
from include.hubspot.answers import Record
from include.hubspot.client import HubSpotClient
from include.hubspot.hook import HubSpotHook
from include.hubspot.identity import identify
from include.scan import Scan
from include.warehouse.binding import require_same_portal
from include.warehouse.connection import open_warehouse
from include.warehouse.deals import count_deals
from include.warehouse.locks import hold_tenant
from include.warehouse.scan_log import ScanLog
from include.warehouse.stages import save_stages

log = logging.getLogger(__name__)


class Extracted(TypedDict):
    """What `extract_deals` hands on through XCom."""

    scan_id: str
    mode: str
    pages: int
    deals_extracted: int
    deals_loaded: int
    deals_archived: int
    requests: int
    throttled: int


def extract_deals(scan: Scan, checkpoint_pages: int) -> Extracted:
    """Read all live deals, then all archived ones, and load them in chunks of *checkpoint_pages*.

    Live first: a deal archived in between is then still seen. The token's account is checked again
    before anything is written, since the token may have been replaced since `validate_token`.
    """
    tenant = scan.tenant
    warehouse = open_warehouse(tenant.id)
    scan_log = ScanLog(warehouse, scan)
    with scan_log.step("extracting"), hold_tenant(warehouse, tenant.id) as lock:
        client = HubSpotHook(tenant.connection_id).get_conn()
        identity = identify(client)
        require_same_portal(warehouse, scan, identity.account.portal_id)
        properties = property_names(client, tenant, identity.readable_sensitivities)
        pipelines = client.deal_pipelines()
        # From here on rows are written, so from here on the tenant's rows are this account's.
        scan_log.set(portal_id=identity.account.portal_id, extraction_started_at=datetime.now(UTC))
        save_stages(warehouse, scan, pipelines)
        loader = DealLoader(warehouse, tenant.id, lock)
        tally = Tally()
        for records in _chunks(client, properties, checkpoint_pages, tally):
            batch = to_batch(
                records, tenant_id=tenant.id, scan_id=scan.id, extracted_at=datetime.now(UTC)
            )
            loader.load(batch.table)
            tally.add_batch(batch)
            _record(scan_log, client, tally)
        deals_loaded = count_deals(warehouse, scan)
        scan_log.set(deals_loaded=deals_loaded)
    return {
        "scan_id": scan.id,
        "mode": scan.mode,
        "pages": tally.pages,
        "deals_extracted": tally.deals_extracted,
        "deals_loaded": deals_loaded,
        "deals_archived": tally.deals_archived,
        "requests": client.requests,
        "throttled": client.throttled,
    }


def _chunks(
    client: HubSpotClient, properties: list[str], checkpoint_pages: int, tally: Tally
) -> Iterator[list[Record]]:
    records: list[Record] = []
    pages = 0
    for archived in (False, True):
        for page in client.deal_pages(properties, archived=archived):
            tally.add_page(page)
            records += page.results
            pages += 1
            if pages == checkpoint_pages:
                yield records
                records, pages = [], 0
    # Also when it is empty: an account without deals is recorded as such.
    yield records


def _record(scan_log: ScanLog, client: HubSpotClient, tally: Tally) -> None:
    """Write how far the scan is, after every chunk that is loaded."""
    scan_log.set(
        pages=tally.pages,
        deals_extracted=tally.deals_extracted,
        deals_archived=tally.deals_archived,
        duplicates_dropped=tally.duplicates_dropped,
        requests=client.requests,
        throttled=client.throttled,
        repairs=asdict(tally.repairs),
        misfits=dict(tally.misfits),
    )
    log.info(
        "tenant %s: %d pages, %d deals received and loaded, %d requests, %d throttled",
        scan_log.scan.tenant.id,
        tally.pages,
        tally.deals_extracted,
        client.requests,
        client.throttled,
    )
