"""Read a list with several requests at once, if its cursors are record ids.

HubSpot documents `after` as opaque. In practice it is a record id, so reading can start anywhere.
A probe and every page verify this. After a contradiction, the list is read again from the start,
page after page. docs/how-scans-work.md#reading-in-parallel
"""

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from include.errors import ContractError
from include.hubspot import search
from include.hubspot.answers import CursorGuard, ListedPage, Page
from include.hubspot.client import HubSpotClient
from include.pipeline.read.concurrency import MAX_REQUESTS_AT_ONCE, PageBudget, requests_wanted
from include.pipeline.read.ranges import IdRange, IdRanges, Interval, ListPosition

log = logging.getLogger(__name__)

#: Pages that are read before the cursors are probed.
LEAD_PAGES = 3
#: The probe requests this many ids at the end of a known page again.
PROBE_IDS = 10


class _CursorsAreOpaque(Exception):
    """A page contradicts the assumption that cursors are record ids."""


class ListReader:
    """Reads the rest of one list; a context manager that yields pages, in no particular order.

    One thread decides what to read, and threads of a pool send the requests. All end with the
    `with` block.

    :param position: the part still to be read; updated with every page that is yielded.
    :param read_ahead: acquired before each page; released when pages are stored.
    :param searchable: False if HubSpot's search refuses this object: then one page is requested
        after the other.
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
        searchable: bool = True,
    ) -> None:
        self._client = client
        self._object_type = object_type
        self._properties = properties
        self._archived = archived
        self._searchable = searchable
        self._position = position
        self._read_ahead = read_ahead
        self._stopped = threading.Event()
        #: Pages with the change of the position that each makes, and at last the thread's end.
        self._results: queue.SimpleQueue[tuple[Callable[[], None], Page | None] | Future[None]] = (
            queue.SimpleQueue()
        )
        self._threads = ThreadPoolExecutor(1 + MAX_REQUESTS_AT_ONCE, thread_name_prefix="hubspot")
        self._guard = self._new_guard()

    def __enter__(self) -> Iterator[Page]:
        return self._pages()

    def __exit__(self, *raised: object) -> None:
        self._stopped.set()
        self._read_ahead.wake()
        self._threads.shutdown(wait=True)

    @property
    def waits(self) -> bool:
        """Whether the next page is not there yet."""
        return self._results.empty()

    def _pages(self) -> Iterator[Page]:
        if self._position.done:
            return
        self._threads.submit(self._read).add_done_callback(self._results.put)
        while not isinstance(result := self._results.get(), Future):
            move_on, page = result
            move_on()
            if page is not None:
                yield page
        result.result()

    # In the thread that decides what to read

    def _read(self) -> None:
        try:
            if self._position.by_id:
                self._read_by_id(self._position.remaining)
            else:
                self._read_in_order(self._position.after, by_id_if_possible=self._searchable)
        except _CursorsAreOpaque as exc:
            log.warning(
                "tenant %s: %s: reading the list again from the start page after page: %s",
                self._client.tenant_id,
                self._object_type,
                exc,
            )
            self._guard = self._new_guard()
            self._results.put((self._position.restart, None))
            try:
                self._read_in_order(None, by_id_if_possible=False)
            except _CursorsAreOpaque as again:
                raise ContractError(
                    f"HubSpot's list of {self._object_type} was read twice, and failed both "
                    f"times: {again}.",
                    tenant_id=self._client.tenant_id,
                    remedy="Report it; the next scan reads the list again.",
                ) from again

    def _read_in_order(self, after: str | None, *, by_id_if_possible: bool) -> None:
        """Read page after page; if the cursors turn out to be ids, read the rest by id."""
        last = -1
        for number in itertools.count(1):
            listed = self._page(after)
            if listed is None:
                return
            ids = _ids(listed)
            after = self._guard.next(listed.after, listed.ids)
            if after is None:
                self._results.put((partial(self._position.cover, 0, None), listed.page))
                return
            self._results.put((partial(self._position.follow, after), listed.page))
            by_id_if_possible = by_id_if_possible and _ascend(ids, last)
            if number >= LEAD_PAGES and by_id_if_possible and len(ids) > 1:
                if self._cursors_are_ids(ids[-PROBE_IDS:]):
                    start = ids[-1] + 1
                    self._results.put((partial(self._position.cover, 0, start), None))
                    self._read_by_id([(start, None)])
                    return
                by_id_if_possible = False
            last = ids[-1] if ids else last

    def _cursors_are_ids(self, tail: list[int]) -> bool:
        """Request the page after the first of *tail*, the last ids of a known page."""
        try:
            probe = self._page(str(tail[0]))
        except _CursorsAreOpaque:
            probe = None
        else:
            if probe is None:
                return False
            # most of it is new, and is requested again with the rest
            self._read_ahead.release()
        if probe is not None and _follows(_ids(probe), tail):
            return True
        log.info(
            "tenant %s: %s: cursors are not record ids; following the cursors",
            self._client.tenant_id,
            self._object_type,
        )
        return False

    def _read_by_id(self, remaining: list[Interval]) -> None:
        """Read ranges of ids, with as many requests at once as the rate limit allows."""
        highest, counted = search.highest_id(self._client, self._object_type)
        # so that the reading does not stop to count them
        self._guard.expect(counted)
        ranges = IdRanges(remaining, highest + 1)
        requested: dict[Future[ListedPage], IdRange] = {}
        # not `wait(…, FIRST_COMPLETED)`, which looks at each request again for every page
        ended: queue.SimpleQueue[Future[ListedPage]] = queue.SimpleQueue()
        # only one at first, because its page shows how densely the ids lie
        wanted = 1
        try:
            while ranges and not self._stopped.is_set():
                while len(requested) < wanted and self._read_ahead.acquire(
                    self._stopped.is_set, wait=not requested
                ):
                    part = ranges.take()
                    if part is None:
                        self._read_ahead.release()
                        break
                    future = self._threads.submit(self._request, part.cursor)
                    requested[future] = part
                    future.add_done_callback(ended.put)
                if requested:
                    future = ended.get()
                    self._deliver(ranges, requested[future], future.result())
                    del requested[future]
                wanted = requests_wanted(self._client)
        finally:
            # after an error: these pages are not delivered
            wait(requested)
            self._read_ahead.release(len(requested))

    def _deliver(self, ranges: IdRanges, part: IdRange, listed: ListedPage) -> None:
        """Verify and queue a page of a range."""
        ids = _ids(listed)
        position = _verified(listed, ids, part.position)
        self._guard.note(len(ids))
        covers = ranges.advance(part, ids, position, listed.after)
        self._results.put((partial(self._position.cover, *covers), _within(listed.page, *covers)))

    def _page(self, after: str | None) -> ListedPage | None:
        """Request a page when it may be read; None if the reading was stopped."""
        if not self._read_ahead.acquire(self._stopped.is_set):
            return None
        try:
            return self._request(after)
        except Exception:
            self._read_ahead.release()
            raise

    def _request(self, after: str | None) -> ListedPage:
        try:
            return self._client.record_page(
                self._object_type, self._properties, after, archived=self._archived
            )
        except ContractError as exc:
            if exc.status in (400, 404) and after is not None:
                raise _CursorsAreOpaque(str(exc)) from exc
            raise

    def _new_guard(self) -> CursorGuard:
        kind = "archived " if self._archived else ""
        # search does not count archived records
        is_counted = self._searchable and not self._archived
        return CursorGuard(
            f"of {kind}{self._object_type}",
            (lambda: search.count(self._client, self._object_type, [])) if is_counted else None,
        )


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
