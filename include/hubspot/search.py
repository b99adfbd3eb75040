"""Finding records by search: all of them, however many there are or share one moment.

A query yields 10,000 results at most, and thousands of records can carry the same modification
time (bulk updates). So a walk goes by ascending id inside a fixed filter: each query asks for ids
above the last one, and none is ever paged. docs/api-integration.md#search
"""

import math
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from include.errors import ContractError
from include.hubspot.api import SEARCH_PAGE_SIZE
from include.hubspot.client import HubSpotClient

Filter = dict[str, Any]

#: Searching from 1970 itself was seen to answer 500.
_EARLIEST_MS = 1_000


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
    """Return how many live records HubSpot says there are."""
    return client.search(object_type, filters, limit=1).total


def highest_id(client: HubSpotClient, object_type: str) -> int:
    """Return the highest id of the live records that search knows of; 0: there is none."""
    found = client.search(object_type, [], limit=1, descending=True).results
    return int(found[0].id) if found else 0


def ids_matching(
    client: HubSpotClient, object_type: str, filters: list[Filter], *, above: int = -1
) -> Iterator[list[str]]:
    """Yield the ids of all live records that pass *filters*, ascending from *above* on, in pages.

    Raises ContractError when HubSpot does not answer in ascending order: records would be lost.
    """
    while True:
        beyond = [_filter("hs_object_id", "GT", above)] if above >= 0 else []
        page = client.search(object_type, [*filters, *beyond], limit=SEARCH_PAGE_SIZE)
        ids = [found.id for found in page.results]
        _require_ascending(ids, above, client.tenant_id)
        if ids:
            yield ids
            above = int(ids[-1])
        if not ids or page.total <= len(ids):
            return


def _filter(prop: str, operator: str, value: int) -> Filter:
    return {"propertyName": prop, "operator": operator, "value": str(value)}


def _require_ascending(ids: list[str], above: int, tenant_id: str | None) -> None:
    try:
        numbers = [above, *map(int, ids)]
    except ValueError:
        numbers = []
    if not numbers or any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ContractError(
            "HubSpot's search did not answer in ascending order of hs_object_id.",
            tenant_id=tenant_id,
            remedy="Report it; until it is mended, full scans (mode=full) still read everything.",
        )
