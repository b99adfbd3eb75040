"""What lies around a deal: pipelines, stages, owners, definitions, associations, histories."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.errors import HubSpotUnavailableError
from include.hubspot.hook import HubSpotHook
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.scan import Window
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, Token, portals
from tests.hubspot_simulator.definitions import partner_pipeline
from tests.support.scans import BARE, PAGES, object_row, query, run, scan, scan_row

pytestmark = pytest.mark.slow

COMPANIES = {**BARE, "deal_associations": ["companies"]}
AMOUNTS = {**BARE, "deal_property_history": ["amount"]}


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=120, archived=10, associations=True)
    serve(acme=portal)
    return portal


def rows(warehouse: Warehouse, table: str, where: str = "true") -> list[dict[str, Any]]:
    return query(warehouse, f"select * from {table} where _tenant_id = 'acme' and {where}")


# The account


def test_facts_of_the_account_are_kept_and_follow_it(warehouse: Warehouse, portal: Portal) -> None:
    portal.time_zone, portal.currency = "Europe/Berlin", "EUR"
    portal.additional_currencies = ("USD", "CHF")
    run(scan("1"))
    portal.currency = "CHF"

    run(scan("2"))

    (account,) = rows(warehouse, "accounts")
    assert account["portal_id"] == portal.portal_id
    assert account["time_zone"] == "Europe/Berlin"
    assert account["company_currency"] == "CHF"
    assert account["additional_currencies"] == ["USD", "CHF"]
    assert (account["hublet"], account["ui_domain"]) == ("na1", "app.hubspot.com")
    assert account["first_seen_at"] < account["last_seen_at"]


def test_an_account_that_hubspot_says_little_of_is_kept(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.currency = None  # type: ignore[assignment]
    portal.additional_currencies = None  # type: ignore[assignment]

    run(scan())

    (account,) = rows(warehouse, "accounts")
    assert (account["company_currency"], account["additional_currencies"]) == (None, [])


def test_a_close_date_is_a_day_in_the_accounts_time_zone(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.time_zone = "Asia/Tokyo"
    deal = portal.live_ids()[0]
    portal.update(deal, closedate="2025-03-31T15:30:00Z")
    run(scan())

    with warehouse.connect() as connection:
        (day,) = connection.execute(
            f"select (closedate at time zone time_zone)::date from {warehouse.schema}__acme.deals,"
            f" {warehouse.schema}__acme.account where deal_id = %s",
            [deal],
        ).fetchone() or (None,)

    assert str(day) == "2025-04-01"


# Pipelines and stages


def test_pipelines_and_stages_are_those_of_the_portal(warehouse: Warehouse, portal: Portal) -> None:
    run(scan())

    (pipeline,) = rows(warehouse, "pipelines")
    stages = {row["stage_id"]: row for row in rows(warehouse, "pipeline_stages", "listed")}
    assert (pipeline["pipeline_id"], pipeline["label"]) == ("default", "Sales Pipeline")
    assert set(stages) == {stage["id"] for stage in portal.pipelines[0]["stages"]}
    assert (stages["closedwon"]["is_closed"], stages["closedwon"]["probability"]) == (True, 1)
    assert stages["contractsent"]["display_order"] == 4
    (sent,) = (s for s in portal.pipelines[0]["stages"] if s["id"] == "closedwon")
    assert stages["closedwon"]["created_at"] == datetime.fromisoformat(sent["createdAt"])
    assert stages["closedwon"]["updated_at"] == datetime.fromisoformat(sent["updatedAt"])


def test_a_stage_that_deals_still_hold_is_there_though_the_portal_lists_it_no_more(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))
    portal.pipelines[0]["stages"].pop()
    portal.update(portal.live_ids()[0], dealstage="long_gone")

    run(scan("2"))

    unlisted = {row["stage_id"]: row for row in rows(warehouse, "pipeline_stages", "not listed")}
    assert unlisted["closedlost"]["stage_label"] == "Closed Lost"
    assert unlisted["long_gone"]["stage_label"] == "long_gone"


def test_a_deleted_pipeline_stays_marked_as_not_listed(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))
    gone = portal.pipelines.pop()
    portal.pipelines.append(partner_pipeline())

    run(scan("2"))

    listed = {row["pipeline_id"]: row["listed"] for row in rows(warehouse, "pipelines")}
    assert listed == {gone["id"]: False, portal.pipelines[0]["id"]: True}
    stages = rows(warehouse, "pipeline_stages", "listed")
    assert {row["pipeline_id"] for row in stages} == {portal.pipelines[0]["id"]}


def test_a_list_of_pipelines_that_is_empty_is_not_believed(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))
    before = rows(warehouse, "pipeline_stages", "listed")
    portal.pipelines.clear()

    run(scan("2"))

    assert rows(warehouse, "pipeline_stages", "listed") == before
    (warning,) = scan_row(warehouse, scan("2"))["warnings"]
    assert "lists no pipeline" in warning


@pytest.mark.parametrize("said", [{"stages": None}, {}], ids=["null", "left out"])
def test_stages_that_hubspot_does_not_speak_of_stay_listed(
    warehouse: Warehouse, portal: Portal, said: dict[str, None]
) -> None:
    run(scan("1"))
    before = [row["stage_id"] for row in rows(warehouse, "pipeline_stages", "listed")]
    del portal.pipelines[0]["stages"]
    portal.pipelines[0].update(said)

    run(scan("2"))

    assert [row["stage_id"] for row in rows(warehouse, "pipeline_stages", "listed")] == before


def test_pipelines_of_tickets_are_read_and_their_stages_open_or_closed(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.add_object("tickets", count=5)

    run(scan(objects={**BARE, "tickets": True}))

    (pipeline,) = rows(warehouse, "pipelines", "object = 'tickets'")
    assert (pipeline["pipeline_id"], pipeline["label"]) == ("0", "Support Pipeline")
    stages = rows(warehouse, "pipeline_stages", "object = 'tickets'")
    assert {row["stage_label"]: row["is_closed"] for row in stages} == {
        "New": False,
        "Waiting on contact": False,
        "Waiting on us": False,
        "Closed": True,
    }
    assert stages[0]["metadata"] == {"ticketState": "OPEN"}
    shown = query(
        warehouse,
        f"select distinct hs_pipeline_label from {warehouse.schema}__acme.tickets",
    )
    assert shown == [{"hs_pipeline_label": "Support Pipeline"}]


def test_pipelines_of_one_object_leave_those_of_another(
    warehouse: Warehouse, portal: Portal
) -> None:
    tickets = portal.add_object("tickets", count=1)
    tickets.pipelines.append(partner_pipeline())
    portal.pipelines.append(partner_pipeline())
    objects = {**BARE, "deal_pipelines": True, "tickets": True}
    run(scan("1", objects=objects))
    tickets.pipelines.pop()

    run(scan("2", objects=objects))

    listed = {
        (row["object"], row["pipeline_id"]): row["listed"] for row in rows(warehouse, "pipelines")
    }
    partner = partner_pipeline()["id"]
    assert listed == {
        ("deals", "default"): True,
        ("deals", partner): True,
        ("tickets", "0"): True,
        ("tickets", partner): False,
    }


def test_objects_that_never_have_pipelines_are_not_asked_for_them(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.add_object("contacts", count=1)

    run(scan(objects={**BARE, "contacts": True}))

    assert portal.requests["pipelines:contacts"] == 0


@pytest.mark.parametrize("answer", ["none", "400", "404"])
def test_an_object_without_pipelines_is_no_warning(
    warehouse: Warehouse, portal: Portal, answer: str
) -> None:
    portal.add_object("machines", object_type="2-77", count=3)
    if answer != "none":
        portal.faults = [Fault(answer, endpoint="pipelines:machines", count=None)]
    objects = {**BARE, "machines": {"object_type": "2-77"}}

    extracted = run(scan("1", objects=objects, refresh_after_s=3_600))
    asked = portal.requests["pipelines:machines"] + portal.requests["faults"]
    run(scan("2", objects=objects, refresh_after_s=3_600))

    assert (extracted["objects"], extracted["warnings"]) == (["deals", "machines"], 0)
    assert rows(warehouse, "pipelines") == []
    assert portal.requests["pipelines:machines"] + portal.requests["faults"] == asked > 0


# Users, teams and roles

READS_DEALS = ("oauth", "crm.objects.deals.read", "crm.schemas.deals.read")
USERS = {**BARE, "users": True}


def test_users_teams_and_roles_are_there_also_users_who_are_no_owners(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.users[1] |= {"superAdmin": "true", "roleId": "7", "secondaryTeamIds": ["5", 6]}

    run(scan())

    users = {row["user_id"]: row for row in rows(warehouse, "users")}
    owners = {row["user_id"] for row in rows(warehouse, "owners")}
    assert users.keys() - owners == {1_004}
    assert (users[1_001]["email"], users[1_001]["primary_team_id"]) == ("owner1@example.com", 5)
    assert (users[1_001]["role_ids"], users[1_001]["super_admin"]) == (["7"], False)
    assert (users[1_002]["role_ids"], users[1_002]["super_admin"]) == (["7"], True)
    assert users[1_002]["secondary_team_ids"] == ["5", "6"]
    (team,) = rows(warehouse, "teams")
    assert (team["team_id"], team["name"], team["user_ids"]) == (5, "Sales", ["1001"])
    (role,) = rows(warehouse, "roles")
    assert (role["role_id"], role["name"], role["requires_billing_write"]) == (7, "Closer", False)
    shown = query(warehouse, f"select count(*) from {warehouse.schema}__acme.users")
    assert shown == [{"count": 3}]


def test_many_users_come_in_pages(warehouse: Warehouse, portal: Portal) -> None:
    portal.users += [{"id": str(number), "email": f"{number}@x.org"} for number in range(250)]

    run(scan(objects=USERS))

    assert len(rows(warehouse, "users")) == 253


def test_users_teams_and_roles_that_are_gone_are_marked(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=USERS))
    gone = portal.users.pop()
    portal.teams.clear()
    portal.roles.clear()

    run(scan("2", objects=USERS))

    users = {str(row["user_id"]): row["listed"] for row in rows(warehouse, "users")}
    assert users == {**dict.fromkeys((u["id"] for u in portal.users), True), gone["id"]: False}
    assert [row["listed"] for row in rows(warehouse, "teams")] == [False]
    assert [row["listed"] for row in rows(warehouse, "roles")] == [False]


@pytest.mark.parametrize("what", ["teams", "roles"])
def test_teams_and_roles_without_a_name_stay_as_they_were(
    warehouse: Warehouse, portal: Portal, what: str
) -> None:
    run(scan("1", objects=USERS))
    before = rows(warehouse, what)
    (portal.teams if what == "teams" else portal.roles)[0].pop("name")

    run(scan("2", objects=USERS))

    assert rows(warehouse, what) == before
    (warning,) = scan_row(warehouse, scan("2"))["warnings"]
    assert warning.startswith(f"{what} were not read")


def test_a_list_of_users_that_is_empty_is_not_believed(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=USERS))
    portal.users.clear()

    run(scan("2", objects=USERS))

    assert {row["listed"] for row in rows(warehouse, "users")} == {True}
    (warning,) = scan_row(warehouse, scan("2"))["warnings"]
    assert warning.startswith("HubSpot lists no users")


@pytest.mark.parametrize("states_scopes", [True, False], ids=["stated", "not stated"])
def test_without_their_scopes_users_are_left_out_without_a_warning(
    warehouse: Warehouse, portal: Portal, states_scopes: bool
) -> None:
    kind: Any = "private" if states_scopes else "oauth"
    portal.tokens[0] = Token(portal.tokens[0].text, scopes=READS_DEALS, kind=kind)
    objects = {**BARE, "users": "if_allowed"}

    extracted = run(scan(objects=objects, refresh_after_s=3_600))
    asked = portal.requests["users"]
    run(scan("2", objects=objects, refresh_after_s=3_600))

    assert extracted["warnings"] == 0
    assert rows(warehouse, "users") == []
    assert portal.requests["users"] == asked == (0 if states_scopes else 1)


def test_without_their_scopes_users_that_are_demanded_are_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    scopes = (*READS_DEALS, "crm.objects.users.read")
    portal.tokens[0] = Token(portal.tokens[0].text, scopes=scopes)

    run(scan(objects=USERS))

    assert scan_row(warehouse, scan())["warnings"] == [
        "teams were not read: the token lacks settings.users.teams.read."
    ]
    assert len(rows(warehouse, "users")) == 3
    assert rows(warehouse, "teams") == []


@pytest.mark.parametrize("what", ["users", "teams", "roles"])
def test_a_refusal_in_spite_of_the_scope_is_a_warning(
    warehouse: Warehouse, portal: Portal, what: str
) -> None:
    portal.add_fault(Fault("403", endpoint=what, count=None))

    run(scan(objects={**BARE, "users": "if_allowed"}))

    (warning,) = scan_row(warehouse, scan())["warnings"]
    assert warning.startswith(f"{what} were not read: ")


def test_an_answer_about_users_that_is_not_understood_is_a_warning(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.users[0]["roleIds"] = {"7": True}

    run(scan())

    (warning,) = scan_row(warehouse, scan())["warnings"]
    assert warning.startswith("users were not read: ")
    assert len(rows(warehouse, "teams")) == 1


# Owners


def test_owners_are_there_archived_ones_too(warehouse: Warehouse, portal: Portal) -> None:
    portal.owners[0]["teams"] = [{"id": "1", "name": "Sales", "primary": True}]

    run(scan())

    owners = {row["owner_id"]: row for row in rows(warehouse, "owners")}
    assert {owner_id for owner_id, row in owners.items() if row["archived"]} == {"96000003"}
    assert owners["96000001"]["email"] == "owner1@example.com"
    assert owners["96000001"]["teams"] == [{"id": "1", "name": "Sales", "primary": True}]


def test_many_owners_come_in_pages(warehouse: Warehouse, portal: Portal) -> None:
    portal.owners += [
        {"id": str(number), "email": f"{number}@example.com", "archived": False}
        for number in range(250)
    ]

    run(scan())

    assert len(rows(warehouse, "owners")) == 253


def test_without_the_scope_owners_are_left_out_and_the_scan_says_so(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.tokens[0] = Token(
        portal.tokens[0].text, scopes=("oauth", "crm.objects.deals.read", "crm.schemas.deals.read")
    )

    extracted = run(scan(objects={"deal_associations": False}))

    assert extracted["deals_loaded"] == 130
    assert extracted["warnings"] == 1
    assert scan_row(warehouse, scan())["warnings"] == [
        "owners were not read: the token lacks crm.objects.owners.read."
    ]
    assert rows(warehouse, "owners") == []
    status = "select status from quality_results where check_name = 'everything_wanted_was_read'"
    assert query(warehouse, status) == [{"status": "warned"}]


# Definitions


def test_definitions_are_kept_as_they_came(warehouse: Warehouse, portal: Portal) -> None:
    run(scan())

    definitions = {row["name"]: row for row in rows(warehouse, "property_definitions")}
    assert set(definitions) == set(portal.definitions)
    assert definitions["dealstage"]["definition"] == portal.definitions["dealstage"]
    assert definitions["days_to_close"]["calculated"] is True
    assert definitions["hs_priority"]["options"][0]["value"] == "low"


def test_new_removed_and_retyped_properties_are_reported_as_drift(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))
    portal.definitions["brand_new"] = {**portal.definitions["description"], "name": "brand_new"}
    del portal.definitions["closed_lost_reason"]
    portal.definitions["description"]["archived"] = True
    portal.definitions["hs_next_step"]["type"] = "number"

    run(scan("2"))

    assert scan_row(warehouse, scan("1"))["schema_drift"] == {}
    assert scan_row(warehouse, scan("2"))["schema_drift"] == {
        "deals": {
            "added": ["brand_new"],
            "removed": ["closed_lost_reason", "description"],
            "retyped": ["hs_next_step"],
        }
    }
    assert [row["name"] for row in rows(warehouse, "property_definitions", "not listed")] == [
        "closed_lost_reason"
    ]


# Associations


def links(warehouse: Warehouse) -> dict[tuple[int, str], set[tuple[int, int, str | None]]]:
    found: dict[tuple[int, str], set[tuple[int, int, str | None]]] = {}
    for row in rows(warehouse, "associations"):
        key = (row["from_id"], row["to_object"])
        found.setdefault(key, set()).add((row["to_id"], row["type_id"], row["label"]))
    return found


def truth_of(portal: Portal) -> dict[tuple[int, str], set[tuple[int, int, str | None]]]:
    return {
        (deal_id, to_type.replace(" ", "_")): set(found)
        for deal_id in portal.live_ids()
        for to_type, found in portal.associations.get(deal_id, {}).items()
        if found
    }


def test_associations_are_the_portals_with_their_labels(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan())

    assert links(warehouse) == truth_of(portal)
    assert any(label for found in links(warehouse).values() for _, _, label in found)
    count = query(warehouse, "select count(*) from associations")[0]["count"]
    assert object_row(warehouse, scan())["associations"] == count


def test_more_than_a_hundred_associations_of_one_deal_are_all_there_once(
    warehouse: Warehouse, portal: Portal
) -> None:
    deal_id = portal.live_ids()[0]
    portal.associations[deal_id] = {
        "companies": [(n, 341, None) for n in range(1, 251)] + [(1, 5, "Primary")]
    }

    run(scan())

    assert links(warehouse)[deal_id, "companies"] == truth_of(portal)[deal_id, "companies"]
    assert len(links(warehouse)[deal_id, "companies"]) == 251


def test_a_removed_association_disappears_though_the_deal_did_not_change(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))
    deal_id = next(d for d in portal.live_ids() if portal.associations[d].get("companies"))
    portal.associations[deal_id]["companies"] = [(4711, 5, "Primary")]

    second = run(scan("2"))

    assert second["mode"] == "incremental"
    assert links(warehouse) == truth_of(portal)


def test_a_merged_away_deal_has_no_associations_left(warehouse: Warehouse, portal: Portal) -> None:
    run(scan("1"))
    one, other = portal.live_ids()[:2]
    portal.merge(one, other)

    run(scan("2", search_lag_s=0))

    assert links(warehouse) == truth_of(portal)


def test_an_archived_deal_keeps_the_associations_it_was_seen_with_last(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=COMPANIES))
    before = links(warehouse)
    archived = portal.live_ids()[0]
    portal.archive(archived)

    run(scan("2", mode="full", objects=COMPANIES))

    assert before[archived, "companies"]
    assert links(warehouse) == before


def test_the_associations_of_all_deals_of_a_request_are_replaced_or_none(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=COMPANIES))
    before = links(warehouse)
    one, other = portal.live_ids()[:2]
    portal.associations[one] = {}
    portal.associations[other] = {"companies": [(4711, 5, "Primary")]}
    with warehouse.connect() as connection:
        connection.execute(
            f"alter table {warehouse.schema}.associations"
            " add constraint refuse check (to_id <> 4711)"
        )
    validate_token(scan("2"))

    with pytest.raises(psycopg.errors.CheckViolation):
        extract_deals(scan("2", objects=COMPANIES), PAGES)

    assert links(warehouse) == before


def test_a_window_reads_the_associations_of_the_live_deals_in_it(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", objects=COMPANIES))
    inside, outside = portal.live_ids()[:2]
    expected = links(warehouse) | {(inside, "companies"): {(4711, 5, "Primary")}}
    for deal_id in (inside, outside):
        portal.associations[deal_id] = {"companies": [(4711, 5, "Primary")]}
    portal.update(inside, amount="1")

    minute, now = timedelta(minutes=1), datetime.now(UTC)
    run(scan("2", window=Window(now - minute, now + minute), objects=COMPANIES))

    assert links(warehouse) == expected


def test_in_large_portals_incremental_scans_read_associations_of_changed_deals_only(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.pipeline.associations.ALL_ASSOCIATIONS_MAX_RECORDS", 100)
    run(scan("1", search_lag_s=0))
    changed, unchanged = portal.live_ids()[:2]
    for deal_id in (changed, unchanged):
        portal.associations[deal_id] = {"companies": [(4711, 5, "Primary")]}
    portal.update(changed, amount="1")

    run(scan("2", search_lag_s=0))
    seen = links(warehouse)
    run(scan("3", mode="full", search_lag_s=0))

    assert seen[changed, "companies"] == {(4711, 5, "Primary")}
    assert seen.get((unchanged, "companies")) != {(4711, 5, "Primary")}
    assert links(warehouse) == truth_of(portal)


def test_in_large_portals_associations_that_a_tenant_adds_are_read_of_all_deals(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.pipeline.associations.ALL_ASSOCIATIONS_MAX_RECORDS", 100)
    run(scan("1", search_lag_s=0, objects=BARE))
    to_companies = {key: found for key, found in truth_of(portal).items() if key[1] == "companies"}

    second = run(scan("2", search_lag_s=0, objects=COMPANIES))
    asked = portal.requests["associations"]
    run(scan("3", search_lag_s=0, objects=COMPANIES))

    assert second["mode"] == "incremental"
    assert links(warehouse) == to_companies
    assert portal.requests["associations"] == asked


def test_in_large_portals_associations_that_a_tenant_wants_again_are_read_of_all_deals(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.pipeline.associations.ALL_ASSOCIATIONS_MAX_RECORDS", 100)
    run(scan("1", search_lag_s=0, objects=COMPANIES))
    changed = portal.live_ids()[0]
    portal.associations[changed] = {"companies": [(4711, 5, "Primary")]}
    portal.update(changed, amount="1")
    run(scan("2", search_lag_s=0, objects=BARE))

    run(scan("3", search_lag_s=0, objects=COMPANIES))

    assert links(warehouse)[changed, "companies"] == {(4711, 5, "Primary")}


def test_in_large_portals_associations_that_were_refused_for_a_while_are_read_of_all_deals(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.pipeline.associations.ALL_ASSOCIATIONS_MAX_RECORDS", 100)
    run(scan("1", search_lag_s=0, objects=COMPANIES))
    changed = portal.live_ids()[0]
    portal.associations[changed] = {"companies": [(4711, 5, "Primary")]}
    portal.update(changed, amount="1")
    portal.faults = [Fault("403", endpoint="associations", count=None)]
    run(scan("2", search_lag_s=0, objects=COMPANIES))
    portal.faults = []

    run(scan("3", search_lag_s=0, objects=COMPANIES))

    assert links(warehouse)[changed, "companies"] == {(4711, 5, "Primary")}


def test_a_problem_with_associations_that_is_not_their_absence_is_no_empty_answer(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scan("1"))
    before = links(warehouse)
    portal.faults = [Fault("500", endpoint="associations", count=1_000)]
    monkeypatch.setitem(HubSpotHook.get_conn.__kwdefaults__, "retry_timeout_s", 0.1)
    validate_token(scan("2"))

    with pytest.raises(HubSpotUnavailableError):
        extract_deals(scan("2"), PAGES)

    assert links(warehouse) == before


# Histories


def history(warehouse: Warehouse, deal_id: int, name: str) -> list[str | None]:
    return [
        row["value"]
        for row in query(
            warehouse,
            "select value from property_history where record_id = %s and property = %s"
            " order by changed_at",
            deal_id,
            name,
        )
    ]


def test_earlier_values_are_kept_with_their_times(warehouse: Warehouse, portal: Portal) -> None:
    deal_id = portal.live_ids()[0]
    portal.update(deal_id, dealstage="contractsent", amount="1")

    run(scan())

    for name in ("dealstage", "amount"):
        sent = [entry["value"] for entry in portal.deals[deal_id].history(name)]
        assert history(warehouse, deal_id, name) == sent[::-1]
    assert {row["property"] for row in rows(warehouse, "property_history")} == {
        "dealstage",
        "amount",
    }


def test_histories_are_read_again_only_of_deals_that_changed(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0))
    before = portal.requests["batch_read"]
    deal_id = portal.live_ids()[7]
    portal.update(deal_id, amount="815")

    run(scan("2", search_lag_s=0))

    # one for the deal, one for its history
    assert portal.requests["batch_read"] - before == 2
    assert history(warehouse, deal_id, "amount")[-1] == "815"


def test_a_value_that_hubspot_has_forgotten_stays(warehouse: Warehouse, portal: Portal) -> None:
    deal_id = portal.live_ids()[0]
    portal.update(deal_id, amount="1")
    run(scan("1", search_lag_s=0, objects=AMOUNTS))
    first, second = history(warehouse, deal_id, "amount")
    portal.deals[deal_id].forget("amount", first)
    portal.update(deal_id, amount="2")

    run(scan("2", search_lag_s=0, objects=AMOUNTS))

    assert first not in [entry["value"] for entry in portal.deals[deal_id].history("amount")]
    assert history(warehouse, deal_id, "amount") == [first, second, "2"]


def test_histories_of_archived_deals_are_not_asked_for(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=AMOUNTS))
    before = portal.requests["batch_read"]
    deal_id = portal.live_ids()[0]
    portal.update(deal_id, amount="815")
    portal.archive(deal_id)

    run(scan("2", search_lag_s=0, objects=AMOUNTS))

    assert portal.requests["batch_read"] == before
    assert "815" not in history(warehouse, deal_id, "amount")


def test_naming_another_property_reads_every_history_again(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1"))

    run(scan("2", objects={"deal_property_history": ["dealname"]}))

    with_names = query(
        warehouse,
        "select count(distinct record_id) from property_history where property = 'dealname'",
    )
    assert with_names == [{"count": 120}]


# Switches


def test_what_is_switched_off_is_not_asked_for(warehouse: Warehouse, portal: Portal) -> None:
    off = {
        "deal_pipelines": False,
        "owners": False,
        "users": False,
        "deal_properties": False,
        "deal_associations": False,
        "deal_property_history": False,
    }

    extracted = run(scan(objects=off))

    assert extracted["deals_loaded"] == 130
    for endpoint in (
        "pipelines",
        "owners",
        "users",
        "teams",
        "roles",
        "associations",
        "batch_read",
    ):
        assert portal.requests[endpoint] == 0
    for table in ("pipelines", "owners", "users", "property_definitions", "associations"):
        assert rows(warehouse, table) == []
