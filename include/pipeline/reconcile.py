"""Compare the live records of the warehouse and of the portal, and resolve differences."""

import logging
from collections.abc import Iterable, Iterator
from datetime import timedelta
from heapq import merge
from itertools import groupby

from include.hubspot import search
from include.hubspot.crm_objects import CrmObject
from include.pipeline.context import ScanContext
from include.pipeline.read.reader import RecordReader
from include.warehouse.records import GONE, RecordTable

log = logging.getLogger(__name__)

#: Ids that are read from the warehouse at once.
COMPARED_AT_ONCE = 10_000


def reconcile(
    context: ScanContext,
    crm_object: CrmObject,
    reader: RecordReader,
    table: RecordTable,
    *,
    by_creation: bool,
) -> dict[str, int]:
    """Count; if the counts differ, read what changed since the scan began and count again; if they
    still differ, compare id by id, and read each record that differs.

    HubSpot's count comes from search, which lags behind, so only records created more than
    ``search_lag_s`` ago are compared.

    Returns columns of `scan_objects`: the numbers of live records in HubSpot and in the warehouse,
    and as ``unexplained`` the records whose state still differs after each was read by id.

    :param by_creation: False if the portal has no creation times: all records are compared.
    """
    client, object_type = context.client, crm_object.object_type
    since = context.hubspot_now - timedelta(seconds=context.tenant.search_lag_s)
    before = since if by_creation else None
    filters = search.created_before(crm_object.created_property, since) if by_creation else []
    portal, held = search.count(client, object_type, filters), table.count_live(before)
    if portal != held:
        reader.catch_up(since)
        portal, held = search.count(client, object_type, filters), table.count_live(before)
    if portal == held:
        return _columns(portal, held)
    log.info(
        "tenant %s: HubSpot counts %d live %s, the warehouse %d: comparing by id",
        context.tenant.id,
        portal,
        crm_object.name,
        held,
    )
    pages = search.ids_matching(client, object_type, filters)
    batches = table.live_id_batches(COMPARED_AT_ONCE, created_before=before)
    doubtful = list(
        in_one_only(
            (int(record_id) for ids in pages for record_id in ids),
            (record_id for ids in batches for record_id in ids),
        )
    )
    if not doubtful:
        context.warn(
            f"{crm_object.name}: HubSpot counts {portal} live records, but lists exactly the "
            f"{held} in the warehouse."
        )
    stated = reader.look_up(doubtful)
    rows = table.states(doubtful)
    unexplained = sum(rows.get(record_id, GONE) != state for record_id, state in stated.items())
    held = table.count_live(before)
    if doubtful and not unexplained and portal < held:
        portal = search.count(client, object_type, filters)
        if portal < held:
            context.warn(
                f"{crm_object.name}: HubSpot's search finds {portal} live records, but by their "
                f"ids {held} exist. It may have left out changes too; the next full scan reads "
                "them."
            )
    return _columns(portal, held, unexplained)


def _columns(portal: int, held: int, unexplained: int = 0) -> dict[str, int]:
    return {
        "portal_live": portal,
        "warehouse_live": held,
        "difference": portal - held,
        "unexplained": unexplained,
    }


def in_one_only(left: Iterable[int], right: Iterable[int]) -> Iterator[int]:
    """Yield the numbers that only one of two ascending sequences has, without storing them."""
    for number, same in groupby(merge(left, right)):
        if len(list(same)) == 1:
            yield number
