"""Loading chunks of one object's records: the part of a scan that needs dlt and Arrow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.extract.batch import Batch, joined, to_batch
from include.extract.columns import shape_of
from include.extract.extraction import Extraction
from include.hubspot.answers import Record
from include.warehouse.chunk import Chunk
from include.warehouse.record_table import RecordTable


@dataclass(frozen=True)
class Loaded:
    """``merges``: id of a record that was merged away → the record it went into."""

    chunk: Chunk
    merges: dict[int, int]
    duplicates_dropped: int


class ChunkLoader:
    """Collects records, as Arrow tables: answers and their objects can be forgotten meanwhile."""

    def __init__(self, extraction: Extraction, table: RecordTable) -> None:
        self._extraction = extraction
        self._table = table
        self._object_name = table.object_name
        self._shape = shape_of(table.object_name)
        self._batches: list[Batch] = []

    def add(self, records: Sequence[Record], extracted_at: datetime) -> int:
        """Take records, and return how many bytes all that was collected has."""
        batch = to_batch(
            records,
            self._shape,
            tenant_id=self._extraction.tenant.id,
            object_name=self._object_name,
            scan_id=self._extraction.scan.id,
            extracted_at=extracted_at,
        )
        prefix = "" if self._object_name == "deals" else f"{self._object_name}."
        self._extraction.tally.misfits.update({prefix + k: n for k, n in batch.misfits.items()})
        self._batches.append(batch)
        return sum(batch.table.nbytes for batch in self._batches)

    def load(self) -> Loaded:
        """Load what was collected; all of it is in PostgreSQL afterwards, or it raises."""
        batch, self._batches = joined(self._batches, self._shape), []
        chunk = Chunk(
            ids=batch.table[self._shape.id_column].to_pylist(),
            hashes=batch.table["_content_hash"].to_pylist(),
            modified_us=batch.table["updated_at"].cast(pa.int64()).to_pylist(),
        )
        if self._extraction.scan.rewrite_rows:
            self._extraction.loader.load(batch.table, self._shape, rewrite=True)
        # What is held as it came is not sent at all: to look is ten times cheaper than to merge.
        elif changed := self._table.changed_among(chunk):
            whole = len(changed) == len(chunk.ids)
            table = batch.table if whole else batch.table.take(pa.array(changed))
            self._extraction.loader.load(table, self._shape)
        return Loaded(
            chunk=chunk,
            merges=batch.merges,
            duplicates_dropped=batch.duplicates_dropped,
        )
