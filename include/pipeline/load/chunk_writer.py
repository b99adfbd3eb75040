"""From pages of one object's records to rows, in chunks that are loaded and committed together."""

import logging
from typing import TYPE_CHECKING

from include.hubspot.answers import Page, Record
from include.metrics import count
from include.pipeline.context import ObjectProgress, ScanContext
from include.pipeline.read.concurrency import PageBudget
from include.warehouse.checkpoints import Chunk, ScanObjects
from include.warehouse.records import RecordTable

if TYPE_CHECKING:
    from include.pipeline.load.arrow import ArrowBuffer


log = logging.getLogger(__name__)

#: Records that are converted together: few enough that answers need little memory.
COLLECTED_AT_ONCE = 2_000
#: Of rows that are loaded at once. dlt and ADBC need several times that for a moment.
CHUNK_BYTES = 24_000_000
#: Of a chunk's pages: worth a load when nothing more has come yet.
WORTH_A_LOAD = 0.4


class ChunkWriter:
    """Takes pages and loads them, a fifth to half of ``checkpoint_pages`` at a time.

    The rest is how far readers may be ahead meanwhile: a kill costs ``checkpoint_pages`` pages at
    most. Large pages make both smaller. ``progress`` is written with each chunk, so a caller
    updates its position before it adds a page.
    """

    def __init__(
        self,
        extraction: ScanContext,
        table: RecordTable,
        scan_log: ScanObjects,
        progress: ObjectProgress,
    ) -> None:
        self._extraction = extraction
        self._table = table
        self._scan_log = scan_log
        self._progress = progress
        self._records: list[Record] = []
        self._collected: ArrowBuffer | None = None
        self._chunk_pages = 0
        self._read_ahead_pages = 0
        self._counted = extraction.totals.records
        self._max_chunk_pages = (extraction.checkpoint_pages + 1) // 2
        self._reading_since = self._loading_since = extraction.clock()
        self.read_ahead = PageBudget(extraction.checkpoint_pages)

    def add(self, page: Page, *, read_ahead: bool = False) -> None:
        """Take a page; *read_ahead*: for which `read_ahead` was asked."""
        self._records += page.results
        self._chunk_pages += 1
        self._read_ahead_pages += read_ahead
        self._progress.pages += 1
        self._extraction.totals.pages += 1
        self._extraction.totals.repairs.add(page.repairs)
        if len(self._records) >= COLLECTED_AT_ONCE:
            self._collect()
        if self._chunk_pages >= self._max_chunk_pages:
            self.flush()

    def use_pause(self) -> None:
        """Load what was added if it is worth it: nothing more has come yet.

        So chunks are small where reading takes the time, and large where loading does.
        """
        if self._chunk_pages >= WORTH_A_LOAD * self._max_chunk_pages:
            self.flush()

    def flush(self) -> None:
        """Load what was added since the last time. All of it is in PostgreSQL afterwards."""
        self._collect()
        # `_extracted_at` must never be later than the read. Pages buffered during the last load
        # were read before it ended, so the next chunk is stamped with the previous load's start.
        self._reading_since, self._loading_since = self._loading_since, self._extraction.clock()
        self._chunk_pages = 0
        loader, self._collected = self._collected, None
        chunk = self._load(loader) if loader else None
        self.checkpoint(chunk)
        self._count()
        self.read_ahead.release(self._read_ahead_pages)
        self._read_ahead_pages = 0
        if chunk:
            self._tell()

    def checkpoint(self, chunk: Chunk | None = None) -> None:
        """Write down how far the object is read. Raises OutdatedAttemptError."""
        self._scan_log.checkpoint(
            self._extraction.scan_log,
            chunk,
            self._progress.columns(),
            self._extraction.progress_columns(),
        )

    def _collect(self) -> None:
        if not self._records:
            return
        if self._collected is None:
            # not at module level: see `ScanContext.loader`
            from include.pipeline.load.arrow import ArrowBuffer

            self._collected = ArrowBuffer(self._extraction, self._table)
        collected_bytes = self._collected.add(self._records, self._reading_since)
        self._keep_small(collected_bytes)
        self._extraction.totals.records += len(self._records)
        self._records = []

    def _keep_small(self, collected_bytes: int) -> None:
        """Take fewer pages at once if they are so large that memory would not do."""
        pages = max(1, CHUNK_BYTES * self._chunk_pages // max(1, collected_bytes))
        if pages < self._max_chunk_pages:
            self._max_chunk_pages = pages
            self.read_ahead.resize(2 * pages)

    def _load(self, loader: "ArrowBuffer") -> Chunk:
        loaded = loader.load()
        self._progress.merged += self._table.mark_merged(loaded.merges)
        self._progress.duplicates_dropped += loaded.duplicates_dropped
        self._progress.records_received += len(loaded.chunk.ids)
        return loaded.chunk

    def _count(self) -> None:
        """Send what was received since the last time."""
        scan, received = self._extraction.scan, self._extraction.totals.records
        tags = {"tenant": scan.tenant.id, "mode": scan.mode, "object": self._table.object_name}
        count("records_received", received - self._counted, **tags)
        count("checkpoints", 1, **tags)
        self._counted = received

    def _tell(self) -> None:
        extraction, progress = self._extraction, self._progress
        log.info(
            "tenant %s: %s: %d pages, %d records loaded, %d requests, %d throttled",
            extraction.tenant.id,
            self._table.object_name,
            progress.pages,
            extraction.totals.records,
            extraction.client.transport.requests,
            extraction.client.transport.throttled,
        )
        if extraction.on_checkpoint:
            extraction.on_checkpoint(
                {
                    "object": self._table.object_name,
                    "pages": progress.pages,
                    "position": progress.position.to_json(),
                }
            )
