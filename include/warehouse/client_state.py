"""State that HubSpot clients of all processes and machines share: rate limits and OAuth tokens.

Tokens are encrypted before they get here, with a key that is not in the warehouse.
docs/database-schema.md#rate_limits, docs/database-schema.md#oauth_tokens
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields

from psycopg.rows import dict_row

from include.errors import WarehouseUnavailableError
from include.hubspot.oauth import SealedGrant
from include.hubspot.rate_limit import TIMES, Reservation, State, decide
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.fencing import lock

#: Limiters that were not used for this long are deleted: each rotated token leaves one.
FORGOTTEN_AFTER = "30 days"


class SharedLimits:
    """Implements `include.hubspot.rate_limit.Limits`. Thread-safe.

    Only PostgreSQL's clock is used, so those of machines need not agree. Raises the errors of
    `Warehouse.connect`.

    :param warehouse: should keep its connections: each reservation needs one.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def reserve(self, wanted: Reservation) -> list[float]:
        try:
            return self._reserve(wanted)
        except WarehouseUnavailableError:
            # The server was restarted, or closed the connection: the state is still stored.
            return self._reserve(wanted)

    def _reserve(self, wanted: Reservation) -> list[float]:
        with self._warehouse.connect(autocommit=True) as connection:
            while True:
                row = connection.run(_READ, [wanted.key], row_factory=dict_row).fetchone()
                if row is None:
                    connection.run(_ADD, {"key": wanted.key, "forgotten": FORGOTTEN_AFTER})
                    continue
                now, revision = row.pop("now"), row.pop("revision")
                state, slots = decide(State(**row), now, wanted)
                # Write only if no other process did meanwhile, instead of locking the row: a
                # process that is stopped between the two statements blocks no other.
                values = {**vars(state), "key": wanted.key, "revision": revision}
                if connection.run(_WRITE, values).rowcount:
                    return [slot - now for slot in slots]


def _columns(column: str, moment: str) -> str:
    """Return a list of the state's columns, with a different format for times."""
    return ", ".join(
        (moment if name in TIMES else column).format(name)
        for name in (field.name for field in fields(State))
    )


_READ = f"""
    select extract(epoch from clock_timestamp())::double precision as now, revision,
           {_columns("{0}", "extract(epoch from {0})::double precision as {0}")}
    from {{rate_limits}} where limiter = %s
"""  # noqa: S608 - the names of State's fields
#: `set_config` applies to this statement's transaction: no request waits for the disk. A crash of
#: the server loses the last half second, which is shorter than its restart.
_WRITE = f"""
    update {{rate_limits}}
    set revision = revision + 1, {_columns("{0} = %({0})s", "{0} = to_timestamp(%({0})s)")}
    where limiter = %(key)s and revision = %(revision)s
      and set_config('synchronous_commit', 'off', true) = 'off'
"""  # noqa: S608 - the same
_ADD = """
    with forgotten as (
        delete from {rate_limits} where updated_at < now() - %(forgotten)s::interval
    )
    insert into {rate_limits} (limiter) values (%(key)s) on conflict do nothing
"""


class SharedTokens:
    """Implements `include.hubspot.oauth.TokenStore`. Thread-safe.

    Only PostgreSQL's clock is used, so those of machines need not agree. Raises the errors of
    `Warehouse.connect`.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def read(self, key: str) -> SealedGrant | None:
        with self._warehouse.connect() as connection:
            return self._kept(connection, key)

    @contextmanager
    def exclusively(
        self, key: str
    ) -> Iterator[tuple[SealedGrant | None, Callable[[SealedGrant], None]]]:
        # The lock ends with the transaction, so it works behind a pooler and after a crash. Take it
        # in a separate statement, so that the next one sees rows committed meanwhile.
        with self._warehouse.connect() as connection:
            lock(connection, f"oauth_tokens:{key}")

            def keep(kept: SealedGrant) -> None:
                connection.run(_WRITE_GRANT, {"key": key, **kept._asdict()})

            yield self._kept(connection, key), keep

    def _kept(self, connection: WarehouseConnection, key: str) -> SealedGrant | None:
        row = connection.run(_READ_GRANT, [key]).fetchone()
        return SealedGrant(*row) if row else None


_READ_GRANT = """
    select sealed,
           (extract(epoch from expires_at) - extract(epoch from clock_timestamp()))::float8
    from {oauth_tokens} where installation = %s
"""
_WRITE_GRANT = """
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
