"""Read one object from HubSpot: all records, modified ones, or single ones by id."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from include.hubspot import search
from include.hubspot.answers import Page
from include.hubspot.client import batches
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import READ_BATCH_SIZE
from include.pipeline.context import Progress, ScanContext
from include.pipeline.load.chunk_writer import ChunkWriter
from include.pipeline.plan import Plan
from include.pipeline.read.concurrency import map_concurrently
from include.pipeline.read.list_reader import ListReader
from include.pipeline.read.ranges import ListPosition
from include.warehouse.records import ARCHIVED, GONE, LIVE, RecordTable


class RecordReader:
    """Brings one object's rows up to date, from the position in *progress* on."""

    def __init__(
        self,
        context: ScanContext,
        crm_object: CrmObject,
        properties: Sequence[str],
        table: RecordTable,
        writer: ChunkWriter,
        progress: Progress,
    ) -> None:
        self._context = context
        self._object = crm_object
        self._properties = properties
        self._table = table
        self._writer = writer
        self._progress = progress

    def read(self, plan: Plan) -> int:
        """Read the records of *plan*, and all archived records.

        Returns the number of records that search returned, but that do not exist. It may have
        returned them in place of others.

        Archiving does not change the modification time and hides a record from search: only the
        list of archived records shows it. docs/how-scans-work.md#deletes
        """
        position = self._progress.position
        if plan.window_start is None:
            self._list(position.live, archived=False)
        else:
            # a resumed plan has no count: then the remaining records are counted
            self._read_modified(position.live, plan.window_start, plan.window_end, plan.modified)
        self._list_archived(position.archived, archived_only=plan.mode != "full")
        # most were archived or merged since, and have rows
        not_found = position.live.not_found
        unknown = not_found - self._table.states(not_found).keys()
        return list(self.look_up(unknown).values()).count(GONE) if unknown else 0

    def catch_up(self, since: datetime) -> None:
        """Read what changed while the scan ran."""
        self._read_modified(ListPosition(), since, None)
        self._list_archived(ListPosition(), archived_only=True)

    def look_up(self, ids: Iterable[int]) -> dict[int, str]:
        """Read single records, load those that exist, and mark the rows of the others.

        Returns the state of each: live, archived or gone.
        """
        states: dict[int, str] = {}
        asked = batches(ids, READ_BATCH_SIZE)
        for batch, live, archived in map_concurrently(self._context.client, self._look_up, asked):
            states |= dict.fromkeys(batch, GONE)
            for page, state in ((archived, ARCHIVED), (live, LIVE)):
                if page is not None:
                    self._writer.add(page)
                    states |= dict.fromkeys(_ids(page).intersection(batch), state)
        self._writer.flush()
        exist = sorted(record_id for record_id, state in states.items() if state == LIVE)
        self._table.clear_marks(exist, read_by_id=True)
        gone = sorted(record_id for record_id, state in states.items() if state == GONE)
        self._progress.vanished += self._table.mark_vanished(gone, self._context.started_at)
        return states

    def _list_archived(
        self, position: ListPosition, *, archived_only: bool, again: bool = False
    ) -> None:
        """Read the archived records, and by id those that were expected but not received.

        These were restored, purged or merged away, or moved from one list to the other during the
        scan. Called after the live ones, so that records archived in between are seen.

        :param archived_only: an incremental scan expects only the archived ones, whose whole list
            it reads.
        """
        self._list(position, archived=True)
        self._writer.flush()
        unseen = self._table.unseen_ids(self._context.scan.id, archived_only=archived_only)
        states = list(self.look_up(unseen).values())
        if archived_only:
            self._progress.restored += states.count(LIVE)
        if ARCHIVED in states and not again:
            # The list of archived records lacked these, so it may lack others that are not stored
            # yet: read it again. (It need not, if these were archived since.)
            self._list_archived(ListPosition(), archived_only=archived_only, again=True)

    def _list(self, position: ListPosition, *, archived: bool) -> None:
        reader = ListReader(
            self._context.client,
            self._object.object_type,
            self._properties,
            position,
            self._writer.read_ahead,
            archived=archived,
            searchable=self._object.searchable,
        )
        with reader as pages:
            for page in pages:
                self._writer.add(page, read_ahead=True)
                if reader.waits:
                    self._writer.use_pause()

    def _read_modified(
        self,
        position: ListPosition,
        start: datetime,
        end: datetime | None,
        announced: int | None = None,
    ) -> None:
        if position.done:
            return
        client = self._context.client
        filters = search.modified_between(self._object.modified_property, start, end)
        found = search.ids_matching(
            client,
            self._object.object_type,
            filters,
            above=position.first - 1,
            announced=announced,
        )
        asked = (batch for ids in found for batch in batches(ids, READ_BATCH_SIZE))
        for batch, page in map_concurrently(client, self._read_live, asked):
            position.cover(0, int(batch[-1]) + 1)
            position.not_found |= set(map(int, batch)) - _ids(page)
            self._writer.add(page)
        position.cover(0, None)

    def _read_live(self, ids: list[str]) -> tuple[list[str], Page]:
        return ids, self._read_batch(ids, archived=False)

    def _look_up(self, ids: list[int]) -> tuple[list[int], Page, Page | None]:
        live = self._read_batch(ids, archived=False)
        missing = set(ids) - _ids(live)
        return ids, live, self._read_batch(sorted(missing), archived=True) if missing else None

    def _read_batch(self, ids: Sequence[int | str], *, archived: bool) -> Page:
        return self._context.client.read_batch(
            self._object.object_type, list(map(str, ids)), self._properties, archived=archived
        )


def _ids(page: Page) -> set[int]:
    return {int(record.id) for record in page.results if record.id.isdigit()}
