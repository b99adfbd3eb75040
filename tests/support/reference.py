"""The parts of the documentation that are written from the code: `make reference` runs this.

`docs/database-schema.md` has the tables, from PostgreSQL's own comments, between two markers.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.migrations import migrate

SCHEMA_PAGE = Path(__file__).parents[2] / "docs" / "database-schema.md"
BEGIN = "<!-- Written by `make reference` from the comments of the migrations. -->\n"
END = "<!-- End of what `make reference` writes. -->\n"


def tables_reference(connection: WarehouseConnection) -> str:
    """Return a heading and a list of columns for each table of the schema, as they were made."""
    tables = connection.execute(_TABLES, {"schema": connection.schema}).fetchall()
    return "\n".join("\n".join(_table(connection, *table)) for table in tables)


def _table(connection: WarehouseConnection, oid: int, name: str, comment: str) -> Iterator[str]:
    yield f"### {name}\n"
    if comment:
        yield f"{comment}\n"
    facts = [fact for (fact,) in connection.execute(_KEYS_AND_INDEXES, {"table": oid})]
    if facts:
        yield f"{'. '.join(facts)}.\n"
    yield "| column | type | null | meaning |"
    yield "|---|---|---|---|"
    for row in connection.execute(_COLUMNS, {"table": oid}):
        yield _row(*row)
    yield ""


def _row(column: str, kind: str, nullable: bool, comment: str | None) -> str:
    meaning = (comment or "").replace("|", r"\|").removesuffix(".")
    return f"| `{column}` | `{kind}` | {'yes' if nullable else 'no'} | {meaning} |"


_TABLES = """
    select oid, relname, obj_description(oid, 'pg_class') from pg_class
    where relnamespace = to_regnamespace(%(schema)s) and relkind = 'r'
      and relname not like '\\_dlt%%'
    order by oid
"""
_COLUMNS = """
    select attname, replace(replace(format_type(atttypid, atttypmod),
                                    'timestamp with time zone', 'timestamptz'), ',', ', '),
           not attnotnull, col_description(attrelid, attnum)
    from pg_attribute where attrelid = %(table)s and attnum > 0 and not attisdropped
    order by attnum
"""
_KEYS_AND_INDEXES = """
    with it as (
        select case when indisprimary then 0 when indisunique then 1 else 2 end as kind,
               relname,
               regexp_replace(pg_get_indexdef(indexrelid), '^.* USING btree ', '') as definition
        from pg_index join pg_class on pg_class.oid = indexrelid where indrelid = %(table)s
    )
    select case kind when 0 then 'Primary key: ' when 1 then 'Unique: ' else 'Index: ' end
           || '`' || case kind when 0 then '' else relname || ' ' end || definition || '`'
    from it order by kind, relname
"""


def with_reference(page: str, reference: str) -> str:
    """Return the page with what is between its markers replaced."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError("the page has no markers")
    return f"{before}{BEGIN}\n{reference}\n{END}{after}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with EmbeddedPostgres(Path(folder)) as server:
            warehouse = Warehouse.from_url(server.dsn("warehouse"))
            migrate(warehouse)
            with warehouse.connect() as connection:
                reference = tables_reference(connection)
        server.remove()
    SCHEMA_PAGE.write_text(with_reference(SCHEMA_PAGE.read_text(), reference))
    sys.stdout.write(f"wrote {SCHEMA_PAGE.name}\n")


if __name__ == "__main__":
    main()
