"""Earlier values of properties (`property_history`), and whose were read (`history_reads`)."""

from collections.abc import Iterator, Sequence

from include.hubspot.answers import RecordHistory
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.records import RecordTable
from include.warehouse.values import is_key, to_moment

#: (record id, hash of the content for which the history is read)
Unread = tuple[int, int]


def unread_histories(table: RecordTable, properties: str, size: int) -> Iterator[list[Unread]]:
    """Return the live records whose content changed since the history of *properties* was read.

    In lists of *size*, by ascending id.

    :param properties: identifies the requested properties, as in `history_reads.properties`.
    """
    return table.number_batches(
        """
        select row.{id}, row._content_hash from {table} as row
        where {of_object} and {live} and not exists (
            select from {history_reads} as done
            where done._tenant_id = %(tenant_id)s and done.object = %(object)s
              and done.record_id = row.{id}
              and done.content_hash = row._content_hash
              and done.properties = %(properties)s
        )
        order by 1
        """,
        size,
        nested_loops=False,
        properties=properties,
    )


def forget_history_reads(table: RecordTable) -> None:
    """Make the scan read the histories of all records of an object again."""
    table.change(
        "delete from {history_reads} where _tenant_id = %(tenant_id)s and object = %(object)s"
    )


def save_histories(
    warehouse: Warehouse,
    scan: Scan,
    object_name: str,
    properties: str,
    unread: Sequence[Unread],
    histories: Sequence[RecordHistory],
) -> int:
    """Add new values of some records' histories, and mark them as read, in one transaction.

    Nothing is removed: HubSpot may send less of an old history than it once did. Returns how many
    values were left out because HubSpot does not state when they changed; the histories of their
    records are not marked as read.
    """
    asked = {str(record_id) for record_id, _ in unread}
    pasts = [
        (int(history.id), name, to_moment(past.timestamp), past)
        for history in histories
        if history.id in asked
        for name, newest_first in (history.properties_with_history or {}).items()
        if is_key(name)
        # of several at the same time, the newest is kept
        for past in reversed(newest_first)
    ]
    values = {
        (record_id, name, moment): (past.value, past.source_type, past.source_id)
        for record_id, name, moment, past in pasts
        if moment is not None
    }
    undated = [record_id for record_id, _, moment, _ in pasts if moment is None]
    done = [(known, content_hash) for known, content_hash in unread if known not in undated]
    of = {"tenant_id": scan.tenant.id, "object": object_name}
    with warehouse.connect() as connection:
        # one statement for all rows: one statement per row costs PostgreSQL ten times as much
        connection.run(
            """
            insert into {property_history} as held
                (_tenant_id, object, record_id, property, changed_at, value, source_type, source_id)
            select %(tenant_id)s, %(object)s, past.*
            from unnest(%(ids)s::bigint[], %(properties)s::text[], %(moments)s::timestamptz[],
                        %(values)s::text[], %(source_types)s::text[], %(source_ids)s::text[])
                as past
            on conflict (_tenant_id, object, record_id, property, changed_at) do update
            set value = excluded.value,
                source_type = excluded.source_type,
                source_id = excluded.source_id
            -- HubSpot sends all values of a record again whenever it changes
            where (held.value, held.source_type, held.source_id)
                is distinct from (excluded.value, excluded.source_type, excluded.source_id)
            """,
            of
            | {
                "ids": [record_id for record_id, _, _ in values],
                "properties": [name for _, name, _ in values],
                "moments": [moment for _, _, moment in values],
                "values": [value for value, _, _ in values.values()],
                "source_types": [source_type for _, source_type, _ in values.values()],
                "source_ids": [source_id for _, _, source_id in values.values()],
            },
        )
        connection.run(
            """
            insert into {history_reads} (_tenant_id, object, record_id, content_hash, properties)
            select %(tenant_id)s, %(object)s, done.id, done.hash, %(properties)s
            from unnest(%(ids)s::bigint[], %(hashes)s::bigint[]) as done (id, hash)
            on conflict (_tenant_id, object, record_id) do update
            set content_hash = excluded.content_hash, properties = excluded.properties
            """,
            of
            | {
                "properties": properties,
                "ids": [record_id for record_id, _ in done],
                "hashes": [content_hash for _, content_hash in done],
            },
        )
    return len(undated)
