"""The names, columns and types of a tenant's views, which `views` builds.

docs/database-schema.md#views-of-a-tenant
"""

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from psycopg import sql

from include.warehouse.connection import WarehouseConnection

#: PostgreSQL truncates longer names silently.
MAX_NAME_BYTES = 63
_HASH_DIGITS = 8
#: PostgreSQL's limit of a view; a query that selects from it may have 1,664 columns.
MAX_COLUMNS = 1_600
MAX_PROPERTIES = 1_500

_CONVERSIONS = {
    "bool": "as_boolean",
    "number": "as_number",
    "date": "as_date",
    "datetime": "as_timestamptz",
}
_CHECKBOX_CONVERSION = "as_list"
#: Every text is a valid list, so `as_list` is not among them.
MAY_NOT_FIT = frozenset(_CONVERSIONS.values())
#: The conversion to each type, as `format_type` names it; None: no conversion.
CONVERSIONS_TO: dict[str, str | None] = {
    "boolean": "as_boolean",
    "numeric": "as_number",
    "date": "as_date",
    "timestamp with time zone": "as_timestamptz",
    "text[]": _CHECKBOX_CONVERSION,
    "text": None,
}

#: The views that belong to no object: their tables, and the column of the tenant.
_TABLES = {
    "account": ("accounts", "_tenant_id"),
    "owners": ("owners", "_tenant_id"),
    "users": ("users", "_tenant_id"),
    "teams": ("teams", "_tenant_id"),
    "roles": ("roles", "_tenant_id"),
    "scans": ("scans", "tenant_id"),
    "scan_objects": ("scan_objects", "tenant_id"),
    "quality_results": ("quality_results", "tenant_id"),
    "quality_records": ("quality_records", "tenant_id"),
}


@dataclass(frozen=True)
class PropertyDefinition:
    """The parts of a definition that determine a column. ``comment``: label and description."""

    name: str
    property_type: str | None
    field_type: str | None
    comment: str | None = None


@dataclass(frozen=True)
class PropertyColumn:
    """A view's column for one HubSpot property.

    It reads ``base_column`` if there is one, else the JSON through ``conversion``, else as text.
    """

    name: str
    hubspot_property: str
    base_column: str | None
    conversion: str | None
    comment: str | None = None


@dataclass(frozen=True)
class ObjectViews:
    """Names of the views that belong to one CRM object."""

    live: str
    all: str
    properties: str
    associations: str
    property_history: str
    pipelines: str
    stages: str

    @classmethod
    def of(cls, crm_object: str) -> "ObjectViews":
        # other views of deals have been named deal_… since the first release
        prefix = "deal" if crm_object == "deals" else crm_object
        return cls(
            crm_object,
            f"{crm_object}_all",
            f"{prefix}_properties",
            f"{prefix}_associations",
            f"{prefix}_property_history",
            f"{prefix}_pipelines",
            f"{prefix}_stages",
        )

    def names(self) -> set[str]:
        return set(astuple(self))


def tenant_schema(dataset: str, tenant_id: str) -> str:
    return shortened(f"{dataset}__{tenant_id}")


def fivetran_schema(dataset: str, tenant_id: str) -> str:
    # unique, because the first `__` ends the dataset
    return shortened(f"{dataset}_fivetran__{tenant_id}")


#: The schemas that a tenant can have: its own, and Fivetran's tables.
SCHEMA_NAMES = (tenant_schema, fivetran_schema)


def tenant_role(tenant_id: str) -> str:
    return shortened(f"hubspot_{tenant_id}")


def object_views(objects: Iterable[str]) -> tuple[dict[str, ObjectViews], list[str]]:
    """Return the views of each object, and the objects left out because their names are taken."""
    views: dict[str, ObjectViews] = {}
    skipped = []
    taken = {*_TABLES, *ObjectViews.of("deals").names()}
    for crm_object in objects:
        wanted = ObjectViews.of(crm_object)
        if crm_object in views or (crm_object != "deals" and wanted.names() & taken):
            skipped.append(crm_object)
            continue
        views[crm_object] = wanted
        taken |= wanted.names()
    return views, skipped


