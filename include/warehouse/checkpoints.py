"""How far a scan has read each object (`scan_objects`), and what it has loaded (`scan_chunks`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import dict_row

from include.errors import TenantsFileError
from include.hubspot.crm_objects import STANDARD_OBJECTS
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import adapted, assignments
from include.warehouse.scans import FINAL_STATES, ScanLog


class Chunk(NamedTuple):
    """The ids of received records, with the content hash and modification time of each.

    ``modified_us``: microseconds since 1970.
    """

    ids: Sequence[int]
    hashes: Sequence[int]
    modified_us: Sequence[int | None]


class AskedFor(NamedTuple):
    """The properties that a scan asked for; its watermark, if it moved the object's."""

    names: frozenset[str]
    watermark: datetime | None


class Past(NamedTuple):
    """What an object's scans have read. None or empty: no scan succeeded.

    ``last_full_at``: start of the last full scan. ``asked``: what the last scan that left no
    property unread asked for, and then what each later scan did, even if it failed.
    """

    watermark: datetime | None
    last_full_at: datetime | None
    asked: Sequence[AskedFor]


def number_array(numbers: Iterable[int | None]) -> str:
    """Format a PostgreSQL array: psycopg takes 20 times as long for ten thousand numbers."""
    return "{" + ",".join("NULL" if n is None else str(n) for n in numbers) + "}"


@dataclass(frozen=True)
class ScanObjects:
    """Writes a scan's row about one object, and reads what earlier scans left."""

    warehouse: Warehouse
    scan: Scan
    object_name: str

    @property
    def _key(self) -> dict[str, Any]:
        return {
            "scan_id": self.scan.id,
            "tenant_id": self.scan.tenant.id,
            "object": self.object_name,
        }

    def _rows(self, statement: str) -> list[Any]:
        return self.warehouse.rows(statement, self._key)

    def past(self) -> Past:
        """Return what the scans before this one have read.

        Only scans that succeeded count, quality checks included; but all scans write rows.
        """
        of_successful_scans = """
            from {scan_objects} as object
            join {scans} as scan using (scan_id)
            where object.tenant_id = %(tenant_id)s
              and object.object = %(object)s
              and scan.state = 'succeeded'
            """
        ((watermark, last_full_at),) = self._rows(
            "select max(object.watermark),"
            " max(scan.extraction_started_at) filter (where object.mode = 'full')"
            f" {of_successful_scans}"
        )
        asked = self._rows(
            # what earlier extractions of a complete scan asked for was known when it was planned
            f"""
            with complete as (
                select scan.scan_id, coalesce(scan.first_extraction, 0) as first_extraction
                {of_successful_scans}
                  -- an incremental scan that was requested does not look for unread properties
                  and (object.mode = 'full'
                       or (object.mode = 'incremental' and scan.mode = 'auto'))
                order by scan.last_extraction desc nulls last limit 1
            )
            select asked.names, asked.watermark
            from complete, {{scan_objects}} as object join {{scans}} as scan using (scan_id),
                lateral (values
                    (1, object.properties_asked_before, null),
                    (2, object.properties_asked,
                     case when scan.state = 'succeeded' then object.watermark end)
                ) as asked (number, names, watermark)
            where object.tenant_id = %(tenant_id)s and object.object = %(object)s
              and cardinality(asked.names) > 0
              and case when scan.scan_id = complete.scan_id then asked.number = 2
                       else scan.last_extraction > complete.first_extraction end
            order by scan.last_extraction, asked.number
            """  # noqa: S608 - literals of this module
        )
        return Past(watermark, last_full_at, [AskedFor(frozenset(n), at) for n, at in asked])

    def last_known(self) -> tuple[int | None, int | None]:
        """Return how many live and archived records HubSpot had at the last successful scan.

        (None, None) if no successful scan has counted them.
        """
        known = self._rows(
            "select object.portal_live, object.records_archived from {scan_objects} as object"
            " join {scans} as scan using (scan_id)"
            " where scan.tenant_id = %(tenant_id)s and object.object = %(object)s"
            " and scan.state = 'succeeded' and object.portal_live is not null"
            " order by scan.started_at desc limit 1"
        )
        return known[0] if known else (None, None)

    def open(self, **columns: Any) -> None:
        """Insert the row; delete the object's rows of an earlier extraction of this scan.

        Its object type is kept, and what it asked for: the rows that it wrote lack the rest.
        """
        with self.warehouse.connect() as connection:
            connection.run(
                "delete from {scan_chunks} where scan_id = %(scan_id)s and object = %(object)s",
                self._key,
            )
            earlier = connection.run(
                """
                delete from {scan_objects} where scan_id = %(scan_id)s and object = %(object)s
                returning object_type, case
                    when properties_asked = '{{}}' then properties_asked_before
                    when properties_asked_before is null then properties_asked
                    else array(select unnest(properties_asked)
                               intersect select unnest(properties_asked_before))
                end
                """,
                self._key,
            ).fetchone()
            object_type, asked_before = earlier or (None, None)
            kept = {"object_type": object_type, "properties_asked_before": asked_before}
            row = {**self._key, **kept, **columns}
            connection.run(
                "insert into {scan_objects} ({names}) values ({values})",
                row,
                {
                    "names": sql.SQL(", ").join(map(sql.Identifier, row)),
                    "values": sql.SQL(", ").join(map(sql.Placeholder, row)),
                },
            )

    def set(self, **columns: Any) -> None:
        """Write columns of the row."""
        self.warehouse.change(
            _UPDATE, {**self._key, **adapted(columns)}, {"assignments": assignments(columns)}
        )

    def set_properties_asked(self, names: Sequence[str]) -> None:
        """Write which properties the scan has asked for: a retry may get fewer."""
        self.warehouse.change(
            "update {scan_objects} set properties_asked = %(names)s::text[]"
            " where scan_id = %(scan_id)s and object = %(object)s"
            " and properties_asked <> %(names)s::text[]",
            {**self._key, "names": list(names)},
        )

    def checkpoint(
        self,
        scan_log: ScanLog,
        chunk: Chunk | None,
        figures: Mapping[str, Any],
        progress: Mapping[str, Any],
    ) -> None:
        """Store a loaded chunk, and how far the scan is, in one transaction.

        :param figures: columns of `scan_objects`, including `position`.
        :param progress: columns of `scans`, which are written first: other tries wait for that row.
        """
        with self.warehouse.connect() as connection:
            scan_log.set_in(connection, **progress)
            if chunk is not None:
                arrays = {name: number_array(values) for name, values in chunk._asdict().items()}
                connection.run(
                    """
                    insert into {scan_chunks} (scan_id, object, chunk, ids, hashes, modified_at)
                    select %(scan_id)s, %(object)s, coalesce(max(chunk), 0) + 1,
                           %(ids)s::bigint[], %(hashes)s::bigint[], array(
                               select timestamptz 'epoch' + us * interval '1 microsecond'
                               from unnest(%(modified_us)s::bigint[]) with ordinality as at (us, n)
                               order by n
                           )
                    from {scan_chunks} where scan_id = %(scan_id)s and object = %(object)s
                    """,
                    {**self._key, **arrays},
                )
            connection.run(
                _UPDATE, {**self._key, **adapted(figures)}, {"assignments": assignments(figures)}
            )


