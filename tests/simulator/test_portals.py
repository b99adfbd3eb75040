"""The data of ready-made accounts."""

from collections import Counter
from datetime import datetime

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.hubspot_simulator.nasty import CLASHING, LONG_TEXT_CHARS, MOMENTS, MULTI, NUMBERS, TEXTS
from tests.simulator.caller import DEALS, Caller


@pytest.fixture(scope="module")
def nasty() -> Portal:
    return portals.generated(deals=1_000, archived=20, nasty=True)


def values(portal: Portal, name: str) -> set[str | None]:
    return {deal["properties"].get(name) for deal in portal.truth()}


def test_the_getting_started_account_holds_its_five_deals() -> None:
    deals = portals.getting_started().truth()

    assert [(deal["properties"]["amount"], deal["properties"]["dealstage"]) for deal in deals] == [
        ("5000", "qualifiedtobuy"),
        ("25000", "presentationscheduled"),
        ("50000", "closedwon"),
        ("75000", "closedlost"),
        ("100000", "contractsent"),
    ]
    assert not any(deal["archived"] for deal in deals)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_seed_makes_the_same_account_each_time(nasty: Portal, lazy: bool) -> None:
    again = portals.generated(deals=1_000, archived=20, nasty=True, lazy=lazy)

    assert again.truth() == nasty.truth()
    assert portals.generated(deals=1_000, archived=20, nasty=True, seed=2).truth() != nasty.truth()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("amount", NUMBERS, id="numbers"),
        pytest.param("closedate", MOMENTS, id="moments"),
        pytest.param("dealname", TEXTS, id="texts"),
        pytest.param("a_multi_select", MULTI, id="multiple choices"),
        pytest.param("dealstage", ["unlisted_stage"], id="unlisted stage"),
        pytest.param("a_long_text", ["x" * LONG_TEXT_CHARS], id="long text"),
    ],
)
def test_every_nasty_value_occurs(nasty: Portal, name: str, expected: list[str]) -> None:
    assert values(nasty, name) >= set(expected)


@pytest.mark.parametrize("name", CLASHING)
def test_properties_with_clashing_names_have_values(nasty: Portal, name: str) -> None:
    assert values(nasty, name) - {None}


def test_some_keys_are_missing_and_others_null(nasty: Portal) -> None:
    properties = [deal["properties"] for deal in nasty.truth()]

    assert any("dealtype" not in deal for deal in properties)
    assert any(deal["hs_notes_last_activity"] is None for deal in properties)


def test_two_property_names_differ_only_after_63_bytes(nasty: Portal) -> None:
    long_names = [name for name in nasty.definitions if len(name) > 63]

    assert len(long_names) == 2
    assert len({name[:63] for name in long_names}) == 1


def test_the_times_of_records_stay_sane(nasty: Portal) -> None:
    for deal in nasty.truth():
        for moment in (deal["createdAt"], deal["updatedAt"]):
            assert datetime.fromisoformat(moment).year == 2025
        assert deal["updatedAt"] == deal["properties"]["hs_lastmodifieddate"]


def test_nasty_text_comes_over_http_as_it_is(
    caller: Caller, simulator: HubSpotSimulator, nasty: Portal
) -> None:
    simulator.add(nasty)

    names = [deal["properties"]["dealname"] for deal in caller.deals("&properties=dealname")]

    truth = [deal["properties"]["dealname"] for deal in nasty.truth() if not deal["archived"]]
    assert names == truth


def test_what_has_no_utf8_is_sent_as_escapes(
    caller: Caller, simulator: HubSpotSimulator, nasty: Portal
) -> None:
    simulator.add(nasty)

    bodies = [caller.get(f"{DEALS}?limit=100&after={n}").content for n in nasty.live_ids()[::100]]

    assert any(rb"\ud83d" in body for body in bodies)
    assert any(rb"\u0000" in body for body in bodies)
    assert all(body.decode("utf-8") for body in bodies)


def test_the_demo_is_small_nasty_and_wide() -> None:
    acme, globex, initech = portals.demo()

    assert [
        (
            portal.portal_id,
            portal.tokens[0].text,
            len(portal.live_ids()),
            len(portal.archived_ids()),
        )
        for portal in (acme, globex, initech)
    ] == [
        (1_000_001, "pat-na1-demo-acme", 5, 0),
        (1_000_002, "pat-eu1-demo-globex", 2_500, 60),
        (1_000_003, "pat-na1-demo-initech", 1_200, 25),
    ]
    assert (globex.cursor, initech.cursor) == ("opaque", "id")
    assert len(initech.definitions) == 1_200
    assert len(globex.deals.keys() & initech.deals.keys()) > 1_000
    assert min(globex.deals) > 2**31


def test_a_million_deals_are_made_only_when_they_are_read(
    caller: Caller, simulator: HubSpotSimulator
) -> None:
    portal = simulator.add(portals.generated(deals=1_000_000, lazy=True))
    last = portal.live_ids()[-1]

    page = caller.get(f"{DEALS}?limit=100&after={last}").json()
    portal.update(last, amount="7")
    portal.archive(last)

    assert [deal["id"] for deal in page["results"]] == [str(last)]
    assert caller.get(f"{DEALS}/{last}?archived=true").json()["properties"]["amount"] == "7"


@pytest.mark.parametrize("lazy", [False, True])
def test_all_deals_can_have_the_same_modification_time(lazy: bool) -> None:
    moment = "2026-01-05T00:00:00.000Z"
    portal = portals.generated(deals=50, archived=5, lazy=lazy, modified_at=moment)

    assert {deal["updatedAt"] for deal in portal.truth()} == {moment}
    assert values(portal, "hs_lastmodifieddate") == {moment}


@pytest.mark.parametrize("lazy", [False, True])
def test_modification_times_can_be_spread_evenly(lazy: bool) -> None:
    ends = ("2026-01-05T00:00:00.000Z", "2026-01-05T01:00:00.000Z")
    portal = portals.generated(deals=61, lazy=lazy, modified_between=ends)

    by_id = [deal["updatedAt"] for deal in portal.truth()]

    assert by_id != sorted(by_id)
    assert sorted(by_id) == [f"2026-01-05T00:{n:02d}:00.000Z" for n in range(60)] + [ends[1]]


def test_no_deal_is_created_after_its_last_change() -> None:
    portal = portals.generated(deals=50, modified_at="2025-01-07T00:00:00Z")

    assert all(deal["createdAt"] <= deal["updatedAt"] for deal in portal.truth())


def test_skewed_ids_leave_most_ranges_of_ids_empty() -> None:
    portal = portals.generated(deals=4_000, skewed=True)

    ids = portal.live_ids()
    width = (ids[-1] - ids[0]) // 16 + 1
    in_ranges = Counter((record_id - ids[0]) // width for record_id in ids)
    assert len(set(ids)) == 4_000
    assert len(in_ranges) < 10
    assert max(in_ranges.values()) > 1_000