def property_columns(
    definitions: Sequence[PropertyDefinition],
    reserved: Collection[str],
    typed_columns: Mapping[str, str],
    prefix: str = "",
) -> list[PropertyColumn]:
    """Return the columns, ordered by property name, of the first MAX_PROPERTIES definitions.

    *reserved* are names of the view's other columns.
    """
    kept = sorted(definitions[:MAX_PROPERTIES], key=lambda definition: definition.name)
    names = column_names([prefix + definition.name for definition in kept], reserved)
    return [
        PropertyColumn(
            names[prefix + definition.name],
            definition.name,
            typed_columns.get(definition.name),
            conversion(definition),
            definition.comment,
        )
        for definition in kept
    ]


def conversion(definition: PropertyDefinition) -> str | None:
    """Return the SQL function that gives a property's text its type; None leaves it text."""
    if (definition.property_type, definition.field_type) == ("enumeration", "checkbox"):
        return _CHECKBOX_CONVERSION
    return _CONVERSIONS.get(definition.property_type or "")


def column_names(properties: Iterable[str], reserved: Collection[str]) -> dict[str, str]:
    """Return the column of each property: its own name if PostgreSQL and *reserved* allow it.

    A new property changes the name of another's column only if it has exactly that name.
    """
    everything = sorted(set(properties))
    names = {name: name for name in everything if name and _fits(name) and name not in reserved}
    taken = {*reserved, *names}
    for name in everything:
        if name not in names:
            names[name] = next(other for other in _other_names(name) if other not in taken)
            taken.add(names[name])
    return names


def _other_names(name: str) -> Iterator[str]:
    if _fits(prefixed := f"property_{name}") and _fits(name):
        yield prefixed
    for attempt in itertools.count():
        yield _with_hash(name, attempt)


def shortened(name: str) -> str:
    """Return *name*, truncated and with a hash of the whole if it is too long for PostgreSQL."""
    return name if _fits(name) else _with_hash(name)


def _fits(name: str) -> bool:
    return len(name.encode()) <= MAX_NAME_BYTES


