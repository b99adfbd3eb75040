"""Reading what records are associated with."""

from include.errors import ScopeMissingError
from include.extract.extraction import Extraction
from include.hubspot.api import ASSOCIATIONS_BATCH_SIZE
from include.hubspot.batches import batches
from include.objects import CrmObject
from include.warehouse.associations import (
    count_associations,
    drop_associations_of_the_gone,
    links_of,
    replace_associations,
)
from include.warehouse.record_table import RecordTable

#: Up to so many live records, every scan reads all associations: a thousand records a request.
#: Above, only full scans do, and the others read those of modified records.
ALL_ASSOCIATIONS_MAX_RECORDS = 100_000


def read_associations(
    extraction: Extraction, crm_object: CrmObject, table: RecordTable, mode: str
) -> int:
    """Bring the associations of an object up to date, and return how many there are now.

    Whether a new association moves its record's modification time is not known: so all are read
    again where that is cheap. docs/how-scans-work.md#associations
    """
    few = table.count_live(None) <= ALL_ASSOCIATIONS_MAX_RECORDS
    everything = mode == "full" or (mode == "incremental" and few)
    ids = table.live_ids() if everything else table.live_ids_seen(extraction.scan.id)
    for to_type in crm_object.associations:
        try:
            for batch in batches(ids, ASSOCIATIONS_BATCH_SIZE):
                _read_batch(extraction, crm_object, to_type, batch)
        except ScopeMissingError as exc:
            extraction.warn(
                f"{crm_object.name}: associations with {to_type} were not read: "
                f"the token lacks {', '.join(exc.scopes) or 'a scope'}."
            )
    drop_associations_of_the_gone(table)
    return count_associations(extraction.warehouse, extraction.scan, crm_object.name)


def _read_batch(
    extraction: Extraction, crm_object: CrmObject, to_type: str, ids: list[int]
) -> None:
    pages = extraction.client.associations(
        crm_object.object_type, to_type, [str(record_id) for record_id in ids]
    )
    links = {link for page in pages for link in links_of(page.results)}
    replace_associations(
        extraction.warehouse, extraction.scan, crm_object.name, to_type, ids, links
    )
