"""What a scan received, as a temporary table that checks can join; values that do not fit."""

from collections import Counter
from collections.abc import Collection

import psycopg
from psycopg import sql

from include.warehouse.view_plan import Conversion

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


def count_misfits(
    connection: psycopg.Connection,
    schema: str,
    tenant_id: str,
    conversions: Collection[Conversion],
    *,
    only_received: bool,
) -> Counter[str]:
    """Count the values that the tenant's views show as NULL, by column: "deals.size".

    :param only_received: in rows of the table `received`, else in all of the tenant's.
    """
    misfits: Counter[str] = Counter()
    for crm_object in {conversion.crm_object for conversion in conversions}:
        of_object = [c for c in conversions if c.crm_object == crm_object]
        is_deals = crm_object == "deals"
        rows = connection.execute(
            sql.SQL(_MISFITS).format(
                schema=sql.Identifier(schema),
                table=sql.Identifier(schema, "deals" if is_deals else "records"),
                id=sql.Identifier("deal_id" if is_deals else "record_id"),
                of_object=sql.SQL("true" if is_deals else "object = %(object)s"),
            ),
            {
                "tenant_id": tenant_id,
                "object": crm_object,
                "all": not only_received,
                "columns": [c.column for c in of_object],
                "properties": [c.hubspot_property for c in of_object],
                "functions": [c.function for c in of_object],
            },
        )
        for column, count in rows:
            name = f"{crm_object}.{column}"
            misfits[name] = max(misfits[name], count)
    return misfits


# A row's properties are decompressed once (`|| '{}'`), not once for each column. The columns are
# rows, not columns of the query: to plan it with 1,500 conversions would take longer than to count.
_MISFITS = """
    select typed.column_name, count(*)
    from (
        select properties || '{{}}' as properties from {table}
        where _tenant_id = %(tenant_id)s and {of_object}
          and (%(all)s or {id} in (select record_id from received where object = %(object)s))
        offset 0
    ) as record,
    unnest(%(columns)s::text[], %(properties)s::text[], %(functions)s::text[])
        as typed (column_name, property, function),
    lateral (select properties ->> property as value offset 0) as its
    where value <> '' and case function
        when 'as_number' then {schema}.as_number(value) is null
        when 'as_boolean' then {schema}.as_boolean(value) is null
        when 'as_date' then {schema}.as_date(value) is null
        when 'as_timestamptz' then {schema}.as_timestamptz(value) is null
    end
    group by typed.column_name, typed.function
"""
