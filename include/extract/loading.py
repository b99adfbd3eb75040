"""Loading a chunk of records: the part of a scan that needs dlt and Arrow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.extract.batch import to_batch
from include.extract.columns import shape_of
from include.extract.extraction import Extraction
from include.extract.loader import Loader
from include.hubspot.answers import Record
from include.warehouse.scan_objects import Chunk


@dataclass(frozen=True)
class Loaded:
    """``merges``: id of a record that was merged away → the record it went into."""

    chunk: Chunk
    merges: dict[int, int]
    duplicates_dropped: int


def load_records(
    extraction: Extraction, object_name: str, records: Sequence[Record], extracted_at: datetime
) -> Loaded:
    """Convert and load records of one object; all are in PostgreSQL afterwards, or it raises."""
    shape = shape_of(object_name)
    batch = to_batch(
        records,
        shape,
        tenant_id=extraction.tenant.id,
        object_name=object_name,
        scan_id=extraction.scan.id,
        extracted_at=extracted_at,
    )
    loader = Loader(extraction.warehouse, extraction.tenant.id, extraction.lock)
    loader.load(batch.table, shape)
    prefix = "" if object_name == "deals" else f"{object_name}."
    extraction.tally.misfits.update({prefix + k: n for k, n in batch.misfits.items()})
    return Loaded(
        Chunk(batch.ids, batch.hashes, batch.modified_at), batch.merges, batch.duplicates_dropped
    )
