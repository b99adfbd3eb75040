import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.warehouse.tenant_views.plan import (
    MAX_PROPERTIES,
    PropertyDefinition,
    column_names,
    conversion,
    object_views,
    property_columns,
    tenant_schema,
)

RESERVED = ("deal_id", "url", "properties")
#: Names that meet the rules' edges, besides anything else that PostgreSQL can store.
NAMES = st.one_of(
    st.sampled_from([*RESERVED, *(f"property_{name}" for name in RESERVED), "", "ä" * 40]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100),
    st.integers(50, 70).map(lambda length: "x" * length),
)


def definition(
    name: str, property_type: str | None = "string", field_type: str | None = "text"
) -> PropertyDefinition:
    return PropertyDefinition(name, property_type, field_type)


@given(st.sets(NAMES))
def test_column_names_are_distinct_and_short_enough_for_postgresql(properties: set[str]) -> None:
    names = column_names(properties, RESERVED)

    assert names.keys() == properties
    assert len({*names.values(), *RESERVED}) == len(properties) + len(RESERVED)
    assert all(0 < len(name.encode()) <= 63 for name in names.values())


@given(st.lists(NAMES, unique=True))
def test_column_names_do_not_depend_on_the_order(properties: list[str]) -> None:
    assert column_names(properties, RESERVED) == column_names(properties[::-1], RESERVED)


@given(st.sets(NAMES), st.sets(NAMES))
def test_column_names_stay_when_properties_are_added(before: set[str], added: set[str]) -> None:
    names = column_names(before, RESERVED)

    later = column_names(before | added, RESERVED)

    # the exception: a new property is called exactly like the column of another
    unmoved = {name for name, column in names.items() if name == column or column not in added}
    assert {name: later[name] for name in unmoved} == {name: names[name] for name in unmoved}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        pytest.param(["amount"], ["amount"], id="as in HubSpot"),
        pytest.param(["Größe (m²)"], ["Größe (m²)"], id="anything goes"),
        pytest.param(["url"], ["property_url"], id="a meta column's name"),
        pytest.param(["x" * 63], ["x" * 63], id="just fits"),
        pytest.param(["x" * 64], ["x" * 54 + "_"], id="cut"),
        pytest.param(["ä" * 32], ["ä" * 27 + "_"], id="cut at 54 bytes"),
        pytest.param(["a" + "ä" * 32], ["a" + "ä" * 26 + "_"], id="never half a character"),
        pytest.param(["property_url", "url"], ["property_url", "url_"], id="both are taken"),
    ],
)
def test_a_column_is_called_like_its_property_where_possible(
    properties: list[str], expected: list[str]
) -> None:
    names = column_names(properties, RESERVED)

    without_hash = [
        name if name in expected else name[:-8] for name in (names[p] for p in properties)
    ]
    assert without_hash == expected


@pytest.mark.parametrize(
    ("property_type", "field_type", "expected"),
    [
        ("bool", "booleancheckbox", "as_boolean"),
        ("number", "number", "as_number"),
        ("number", "calculation_equation", "as_number"),
        ("date", "date", "as_date"),
        ("datetime", "date", "as_timestamptz"),
        ("enumeration", "checkbox", "as_list"),
        ("enumeration", "select", None),
        ("string", "checkbox", None),
        ("string", "text", None),
        ("object_coordinates", "text", None),
        (None, None, None),
    ],
)
def test_the_type_of_a_property_decides_its_conversion(
    property_type: str | None, field_type: str | None, expected: str | None
) -> None:
    assert conversion(definition("any", property_type, field_type)) == expected


def test_columns_are_ordered_by_name_and_read_typed_columns_where_there_are_any() -> None:
    columns = property_columns(
        [definition("dealstage"), definition("amount", "number", "number")],
        RESERVED,
        {"dealstage": "stage_id"},
    )

    assert [(c.name, c.base_column, c.conversion) for c in columns] == [
        ("amount", None, "as_number"),
        ("dealstage", "stage_id", None),
    ]


def test_the_first_definitions_get_the_columns_there_are() -> None:
    definitions = [definition(f"p{n:04}") for n in range(MAX_PROPERTIES + 5, 0, -1)]

    columns = property_columns(definitions, RESERVED, {})

    assert len(columns) == MAX_PROPERTIES
    assert columns[0].name == "p0006"


@pytest.mark.parametrize(
    ("objects", "skipped"),
    [
        (["deals", "contacts", "companies", "p123_machine"], []),
        (["deals", "deals_all"], ["deals_all"]),
        (["deals", "owners"], ["owners"]),
        (["deals", "deal"], ["deal"]),
        (["deals", "machines", "machines_all"], ["machines_all"]),
        (["deals", "machines_properties", "machines"], ["machines"]),
        (["deals", "contacts", "contacts"], ["contacts"]),
        (["deals", "scan_objects", "contacts"], ["scan_objects"]),
    ],
)
def test_an_object_whose_views_collide_is_left_out(objects: list[str], skipped: list[str]) -> None:
    views, left_out = object_views(objects)

    assert left_out == skipped
    names = [name for each in views.values() for name in each.names()]
    assert len(set(names)) == len(names)


def test_a_schema_name_that_is_too_long_is_cut_and_still_unique() -> None:
    one, other = (tenant_schema("d" * 50, "t" * 20 + last) for last in "ab")

    assert one != other
    assert len(one) == len(other) == 63
    assert tenant_schema("hubspot_deals", "acme") == "hubspot_deals__acme"
