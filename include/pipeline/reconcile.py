"""Does the warehouse hold as many live records as the portal? If not: which ones, and why?"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby

from include.hubspot import search
from include.hubspot.crm_objects import CrmObject
from include.pipeline.context import ScanContext
from include.pipeline.read.reader import LookedUp, RecordReader
from include.warehouse.records import ARCHIVED, GONE, LIVE, RecordTable

log = logging.getLogger(__name__)

#: Ids that are fetched from the warehouse at once.
COMPARED_AT_ONCE = 10_000


@dataclass(frozen=True)
class Reconciliation:
    """Live records as HubSpot and as the warehouse count them.

    ``unexplained``: records about which HubSpot, asked for each by id, and the warehouse disagree
    in the end.
    """

    portal_live: int
    warehouse_live: int
    unexplained: int

    @property
    def difference(self) -> int:
        return self.portal_live - self.warehouse_live


class Reconciler:
    """Compares one object.

    Search counts, and search is late: only records created before ``search_lag_s`` ago are
    compared, where the portal knows when a record was created.
    """

    def __init__(
        self,
        extraction: ScanContext,
        crm_object: CrmObject,
        reader: RecordReader,
        table: RecordTable,
        *,
        by_creation: bool,
    ) -> None:
        self._extraction = extraction
        self._type = crm_object.object_type
        self._reader = reader
        self._table = table
        lag = timedelta(seconds=extraction.tenant.search_lag_s)
        self._since = extraction.hubspot_now - lag
        self._before: datetime | None = self._since if by_creation else None
        self._filters = (
            search.created_before(crm_object.created_property, self._since) if by_creation else []
        )

    def reconcile(self) -> Reconciliation:
        """Count; if the counts differ, read what changed since the scan began and count again; if
        they still differ, compare id by id, and ask HubSpot about each record that differs.
        """
        portal, held = self._counts()
        if portal != held:
            self._reader.catch_up(self._since)
            portal, held = self._counts()
        if portal == held:
            return Reconciliation(portal, held, 0)
        log.info(
            "tenant %s: HubSpot counts %d live %s, the warehouse %d: comparing by id",
            self._extraction.tenant.id,
            portal,
            self._table.object_name,
            held,
        )
        unexplained = self._compare_by_id(portal)
        return Reconciliation(portal, self._table.count_live(self._before), unexplained)

    def _counts(self) -> tuple[int, int]:
        portal = search.count(self._extraction.client, self._type, self._filters)
        return portal, self._table.count_live(self._before)

    def _compare_by_id(self, counted: int) -> int:
        pages = search.ids_matching(self._extraction.client, self._type, self._filters)
        batches = self._table.live_id_batches(COMPARED_AT_ONCE, created_before=self._before)
        doubtful = list(
            in_one_only(
                (int(record_id) for ids in pages for record_id in ids),
                (record_id for ids in batches for record_id in ids),
            )
        )
        if not doubtful:
            self._extraction.warn(
                f"{self._table.object_name}: HubSpot counts {counted} live records, but lists "
                "exactly the ones in the warehouse."
            )
        found = self._reader.look_up(doubtful)
        self._reader.mark_gone(found.gone)
        rows = self._table.states(doubtful)
        return sum(rows.get(record_id, GONE) != _state(found, record_id) for record_id in doubtful)


def in_one_only(left: Iterable[int], right: Iterable[int]) -> Iterator[int]:
    """Yield the numbers that only one of two ascending sequences has. Keeps nothing in memory."""
    for number, same in groupby(merge(left, right)):
        if len(list(same)) == 1:
            yield number


def _state(found: LookedUp, record_id: int) -> str:
    if record_id in found.live:
        return LIVE
    return ARCHIVED if record_id in found.archived else GONE
