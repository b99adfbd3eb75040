"""Read a list with several readers at once, if its cursors are record ids.

HubSpot documents `after` as opaque. In practice it is a record id, so readers can start anywhere.
A probe and every page verify this. After a contradiction, a single reader reads the list again from
the start. docs/how-scans-work.md#reading-in-parallel
"""

import itertools
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from include.errors import ContractError, HubSpotDealsError
from include.hubspot import search
from include.hubspot.answers import CursorGuard, ListedPage, Page
from include.hubspot.client import HubSpotClient
from include.pipeline.read.concurrency import MAX_READERS, PageBudget, readers_wanted
from include.pipeline.read.ranges import IdRange, IdRanges, Interval, ListPosition

log = logging.getLogger(__name__)

#: Pages that the first reader reads before it probes the cursors.
LEAD_PAGES = 3
#: The probe requests this many ids at the end of a known page again.
PROBE_IDS = 10


class ListRead(NamedTuple):
    """A page, and how far the list has been read with it: a range of ids, or a cursor."""

    page: Page | None
    covers: Interval | None
    after: str | None


class _CursorsAreOpaque(Exception):
    """A page contradicts the assumption that cursors are record ids."""


class ListReader:
    """Reads the rest of one list; a context manager that yields pages, in no particular order.

    :param position: the part still to be read; updated with every page that is yielded.
    :param announced: how many live records were counted before.
    :param read_ahead: acquired before each page; released when pages are stored.
    :param searchable: False if HubSpot's search refuses this object: then a single reader reads it.

    Readers are threads, which end with the `with` block.
    """

    def __init__(
        self,
        client: HubSpotClient,
        object_type: str,
        properties: Sequence[str],
        position: ListPosition,
        read_ahead: PageBudget,
        *,
        archived: bool,
        announced: int = 0,
        searchable: bool = True,
    ) -> None:
        self._announced = announced
        self._searchable = searchable
        self._client = client
        self._object_type = object_type
        self._properties = properties
        self._archived = archived
        self._position = position
        self._read_ahead = read_ahead
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._ranges: IdRanges | None = None
        self._results: queue.SimpleQueue[ListRead | Future[None]] = queue.SimpleQueue()
        self._executor = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="hubspot")
        self._running = 0
        self._may_split = searchable
        self._restarted = False
        self._guard = self._new_guard()

    def __enter__(self) -> Iterator[Page]:
        return self._pages()

    def __exit__(self, *raised: object) -> None:
        self._stopped.set()
        self._read_ahead.wake()
        self._executor.shutdown(wait=True)

    @property
    def waits(self) -> bool:
        """Whether the next page is not there yet."""
        return self._results.empty()

    def _pages(self) -> Iterator[Page]:
        while not self._position.done:
            try:
                yield from self._read_rest()
            except _CursorsAreOpaque as exc:
                if self._restarted:
                    raise ContractError(
                        f"HubSpot's list of {self._object_type} was read twice, and failed both "
                        f"times: {exc}.",
                        tenant_id=self._client.tenant_id,
                        remedy="Report it; the next scan reads the list again.",
                    ) from exc
                log.warning(
                    "tenant %s: %s: reading the list again from the start with a single reader: %s",
                    self._client.tenant_id,
                    self._object_type,
                    exc,
                )
                self._discard_results()
                self._position.restart()
                self._restarted = True
                self._guard = self._new_guard()

    def _read_rest(self) -> Iterator[Page]:
        if self._position.by_id:
            self._ranges = IdRanges(self._position.remaining, self._above_all())
        self._start_readers(1)
        while self._running:
            result = self._results.get()
            if isinstance(result, Future):
                self._running -= 1
                result.result()
            else:
                if result.covers is not None:
                    self._position.cover(*result.covers)
                elif result.after is not None:
                    self._position.after = result.after
                if result.page is not None:
                    yield result.page
            if self._ranges is not None:
                self._start_readers(readers_wanted(self._client))

    def _discard_results(self) -> None:
        self._stopped.set()
        self._read_ahead.wake()
        while self._running:
            result = self._results.get()
            if isinstance(result, Future):
                self._running -= 1
            elif result.page is not None:
                self._read_ahead.release()
        self._ranges = None
        self._may_split = False
        self._stopped.clear()

    # In the readers' threads

    def _start_readers(self, wanted: int) -> None:
        while self._running < wanted:
            if self._ranges is None:
                future = self._executor.submit(self._lead)
            else:
                with self._lock:
                    taken = self._ranges.take()
                if taken is None:
                    return
                future = self._executor.submit(self._read_ranges, taken, _cursor(taken))
            self._running += 1
            future.add_done_callback(self._results.put)

    def _lead(self) -> None:
        """Read page after page; if the cursors turn out to be ids, let other readers start."""
        after, last = self._position.after, -1
        for number in itertools.count(1):
            listed = self._ask(after)
            if listed is None:
                return
            ids = _ids(listed)
            after = self._guard.next(listed.after, listed.ids)
            if after is None:
                self._results.put(ListRead(listed.page, (0, None), None))
                return
            self._results.put(ListRead(listed.page, None, after))
            self._may_split = self._may_split and _ascend(ids, last)
            if number >= LEAD_PAGES and self._may_split and (probe := self._probe(ids)):
                self._read_ranges(*self._open_ranges(ids, probe))
                return
            last = ids[-1] if ids else last

    def _probe(self, known: list[int]) -> ListedPage | None:
        """Request the page after an id in the middle of *known*; None: cursors are not ids."""
        tail = known[-PROBE_IDS:]
        if len(tail) < 2:
            return None
        try:
            probe = self._ask(str(tail[0]), probe=True)
        except ContractError as exc:
            if exc.status not in (400, 404):
                raise
        else:
            if probe is None or _follows(_ids(probe), tail):
                return probe
            self._read_ahead.release()
        log.info(
            "tenant %s: %s: cursors are not record ids; using a single reader",
            self._client.tenant_id,
            self._object_type,
        )
        self._may_split = False
        return None

    def _open_ranges(
        self, known: list[int], probe: ListedPage
    ) -> tuple[IdRange | None, str | None]:
        """Split the list after *known* into ranges; return this reader's range and its cursor."""
        start = known[-1] + 1
        ranges = IdRanges([(start, None)], self._above_all())
        first = ranges.take()
        assert first is not None  # noqa: S101 - the one that was just put in
        self._results.put(ListRead(None, (0, start), None))
        new = [record_id for record_id in _ids(probe) if record_id >= start]
        if new or probe.after is None:
            ended = self._deliver(ranges, first, probe._replace(ids=list(map(str, new))))
            part, after = None if ended else first, probe.after
        else:
            self._read_ahead.release()
            part, after = first, _cursor(first)
        self._ranges = ranges
        return part, after

    def _read_ranges(self, part: IdRange | None, after: str | None) -> None:
        """Read a range to its end, then another, as long as there is one."""
        ranges = self._ranges
        assert ranges is not None  # noqa: S101 - parts come from there
        while part is not None:
            while (listed := self._ask(after)) is not None:
                if self._deliver(ranges, part, listed):
                    break
                after = listed.after
            if self._stopped.is_set():
                return
            with self._lock:
                part = ranges.take()
            after = _cursor(part) if part else None

    def _deliver(self, ranges: IdRanges, part: IdRange, listed: ListedPage) -> bool:
        """Verify and queue a page of a range; return whether it was the last one."""
        ids = _ids(listed)
        try:
            position = _verified(listed, ids, part.position)
            self._guard.note(len(ids))
        except (_CursorsAreOpaque, ContractError):
            self._read_ahead.release()
            raise
        with self._lock:
            covers = ranges.advance(part, ids, position)
            ended = position is None or covers[1] == part.end
        self._results.put(ListRead(_within(listed.page, *covers), covers, None))
        return ended

    def _ask(self, after: str | None, *, probe: bool = False) -> ListedPage | None:
        """Read one page; None if readers were stopped.

        :param probe: HubSpot may refuse *after*. Otherwise, a refusal shows that cursors are no
            ids.
        """
        if not self._read_ahead.acquire(self._stopped.is_set):
            return None
        try:
            return self._client.record_page(
                self._object_type, self._properties, after, archived=self._archived
            )
        except HubSpotDealsError as exc:
            # no page to store: another reader may read one
            self._read_ahead.release()
            is_refused = isinstance(exc, ContractError) and exc.status == 400
            if is_refused and after is not None and not probe:
                raise _CursorsAreOpaque(str(exc)) from exc
            raise

    def _new_guard(self) -> CursorGuard:
        kind = "archived " if self._archived else ""
        # search does not count archived records
        is_counted = self._searchable and not self._archived
        return CursorGuard(
            f"of {kind}{self._object_type}",
            (lambda: search.count(self._client, self._object_type, [])) if is_counted else None,
            announced=self._announced,
        )

    def _above_all(self) -> int:
        return search.highest_id(self._client, self._object_type) + 1


