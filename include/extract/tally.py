"""What a scan received: counted from HubSpot's answers, independently of what PostgreSQL holds."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from include.extract.batch import Batch
from include.hubspot.answers import Page
from include.hubspot.json_repair import Repairs


@dataclass
class Tally:
    """Grows page by page and batch by batch. Deal ids are kept as Arrow int64: 8 bytes a deal."""

    pages: int = 0
    #: How many different deals HubSpot sent, live and archived; and how many of them archived.
    deals_extracted: int = 0
    deals_archived: int = 0
    duplicates_dropped: int = 0
    misfits: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
    _ids: list[pa.ChunkedArray] = field(default_factory=list)
    _archived_ids: list[pa.ChunkedArray] = field(default_factory=list)

    def add_page(self, page: Page) -> None:
        self.pages += 1
        self.repairs.add(page.repairs)

    def add_batch(self, batch: Batch) -> None:
        self.duplicates_dropped += batch.duplicates_dropped
        self.misfits.update(batch.misfits)
        ids, archived = batch.table["deal_id"], batch.table["archived"]
        self._ids.append(ids)
        self._archived_ids.append(ids.filter(archived))
        # Once a batch: it goes over every id received so far.
        self.deals_extracted = _distinct(self._ids)
        self.deals_archived = _distinct(self._archived_ids)


def _distinct(parts: list[pa.ChunkedArray]) -> int:
    chunks = [chunk for part in parts for chunk in part.chunks]
    count: int = pc.count_distinct(pa.chunked_array(chunks, pa.int64())).as_py()
    return count
