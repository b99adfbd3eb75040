"""Which views a tenant ought to have: names, columns, types, and the rows they show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from include.warehouse.view_columns import (
    MAX_PROPERTIES,
    MAY_NOT_FIT,
    ObjectViews,
    PropertyColumn,
    PropertyDefinition,
    conversion_to,
    is_type_of_property,
    object_views,
    property_columns,
)


@dataclass(frozen=True)
class View:
    """A view to be made. ``columns``: name → expression over ``source``.

    ``reads``: the view that is its barrier; None: it is one itself. ``texts``: of columns that show
    a property, the expression that yields its text.
    """

    name: str
    columns: Mapping[str, sql.Composable]
    source: sql.Composable
    reads: str | None = None
    texts: Mapping[str, sql.Composable] = field(default_factory=dict)

    @property
    def is_barrier(self) -> bool:
        return self.reads is None


@dataclass(frozen=True)
class Conversion:
    """How a view's column gets its type: what does not fit becomes NULL."""

    crm_object: str
    column: str
    hubspot_property: str
    function: str


class ViewPlan:
    """The views a tenant ought to have. What it has to leave out is in ``warnings``."""

    def __init__(
        self, connection: psycopg.Connection, dataset: str, tenant_id: str, schema: str
    ) -> None:
        self._connection = connection
        self._dataset = dataset
        self._tenant_id = tenant_id
        self._schema = schema
        self.warnings: list[str] = []

    def views(self, objects: Sequence[str], typed_columns: Mapping[str, str]) -> Iterator[View]:
        known, skipped = object_views(objects)
        self.warnings += [
            f"The object {name} gets no views: they would be called like others of this tenant. "
            "Give it another name in the tenants file."
            for name in skipped
        ]
        for table in ("deal_pipelines", "deal_stages", "owners"):
            yield self._of_table(table, table, {"_tenant_id": self._tenant_id})
        for table in ("scans", "scan_objects", "quality_results"):
            yield self._of_table(table, table, {"tenant_id": self._tenant_id})
        for crm_object, names in known.items():
            typed = typed_columns if crm_object == "deals" else {}
            yield from self._of_records(crm_object, names, typed)
            yield from self._around(crm_object, names)

    def conversions(
        self, objects: Sequence[str], typed_columns: Mapping[str, str]
    ) -> Iterator[Conversion]:
        """Yield all conversions of which values may be left out.

        A column that keeps an old type, because something depends on its view, has two.
        """
        known, _ = object_views(objects)
        for crm_object, names in known.items():
            typed = typed_columns if crm_object == "deals" else {}
            present = self._present_types(names)
            definitions = self._definitions(crm_object)
            for column in property_columns(definitions, _meta_columns(crm_object), typed):
                if not column.base_column:
                    functions = {column.conversion} | {
                        conversion_to(its_type)
                        for its_type in present.get(column.name, ())
                        if is_type_of_property(its_type)
                    }
                    for function in sorted(MAY_NOT_FIT & functions):
                        yield Conversion(crm_object, column.name, column.hubspot_property, function)

    def _present_types(self, names: ObjectViews) -> dict[str, list[str]]:
        """Return the types that the columns of an object's views have: one, or two."""
        rows = self._connection.execute(
            _PRESENT_TYPES, [self._schema, [names.live, names.all]]
        ).fetchall()
        return dict(rows)

    def _around(self, crm_object: str, names: ObjectViews) -> Iterator[View]:
        tenant = {"_tenant_id": self._tenant_id}
        its_own = {**tenant, "object": crm_object}
        yield self._of_table(names.properties, "property_definitions", its_own)
        yield self._of_table(names.property_history, "property_history", its_own)
        outgoing = {**tenant, "from_object": crm_object}
        yield self._of_table(names.associations, "associations", outgoing)

    def _of_table(self, name: str, table: str, only: Mapping[str, str]) -> View:
        """A view of the rows where the columns of *only* have these values, and of the others."""
        columns = self._connection.execute(_COLUMNS, [self._dataset, table])
        shown = {column: sql.Identifier(column) for (column,) in columns if column not in only}
        conditions = [sql.SQL("{} = {}").format(sql.Identifier(k), v) for k, v in only.items()]
        source = sql.SQL("from {} where {}").format(
            sql.Identifier(self._dataset, table), sql.SQL(" and ").join(conditions)
        )
        return View(name, shown, source)

    def _of_records(
        self, crm_object: str, names: ObjectViews, typed_columns: Mapping[str, str]
    ) -> Iterator[View]:
        kind = "deal" if crm_object == "deals" else "record"
        only = {"_tenant_id": self._tenant_id}
        only |= {} if kind == "deal" else {"object": crm_object}
        meta = _meta_columns(crm_object)
        definitions = self._definitions(crm_object)
        columns: dict[str, sql.Composable] = {column: sql.Identifier(column) for column in meta}
        texts: dict[str, sql.Composable] = {}
        for column in property_columns(definitions, meta, typed_columns):
            columns[column.name] = self._value(column)
            texts[column.name] = text_of(column.hubspot_property)
        barrier = self._of_table(f"_{crm_object}", f"{kind}s", only)
        yield barrier
        source = sql.SQL("from {}").format(sql.Identifier(self._schema, barrier.name))
        live = sql.SQL(_LIVE).format(sql.Identifier(f"merged_into_{kind}_id"))
        yield View(names.live, columns, source + live, barrier.name, texts)
        yield View(names.all, columns, source, barrier.name, texts)

    def _definitions(self, crm_object: str) -> list[PropertyDefinition]:
        statement = sql.SQL(_DEFINITIONS).format(
            sql.Identifier(self._dataset, "property_definitions")
        )
        rows = self._connection.execute(statement, [self._tenant_id, crm_object]).fetchall()
        if len(rows) > MAX_PROPERTIES:
            self.warnings.append(
                f"The views of {crm_object} show {MAX_PROPERTIES} of {len(rows)} properties, as "
                "PostgreSQL takes no more columns. The others are in the column properties."
            )
        return [PropertyDefinition(*row) for row in rows]

    def _value(self, column: PropertyColumn) -> sql.Composable:
        if column.base_column:
            return sql.Identifier(column.base_column)
        return converted(self._dataset, text_of(column.hubspot_property), column.conversion)