def _with_hash(name: str, attempt: int = 0) -> str:
    hashed = f"{name}\0{attempt}" if attempt else name
    digest = hashlib.blake2b(hashed.encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
    head = name.encode()[: MAX_NAME_BYTES - _HASH_DIGITS - 1].decode(errors="ignore")
    return f"{head}_{digest}"


@dataclass(frozen=True)
class Column:
    """A column of a view. ``hubspot_property``: the one that it shows, if it shows one."""

    expression: sql.Composable
    comment: str | None = None
    hubspot_property: str | None = None


@dataclass(frozen=True)
class View:
    """A view to build. ``columns``, by name, select from ``source``.

    ``reads``: the view that is its barrier; None: it is a barrier itself. ``prefix``: of the names
    of columns that show a property.
    """

    name: str
    columns: Mapping[str, Column]
    source: sql.Composable
    reads: str | None = None
    prefix: str = ""

    @property
    def is_barrier(self) -> bool:
        return self.reads is None


@dataclass(frozen=True)
class Conversion:
    """How a view's column gets its type; values that do not fit become NULL."""

    crm_object: str
    column: str
    hubspot_property: str
    function: str


class ViewPlan:
    """The views that a tenant should have; ``warnings`` name those that were left out.

    :param typed_columns: HubSpot property → typed column of `deals`.
    """

    def __init__(
        self, connection: WarehouseConnection, tenant_id: str, typed_columns: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._typed_columns_of_deals = typed_columns
        self._schema = tenant_schema(connection.schema, tenant_id)
        self.warnings: list[str] = []
        self._with_pipelines: set[str] = set()

    def views(self, objects: Sequence[str]) -> Iterator[View]:
        known, skipped = object_views(objects)
        # every account has pipelines of deals, even if they could not be read yet
        listed = self._connection.run(_WITH_PIPELINES, [self._tenant_id]).fetchall()
        self._with_pipelines = {"deals", *(crm_object for (crm_object,) in listed)}
        self.warnings += [
            f"The object {name} gets no views, because other views of this tenant have their "
            "names. Give it another name in the tenants file."
            for name in skipped
        ]
        for name, (table, tenant_column) in _TABLES.items():
            yield self._of_table(name, table, {tenant_column: self._tenant_id})
        for crm_object, names in known.items():
            yield from self._of_records(crm_object, names)
            yield from self._of_object(crm_object, names)

    def conversions(self, objects: Sequence[str]) -> Iterator[Conversion]:
        """Yield all conversions that may yield NULL for a value.

        A column that keeps an old type, because something depends on its view, has two.
        """
        known, _ = object_views(objects)
        for crm_object, names in known.items():
            present = self._present_types(names)
            for column in self._property_columns_of(crm_object):
                if not column.base_column:
                    functions = {column.conversion} | {
                        CONVERSIONS_TO[its_type]
                        for its_type in present.get(column.name, ())
                        if its_type in CONVERSIONS_TO
                    }
                    for function in sorted(MAY_NOT_FIT & functions):
                        yield Conversion(crm_object, column.name, column.hubspot_property, function)

    def _present_types(self, names: ObjectViews) -> dict[str, list[str]]:
        """Return the types that the columns of an object's views have: one, or two."""
        rows = self._connection.execute(
            _PRESENT_TYPES, [self._schema, [names.live, names.all]]
        ).fetchall()
        return dict(rows)

    def _of_object(self, crm_object: str, names: ObjectViews) -> Iterator[View]:
        """Yield the views of an object other than those of its records."""
        tenant = {"_tenant_id": self._tenant_id}
        its_own = {**tenant, "object": crm_object}
        yield self._of_table(names.properties, "property_definitions", its_own)
        yield self._of_table(names.property_history, "property_history", its_own)
        outgoing = {**tenant, "from_object": crm_object}
        yield self._of_table(names.associations, "associations", outgoing)
        if crm_object in self._with_pipelines:
            yield self._of_table(names.pipelines, "pipelines", its_own)
            yield self._of_table(names.stages, "pipeline_stages", its_own)

    def _of_table(self, name: str, table: str, only: Mapping[str, str]) -> View:
        """Return a view of the rows with the values of *only*, without these columns."""
        of_table = self._connection.execute(_COLUMNS, [self._connection.schema, table])
        columns = {
            column: Column(sql.Identifier(column), comment)
            for column, comment in of_table
            if column not in only
        }
        conditions = [sql.SQL("{} = {}").format(sql.Identifier(k), v) for k, v in only.items()]
        source = sql.SQL("from {} where {}").format(
            sql.Identifier(self._connection.schema, table), sql.SQL(" and ").join(conditions)
        )
        return View(name, columns, source)

    def _barrier(self, name: str, crm_object: str) -> View:
        """Return the view of an object's rows that the views with properties read."""
        only = {"_tenant_id": self._tenant_id}
        if crm_object != "deals":
            only["object"] = crm_object
        return self._of_table(name, f"{kind_of(crm_object)}s", only)

    def _of_records(self, crm_object: str, names: ObjectViews) -> Iterator[View]:
        barrier = self._barrier(f"_{crm_object}", crm_object)
        columns = {name: barrier.columns[name] for name in _meta_columns(crm_object)}
        properties = self._property_columns_of(crm_object)
        labels = self._labels(crm_object)
        taken = {*columns, *(known.name for known in properties)}
        for known in properties:
            columns[known.name] = self._column(known)
            if label := labels.get(known.hubspot_property):
                name = f"{known.hubspot_property}_label"
                # a property with this name keeps it
                name = _with_hash(name) if name in taken else name
                comment = f"Label of `{known.hubspot_property}`, from `{names.stages}`."
                columns[name] = Column(label, comment)
        yield barrier
        source = sql.SQL(UNPACKED).format(sql.Identifier(self._schema, barrier.name))
        live = sql.SQL(_LIVE).format(sql.Identifier(f"merged_into_{kind_of(crm_object)}_id"))
        yield View(names.live, columns, source + live, barrier.name)
        yield View(names.all, columns, source, barrier.name)

    def _labels(self, crm_object: str) -> dict[str, sql.Composable]:
        """Return the expressions of the labels of a record's pipeline and stage, by property."""
        if crm_object not in self._with_pipelines:
            return {}
        properties = _OF_DEALS if crm_object == "deals" else _OF_OTHERS
        typed = self._typed_columns(crm_object)
        pipeline, stage = (
            sql.Identifier("record", typed[name])
            if name in typed
            else sql.SQL("({})").format(text_of(name))
            for name in properties
        )
        of = {
            "tenant": sql.Literal(self._tenant_id),
            "object": sql.Literal(crm_object),
            "pipeline": pipeline,
            "stage": stage,
        }
        labels = (self._connection.composed(text, of) for text in (_PIPELINE_LABEL, _STAGE_LABEL))
        return dict(zip(properties, labels, strict=True))

    def _typed_columns(self, crm_object: str) -> Mapping[str, str]:
        return self._typed_columns_of_deals if crm_object == "deals" else {}

    def _property_columns_of(self, crm_object: str) -> list[PropertyColumn]:
        return property_columns(
            self._definitions(crm_object),
            _meta_columns(crm_object),
            self._typed_columns(crm_object),
        )

    def _definitions(self, crm_object: str) -> list[PropertyDefinition]:
        rows = self._connection.run(_DEFINITIONS, [self._tenant_id, crm_object]).fetchall()
        if len(rows) > MAX_PROPERTIES:
            self.warnings.append(
                f"The views of {crm_object} show {MAX_PROPERTIES} of {len(rows)} properties, "
                "because PostgreSQL allows no more columns. The others are in the column "
                "properties."
            )
        return [PropertyDefinition(*row) for row in rows]

    def _column(self, known: PropertyColumn) -> Column:
        expression: sql.Composable
        if known.base_column:
            expression = sql.Identifier(known.base_column)
        else:
            expression = converted(
                self._connection.schema, known.hubspot_property, known.conversion
            )
        return Column(expression, known.comment, known.hubspot_property)


def kind_of(crm_object: str) -> str:
    """Return the kind of an object's rows, as in the names of tables and columns."""
    return "deal" if crm_object == "deals" else "record"


def _meta_columns(crm_object: str) -> list[str]:
    return [column.format(kind=kind_of(crm_object)) for column in _META_COLUMNS]


def text_of(hubspot_property: str) -> sql.Composed:
    return sql.SQL("unpacked ->> {}").format(hubspot_property)


def converted(dataset: str, hubspot_property: str, conversion: str | None) -> sql.Composed:
    """Return a property's value, as text if no *conversion* is given."""
    text = text_of(hubspot_property)
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
    from pg_catalog.pg_attribute join pg_catalog.pg_class relation on relation.oid = attrelid
    where relnamespace = to_regnamespace(%s) and relname = any(%s) and attnum > 0
    group by attname
"""
# A row's properties are decompressed once, not once for each column that reads them. `group by ()`
# makes one row: the planner does not merge the subquery into the query, which would decompress for
# each column again, and leaves the join out if no column needs it.
UNPACKED = """
    from {} as record
    left join lateral (select record.properties || '{{}}' as unpacked group by ()) as json on true
"""
_LIVE = " where not archived and vanished_at is null and {} is null"
# if not all fit: properties in use first, and among these the oldest
_DEFINITIONS = """
    select name, property_type, field_type,
           nullif(concat_ws(': ', label, nullif(definition ->> 'description', '')), '')
    from {property_definitions}
    where _tenant_id = %s and object = %s
    order by archived or not listed, first_seen_at, name collate "C"
"""
_WITH_PIPELINES = "select distinct object from {pipelines} where _tenant_id = %s"
#: The properties of a pipeline and of a stage.
_OF_DEALS, _OF_OTHERS = ("pipeline", "dealstage"), ("hs_pipeline", "hs_pipeline_stage")
# Labels by id. Each is a scalar subquery that refers to no row: PostgreSQL runs it once a query,
# and only if the column is used. It never multiplies rows, and PostgreSQL does not move a function
# of an analyst's query into it, where it would see rows of other tenants. A stage of another
# pipeline than the record's is found by its id: of several, the last in order counts. A stage
# without metadata was never listed.
_PIPELINE_LABEL = """(
    select jsonb_object_agg(pipeline_id, label) from {pipelines}
    where _tenant_id = {tenant} and object = {object}
) ->> {pipeline}"""
_STAGE_LABEL = """coalesce((
    select jsonb_object_agg(pipeline_id, labels) from (
        select pipeline_id, jsonb_object_agg(stage_id, stage_label) as labels
        from {pipeline_stages}
        where _tenant_id = {tenant} and object = {object} and metadata is not null
        group by pipeline_id
    ) as of_pipeline
) -> {pipeline} ->> {stage}, (
    select jsonb_object_agg(stage_id, stage_label
                            order by listed, metadata is not null, pipeline_id desc)
    from {pipeline_stages}
    where _tenant_id = {tenant} and object = {object}
) ->> {stage})"""
_COLUMNS = """
    select attname::text, col_description(attrelid, attnum)
    from pg_catalog.pg_attribute join pg_catalog.pg_class relation on relation.oid = attrelid
    where relnamespace = to_regnamespace(%s) and relname = %s and attnum > 0 and not attisdropped
    order by attnum
"""
