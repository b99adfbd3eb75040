"""Reading the earlier values of properties."""

import hashlib
from collections.abc import Collection, Sequence

from include.errors import ContractError
from include.hubspot.answers import HistoryPage
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import HISTORY_BATCH_SIZE
from include.pipeline.context import ScanContext
from include.pipeline.read.concurrency import map_concurrently
from include.warehouse.property_history import Unread, save_histories, unread_histories
from include.warehouse.records import RecordTable

#: Answers to a request that asks for a property that HubSpot refuses, or for too many of them.
REFUSALS = (400, 413, 414)
#: Longer texts of what was asked for are kept as their hash.
ASKED_MAX_CHARS = 200
_NAMES_SHOWN = 20


def read_histories(
    context: ScanContext, crm_object: CrmObject, table: RecordTable, defined: Collection[str]
) -> None:
    """Read the histories of the records that changed since theirs were read last.

    One request asks for all names. If HubSpot refuses it, a single record shows which names it
    refuses, and how many it takes at once.

    :param defined: the properties that the portal has; the history of others is not asked for.
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
            more = f" and {len(refused) - _NAMES_SHOWN} more" if refused[_NAMES_SHOWN:] else ""
            reason = "HubSpot refuses it."
            if crm_object.property_history != "all":
                reason = (
                    "the account has no such property, or HubSpot refuses its history. Correct "
                    "the names in the tenants file."
                )
            context.warn(
                f"{crm_object.name}: HubSpot gives no history of "
                f"{', '.join(refused[:_NAMES_SHOWN])}{more}: {reason}"
            )


def _read(
    context: ScanContext,
    crm_object: CrmObject,
    table: RecordTable,
    wanted: Sequence[str],
    groups: Sequence[Sequence[str]],
) -> bool:
    """Read the histories of all *groups* of names, each by a request of its own, and return whether
    HubSpot accepts all of them.
    """

    def ask(unread: list[Unread]) -> tuple[list[Unread], list[HistoryPage]]:
        ids = [str(record_id) for record_id, _ in unread]
        object_type = crm_object.object_type
        return unread, [context.client.read_history(object_type, ids, names) for names in groups]

    asked, unanswered, untimed = _asked(crm_object, wanted, groups), 0, 0
    every = unread_histories(table, asked, HISTORY_BATCH_SIZE)
    try:
        for unread, pages in map_concurrently(context.client, ask, every):
            left_out = {int(record_id) for page in pages for record_id in page.unanswered}
            for page in pages:
                context.repairs.add(page.repairs)
            untimed += save_histories(
                context.warehouse,
                context.scan,
                crm_object.name,
                asked,
                [entry for entry in unread if entry[0] not in left_out],
                [history for page in pages for history in page.results],
            )
            unanswered += len(left_out)
    except ContractError as exc:
        if exc.status not in REFUSALS:
            raise
        return False
    if unanswered:
        context.warn(
            f"{crm_object.name}: HubSpot says nothing about the histories of {unanswered} records: "
            "they are asked for again by the next scan."
        )
    if untimed:
        context.warn(
            f"{crm_object.name}: HubSpot does not say when {untimed} values of the histories were "
            "set: they are not stored, and are asked for again by the next scan."
        )
    return True


def _asked(crm_object: CrmObject, wanted: Sequence[str], groups: Sequence[Sequence[str]]) -> str:
    """Return what is kept with each record whose history is read: another text reads it again.

    Where a record's row has every property, one that is new to the portal changes the row as soon
    as it has a value: then "all" stays "all". Otherwise the names say it.
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
    """Return the names whose history HubSpot gives, in as few lists as it takes at once.

    One record is asked for, first with all names, then with halves of what is refused.
    """
    one = next(unread_histories(table, "", 1), None)
    if one is None:
        return [list(names)]

    def takes(some: Sequence[str]) -> bool:
        try:
            context.client.read_history(crm_object.object_type, [str(one[0][0])], some)
        except ContractError as exc:
            if exc.status not in REFUSALS:
                raise
            return False
        return True

    def parts_of(some: list[str]) -> list[list[str]]:
        if takes(some):
            return [some]
        if len(some) == 1:
            return []
        half = len(some) // 2
        return parts_of(some[:half]) + parts_of(some[half:])

    # without the history of this one it gives none, and need not be asked for each name
    groups = parts_of(list(names)) if takes(["hs_object_id"]) else []
    together = [name for group in groups for name in group]
    return [together] if len(groups) > 1 and takes(together) else groups
