"""Reading the earlier values of properties."""

from include.extract.extraction import Extraction
from include.extract.side_by_side import in_order
from include.hubspot.answers import HistoryPage
from include.hubspot.api import HISTORY_BATCH_SIZE
from include.objects import CrmObject
from include.warehouse.property_history import Unread, save_histories, unread_histories
from include.warehouse.record_table import RecordTable


def read_histories(extraction: Extraction, crm_object: CrmObject, table: RecordTable) -> None:
    """Read the histories of the records that changed since theirs were read last."""
    names = sorted(crm_object.property_history)
    asked = ",".join(names)

    def ask(unread: list[Unread]) -> tuple[list[Unread], HistoryPage]:
        ids = [str(record_id) for record_id, _ in unread]
        return unread, extraction.client.read_history(crm_object.object_type, ids, names)

    every = unread_histories(table, asked, HISTORY_BATCH_SIZE)
    for unread, page in in_order(extraction.client, ask, every):
        extraction.tally.repairs.add(page.repairs)
        save_histories(
            extraction.warehouse, extraction.scan, crm_object.name, asked, unread, page.results
        )
