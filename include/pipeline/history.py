"""Reading the earlier values of properties."""

from collections.abc import Collection, Sequence

from include.errors import ContractError
from include.hubspot.answers import HistoryPage
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import HISTORY_BATCH_SIZE
from include.pipeline.context import ScanContext
from include.pipeline.read.concurrency import map_concurrently
from include.warehouse.property_history import Unread, save_histories, unread_histories
from include.warehouse.records import RecordTable


def read_histories(
    context: ScanContext, crm_object: CrmObject, table: RecordTable, defined: Collection[str]
) -> None:
    """Read the histories of the records that changed since theirs were read last.

    :param defined: the properties that the portal has; the history of others is not asked for.
    """
    wanted = sorted(crm_object.property_history)
    names = [name for name in wanted if name in defined]
    with context.optional(f"{crm_object.name}: histories of properties"):
        if names and not _read(context, crm_object, table, names):
            names = [name for name in names if _is_accepted(context, crm_object, table, name)]
            if names and not _read(context, crm_object, table, names):
                names = []
        if refused := [name for name in wanted if name not in names]:
            context.warn(
                f"{crm_object.name}: HubSpot gives no history of {', '.join(refused)}: the account "
                "has no such property, or HubSpot refuses its history. Correct the names in the "
                "tenants file."
            )


def _read(
    context: ScanContext, crm_object: CrmObject, table: RecordTable, names: Sequence[str]
) -> bool:
    """Read the histories of *names*, and return whether HubSpot accepts all of them."""

    def ask(unread: list[Unread]) -> tuple[list[Unread], HistoryPage]:
        ids = [str(record_id) for record_id, _ in unread]
        return unread, context.client.read_history(crm_object.object_type, ids, names)

    asked, unanswered, untimed = ",".join(names), 0, 0
    every = unread_histories(table, asked, HISTORY_BATCH_SIZE)
    try:
        for unread, page in map_concurrently(context.client, ask, every):
            context.repairs.add(page.repairs)
            left_out = set(map(int, page.unanswered))
            answered = [entry for entry in unread if entry[0] not in left_out]
            untimed += save_histories(
                context.warehouse,
                context.scan,
                crm_object.name,
                asked,
                answered,
                page.results,
            )
            unanswered += len(left_out)
    except ContractError as exc:
        if exc.status != 400:
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


def _is_accepted(
    context: ScanContext, crm_object: CrmObject, table: RecordTable, name: str
) -> bool:
    """Return whether HubSpot gives the history of one property, by asking for one record's."""
    for ((record_id, _),) in unread_histories(table, name, 1):
        try:
            context.client.read_history(crm_object.object_type, [str(record_id)], [name])
        except ContractError as exc:
            if exc.status != 400:
                raise
            return False
        return True
    return True
