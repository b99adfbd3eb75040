"""The table `associations`."""

from collections.abc import Collection, Iterable, Sequence

from include.hubspot.answers import AssociationResult
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.records import RecordTable
from include.warehouse.values import is_key, to_bigint, to_id, to_integer

#: (from id, to id, category, type id, label)
Link = tuple[int, int, str, int, str | None]


def links_of(results: Iterable[AssociationResult], of: Collection[int]) -> tuple[set[Link], int]:
    """Return the distinct associations of the records *of*, and how many do not fit the table."""
    links, misfits = set(), 0
    for result in results:
        source = _id(result.source.id)
        for target in result.to if source is None or source in of else ():
            to_id = _id(target.to_object_id)
            misfits += not target.association_types
            for kind in target.association_types:
                fits = is_key(kind.category) and to_integer(kind.type_id) is not None
                if source is None or to_id is None or not fits:
                    misfits += 1
                else:
                    links.add((source, to_id, kind.category, kind.type_id, kind.label))
    return links, misfits


def _id(value: int | str) -> int | None:
    """Return an id; None if it is invalid or does not fit."""
    if isinstance(value, str):
        return to_id(value)
    return to_bigint(value) if value >= 0 else None


def replace_associations(
    warehouse: Warehouse,
    scan: Scan,
    from_object: str,
    to_object: str,
    from_ids: Sequence[int],
    links: Iterable[Link],
) -> None:
    """Make the associations of *from_ids* to one object type exactly *links*, all or nothing."""
    of = {"tenant_id": scan.tenant.id, "from_object": from_object, "to_object": to_object}
    with warehouse.connect() as connection:
        connection.execute(
            "create temporary table link (from_id bigint, to_id bigint, category text,"
            " type_id integer, label text) on commit drop"
        )
        with connection.cursor().copy("copy link from stdin") as copy:
            for link in links:
                copy.write_row(link)
        connection.run(
            """
            delete from {associations} as old
            where _tenant_id = %(tenant_id)s and from_object = %(from_object)s
              and to_object = %(to_object)s and from_id = any(%(from_ids)s)
              and not exists (
                  select from link
                  where link.from_id = old.from_id and link.to_id = old.to_id
                    and link.category = old.category and link.type_id = old.type_id
              )
            """,
            {**of, "from_ids": list(from_ids)},
        )
        connection.run(
            """
            insert into {associations} as old (_tenant_id, from_object, from_id, to_object, to_id,
                                               category, type_id, label)
            select distinct on (from_id, to_id, category, type_id)
                   %(tenant_id)s, %(from_object)s, from_id, %(to_object)s, to_id,
                   category, type_id, label
            from link
            on conflict (_tenant_id, from_object, from_id, to_object, to_id, category, type_id)
            do update set label = excluded.label where old.label is distinct from excluded.label
            """,
            of,
        )


def drop_associations_of_the_gone(table: RecordTable) -> None:
    """Delete associations of records that are missing or merged away: HubSpot has none either."""
    table.change(
        """
        delete from {associations} as link using {table} as row
        where link._tenant_id = %(tenant_id)s and link.from_object = %(object)s
          and {of_object} and row.{id} = link.from_id
          and (row.vanished_at is not null or row.{merged_into} is not null)
        """
    )


def count_associations(warehouse: Warehouse, scan: Scan, from_object: str) -> int:
    ((count,),) = warehouse.rows(
        "select count(*) from {associations} where _tenant_id = %s and from_object = %s",
        [scan.tenant.id, from_object],
    )
    return int(count)
