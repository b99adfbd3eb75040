"""From pages of one object's records to rows, in chunks that are loaded and committed together."""

import logging

from include.extract.batch import to_batch
from include.extract.columns import shape_of
from include.extract.extraction import Extraction
from include.hubspot.answers import Page, Record
from include.warehouse.record_table import RecordTable
from include.warehouse.scan_objects import ScanObjects

log = logging.getLogger(__name__)


class RecordWriter:
    """Takes pages; every ``checkpoint_pages`` of them are loaded, and written down as received."""

    def __init__(self, extraction: Extraction, table: RecordTable, scan_log: ScanObjects) -> None:
        self._extraction = extraction
        self._table = table
        self._scan_log = scan_log
        self._shape = shape_of(table.object_name)
        self._records: list[Record] = []
        self._chunk_pages = 0
        self._chunks = 0
        self._reading_since = extraction.clock()
        self.pages = 0
        self.merged = 0
        self.duplicates_dropped = 0

    def add(self, page: Page) -> None:
        self._records += page.results
        self._chunk_pages += 1
        self.pages += 1
        self._extraction.tally.pages += 1
        self._extraction.tally.repairs.add(page.repairs)
        if self._chunk_pages >= self._extraction.checkpoint_pages:
            self.flush()

    def flush(self) -> None:
        """Load what was added since the last time. All of it is in PostgreSQL afterwards."""
        records, self._records, self._chunk_pages = self._records, [], 0
        extraction, name = self._extraction, self._table.object_name
        batch = to_batch(
            records,
            self._shape,
            tenant_id=extraction.tenant.id,
            object_name=name,
            scan_id=extraction.scan.id,
            # When reading began, not when it ended: what somebody else reads later is newer.
            extracted_at=self._reading_since,
        )
        extraction.loader.load(batch.table, self._shape)
        if batch.ids:
            self._chunks += 1
            self._scan_log.add_chunk(self._chunks, batch.ids, batch.hashes, batch.modified_at)
            self.merged += self._table.mark_merged(batch.merges)
        self.duplicates_dropped += batch.duplicates_dropped
        prefix = "" if name == "deals" else f"{name}."
        extraction.tally.misfits.update({prefix + k: n for k, n in batch.misfits.items()})
        extraction.tally.records += len(records)
        extraction.record_progress()
        if records:
            log.info(
                "tenant %s: %s: %d pages, %d records loaded, %d requests, %d throttled",
                extraction.tenant.id,
                name,
                self.pages,
                extraction.tally.records,
                extraction.client.requests,
                extraction.client.throttled,
            )
        self._reading_since = extraction.clock()