_UPDATE = (
    "update {scan_objects} set {assignments} where scan_id = %(scan_id)s and object = %(object)s"
)


def begun_objects(warehouse: Warehouse, scan: Scan) -> dict[str, dict[str, Any]]:
    """Return the rows of the objects that earlier tries of a scan read, by object."""
    rows = warehouse.rows(
        "select * from {scan_objects} where scan_id = %s and mode <> 'skipped'",
        [scan.id],
        row_factory=dict_row,
    )
    return {row["object"]: row for row in rows}


def forget_objects(warehouse: Warehouse, scan: Scan) -> None:
    """Delete the progress of earlier tries of a scan, which starts over."""
    rows = warehouse.rows("select object from {scan_objects} where scan_id = %s", [scan.id])
    for (name,) in rows:
        ScanObjects(warehouse, scan, name).open(mode="skipped", reason="not read yet")


def require_same_object_types(warehouse: Warehouse, scan: Scan) -> None:
    """Raise TenantsFileError if a name now stands for another type of custom objects.

    Ids are unique within a type only, so records of the new one would overwrite rows of the old.
    """
    # the package may change what it calls a standard type
    custom = {
        crm_object.name: crm_object.object_type
        for crm_object in scan.tenant.crm_objects
        if crm_object.name not in STANDARD_OBJECTS
    }
    if not custom:
        return
    rows = warehouse.rows(
        "select distinct on (object.object) object.object, object.object_type"
        " from {scan_objects} as object join {scans} as scan using (scan_id)"
        " where object.tenant_id = %s and object.object = any(%s)"
        " and object.object_type is not null"
        " order by object.object, scan.last_extraction desc nulls last",
        [scan.tenant.id, list(custom)],
    )
    for name, object_type in rows:
        if object_type != custom[name]:
            raise TenantsFileError(
                f"objects: {name}: its object_type is {custom[name]!r}, but the rows with this "
                f"name are of {object_type!r}. Nothing was written.",
                tenant_id=scan.tenant.id,
                remedy="Give the new type another name, or set the object_type back.",
            )


#: A scan that is in no final state after this time can't be resumed.
GIVEN_UP_AFTER = "7 days"


def delete_earlier_chunks(warehouse: Warehouse, scan: Scan) -> None:
    """Delete the chunks of the tenant's earlier scans: only the last successful scan's are needed.

    A scan that read later keeps them: if it failed, the next one reads the associations of what it
    received. A failed or cancelled scan then has no checkpoint, and starts over if it is cleared;
    its check alone can no longer pass, because nothing says what it received. A scan that waits,
    that may still be retried, or whose row another process is writing at this moment keeps its
    chunks.
    """
    warehouse.change(
        """
        with others as (
            select scan_id from {scans} where tenant_id = %(tenant_id)s
            and scan_id <> %(scan_id)s and scan_id in (select scan_id from {scan_chunks})
            and coalesce(last_extraction, 0) <= coalesce(
                (select first_extraction from {scans} where scan_id = %(scan_id)s), 0)
            and (state = any(%(final)s)
                 or started_at < now() - %(given_up_after)s::interval)
            for update skip locked
        ), broken_off as (
            update {scans} set extraction_started_at = null, extraction_finished_at = null
            where scan_id in (select scan_id from others)
            and (state <> 'succeeded' or extraction_finished_at is null)
        )
        delete from {scan_chunks} where scan_id in (select scan_id from others)
        """,
        {
            "tenant_id": scan.tenant.id,
            "scan_id": scan.id,
            "final": list(FINAL_STATES),
            "given_up_after": GIVEN_UP_AFTER,
        },
    )
