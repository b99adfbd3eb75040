"""The rows of one CRM object of one tenant, and their state in HubSpot.

A row is live unless it is archived, missing in HubSpot, or merged into another. Rows are never
deleted.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from psycopg import sql

from include.warehouse.checkpoints import Chunk, number_array
from include.warehouse.connection import Parts, Warehouse, WarehouseConnection
from include.warehouse.tenant_views.plan import Conversion, kind_of

_FETCHED_AT_ONCE = 10_000
#: How much is stored of what is wrong with a record: values can be long.
DETAIL_CHARACTERS = 200

#: Enough for chains of 2**64 merges.
CHAIN_PASSES_MAX = 64

LIVE, ARCHIVED, GONE = "live", "archived", "gone"


class Counts(NamedTuple):
    """The records that a scan received; their rows: all, the archived ones, and those it wrote."""

    received: int
    held: int
    archived: int
    written: int


def _parts_of(schema: str, object_name: str) -> Parts:
    """Return the parts of statements about one object's table, `row`, by name in braces."""
    kind = kind_of(object_name)
    of_object, alike = "row._tenant_id = %(tenant_id)s", "survivor._tenant_id = row._tenant_id"
    if kind == "record":
        of_object += " and row.object = %(object)s"
        alike += " and survivor.object = row.object"
    merged_into = sql.Identifier(f"merged_into_{kind}_id")
    return {
        "table": sql.Identifier(schema, f"{kind}s"),
        "id": sql.Identifier(f"{kind}_id"),
        "merged_into": merged_into,
        "of_object": sql.SQL(of_object),
        "alike": sql.SQL(alike),
        "live": sql.SQL("not row.archived and row.vanished_at is null and row.{} is null").format(
            merged_into
        ),
        "unmerged": sql.SQL(
            "row.{merged_into} is not null and not row.archived and (%(read_by_id)s or not exists"
            " (select from {table} as survivor where {alike} and survivor.vanished_at is null"
            " and survivor.{id} = row.{merged_into} and row.{id}::text = any(string_to_array("
            "replace(survivor.properties ->> 'hs_merged_object_ids', ' ', ''), ';'))))"
        ).format(
            table=sql.Identifier(schema, f"{kind}s"),
            id=sql.Identifier(f"{kind}_id"),
            merged_into=merged_into,
            alike=sql.SQL(alike),
        ),
        # Not correlated with a row: a scan can receive a million ids, and the planner has no
        # statistics of them while the table is filled for the first time.
        "seen": sql.SQL(
            "(select distinct seen.id from {} as chunk, unnest(chunk.ids) as seen (id)"
            " where chunk.scan_id = %(scan_id)s and chunk.object = %(object)s)"
        ).format(sql.Identifier(schema, "scan_chunks")),
        "received_without_success": sql.SQL(
            "(select distinct seen.id from {} as chunk join {} as scan using (scan_id),"
            " unnest(chunk.ids) as seen (id)"
            " where scan.tenant_id = %(tenant_id)s and chunk.object = %(object)s"
            " and scan.state <> 'succeeded')"
        ).format(sql.Identifier(schema, "scan_chunks"), sql.Identifier(schema, "scans")),
    }


