"""Access tokens of OAuth apps, stored in PostgreSQL for all processes and machines.

They are encrypted before they get here, with a key that is not in the warehouse.
docs/database-schema.md#oauth_tokens
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from include.hubspot.oauth import SealedGrant
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.fencing import lock


class SharedTokens:
    """Implements `include.hubspot.oauth.TokenStore`. Thread-safe.

    Only PostgreSQL's clock is used, so those of machines need not agree. Raises the errors of
    `Warehouse.connect`.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str | None = None) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id

    def read(self, key: str) -> SealedGrant | None:
        with self._warehouse.connect(self._tenant_id) as connection:
            return self._kept(connection, key)

    @contextmanager
    def exclusively(
        self, key: str
    ) -> Iterator[tuple[SealedGrant | None, Callable[[SealedGrant], None]]]:
        # The lock ends with the transaction, so it works behind a pooler and after a crash. Take it
        # in a separate statement, so that the next one sees rows committed meanwhile.
        with self._warehouse.connect(self._tenant_id) as connection:
            lock(connection, f"oauth_tokens:{key}")

            def keep(kept: SealedGrant) -> None:
                connection.run(_WRITE, {"key": key, **kept._asdict()})

            yield self._kept(connection, key), keep

    def _kept(self, connection: WarehouseConnection, key: str) -> SealedGrant | None:
        row = connection.run(_READ, [key]).fetchone()
        return SealedGrant(*row) if row else None


_READ = """
    select sealed,
           (extract(epoch from expires_at) - extract(epoch from clock_timestamp()))::float8
    from {oauth_tokens} where installation = %s
"""
_WRITE = """
    insert into {oauth_tokens} (installation, sealed, expires_at, refreshed_at)
    values (
        %(key)s, %(sealed)s,
        clock_timestamp() + make_interval(secs => %(left_s)s), clock_timestamp()
    )
    on conflict (installation) do update
    set sealed = excluded.sealed,
        expires_at = excluded.expires_at,
        refreshed_at = excluded.refreshed_at
"""
