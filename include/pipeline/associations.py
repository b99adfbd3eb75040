"""Read the associations of records."""

from include.hubspot.crm_objects import CrmObject, object_type_of
from include.hubspot.endpoints import ASSOCIATIONS_BATCH_SIZE
from include.pipeline.context import ScanContext
from include.pipeline.load.chunk_writer import ChunkWriter
from include.pipeline.read.concurrency import map_concurrently
from include.warehouse.associations import (
    Link,
    count_associations,
    drop_associations_of_the_gone,
    links_of,
    replace_associations,
)
from include.warehouse.records import RecordTable

#: Up to this many live records, every scan reads all associations, of 1,000 records a request.
#: Above it, only full scans do, and the first scan after one that could not read all; other scans
#: read those of the records they received.
ALL_ASSOCIATIONS_MAX_RECORDS = 100_000


def read_associations(
    context: ScanContext,
    crm_object: CrmObject,
    table: RecordTable,
    mode: str,
    writer: ChunkWriter,
    done: dict[str, int],
) -> int:
    """Bring the associations of an object up to date, and return how many there are now.

    HubSpot does not document whether a new association changes its record's modification time, so
    all are read again if that is cheap. docs/how-scans-work.md#associations

    :param done: object type, with ":all" if all are read → last record id; and with ":unanswered"
        after it → records without an answer, so that a retry knows of them. Updated in place.
    """
    for to_type in crm_object.associations:
        _read(context, crm_object, table, to_type, mode, writer, done)
    drop_associations_of_the_gone(table)
    return count_associations(context.warehouse, context.scan, crm_object.name)


def _read(
    context: ScanContext,
    crm_object: CrmObject,
    table: RecordTable,
    to_type: str,
    mode: str,
    writer: ChunkWriter,
    done: dict[str, int],
) -> None:
    def ask(ids: list[int]) -> tuple[list[int], set[int], set[Link], int]:
        """Return *ids*, those without an answer, links, and the number of links left out."""
        results, unanswered = context.client.associations(
            crm_object.object_type, object_type_of(to_type), [str(record_id) for record_id in ids]
        )
        left_out = set(map(int, unanswered))
        return ids, left_out, *links_of(results, of=set(ids) - left_out)

    name, what = crm_object.name, f"associations:{crm_object.name}:{to_type}"
    everything = mode == "full" or (
        mode == "incremental"
        and not context.is_fresh(what)
        and (
            not context.freshness.is_known(what)
            or table.count_live(None) <= ALL_ASSOCIATIONS_MAX_RECORDS
        )
    )
    # a retry may read fewer records than the try before it, so each mode has its own position
    pass_name = f"{to_type}:all" if everything else to_type
    batches = table.live_id_batches(
        ASSOCIATIONS_BATCH_SIZE,
        above=done.get(pass_name, -1),
        received_without_success=not everything,
    )
    unanswered, ended = done.get(f"{pass_name}:unanswered", 0), False
    with context.optional(f"{name}: associations with {to_type}"):
        for asked, left_out, links, misfits in map_concurrently(context.client, ask, batches):
            if misfits:
                context.warn(
                    f"{name}: associations with {to_type} were left out because their id, category "
                    "or type does not fit the table."
                )
            # the stored associations of unanswered records are not changed
            ids = [known for known in asked if known not in left_out]
            replace_associations(context.warehouse, context.scan, name, to_type, ids, links)
            unanswered += len(left_out)
            done[f"{pass_name}:unanswered"] = unanswered
            done[pass_name] = asked[-1]
            writer.checkpoint()
        ended = True
    if not ended or unanswered:
        context.freshness.forget(what)
    elif everything:
        context.note_fresh(what)
    if unanswered:
        context.warn(
            f"{name}: HubSpot did not return all associations with {to_type} (missing records: "
            f"{unanswered}). The stored ones were not changed."
        )
