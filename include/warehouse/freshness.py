"""When what lies around records was read last: it need not be read with every scan."""

from psycopg import sql

from include.warehouse.connection import Warehouse


class Freshness:
    """Of one tenant. ``what`` is read as a whole: "owners", "properties:deals" …"""

    def __init__(self, warehouse: Warehouse, tenant_id: str) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._table = sql.Identifier(warehouse.schema, "freshness")

    def is_fresh(self, what: str, max_age_s: float) -> bool:
        """Tell whether it was read less than *max_age_s* ago."""
        with self._warehouse.connect(self._tenant_id) as connection:
            row = connection.execute(
                sql.SQL(
                    "select from {} where _tenant_id = %s and what = %s"
                    " and read_at > now() - make_interval(secs => %s)"
                ).format(self._table),
                [self._tenant_id, what, max_age_s],
            ).fetchone()
        return row is not None

    def note(self, what: str) -> None:
        """It has just been read, and stored, whole."""
        with self._warehouse.connect(self._tenant_id) as connection:
            connection.execute(
                sql.SQL(
                    "insert into {} (_tenant_id, what, read_at) values (%s, %s, now())"
                    " on conflict (_tenant_id, what) do update set read_at = excluded.read_at"
                ).format(self._table),
                [self._tenant_id, what],
            )