def _meta_columns(crm_object: str) -> list[str]:
    kind = "deal" if crm_object == "deals" else "record"
    return [column.format(kind=kind) for column in _META_COLUMNS]


def text_of(hubspot_property: str) -> sql.Composed:
    return sql.SQL("properties ->> {}").format(hubspot_property)


def converted(dataset: str, text: sql.Composable, conversion: str | None) -> sql.Composed:
    """Return the expression of a column that shows a text through a conversion, or as it is."""
    if conversion:
        return sql.SQL("{}({})").format(sql.Identifier(dataset, conversion), text)
    return sql.SQL("nullif({}, '')").format(text)


#: {kind} is deal or record.
_META_COLUMNS = (
    *("{kind}_id", "created_at", "updated_at", "archived", "archived_at", "vanished_at"),
    *("merged_into_{kind}_id", "url", "properties", "_scan_id", "_extracted_at"),
)
_PRESENT_TYPES = """
    select attname::text, array_agg(distinct format_type(atttypid, atttypmod))
    from pg_catalog.pg_attribute
    join pg_catalog.pg_class relation on relation.oid = attrelid
    join pg_catalog.pg_namespace namespace on namespace.oid = relation.relnamespace
    where nspname = %s and relname = any(%s) and attnum > 0
    group by attname
"""
_LIVE = " where not archived and vanished_at is null and {} is null"
# where not all fit: those in use first, and of these the ones that analysts have known longest
_DEFINITIONS = """
    select name, property_type, field_type from {}
    where _tenant_id = %s and object = %s
    order by archived or not listed, first_seen_at, name collate "C"
"""
_COLUMNS = """
    select column_name from information_schema.columns
    where table_schema = %s and table_name = %s order by ordinal_position
"""
