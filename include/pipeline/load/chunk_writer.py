"""Write pages of one object's records as rows, in chunks that are loaded and committed at once."""

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

#: Called with each checkpoint after its commit: {"object": …, "pages": …, "position": …}; JSON.
OnCheckpoint = Callable[[dict[str, Any]], None]

#: Records that are converted at once: few, because answers need much memory until then.
COLLECTED_AT_ONCE = 2_000
#: Rows that are loaded at once. dlt and ADBC need several times as much memory for a moment.
CHUNK_BYTES = 24_000_000
#: Share of a chunk's pages that is worth a load if no other page is there yet.
WORTH_A_LOAD = 0.4


class ChunkWriter:
    """Loads pages in chunks of a fifth to half of ``checkpoint_pages``.

    Meanwhile, readers may be ahead by the rest, so a crash costs at most ``checkpoint_pages``
    pages. Large pages reduce both. ``progress`` is written with each chunk, so its position must
    be updated before a page is added.

    Importing dlt and Arrow costs a second of CPU time, so ``loader`` and the module `arrow` are
    used only when the first records are there.
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
        #: Converted records. HubSpot's answers and their objects are freed.
        self._batches: list[Batch] = []
        self._uncounted_records = 0
        self._chunk_pages = 0
        self._read_ahead_pages = 0
        self._max_chunk_pages = (checkpoint_pages + 1) // 2
        self._reading_since = self._loading_since = context.clock()
        self.read_ahead = PageBudget(checkpoint_pages)

    def add(self, page: Page, *, read_ahead: bool = False) -> None:
        """Add a page; *read_ahead*: it was acquired from `read_ahead`."""
        self._records += page.results
        self._chunk_pages += 1
        self._read_ahead_pages += read_ahead
        self._progress.pages += 1
        # A retry may receive records whose associations an earlier try has passed.
        self._progress.position.associations.clear()
        self._context.repairs.add(page.repairs)
        if len(self._records) >= COLLECTED_AT_ONCE:
            self._collect()
        if self._chunk_pages >= self._max_chunk_pages:
            self.flush()

    def use_pause(self) -> None:
        """Load the added pages if that is worth it, because no other page is there yet.

        So chunks are small if reading takes more time, and large if loading does.
        """
        if self._chunk_pages >= WORTH_A_LOAD * self._max_chunk_pages:
            self.flush()

    def flush(self) -> None:
        """Load and commit the pages that were added since the last flush."""
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
        self._show_checkpoint()

    def _show_checkpoint(self) -> None:
        if self._on_checkpoint is None:
            return
        shown = {
            "object": self._table.object_name,
            "pages": self._progress.pages,
            "position": self._progress.position.to_json(),
        }
        try:
            self._on_checkpoint(shown)
        except Exception as exc:  # noqa: BLE001 - any error of Airflow's API; the rows are stored
            log.warning(
                "tenant %s: the checkpoint is stored, but could not be shown in Airflow: %s",
                self._context.tenant.id,
                type(exc).__name__,
            )

    def checkpoint(self, chunk: Chunk | None = None) -> None:
        """Store how far the object has been read. Raises OutdatedAttemptError."""
        self._object_log.checkpoint(
            self._context.scan_log, chunk, self._progress.columns(), self._context.columns()
        )

    def _collect(self) -> None:
        """Convert the added records, and make chunks smaller if pages are large."""
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
        """Load the converted records."""
        from include.pipeline.load.arrow import chunk_of, joined, shape_of

        shape = shape_of(self._table.object_name)
        batch, self._batches = joined(self._batches, shape), []
        chunk = chunk_of(batch.table, shape)
        if self._context.scan.rewrite_rows:
            self._loader().load(batch.table, shape, rewrite=True)
        # Unchanged records are not sent: comparing hashes is ten times cheaper than a merge.
        elif changed := self._table.changed_among(chunk):
            whole = len(changed) == len(chunk.ids)
            self._loader().load(batch.table if whole else batch.table.take(changed), shape)
        # A record that is back unchanged is not written again, so its mark is cleared here: not at
        # the end, because another scan may have marked it since.
        self._table.clear_marks(chunk.ids)
        self._progress.merged += self._table.mark_merged(batch.merges)
        self._progress.duplicates_dropped += batch.duplicates_dropped
        self._progress.records_received += len(chunk.ids)
        return chunk