class RecordTable:
    """Deals have a table of their own; all other objects share `records`."""

    def __init__(self, warehouse: Warehouse, tenant_id: str, object_name: str) -> None:
        self._warehouse = warehouse
        self._parameters = {"tenant_id": tenant_id, "object": object_name}
        self.object_name = object_name
        self._parts = _parts_of(warehouse.schema, object_name)

    def count_live(self, created_before: datetime | None) -> int:
        """Count live rows, including all without a creation time."""
        ((count,),) = self.query(
            "select count(*) from {table} as row where {of_object} and {live}"
            " and (%(before)s::timestamptz is null or row.created_at is null"
            " or row.created_at < %(before)s)",
            before=created_before,
        )
        return int(count)

    def live_id_batches(
        self,
        size: int,
        *,
        above: int = -1,
        created_before: datetime | None = None,
        received_without_success: bool = False,
    ) -> Iterator[list[int]]:
        """Yield the ids of live rows, ascending from *above* on, in lists of *size*.

        :param created_before: only records created before this time, or without a creation time.
        :param received_without_success: only records that this scan received, or an earlier one
            that has not succeeded. That one may have ended before it read what belongs to them, and
            a record that was restored or has reappeared without a change is not received again.
        """
        statement = (
            "select row.{id} from {table} as row where {of_object} and {live}"
            " and row.{id} > %(above)s"
            " and (%(before)s::timestamptz is null or row.created_at is null"
            " or row.created_at < %(before)s)"
            " and (not %(without_success)s or row.{id} in {received_without_success})"
            " order by 1"
        )
        for rows in self.number_batches(
            statement,
            size,
            above=above,
            before=created_before,
            without_success=received_without_success,
        ):
            yield [record_id for (record_id,) in rows]

    def unseen_ids(self, scan_id: str, *, archived_only: bool) -> list[int]:
        """Return records that should exist in HubSpot, but that a scan did not receive."""
        return self._ids(
            "select row.{id} from {table} as row where {of_object}"
            " and row.vanished_at is null and row.{merged_into} is null"
            # `not in` is hashed even without statistics; an anti join might compare each row with
            # each id
            " and (row.archived or not %(archived_only)s) and row.{id} not in {seen} order by 1",
            scan_id=scan_id,
            archived_only=archived_only,
        )

    def changed_among(self, chunk: Chunk) -> list[int]:
        """Return the positions in a chunk of records that are new or differ from their rows."""
        return self._ids(
            "select (sent.n - 1)::integer"
            " from unnest(%(ids)s::bigint[], %(hashes)s::bigint[]) with ordinality"
            " as sent (id, hash, n)"
            " left join {table} as row on {of_object} and row.{id} = sent.id"
            " where row._content_hash is distinct from sent.hash order by sent.n",
            ids=number_array(chunk.ids),
            hashes=number_array(chunk.hashes),
        )

    def states(self, ids: Collection[int]) -> dict[int, str]:
        """Return the state of each record that has a row: live, archived or gone."""
        rows = self.query(
            "select row.{id}, case when {live} then 'live' when row.vanished_at is not null"
            " or row.{merged_into} is not null then 'gone' else 'archived' end"
            " from {table} as row where {of_object} and row.{id} = any(%(ids)s)",
            ids=list(ids),
        )
        return dict(rows)

    def counts(self, scan_id: str, since: datetime) -> Counts:
        """Count the records that a scan received; its extraction began at *since*."""
        (row,) = self.query(
            "with seen as materialized {seen}"
            " select count(*), count(row.{id}), count(*) filter (where row.archived), count(*)"
            " filter (where row._scan_id = %(scan_id)s and row._extracted_at >= %(since)s)"
            " from seen left join {table} as row on {of_object} and row.{id} = seen.id",
            scan_id=scan_id,
            since=since,
        )
        return Counts(*row)

    def mark_vanished(self, ids: Sequence[int], at: datetime) -> int:
        """Mark records that HubSpot no longer knows, and return how many were not marked yet."""
        return self.change(
            "update {table} as row set vanished_at = %(at)s where {of_object}"
            " and row.{id} = any(%(ids)s) and row.vanished_at is null"
            " and row.{merged_into} is null",
            ids=list(ids),
            at=at,
        )

    def mark_merged(self, merges: Mapping[int, int]) -> int:
        """Mark merged-away records (id → survivor), and return how many were not marked so yet.

        A record that was merged into one that is itself merged away gets the last survivor.
        """
        if not merges:
            return 0
        marked = self.change(
            "update {table} as row set {merged_into} = merge.survivor, vanished_at = null"
            " from unnest(%(gone)s::bigint[], %(survivors)s::bigint[]) as merge (gone, survivor)"
            " where {of_object} and row.{id} = merge.gone and merge.gone <> merge.survivor"
            " and row.{merged_into} is distinct from merge.survivor",
            gone=list(merges.keys()),
            survivors=list(merges.values()),
        )
        # each pass halves all chains; only a circle, which would never end, needs more
        for _ in range(CHAIN_PASSES_MAX):
            if not self.change(
                "update {table} as row set {merged_into} = survivor.{merged_into}"
                " from {table} as survivor"
                " where {of_object} and {alike} and row.{merged_into} = survivor.{id}"
                " and survivor.{merged_into} is not null"
                " and survivor.{merged_into} is distinct from row.{id}"
            ):
                break
        return marked

    def clear_marks(self, ids: Sequence[int], *, read_by_id: bool = False) -> int:
        """Remove the marks of records that HubSpot has just sent.

        A live record is neither missing nor merged away; an archived one is not missing. But pages
        of a list arrive in any order, so a record on one of them may have been merged since: while
        the row of its survivor names it, only reading the record by its id shows that it is live.
        """
        return self.change(
            "update {table} as row set vanished_at = null,"
            " {merged_into} = case when not ({unmerged}) then row.{merged_into} end"
            " where {of_object} and row.{id} = any(%(ids)s::bigint[])"
            " and (row.vanished_at is not null or ({unmerged}))",
            ids=number_array(ids),
            read_by_id=read_by_id,
        )

    def _ids(self, statement: str, **parameters: Any) -> list[int]:
        return [row[0] for row in self.query(statement, **parameters)]

    def query(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement that is composed of `_parts`, and return its rows."""
        parameters = {**self._parameters, **parameters}
        return self._warehouse.rows(statement, parameters, self._parts)

    def change(self, statement: str, **parameters: Any) -> int:
        """Run a statement that is composed of `_parts`, and return how many rows it changed."""
        parameters = {**self._parameters, **parameters}
        return self._warehouse.change(statement, parameters, self._parts)

    def number_batches(
        self, statement: str, size: int, *, nested_loops: bool = True, **parameters: Any
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Run a statement that yields 64-bit numbers, once, and yield its rows in lists of *size*.

        Later changes are not seen. The rows are kept in memory, 8 bytes a number: the caller asks
        HubSpot about them for minutes, and must not keep a session of PostgreSQL for so long.

        :param nested_loops: False where the statement joins a table of which the planner may know
            nothing yet.
        """
        numbers, columns = array("q"), 1
        with self._warehouse.connect() as connection, connection.cursor(name="batches") as cursor:
            if not nested_loops:
                connection.execute("set local enable_nestloop = off")
            cursor.execute(
                connection.composed(statement, self._parts), {**self._parameters, **parameters}
            )
            while rows := cursor.fetchmany(_FETCHED_AT_ONCE):
                columns = len(rows[0])
                numbers.extend(chain.from_iterable(rows))
        step = size * columns
        for start in range(0, len(numbers), step):
            batch = iter(numbers[start : start + step])
            yield list(zip(*[batch] * columns, strict=True))


#: A condition on `deals`; needs the temporary table `received` and the parameter tenant_id.
OF_THIS_SCAN = sql.SQL(
    "_tenant_id = %(tenant_id)s"
    " and deal_id in (select record_id from received where object = 'deals')"
)


def received_records(connection: WarehouseConnection, scan_id: str) -> Counter[str]:
    """Create the temporary tables `received` and `misfits`; count the rows of the first by object.

    A record that was received twice, in two states, has two rows.
    """
    connection.run(
        """
        create temporary table received on commit drop as
        select chunk.object, record.id as record_id, record.content_hash, chunk.chunk,
               chunk.loaded_at
        from {scan_chunks} as chunk,
             unnest(chunk.ids, chunk.hashes) as record (id, content_hash)
        where chunk.scan_id = %s
        """,
        [scan_id],
    )
    connection.execute("analyze received")
    connection.execute(
        "create temporary table misfits"
        " (object text, record_id bigint, column_name text, value text) on commit drop"
    )
    rows = connection.execute("select object, count(*) from received group by object").fetchall()
    return Counter(dict(rows))


def find_misfits(
    connection: WarehouseConnection,
    tenant_id: str,
    conversions: Collection[Conversion],
    *,
    only_received: bool,
) -> None:
    """Add the values that the tenant's views show as NULL to the temporary table `misfits`.

    :param only_received: in rows of the table `received`, else in all rows of the tenant.
    """
    for crm_object in {conversion.crm_object for conversion in conversions}:
        of_object = [c for c in conversions if c.crm_object == crm_object]
        connection.run(
            _MISFITS,
            {
                "tenant_id": tenant_id,
                "object": crm_object,
                "all": not only_received,
                "characters": DETAIL_CHARACTERS,
                "columns": [c.column for c in of_object],
                "properties": [c.hubspot_property for c in of_object],
                "functions": [c.function for c in of_object],
            },
            _parts_of(connection.schema, crm_object),
        )


def counted_misfits(connection: WarehouseConnection) -> Counter[str]:
    """Count what `find_misfits` found by column: "deals.size"."""
    rows = connection.execute(
        "select object || '.' || column_name, count(distinct record_id) from misfits group by 1"
    ).fetchall()
    return Counter(dict(rows))


# A row's properties are decompressed once (`|| '{}'`), not once for each column. The columns are
# rows, not columns of the query: planning 1,500 conversions would take longer than counting.
_MISFITS = """
    insert into misfits (object, record_id, column_name, value)
    select %(object)s, record_id, typed.column_name, left(value, %(characters)s)
    from (
        select row.{id} as record_id, row.properties || '{{}}' as properties from {table} as row
        where {of_object}
          and (%(all)s or row.{id} in (select record_id from received where object = %(object)s))
        offset 0
    ) as record,
    unnest(%(columns)s::text[], %(properties)s::text[], %(functions)s::text[])
        as typed (column_name, property, function),
    lateral (select properties ->> property as value offset 0) as its
    where value <> '' and case function
        when 'as_number' then {as_number}(value) is null
        when 'as_boolean' then {as_boolean}(value) is null
        when 'as_date' then {as_date}(value) is null
        when 'as_timestamptz' then {as_timestamptz}(value) is null
    end
"""
