"""Reading one object from HubSpot: everything, what was modified, or single records by id."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from include.extract.extraction import Extraction
from include.extract.plan import Plan
from include.extract.writer import RecordWriter
from include.hubspot import search
from include.hubspot.api import READ_BATCH_SIZE
from include.hubspot.batches import batches
from include.objects import CrmObject
from include.warehouse.record_table import RecordTable


@dataclass
class LookedUp:
    """What HubSpot says of single records, asked by id: live, archived, or not there."""

    live: set[int] = field(default_factory=set)
    archived: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)


class RecordReader:
    """Brings one object's rows up to date.

    ``restored`` and ``vanished`` count the rows whose records turned out to be so.
    """

    def __init__(
        self,
        extraction: Extraction,
        crm_object: CrmObject,
        properties: Sequence[str],
        table: RecordTable,
        writer: RecordWriter,
    ) -> None:
        self._extraction = extraction
        self._object = crm_object
        self._properties = properties
        self._table = table
        self._writer = writer
        self.restored = 0
        self.vanished = 0

    def read(self, plan: Plan) -> None:
        """Read what *plan* says, and every archived record in any case.

        Archiving moves no modification time and hides a record from search: only the list of the
        archived tells. docs/how-scans-work.md#deletes
        """
        if plan.window_start is None:
            self._list(archived=False)
        else:
            self._read_modified(plan.window_start, plan.window_end)
        # After the live ones: what is archived in between is seen here.
        self._list(archived=True)
        self._writer.flush()
        self._follow_up(archived_only=plan.mode != "full")

    def catch_up(self, since: datetime) -> None:
        """Read what changed while the scan ran."""
        self._read_modified(since, None)
        self._list(archived=True)
        self._writer.flush()
        self._follow_up(archived_only=True)

    def look_up(self, ids: Iterable[int]) -> LookedUp:
        """Read single records as they are now, live or archived, and load what is there."""
        found = LookedUp()
        for batch in batches(ids, READ_BATCH_SIZE):
            found.live |= self._read_batch(batch, archived=False) & set(batch)
            if missing := [record_id for record_id in batch if record_id not in found.live]:
                found.archived |= self._read_batch(missing, archived=True) & set(missing)
            found.gone |= set(batch) - found.live - found.archived
        self._writer.flush()
        # A row whose content is the same as before it vanished is not written, only unmarked.
        self._table.clear_marks(self._extraction.scan.id)
        return found

    def mark_gone(self, ids: Iterable[int]) -> None:
        """Mark rows whose records HubSpot does not know any more."""
        self.vanished += self._table.mark_vanished(sorted(ids), self._extraction.started_at)

    def _follow_up(self, *, archived_only: bool) -> None:
        """Ask one by one for the records that should have come and did not.

        They were restored, purged or merged away; or they moved from one list to the other while
        we read. An incremental scan expects only the archived ones: it reads their whole list.
        """
        scan_id = self._extraction.scan.id
        self._table.clear_marks(scan_id)
        found = self.look_up(self._table.unseen_ids(scan_id, archived_only=archived_only))
        if archived_only:
            self.restored += len(found.live)
        self.mark_gone(found.gone)

    def _list(self, *, archived: bool) -> None:
        for page in self._extraction.client.record_pages(
            self._object.object_type, self._properties, archived=archived
        ):
            self._writer.add(page)

    def _read_modified(self, start: datetime, end: datetime | None) -> None:
        filters = search.modified_between(self._object.modified_property, start, end)
        found = search.ids_matching(self._extraction.client, self._object.object_type, filters)
        for ids in found:
            for batch in batches(ids, READ_BATCH_SIZE):
                self._read_batch(batch, archived=False)

    def _read_batch(self, ids: Sequence[int | str], *, archived: bool) -> set[int]:
        page = self._extraction.client.read_batch(
            self._object.object_type, list(map(str, ids)), self._properties, archived=archived
        )
        self._writer.add(page)
        return {int(record.id) for record in page.results if record.id.isdigit()}
