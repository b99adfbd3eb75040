"""Access tokens of OAuth apps, kept in PostgreSQL for every process and machine.

What is kept is sealed before it gets here, with a key that is not in the warehouse.
docs/database-schema.md#oauth_tokens
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from include.hubspot.oauth import Kept, TokenRow
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import lock


class SharedTokens:
    """Implements `include.hubspot.oauth.TokenStore`. Thread-safe.

    Time is PostgreSQL's alone: machines' clocks need not agree. Raises what `Warehouse.connect`
    raises.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str | None = None) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._table = sql.Identifier(warehouse.schema, "oauth_tokens")

    def read(self, key: str) -> Kept | None:
        with self._warehouse.connect(self._tenant_id) as connection:
            return self._row(connection, key).kept

    @contextmanager
    def exclusively(self, key: str) -> Iterator[TokenRow]:
        # The lock ends with the transaction, so it works behind a pooler too, and no crash leaves
        # it. Its own statement: what was read before waiting must not answer for after it.
        with self._warehouse.connect(self._tenant_id) as connection:
            lock(connection, f"oauth_tokens:{key}")
            yield self._row(connection, key)

    def _row(self, connection: psycopg.Connection, key: str) -> "_Row":
        found = connection.execute(sql.SQL(_READ).format(table=self._table), [key]).fetchone()
        return _Row(connection, self._table, key, Kept(*found) if found else None)


class _Row:
    def __init__(
        self, connection: psycopg.Connection, table: sql.Identifier, key: str, kept: Kept | None
    ) -> None:
        self._connection, self._table, self._key = connection, table, key
        self.kept = kept

    def keep(self, sealed: str, left_s: float) -> None:
        self._connection.execute(
            sql.SQL(_WRITE).format(table=self._table),
            {"key": self._key, "sealed": sealed, "left_s": left_s},
        )


_READ = """
    select sealed,
           (extract(epoch from expires_at) - extract(epoch from clock_timestamp()))::float8
    from {table} where installation = %s
"""
_WRITE = """
    insert into {table} (installation, sealed, expires_at, refreshed_at)
    values (
        %(key)s, %(sealed)s,
        clock_timestamp() + make_interval(secs => %(left_s)s), clock_timestamp()
    )
    on conflict (installation) do update
    set sealed = excluded.sealed,
        expires_at = excluded.expires_at,
        refreshed_at = excluded.refreshed_at
"""
