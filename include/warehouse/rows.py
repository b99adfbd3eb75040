"""Keeping the small tables around a deal equal to what HubSpot lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb


def upsert(
    connection: psycopg.Connection,
    table: sql.Identifier,
    key: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
) -> None:
    """Insert rows, or update those with the same *key*. All rows have the same columns.

    The table's `last_seen_at` becomes now; dicts and lists are written as jsonb.
    """
    rows = list(rows)
    if not rows:
        return
    columns = list(rows[0])
    statement = sql.SQL(
        "insert into {table} ({columns}) values ({values}) on conflict ({key}) do update"
        " set {assignments}, last_seen_at = now()"
    ).format(
        table=table,
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(map(sql.Placeholder, columns)),
        key=sql.SQL(", ").join(map(sql.Identifier, key)),
        assignments=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
            for name in columns
            if name not in key
        ),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, [_adapted(row) for row in rows])


def unlist(
    connection: psycopg.Connection,
    table: sql.Identifier,
    of: Mapping[str, Any],
    key: str,
    listed: Iterable[str],
) -> list[str]:
    """Mark rows whose *key* is not *listed* any more, and return their keys.

    :param of: the columns and values that say which rows of the table are meant.
    """
    rows = connection.execute(
        sql.SQL(
            "update {table} set listed = false where {of} and listed and {key} <> all(%(listed)s)"
            " returning {key}"
        ).format(
            table=table,
            of=sql.SQL(" and ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
                for name in of
            ),
            key=sql.Identifier(key),
        ),
        {**of, "listed": list(listed)},
    ).fetchall()
    return sorted(row[0] for row in rows)


def _adapted(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: Jsonb(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }
