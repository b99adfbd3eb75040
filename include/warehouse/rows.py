"""Write dicts as rows, and update small tables from HubSpot's lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from include.warehouse.connection import WarehouseConnection
from include.warehouse.values import KEY_BYTES


def upsert(connection: WarehouseConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or update those with the same primary key. All have the same columns.

    The table's `last_seen_at` becomes now; dicts and lists are written as jsonb.
    """
    if not rows:
        return
    columns = list(rows[0])
    statement = connection.composed(
        "insert into {table} ({columns}) values ({values})"
        " on conflict on constraint {key} do update set {assignments}, last_seen_at = now()",
        {
            "table": sql.Identifier(connection.schema, table),
            "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
            "values": sql.SQL(", ").join(map(sql.Placeholder, columns)),
            "key": sql.Identifier(f"{table}_pkey"),
            "assignments": sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns
            ),
        },
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, [adapted(row) for row in rows])


def left_out(what: str, keys: Iterable[str]) -> list[str]:
    """Return a warning for each row whose key does not fit into an index."""
    return [
        f"{what} with the key {key[:40]!r}… was left out: the key has {len(key.encode()):,} bytes, "
        f"and at most {KEY_BYTES:,} fit into an index."
        for key in keys
    ]


def mark_missing(
    connection: WarehouseConnection,
    table: str,
    of: Mapping[str, Any],
    *,
    but: tuple[str, Sequence[str]] = ("_tenant_id", ()),
) -> None:
    """Mark the rows that this transaction's `upsert` has not written as no longer listed.

    :param of: values by column that the table's rows must have.
    :param but: a column, and the values of it whose rows are not marked.
    """
    column, values = but
    connection.run(
        "update {table} set listed = false where {of} and listed and last_seen_at <> now()"
        " and {column} <> all (%(_but)s::text[])",
        {**of, "_but": list(values)},
        {
            "table": sql.Identifier(connection.schema, table),
            "of": _equations(of, " and "),
            "column": sql.Identifier(column),
        },
    )


def assignments(columns: Iterable[str]) -> sql.Composed:
    """Return ``"a" = %(a)s, "b" = %(b)s`` for an update's `set`."""
    return _equations(columns, ", ")


def _equations(columns: Iterable[str], separator: str) -> sql.Composed:
    return sql.SQL(separator).join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in columns
    )


def adapted(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return *row* with dicts and lists as jsonb."""
    return {
        name: Jsonb(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }
