"""Find records by search, beyond its limit of 10,000 results a query.

Thousands of records can have the same modification time (bulk updates), so times can't divide a
search. All queries of a search have the same filters, and each asks for the lowest ids above the
last one. No query is paged. docs/api-integration.md#search
"""

import logging
import math
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from include.errors import ContractError, HubSpotUnavailableError
from include.hubspot.answers import CursorGuard, SearchPage
from include.hubspot.client import HubSpotClient
from include.hubspot.endpoints import SEARCH_PAGE_SIZE
from include.hubspot.retry import backoff_s

log = logging.getLogger(__name__)

Filter = dict[str, Any]

#: Searching from 1970 itself was seen to answer 500.
_EARLIEST_MS = 1_000
#: Tries of a query whose answers have fewer records than announced.
TRIES = 5


def modified_between(prop: str, start: datetime, end: datetime | None) -> list[Filter]:
    """Return filters for ``start <= modified < end``; HubSpot compares whole milliseconds."""
    start_ms = max(_EARLIEST_MS, math.floor(start.timestamp() * 1000))
    filters = [_filter(prop, "GTE", start_ms)]
    if end is not None:
        filters.append(_filter(prop, "LT", math.ceil(end.timestamp() * 1000)))
    return filters


def created_before(prop: str, moment: datetime) -> list[Filter]:
    return [_filter(prop, "LT", math.floor(moment.timestamp() * 1000))]


def count(client: HubSpotClient, object_type: str, filters: list[Filter]) -> int:
    """Return HubSpot's count of the live records that pass *filters*."""
    return client.search(object_type, filters, limit=1).total


def highest_id(client: HubSpotClient, object_type: str) -> tuple[int, int]:
    """Return the highest id of the live records in search (0: there are none), and their number."""
    page = client.search(object_type, [], limit=1, descending=True)
    return int(page.ids[0]) if page.ids and page.ids[0].isdecimal() else 0, page.total


def ids_matching(
    client: HubSpotClient,
    object_type: str,
    filters: list[Filter],
    *,
    above: int = -1,
    announced: int | None = None,
) -> Iterator[list[str]]:
    """Yield the ids of all live records that pass *filters*, ascending from *above* on, in pages.

    Each answer states how many records there are above the last id. If a page is shorter than that,
    or the next answer counts fewer records than were left, the query is repeated. Records may
    really have left the search meanwhile (archived, or modified again, out of a window). This is
    assumed if a second answer is as long as it states, and finds nothing that the first one lacks.

    :param announced: the count of an earlier search; None: count first.

    Raises ContractError if HubSpot does not answer in ascending order, or returns far more records
    than it counts (`CursorGuard`), and HubSpotUnavailableError if it keeps returning fewer than it
    announces.
    """
    if announced is None:
        announced = count(client, object_type, _above(filters, above))
    counted = announced
    guard = CursorGuard(f"of {object_type} in search", lambda: counted)
    while True:
        page = _whole_page(client, object_type, filters, above, announced)
        if page.ids:
            yield page.ids
        if not page.left:
            return
        guard.note(len(page.ids))
        above, announced = int(page.ids[-1]), page.left


def _whole_page(
    client: HubSpotClient, object_type: str, filters: list[Filter], above: int, announced: int
) -> SearchPage:
    """Return the first page of the records above an id, of which *announced* were counted."""

    def ask() -> SearchPage:
        page = client.search(object_type, _above(filters, above), limit=SEARCH_PAGE_SIZE)
        page.total = max(page.total, len(page.results))
        _require_ascending(page.ids, above)
        return page

    page = ask()
    for attempt in range(1, TRIES):
        if page.total >= announced and not _is_short(page):
            return page
        pause_s = backoff_s(attempt)
        log.warning(
            "tenant %s: search announced %d %s and now counts %d, %d on this page; asking again "
            "in %.1f s",
            client.tenant_id,
            announced,
            object_type,
            page.total,
            len(page.ids),
            pause_s,
        )
        client.transport.sleep(pause_s)
        first, page = page, ask()
        if not _is_short(page) and _agree(first, page):
            return page
    raise HubSpotUnavailableError(
        f"HubSpot's search of {object_type} announced {max(announced, page.total)} records above "
        f"id {above}, but returned {len(page.ids)} of {page.total}.",
        remedy="If this continues, look at HubSpot's status page.",
    )


def _is_short(page: SearchPage) -> bool:
    """Return whether a page lacks records that it announces itself."""
    return len(page.ids) < min(page.total, SEARCH_PAGE_SIZE)


def _agree(first: SearchPage, second: SearchPage) -> bool:
    """Return whether a second answer confirms that there are no more records than in the first."""
    if second.total > first.total:
        return False
    reaches_to = int(first.ids[-1]) if first.left and first.ids else math.inf
    within = {record_id for record_id in second.ids if int(record_id) <= reaches_to}
    return within.issubset(first.ids)


def _above(filters: list[Filter], record_id: int) -> list[Filter]:
    return [*filters, _filter("hs_object_id", "GT", record_id)] if record_id >= 0 else filters


def _filter(prop: str, operator: str, value: int) -> Filter:
    return {"propertyName": prop, "operator": operator, "value": str(value)}


def _require_ascending(ids: list[str], above: int) -> None:
    try:
        numbers = [above, *map(int, ids)]
    except ValueError:
        numbers = []
    if not numbers or any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ContractError(
            "HubSpot's search did not answer in ascending order of hs_object_id.",
            remedy="Report it; until it is fixed, full scans (mode=full) still read everything.",
        )
