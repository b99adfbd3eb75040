"""From pages of one object's records to rows, in chunks that are loaded and committed together."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from include.hubspot.answers import Page, Record
from include.metrics import count
from include.pipeline.context import Progress, ScanContext
from include.pipeline.read.concurrency import PageBudget
from include.warehouse.checkpoints import Chunk, ScanObjects
from include.warehouse.records import RecordTable

if TYPE_CHECKING:
    from include.pipeline.load.arrow import Batch
    from include.pipeline.load.dlt_loader import DltLoader

log = logging.getLogger(__name__)

#: Gets each checkpoint once it is committed: {"object": …, "pages": …, "position": …}; JSON.
OnCheckpoint = Callable[[dict[str, Any]], None]

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

    dlt and Arrow cost a second of CPU to import: ``loader`` and the module `arrow` are used when
    the first records are there, and a scan that finds nothing does without them.
    """

    def __init__(
        self,
        context: ScanContext,
        table: RecordTable,
        object_log: ScanObjects,
        progress: Progress,
        loader: Callable[[], "DltLoader"],
        checkpoint_pages: int,
        on_checkpoint: OnCheckpoint | None = None,
    ) -> None:
        self._context = context
        self._table = table
        self._object_log = object_log
        self._progress = progress
        self._loader = loader
        self._on_checkpoint = on_checkpoint
        self._records: list[Record] = []
        #: Converted records: their answers and objects can be forgotten.
        self._batches: list[Batch] = []
        self._uncounted_records = 0
        self._chunk_pages = 0
        self._read_ahead_pages = 0
        self._max_chunk_pages = (checkpoint_pages + 1) // 2
        self._reading_since = self._loading_since = context.clock()
        self.read_ahead = PageBudget(checkpoint_pages)

    def add(self, page: Page, *, read_ahead: bool = False) -> None:
        """Take a page; *read_ahead*: for which `read_ahead` was asked."""
        self._records += page.results
        self._chunk_pages += 1
        self._read_ahead_pages += read_ahead
        self._progress.pages += 1
        self._context.repairs.add(page.repairs)
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
        self._reading_since, self._loading_since = self._loading_since, self._context.clock()
        self._chunk_pages = 0
        chunk = self._load() if self._batches else None
        self.checkpoint(chunk)
        scan, progress = self._context.scan, self._progress
        tags = {"tenant": scan.tenant.id, "mode": scan.mode, "object": self._table.object_name}
        count("records_received", self._uncounted_records, **tags)
        count("checkpoints", 1, **tags)
        self._uncounted_records = 0
        self.read_ahead.release(self._read_ahead_pages)
        self._read_ahead_pages = 0
        if chunk is None:
            return
        log.info(
            "tenant %s: %s: %d pages, %d records loaded, %d requests, %d throttled",
            scan.tenant.id,
            self._table.object_name,
            progress.pages,
            progress.records_received,
            self._context.client.transport.requests,
            self._context.client.transport.throttled,
        )
        if self._on_checkpoint:
            position = progress.position.to_json()
            self._on_checkpoint(
                {"object": self._table.object_name, "pages": progress.pages, "position": position}
            )

    def checkpoint(self, chunk: Chunk | None = None) -> None:
        """Write down how far the object is read. Raises OutdatedAttemptError."""
        self._object_log.checkpoint(
            self._context.scan_log, chunk, self._progress.columns(), self._context.columns()
        )

    def _collect(self) -> None:
        """Convert the records that were added, and take fewer pages at once if they are large."""
        if not self._records:
            return
        from include.pipeline.load.arrow import shape_of, to_batch

        name = self._table.object_name
        batch = to_batch(
            self._records,
            shape_of(name),
            tenant_id=self._context.tenant.id,
            object_name=name,
            scan_id=self._context.scan.id,
            extracted_at=self._reading_since,
        )
        prefix = "" if name == "deals" else f"{name}."
        self._context.misfits.update({prefix + k: n for k, n in batch.misfits.items()})
        self._uncounted_records += len(self._records)
        self._records = []
        self._batches.append(batch)
        collected_bytes = sum(batch.table.nbytes for batch in self._batches)
        pages = max(1, CHUNK_BYTES * self._chunk_pages // max(1, collected_bytes))
        if pages < self._max_chunk_pages:
            self._max_chunk_pages = pages
            self.read_ahead.resize(2 * pages)

    def _load(self) -> Chunk:
        """Load what was converted; all of it is in PostgreSQL afterwards, or it raises."""
        from include.pipeline.load.arrow import chunk_of, joined, shape_of

        shape = shape_of(self._table.object_name)
        batch, self._batches = joined(self._batches, shape), []
        chunk = chunk_of(batch.table, shape)
        if self._context.scan.rewrite_rows:
            self._loader().load(batch.table, shape, rewrite=True)
        # What is held as it came is not sent at all: to look is ten times cheaper than to merge.
        elif changed := self._table.changed_among(chunk):
            whole = len(changed) == len(chunk.ids)
            self._loader().load(batch.table if whole else batch.table.take(changed), shape)
        self._progress.merged += self._table.mark_merged(batch.merges)
        self._progress.duplicates_dropped += batch.duplicates_dropped
        self._progress.records_received += len(chunk.ids)
        return chunk