def _cursor(part: IdRange) -> str | None:
    """Return the cursor of a range's first page; None: the start of the list."""
    return str(part.position - 1) if part.position else None


def _ids(listed: ListedPage) -> list[int]:
    try:
        return [int(record_id) for record_id in listed.ids]
    except ValueError:
        return []


def _ascend(ids: list[int], above: int) -> bool:
    return all(low < high for low, high in itertools.pairwise([above, *ids]))


def _follows(ids: list[int], tail: list[int]) -> bool:
    """Return whether *ids* is the page after the first of *tail*, the last ids of a known page.

    A page may or may not begin with the id in its cursor.
    """
    again = [record_id for record_id in ids if record_id <= tail[-1]]
    return again in (tail, tail[1:]) and _ascend(ids, tail[0] - 1)


def _verified(listed: ListedPage, ids: list[int], start: int) -> int | None:
    """Return the id below which a range from *start* has been read with this page.

    None: the list has ended. Raises _CursorsAreOpaque if the page can't be one of that range.
    """
    # a page may or may not begin with the id in its cursor
    if len(ids) != len(listed.ids) or not _ascend(ids, start - 2):
        raise _CursorsAreOpaque("a page begins before its cursor, or is not in order")
    if listed.after is None:
        return None
    if ids:
        position = ids[-1] + 1
    elif listed.after.isascii() and listed.after.isdigit():
        position = int(listed.after)
    else:
        raise _CursorsAreOpaque("the next cursor of an empty page is not an id")
    if position <= start:
        raise _CursorsAreOpaque("the next cursor of a page does not follow it")
    return position


def _within(page: Page, start: int, end: int | None) -> Page:
    """Remove records of other ranges, and those that were read before."""
    page.results = [
        record
        for record in page.results
        if int(record.id) >= start and (end is None or int(record.id) < end)
    ]
    return page
