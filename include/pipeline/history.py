"""Read the earlier values of properties."""

import hashlib
from collections.abc import Collection, Sequence

from include.errors import ContractError
from include.hubspot.answers import HistoryPage
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import HISTORY_BATCH_SIZE
from include.pipeline.context import ScanContext
from include.pipeline.properties import shortened
from include.pipeline.read.concurrency import map_concurrently
from include.warehouse.property_history import Unread, save_histories, unread_histories
from include.warehouse.records import RecordTable

#: Statuses that refuse a request for an unknown property, or for too many properties.
REFUSALS = (400, 413, 414)
#: Longer lists of names are stored as their hash.
ASKED_MAX_CHARS = 200


def read_histories(
    context: ScanContext, crm_object: CrmObject, table: RecordTable, defined: Collection[str]
) -> None:
    """Read the histories of the records that changed since their histories were last read.

    One request asks for all names. If HubSpot refuses it, requests for a single record find out
    which names it refuses, and how many it accepts at once.

    :param defined: the properties that the portal has; the history of others is not requested.
    """
    wanted = sorted(
        defined if crm_object.property_history == "all" else crm_object.property_history
    )
    groups = [[name for name in wanted if name in defined]]
    with context.optional(f"{crm_object.name}: histories of properties"):
        if groups[0] and not _read(context, crm_object, table, wanted, groups):
            groups = _accepted(context, crm_object, table, groups[0])
            if groups and not _read(context, crm_object, table, wanted, groups):
                groups = []
        accepted = {name for group in groups for name in group}
        if refused := [name for name in wanted if name not in accepted]:
            reason = "it refuses the request."
            if crm_object.property_history != "all":
                reason = (
                    "the account has no such property, or HubSpot refuses its history. Correct "
                    "the names in the tenants file."
                )
            context.warn(
                f"{crm_object.name}: HubSpot returns no history of {shortened(refused)}: {reason}"
            )


def _read(
    context: ScanContext,
    crm_object: CrmObject,
    table: RecordTable,
    wanted: Sequence[str],
    groups: Sequence[Sequence[str]],
) -> bool:
    """Read the histories of all *groups* of names, one request each; False: HubSpot refuses one."""

    def ask(unread: list[Unread]) -> tuple[list[Unread], list[HistoryPage]]:
        ids = [str(record_id) for record_id, _ in unread]
        object_type = crm_object.object_type
        return unread, [context.client.read_history(object_type, ids, names) for names in groups]

    asked, unanswered, untimed = _asked(crm_object, wanted, groups), 0, 0
    batches = unread_histories(table, asked, HISTORY_BATCH_SIZE)
    try:
        for unread, pages in map_concurrently(context.client, ask, batches):
            left_out = {int(record_id) for page in pages for record_id in page.unanswered}
            # The others were not found: archived since they were read, and perhaps restored later.
            answered = set.intersection(*({int(h.id) for h in page.results} for page in pages))
            for page in pages:
                context.repairs.add(page.repairs)
            untimed += save_histories(
                context.warehouse,
                context.scan,
                crm_object.name,
                asked,
                [entry for entry in unread if entry[0] in answered - left_out],
                [history for page in pages for history in page.results],
            )
            unanswered += len(left_out)
    except ContractError as exc:
        if exc.status not in REFUSALS:
            raise
        return False
    if unanswered:
        context.warn(
            f"{crm_object.name}: HubSpot did not return all histories (missing records: "
            f"{unanswered}). The next scan asks for them again."
        )
    if untimed:
        context.warn(
            f"{crm_object.name}: values of histories without a time were not stored (values: "
            f"{untimed}). The next scan asks for them again."
        )
    return True


def _asked(crm_object: CrmObject, wanted: Sequence[str], groups: Sequence[Sequence[str]]) -> str:
    """Return the text for `history_reads.properties`: a change makes scans read all again.

    If rows have all properties, a new property changes a row as soon as it has a value, which is
    reason enough to read its history: the text is "all". Otherwise it is the list of names.
    """
    accepted = {name for group in groups for name in group}
    if crm_object.property_history == crm_object.properties == "all":
        text = ",".join(["all", *(f"-{name}" for name in wanted if name not in accepted)])
    else:
        text = ",".join(sorted(accepted))
    if len(text) <= ASKED_MAX_CHARS:
        return text
    return hashlib.sha256(text.encode()).hexdigest()


def _accepted(
    context: ScanContext, crm_object: CrmObject, table: RecordTable, names: Sequence[str]
) -> list[list[str]]:
    """Return the names whose history HubSpot returns, in as few lists as it accepts.

    Tries them with one record: first all names, then halves of each refused list.
    """
    one = next(unread_histories(table, "", 1), None)
    if one is None:
        return [list(names)]

    def accepts(some: Sequence[str]) -> bool:
        try:
            context.client.read_history(crm_object.object_type, [str(one[0][0])], some)
        except ContractError as exc:
            if exc.status not in REFUSALS:
                raise
            return False
        return True

    def parts_of(some: list[str]) -> list[list[str]]:
        if accepts(some):
            return [some]
        if len(some) == 1:
            return []
        half = len(some) // 2
        return parts_of(some[:half]) + parts_of(some[half:])

    # if even this property's history is refused, all are: don't try each name
    groups = parts_of(list(names)) if accepts(["hs_object_id"]) else []
    together = [name for group in groups for name in group]
    return [together] if len(groups) > 1 and accepts(together) else groups
