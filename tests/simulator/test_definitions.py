"""Property definitions, pipelines and owners; users, teams and roles."""

from typing import Any

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, Token, portals
from tests.hubspot_simulator.definitions import definition, owner, user
from tests.simulator.caller import DEALS, Caller

PROPERTIES = "/crm/v3/properties/deals"


def listed(caller: Caller, query: str = "") -> set[str]:
    return {entry["name"] for entry in caller.get(PROPERTIES + query).json()["results"]}


def test_only_properties_that_are_not_sensitive_are_listed_by_default(
    caller: Caller, portal: Portal
) -> None:
    standard = set(portal.definitions)
    portal.definitions["iban"] = definition("iban", data_sensitivity="sensitive")

    assert listed(caller) == standard
    assert listed(caller, "?dataSensitivity=sensitive") == {"iban"}
    assert listed(caller, "?dataSensitivity=highly_sensitive") == set()


def test_a_sensitive_value_is_for_tokens_that_may_read_it(caller: Caller, portal: Portal) -> None:
    portal.definitions["iban"] = definition("iban", data_sensitivity="sensitive")
    portal.update(portal.live_ids()[0], iban="DE00")
    scopes = ("crm.objects.deals.read", "crm.objects.deals.sensitive.read.v2")
    portal.tokens.append(Token("trusted", scopes=scopes))

    path = f"{DEALS}?limit=1&properties=iban"
    (plain,) = caller.get(path).json()["results"]
    (trusted,) = caller.get(path, token="trusted").json()["results"]

    assert "iban" not in plain["properties"]
    assert trusted["properties"]["iban"] == "DE00"


def test_archived_definitions_are_listed_apart_and_have_no_values(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    simulator.add(portals.generated(deals=1, nasty=True))

    (deal,) = caller.get(f"{DEALS}?properties=an_archived_property").json()["results"]

    assert "an_archived_property" not in listed(caller)
    assert listed(caller, "?archived=true") == {"an_archived_property"}
    assert "an_archived_property" not in deal["properties"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/crm/v3/properties/0-3/amount", 200),
        ("/crm/properties/2026-09/deals/amount", 200),
        ("/crm/v3/properties/deals/nothing", 404),
    ],
)
@pytest.mark.usefixtures("portal")
def test_one_definition_is_read_by_name(caller: Caller, path: str, status: int) -> None:
    assert caller.get(path).status_code == status


@pytest.mark.parametrize("path", ["/crm/v3/pipelines/deals", "/crm/pipelines/2026-09/0-3"])
@pytest.mark.usefixtures("portal")
def test_a_stages_metadata_are_strings(caller: Caller, path: str) -> None:
    (pipeline,) = caller.get(path).json()["results"]

    by_id = {stage["id"]: stage["metadata"] for stage in pipeline["stages"]}
    assert by_id["closedwon"] == {"isClosed": "true", "probability": "1.0"}
    assert by_id["qualifiedtobuy"] == {"isClosed": "false", "probability": "0.4"}


@pytest.mark.parametrize("path", ["/crm/v3/pipelines/tickets", "/crm/pipelines/2026-03/0-5"])
def test_stages_of_tickets_are_open_or_closed(caller: Caller, portal: Portal, path: str) -> None:
    portal.add_object("tickets")

    (pipeline,) = caller.get(path).json()["results"]

    states = [stage["metadata"] for stage in pipeline["stages"]]
    assert states == [*[{"ticketState": "OPEN"}] * 3, {"ticketState": "CLOSED"}]


@pytest.mark.parametrize(
    ("name", "object_type", "status"),
    [("contacts", None, 400), ("machines", "2-77", 200), ("leads", "0-136", 200)],
)
def test_only_some_objects_have_pipelines(
    caller: Caller, portal: Portal, name: str, object_type: str | None, status: int
) -> None:
    portal.add_object(name, object_type=object_type)

    answer = caller.get(f"/crm/v3/pipelines/{name}")

    assert answer.status_code == status
    assert answer.json().get("results", []) == []


@pytest.mark.parametrize("path", ["/settings/v3/users/", "/settings/users/2026-03"])
def test_users_are_paged(caller: Caller, portal: Portal, path: str) -> None:
    portal.users = [user(number) for number in range(5)]

    first = caller.get(f"{path}?limit=3").json()
    second = caller.get(f"{path}?limit=3&after={first['paging']['next']['after']}").json()

    assert [entry["id"] for entry in first["results"] + second["results"]] == [
        entry["id"] for entry in portal.users
    ]
    assert "paging" not in second


@pytest.mark.parametrize(
    ("what", "scopes"),
    [
        ("", {"crm.objects.users.read", "settings.users.read"}),
        ("/roles", {"crm.objects.users.read", "settings.users.read"}),
        ("/teams", {"settings.users.teams.read"}),
    ],
)
def test_users_teams_and_roles_have_scopes_of_their_own(
    caller: Caller, portal: Portal, what: str, scopes: set[str]
) -> None:
    every = {"crm.objects.users.read", "settings.users.read", "settings.users.teams.read"}
    portal.tokens += [Token(scope, scopes=(scope,)) for scope in every]

    statuses = {
        scope: caller.get(f"/settings/v3/users{what}", token=scope).status_code for scope in every
    }

    assert statuses == {scope: 200 if scope in scopes else 403 for scope in every}


@pytest.mark.parametrize("path", ["/crm/v3/owners", "/crm/owners/2026-03"])
def test_owners_are_paged_and_archived_ones_a_list_of_their_own(
    caller: Caller, portal: Portal, path: str
) -> None:
    portal.owners = [owner(number) for number in range(5)]

    first = caller.get(f"{path}?limit=3").json()
    second = caller.get(f"{path}?limit=3&after={first['paging']['next']['after']}").json()
    archived = caller.get(f"{path}?archived=true").json()

    assert [entry["id"] for entry in first["results"] + second["results"]] == [
        entry["id"] for entry in portal.owners
    ]
    assert "paging" not in second
    assert all(entry["archived"] for entry in archived["results"])


@pytest.mark.parametrize("query", ["limit=501", "after=x", "after=99"])
@pytest.mark.usefixtures("portal")
def test_owners_refuse_what_makes_no_page(caller: Caller, query: str) -> None:
    assert caller.get(f"/crm/v3/owners?{query}").status_code == 400


def test_an_enumeration_has_options_and_owners_are_referenced(portal: Portal) -> None:
    stages: list[dict[str, Any]] = portal.definitions["dealstage"]["options"]

    assert [option["value"] for option in stages][-2:] == ["closedwon", "closedlost"]
    assert portal.definitions["hubspot_owner_id"]["options"] == []
    assert portal.definitions["hubspot_owner_id"]["referencedObjectType"] == "OWNER"
