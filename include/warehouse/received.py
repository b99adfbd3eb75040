"""What a scan received, as a temporary table that checks can join."""

from collections import Counter

import psycopg
from psycopg import sql

#: A condition on `deals`, where the temporary table and the parameter tenant_id are at hand.
OF_THIS_SCAN = sql.SQL(
    "_tenant_id = %(tenant_id)s"
    " and deal_id in (select record_id from received where object = 'deals')"
)


def received_records(connection: psycopg.Connection, schema: str, scan_id: str) -> Counter[str]:
    """Make the table `received` for this transaction, and count its rows by object.

    A record that came twice, in two states, is in it twice.
    """
    connection.execute(
        sql.SQL(
            """
            create temporary table received on commit drop as
            select chunk.object, record.id as record_id, record.content_hash, chunk.chunk,
                   chunk.loaded_at
            from {} as chunk, unnest(chunk.ids, chunk.hashes) as record (id, content_hash)
            where chunk.scan_id = %s
            """
        ).format(sql.Identifier(schema, "scan_chunks")),
        [scan_id],
    )
    connection.execute("analyze received")
    rows = connection.execute("select object, count(*) from received group by object").fetchall()
    return Counter(dict(rows))
