"""How far a scan has read each object (`scan_objects`), and what it has loaded (`scan_chunks`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import dict_row

from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import adapted, assignments
from include.warehouse.scans import ScanLog


class Chunk(NamedTuple):
    """The records' ids, and in which state they were.

    ``modified_us``: when each was modified, in microseconds since 1970.
    """

    ids: Sequence[int]
    hashes: Sequence[int]
    modified_us: Sequence[int | None]


def number_array(numbers: Iterable[int | None]) -> str:
    """Write a PostgreSQL array: psycopg takes 20 times as long for ten thousand numbers."""
    return "{" + ",".join("NULL" if n is None else str(n) for n in numbers) + "}"


@dataclass(frozen=True)
class ScanObjects:
    """Writes a scan's rows about one object, and reads what earlier scans left."""

    warehouse: Warehouse
    scan: Scan
    object_name: str

    def past(self) -> tuple[datetime | None, datetime | None, list[str]]:
        """Return (watermark, start of the last full scan, what that one asked for).

        Only of scans that succeeded: quality checks included.
        """
        of_successful_scans = """
            from {objects} as object
            join {scans} as scan using (scan_id)
            where object.tenant_id = %(tenant_id)s
              and object.object = %(object)s
              and scan.state = 'succeeded'
            """
        ((watermark,),) = self._query(f"select max(object.watermark) {of_successful_scans}")
        last_full = self._query(
            f"select scan.extraction_started_at, object.properties_asked {of_successful_scans}"
            " and object.mode = 'full' order by scan.extraction_started_at desc limit 1"
        )
        return (watermark, *last_full[0]) if last_full else (watermark, None, [])

    def last_known(self) -> tuple[int | None, int | None]:
        """Return how many records HubSpot had when a successful scan counted them: live, archived.

        None: none has.
        """
        known = self._query(
            "select object.portal_live, object.records_archived from {objects} as object"
            " join {scans} as scan using (scan_id)"
            " where scan.tenant_id = %(tenant_id)s and object.object = %(object)s"
            " and scan.state = 'succeeded' and object.portal_live is not null"
            " order by scan.started_at desc limit 1"
        )
        return known[0] if known else (None, None)

    def open(self, **columns: Any) -> None:
        """Begin anew: whatever an earlier try of this scan wrote about the object goes."""
        names = list(columns)
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            for table in ("scan_chunks", "scan_objects"):
                connection.execute(
                    sql.SQL("delete from {} where scan_id = %s and object = %s").format(
                        self._table(table)
                    ),
                    [self.scan.id, self.object_name],
                )
            connection.execute(
                sql.SQL("insert into {} (scan_id, tenant_id, object, {}) values ({})").format(
                    self._table("scan_objects"),
                    sql.SQL(", ").join(map(sql.Identifier, names)),
                    sql.SQL(", ").join([sql.Placeholder()] * (len(names) + 3)),
                ),
                [self.scan.id, self.scan.tenant.id, self.object_name, *columns.values()],
            )

    def set(self, **columns: Any) -> None:
        """Write figures."""
        self._execute(
            "update {objects} set {assignments} where scan_id = %(scan_id)s"
            " and object = %(object)s",
            adapted(columns),
            assignments=assignments(columns),
        )

    def checkpoint(
        self,
        scan_log: ScanLog,
        chunk: Chunk | None,
        figures: Mapping[str, Any],
        progress: Mapping[str, Any],
    ) -> None:
        """Write down what was received, and loaded, and how far the scan is; one transaction.

        :param figures: columns of `scan_objects`, its `position` among them.
        :param progress: columns of `scans`. First of all: its row is what tries wait for.
        """
        of = {"scan_id": self.scan.id, "object": self.object_name}
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            scan_log.set_in(connection, **progress)
            if chunk is not None:
                connection.execute(
                    sql.SQL(
                        "insert into {chunks} (scan_id, object, chunk, ids, hashes, modified_at)"
                        " select %(scan_id)s, %(object)s, coalesce(max(chunk), 0) + 1,"
                        " %(ids)s::bigint[], %(hashes)s::bigint[], array("
                        " select timestamptz 'epoch' + us * interval '1 microsecond'"
                        " from unnest(%(modified_us)s::bigint[]) with ordinality as at (us, n)"
                        " order by n)"
                        " from {chunks} where scan_id = %(scan_id)s and object = %(object)s"
                    ).format(chunks=self._table("scan_chunks")),
                    {
                        **of,
                        **{name: number_array(values) for name, values in chunk._asdict().items()},
                    },
                )
            connection.execute(
                sql.SQL(
                    "update {} set {} where scan_id = %(scan_id)s and object = %(object)s"
                ).format(self._table("scan_objects"), assignments(figures)),
                {**adapted(figures), **of},
            )

    def count_received(self) -> int:
        """Count the different records that the scan received."""
        rows = self._query(
            "select count(distinct id) from {chunks}, unnest(ids) as id"
            " where scan_id = %(scan_id)s and object = %(object)s"
        )
        return int(rows[0][0])

    def _table(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.warehouse.schema, name)

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        return self._execute(statement, {}, fetch=True)

    def _execute(
        self,
        statement: str,
        parameters: dict[str, Any],
        *,
        fetch: bool = False,
        **parts: sql.Composable,
    ) -> list[tuple[Any, ...]]:
        composed = sql.SQL(statement).format(
            objects=self._table("scan_objects"),
            chunks=self._table("scan_chunks"),
            scans=self._table("scans"),
            **parts,
        )
        own = {
            "scan_id": self.scan.id,
            "tenant_id": self.scan.tenant.id,
            "object": self.object_name,
        }
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            cursor = connection.execute(composed, {**own, **parameters})
            return cursor.fetchall() if fetch else []


