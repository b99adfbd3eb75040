"""No value of HubSpot's breaks an index or a type."""

from typing import Any

import msgspec
import pytest

from include.hubspot.answers import (
    Account,
    AssociatedRecord,
    AssociationResult,
    AssociationType,
    Owner,
    PastValue,
    Pipeline,
    PropertyDefinition,
    RecordHistory,
    Role,
    Stage,
    Team,
    User,
    decode_definition,
)
from include.warehouse.associations import links_of, replace_associations
from include.warehouse.connection import Warehouse
from include.warehouse.property_history import save_histories
from include.warehouse.reference_data import (
    add_unlisted_stages,
    save_account,
    save_definitions,
    save_owners,
    save_pipelines,
    save_users,
)
from include.warehouse.tenant_views.views import publish_views
from include.warehouse.values import KEY_BYTES, to_json
from tests.support.scans import query, scan

#: Random, so that compression does not make it fit.
LONG = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(65_536))
LONGEST_KEY = LONG[: KEY_BYTES // 3]


#: What no id of HubSpot is.
ODD_IDS = ["", "x", "-1", "1.5", "²", "true", "\ufffd1", str(2**63), LONG]


def test_owners(warehouse: Warehouse) -> None:
    fits = Owner(id=str(2**63 - 1), email=LONG, first_name=LONG, type=LONG, user_id=2**63)

    warnings = save_owners(warehouse, scan(), [fits, *map(Owner, ODD_IDS)])

    (row,) = query(warehouse, "select owner_id, email, user_id from owners")
    assert row == {"owner_id": str(2**63 - 1), "email": LONG, "user_id": None}
    assert [f"owners: an entry was left out because its id {odd[:40]!r}" for odd in ODD_IDS] == [
        warning.removesuffix(" is not a 64-bit number") for warning in warnings
    ]


#: Where HubSpot documents a list of objects.
ODD_LISTS = [
    *('"none"', '""', "7", "1.5", "true", "false", "null", "{}", '{"id": "1"}', '[1, null, "x"]'),
    "[" * 5_000 + "]" * 5_000,
]


@pytest.mark.parametrize("odd", ODD_LISTS, ids=lambda text: text[:20])
def test_what_is_no_list_where_a_list_is_documented(warehouse: Warehouse, odd: str) -> None:
    raw = msgspec.Raw(odd.encode())
    definition = PropertyDefinition("size", options=raw, document=raw)

    save_account(warehouse, scan(), Account(4711, additional_currencies=raw))
    save_owners(warehouse, scan(), [Owner(id="1", user_id=1, teams=raw)])
    save_definitions(warehouse, scan(), "deals", [definition])
    publish_views(warehouse, "acme", ["deals"], {}, fivetran=scan().tenant.crm_objects)

    for view in ("owner_team", "team", "team_user", "users", "property", "property_option"):
        query(warehouse, f"select * from hubspot_deals_fivetran__acme.{view}")
    (kept,) = query(
        warehouse,
        "select additional_currencies, teams, options from accounts, owners, property_definitions",
    )
    assert len(set(map(repr, kept.values()))) == 1


def test_pipelines_and_stages(warehouse: Warehouse) -> None:
    stages = [
        Stage(
            LONGEST_KEY,
            LONG,
            2**40,
            created_at=LONG,
            metadata={"probability": "1e400000", "isClosed": LONG},
        ),
        Stage(LONG),
    ]
    pipelines = [Pipeline(LONGEST_KEY, LONG, -(2**40), stages=stages), Pipeline(LONG)]

    warnings = save_pipelines(warehouse, scan(), "deals", pipelines)

    assert len(query(warehouse, "select from pipelines where label = %s", LONG)) == 1
    (stage,) = query(warehouse, "select probability, display_order, is_closed from pipeline_stages")
    assert stage == {"probability": None, "display_order": None, "is_closed": None}
    assert [warning.split(" with")[0] for warning in warnings] == ["the pipeline", "the stage"]


def test_metadata_of_stages_becomes_text_that_fits(warehouse: Warehouse) -> None:
    metadata = {"a": None, "b": True, "c": 2**70, "d": {"e": [LONG]}, "ticketState": "ODD"}

    save_pipelines(warehouse, scan(), "x", [Pipeline("1", stages=[Stage("1", metadata=metadata)])])

    (stage,) = query(warehouse, "select metadata, is_closed from pipeline_stages")
    assert stage["metadata"]["b"] is True
    assert stage["metadata"]["c"] == str(2**70)
    assert stage["is_closed"] is None


def test_users_teams_and_roles(warehouse: Warehouse) -> None:
    user = User(str(2**63 - 1), LONG, LONG, LONG, [LONG], None, LONG, [LONG])
    team = Team("1", LONG, [LONG], [LONG])
    role = Role("1", LONG)

    warnings = [
        *save_users(warehouse, scan(), "users", [user, *map(User, ODD_IDS)]),
        *save_users(warehouse, scan(), "teams", [team, *(Team(id, "x") for id in ODD_IDS)]),
        *save_users(warehouse, scan(), "roles", [role, *(Role(id, "x") for id in ODD_IDS)]),
    ]

    (held,) = query(warehouse, "select user_id, role_ids, primary_team_id, listed from users")
    assert held == {
        "user_id": 2**63 - 1,
        "role_ids": [LONG],
        "primary_team_id": None,
        "listed": True,
    }
    assert len(query(warehouse, "select from teams where name = %s", LONG)) == 1
    assert len(query(warehouse, "select from roles where name = %s", LONG)) == 1
    assert len(warnings) == 3 * len(ODD_IDS)
    assert warnings[1] == ("users: an entry was left out because its id 'x' is not a 64-bit number")


@pytest.mark.parametrize(
    "probability", ["9" * 65_536, "0." + "9" * 65_000, "1e131073", "1e-16384", "NaN", "-Infinity"]
)
def test_a_probability(warehouse: Warehouse, probability: str) -> None:
    stage = Stage("1", metadata={"probability": probability})

    save_pipelines(warehouse, scan(), "deals", [Pipeline("1", stages=[stage])])

    assert query(warehouse, "select probability from pipeline_stages") == [{"probability": None}]


def test_stages_of_deals_that_are_longer_than_an_index_row(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            f"insert into {warehouse.schema}.deals (_tenant_id, deal_id, pipeline_id, stage_id,"
            " archived, properties, _content_hash, _scan_id, _extracted_at)"
            " values ('acme', 1, %s, 'x', false, '{}', 1, '1', now())",
            [LONG],
        )

    add_unlisted_stages(warehouse, scan())

    assert query(warehouse, "select from pipeline_stages") == []


def test_property_definitions(warehouse: Warehouse) -> None:
    document = f'{{"name":"{LONGEST_KEY}","label":"{LONG}","options":[{{"displayOrder":1e999}}]}}'

    save_definitions(
        warehouse,
        scan(),
        "deals",
        [decode_definition(document.encode()), PropertyDefinition(name=LONG)],
    )

    (row,) = query(warehouse, "select name, options from property_definitions")
    assert row == {"name": LONGEST_KEY, "options": [{"displayOrder": "1e999"}]}


def test_histories(warehouse: Warehouse) -> None:
    past = PastValue("2026-01-01T00:00:00Z", LONG, LONG, LONG)
    history = RecordHistory("1", {LONGEST_KEY: [past], LONG: [past]})
    strangers = [RecordHistory(stranger, {"x": [past]}) for stranger in ("9" * 30, "none")]

    save_histories(warehouse, scan(), "deals", "x", [(1, 1)], [history, *strangers])

    assert len(query(warehouse, "select from property_history where value = %s", LONG)) == 1
    assert len(query(warehouse, "select from property_history")) == 1


@pytest.mark.parametrize(
    ("to_id", "kinds"),
    [
        pytest.param(2**63, [AssociationType("A", 1)], id="id"),
        pytest.param("9" * 65_536, [AssociationType("A", 1)], id="digits"),
        pytest.param("none", [AssociationType("A", 1)], id="text"),
        pytest.param(-1, [AssociationType(LONG, 1)], id="category"),
        pytest.param(2, [AssociationType("A", 2**31)], id="type"),
        pytest.param(2, [], id="no type"),
    ],
)
def test_associations(warehouse: Warehouse, to_id: Any, kinds: list[AssociationType]) -> None:
    fits = AssociatedRecord(3, [AssociationType(LONGEST_KEY, 2**31 - 1, LONG)])
    result = AssociationResult(source=_source(1), to=[AssociatedRecord(to_id, kinds), fits])

    links, misfits = links_of([result], of=[1])
    replace_associations(warehouse, scan(), "deals", "contacts", [1], links)

    assert misfits == 1
    assert query(warehouse, "select to_id, label from associations") == [
        {"to_id": 3, "label": LONG}
    ]


def _source(record_id: int) -> Any:
    from include.hubspot.answers import _AssociationSource

    return _AssociationSource(record_id)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1.5,"b":-3}', {"a": 1.5, "b": -3}),
        ("1e999", "1e999"),
        ("9" * 5_000, "9" * 5_000),
        ("[" * 50_000 + "]" * 50_000, "[" * 50_000 + "]" * 50_000),
        ("NaN", "NaN"),
    ],
    ids=["plain", "exponent", "digits", "nested", "NaN"],
)
def test_json_that_jsonb_takes(warehouse: Warehouse, text: str, value: Any) -> None:
    assert to_json(text.encode()) == value
