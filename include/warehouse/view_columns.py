"""What a tenant's views and their columns are called, and what type a HubSpot property gets.

Decisions only: include/warehouse/tenant_views.py turns them into SQL.
"""

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

#: PostgreSQL cuts longer names without a word.
MAX_NAME_BYTES = 63
_HASH_DIGITS = 8
#: PostgreSQL allows a view so many, and a query that selects from it 1,664.
MAX_COLUMNS = 1_600
MAX_PROPERTIES = 1_500

_CONVERSIONS = {
    "bool": "as_boolean",
    "number": "as_number",
    "date": "as_date",
    "datetime": "as_timestamptz",
}
_CHECKBOX_CONVERSION = "as_list"
#: A list takes any text.
MAY_NOT_FIT = frozenset(_CONVERSIONS.values())
#: What conversions yield, as `format_type` calls it; None: text, as it is.
_CONVERSIONS_TO: dict[str, str | None] = {
    "boolean": "as_boolean",
    "numeric": "as_number",
    "date": "as_date",
    "timestamp with time zone": "as_timestamptz",
    "text[]": _CHECKBOX_CONVERSION,
    "text": None,
}

#: Views that exist once a tenant, and the view names that start with `deal_`.
FIXED_VIEWS = frozenset(
    {
        *("deals", "deals_all", "deal_properties", "deal_associations", "deal_property_history"),
        *("deal_pipelines", "deal_stages", "owners", "scans", "scan_objects", "quality_results"),
    }
)


@dataclass(frozen=True)
class PropertyDefinition:
    """Of a HubSpot property, what decides its column."""

    name: str
    property_type: str | None
    field_type: str | None


@dataclass(frozen=True)
class PropertyColumn:
    """A view's column for one HubSpot property.

    It reads ``base_column`` if there is one, else the JSON through ``conversion``, else as text.
    """

    name: str
    hubspot_property: str
    base_column: str | None
    conversion: str | None


@dataclass(frozen=True)
class ObjectViews:
    """Names of the views that belong to one CRM object."""

    live: str
    all: str
    properties: str
    associations: str
    property_history: str

    @classmethod
    def of(cls, crm_object: str) -> "ObjectViews":
        # what lies around deals has been called deal_… since the first release
        around = "deal" if crm_object == "deals" else crm_object
        return cls(
            crm_object,
            f"{crm_object}_all",
            f"{around}_properties",
            f"{around}_associations",
            f"{around}_property_history",
        )

    def names(self) -> set[str]:
        return {self.live, self.all, self.properties, self.associations, self.property_history}


def tenant_schema(dataset: str, tenant_id: str) -> str:
    return shortened(f"{dataset}__{tenant_id}")


def tenant_role(tenant_id: str) -> str:
    return shortened(f"hubspot_{tenant_id}")


def object_views(objects: Iterable[str]) -> tuple[dict[str, ObjectViews], list[str]]:
    """Return the views of each object, and the objects left out because their names are taken."""
    views: dict[str, ObjectViews] = {}
    skipped = []
    taken = set(FIXED_VIEWS)
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
) -> list[PropertyColumn]:
    """Return the columns, ordered by property name, of the first MAX_PROPERTIES definitions.

    *reserved* are column names that the view has besides.
    """
    kept = sorted(definitions[:MAX_PROPERTIES], key=lambda definition: definition.name)
    names = column_names([definition.name for definition in kept], reserved)
    return [
        PropertyColumn(
            names[definition.name],
            definition.name,
            typed_columns.get(definition.name),
            conversion(definition),
        )
        for definition in kept
    ]


def conversion(definition: PropertyDefinition) -> str | None:
    """Return the SQL function that gives a property's text its type; None leaves it text."""
    if (definition.property_type, definition.field_type) == ("enumeration", "checkbox"):
        return _CHECKBOX_CONVERSION
    return _CONVERSIONS.get(definition.property_type or "")


def conversion_to(column_type: str) -> str | None:
    """Return the SQL function that makes a type of a property's text; None leaves it text."""
    return _CONVERSIONS_TO[column_type]


def is_type_of_property(column_type: str) -> bool:
    return column_type in _CONVERSIONS_TO


def column_names(properties: Iterable[str], reserved: Collection[str]) -> dict[str, str]:
    """Return the column of each property: its own name wherever PostgreSQL and *reserved* allow.

    Another property changes a column's name only by being called exactly like it.
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
    """Return *name*, if need be cut to what PostgreSQL takes, with a hash of the whole."""
    return name if _fits(name) else _with_hash(name)


def _fits(name: str) -> bool:
    return len(name.encode()) <= MAX_NAME_BYTES


def _with_hash(name: str, attempt: int = 0) -> str:
    hashed = f"{name}\0{attempt}" if attempt else name
    digest = hashlib.blake2b(hashed.encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
    head = name.encode()[: MAX_NAME_BYTES - _HASH_DIGITS - 1].decode(errors="ignore")
    return f"{head}_{digest}"