def begun_objects(warehouse: Warehouse, scan: Scan) -> dict[str, dict[str, Any]]:
    """Return what earlier tries of a scan wrote about each object that they read: its row."""
    with warehouse.connect(scan.tenant.id) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        rows = cursor.execute(
            sql.SQL("select * from {} where scan_id = %s and mode <> 'skipped'").format(
                sql.Identifier(warehouse.schema, "scan_objects")
            ),
            [scan.id],
        ).fetchall()
    return {row["object"]: row for row in rows}


def forget_objects(warehouse: Warehouse, scan: Scan) -> None:
    """Delete what earlier tries of a scan wrote: it begins anew."""
    with warehouse.connect(scan.tenant.id) as connection:
        for table in ("scan_chunks", "scan_objects"):
            connection.execute(
                sql.SQL("delete from {} where scan_id = %s").format(
                    sql.Identifier(warehouse.schema, table)
                ),
                [scan.id],
            )


#: After so long no try goes on with a scan that was begun and neither ended nor failed.
GIVEN_UP_AFTER = "7 days"


def forget_proofs(warehouse: Warehouse, scan: Scan) -> None:
    """Delete what other scans of the tenant received: the last one's proof is kept.

    A scan that was broken off has no checkpoint any more then: cleared, it begins anew. One that
    waits, or may be retried at any moment, keeps its own.
    """
    with warehouse.connect(scan.tenant.id) as connection:
        connection.execute(
            sql.SQL(
                """
                with others as (
                    select scan_id from {scans} where tenant_id = %(tenant_id)s
                    and scan_id <> %(scan_id)s and scan_id in (select scan_id from {chunks})
                    and (state in ('succeeded', 'failed')
                         or started_at < now() - %(given_up_after)s::interval)
                ), broken_off as (
                    update {scans} set extraction_started_at = null
                    where scan_id in (select scan_id from others) and extraction_finished_at is null
                )
                delete from {chunks} where scan_id in (select scan_id from others)
                """
            ).format(
                chunks=sql.Identifier(warehouse.schema, "scan_chunks"),
                scans=sql.Identifier(warehouse.schema, "scans"),
            ),
            {
                "tenant_id": scan.tenant.id,
                "scan_id": scan.id,
                "given_up_after": GIVEN_UP_AFTER,
            },
        )
