"""Histories of all properties that an account has."""

from typing import Any

import pytest

from include.pipeline import scan_object
from include.pipeline.history import read_histories
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Portal, portals
from tests.hubspot_simulator.definitions import definition
from tests.support.scans import BARE, query, run, scan, scan_row

pytestmark = pytest.mark.slow

ALL = {**BARE, "deal_property_history": "all"}
DEALS = 60

History = set[tuple[int, str, str]]


@pytest.fixture
def portal(serve: Serve) -> Portal:
    portal = portals.generated(deals=DEALS, property_count=150, filled=10)
    serve(acme=portal)
    return portal


def held(warehouse: Warehouse) -> History:
    return {
        (row["record_id"], row["property"], row["value"])
        for row in query(warehouse, "select * from property_history where object = 'deals'")
    }


def truth(portal: Portal) -> History:
    return {
        (deal_id, name, entry["value"])
        for deal_id in portal.live_ids()
        for name in portal.definitions
        for entry in portal.deals[deal_id].history(name)
    }


def warnings(warehouse: Warehouse, run_id: str) -> list[str]:
    sentences: list[str] = scan_row(warehouse, scan(run_id))["warnings"]
    return sentences


def test_the_history_of_every_property_is_read(warehouse: Warehouse, portal: Portal) -> None:
    portal.update(portal.live_ids()[0], dealname="renamed", amount="1")
    calculated = "amount_in_home_currency"

    run(scan("1", search_lag_s=0, objects=ALL))

    assert held(warehouse) == truth(portal)
    assert calculated in {name for _, name, _ in held(warehouse)}
    assert warnings(warehouse, "1") == []
    # two batches of 50
    assert portal.requests["batch_read"] == 2


def test_all_histories_are_read_again_only_of_what_changed(
    warehouse: Warehouse, portal: Portal
) -> None:
    run(scan("1", search_lag_s=0, objects=ALL))
    before = portal.requests["batch_read"]
    portal.update(portal.live_ids()[7], amount="815")

    run(scan("2", search_lag_s=0, objects=ALL))

    # one for the deal, one for its history
    assert portal.requests["batch_read"] - before == 2
    assert held(warehouse) == truth(portal)


@pytest.mark.parametrize("settings", [{}, {"properties": ["amount"]}], ids=["all", "some"])
def test_a_property_that_is_new_to_the_account_has_its_history_read(
    warehouse: Warehouse, portal: Portal, settings: dict[str, Any]
) -> None:
    run(scan("1", search_lag_s=0, objects=ALL, **settings))
    added = definition("score", "number", "calculation_equation", True)
    portal.definitions["score"] = {**added, "calculated": True}
    # a calculated value: no modification time moves
    portal.objects["deals"].drift(portal.live_ids()[3], score="9")

    run(scan("2", search_lag_s=0, objects=ALL, **settings))

    assert (portal.live_ids()[3], "score", "9") in held(warehouse)
    assert held(warehouse) == truth(portal)


def test_names_that_do_not_fit_into_one_request_are_asked_for_in_several(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.history_names_max = 40

    run(scan("1", search_lag_s=0, objects=ALL))
    run(scan("2", search_lag_s=0, objects=ALL))

    assert held(warehouse) == truth(portal)
    assert warnings(warehouse, "1") == warnings(warehouse, "2") == []


def test_one_property_whose_history_is_refused_costs_only_its_own(
    warehouse: Warehouse, portal: Portal
) -> None:
    refused = "dealname"
    portal.history_refused = (refused,)

    run(scan("1", search_lag_s=0, objects=ALL))

    assert held(warehouse) == {entry for entry in truth(portal) if entry[1] != refused}
    (warning,) = warnings(warehouse, "1")
    assert warning == f"deals: HubSpot returns no history of {refused}: it refuses the request."
    # a few to find out which one it is
    assert portal.requests["batch_read"] < 30


def test_a_history_that_is_no_longer_refused_is_read_of_every_record(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.history_refused = ("dealname", "amount")
    run(scan("1", search_lag_s=0, objects=ALL))
    portal.history_refused = ()

    run(scan("2", search_lag_s=0, objects=ALL))

    assert held(warehouse) == truth(portal)


def test_an_account_that_gives_no_history_is_not_asked_for_each_property(
    warehouse: Warehouse, portal: Portal
) -> None:
    portal.history_refused = tuple(portal.definitions)

    run(scan("1", search_lag_s=0, objects=ALL))

    (warning,) = warnings(warehouse, "1")
    assert f"and {len(portal.definitions) - 20} more: it refuses the request." in warning
    assert portal.requests["batch_read"] <= 4


def test_a_deal_archived_before_its_history_was_read_has_it_read_when_it_is_back(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scan("1", search_lag_s=0, objects=ALL))
    deal_id = portal.live_ids()[0]
    portal.update(deal_id, amount="4711")

    def archive_first(*arguments: Any) -> None:
        portal.archive(deal_id)
        read_histories(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(scan_object, "read_histories", archive_first)
        run(scan("2", search_lag_s=0, objects=ALL))
    run(scan("3", search_lag_s=0, objects=ALL))
    portal.restore(deal_id)

    run(scan("4", search_lag_s=0, objects=ALL))

    assert (deal_id, "amount", "4711") in held(warehouse)
    assert held(warehouse) == truth(portal)


@pytest.mark.parametrize("followed", ["all", ["score"]])
def test_the_history_of_a_calculated_property_that_is_not_loaded_is_read_when_it_changes(
    warehouse: Warehouse, portal: Portal, followed: Any
) -> None:
    portal.definitions["score"] = {
        **definition("score", "number", "calculation_equation", True),
        "calculated": True,
    }
    deal_id = portal.live_ids()[3]
    portal.drift(deal_id, score="1")
    objects = {**BARE, "deal_property_history": followed}
    run(scan("1", search_lag_s=0, objects=objects, properties=["amount"]))
    portal.drift(deal_id, score="2")

    run(scan("2", mode="full", search_lag_s=0, objects=objects, properties=["amount"]))

    values = {value for record_id, name, value in held(warehouse) if name == "score"}
    assert values == {"1", "2"}
