"""What happens to deals, and when others see it."""

import random
from typing import Any

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.simulator.caller import DEALS, Caller


def times(portal: Portal, deal_id: int) -> tuple[str, str | None]:
    deal = portal.deals[deal_id]
    return deal.updated_at, deal.properties["hs_lastmodifieddate"]


def test_archiving_and_restoring_move_no_modification_time(portal: Portal) -> None:
    deal_id = portal.live_ids()[0]
    before = times(portal, deal_id)

    portal.archive(deal_id)
    assert portal.deals[deal_id].archived
    assert deal_id not in portal.live_ids()
    assert times(portal, deal_id) == before

    portal.restore(deal_id)
    assert deal_id in portal.live_ids()
    assert times(portal, deal_id) == before


def test_an_update_moves_it_and_a_drift_of_calculated_values_does_not(portal: Portal) -> None:
    deal_id = portal.live_ids()[0]
    before = times(portal, deal_id)

    portal.drift(deal_id, amount_in_home_currency="1")
    assert portal.deals[deal_id].properties["amount_in_home_currency"] == "1"
    assert times(portal, deal_id) == before

    portal.update(deal_id, amount="2")
    assert times(portal, deal_id) > before
    assert len(set(times(portal, deal_id))) == 1


def test_calculated_values_follow_the_stage(portal: Portal) -> None:
    deal_id = portal.create(dealname="new").id
    assert portal.deals[deal_id].properties["hs_is_closed"] == "false"

    portal.update(deal_id, dealstage="closedwon")

    assert portal.deals[deal_id].properties["hs_is_closed_won"] == "true"


def test_an_undefined_property_can_not_be_written(portal: Portal) -> None:
    with pytest.raises(ValueError, match="no such properties"):
        portal.update(portal.live_ids()[0], amuont="7")


def test_a_change_is_seen_on_pages_that_were_sent_before(caller: Caller, portal: Portal) -> None:
    first = portal.live_ids()[0]
    caller.deals("&properties=amount")

    portal.update(first, amount="-1")

    assert caller.deals("&properties=amount")[0]["properties"]["amount"] == "-1"


def test_a_purged_deal_leaves_no_trace_and_its_id_is_not_used_again(
    caller: Caller, portal: Portal
) -> None:
    created = portal.create(dealname="gone soon")
    portal.purge(created.id)

    assert caller.get(f"{DEALS}/{created.id}").status_code == 404
    assert portal.create(dealname="next").id > created.id


def test_a_merge_makes_a_new_deal_and_the_old_ids_answer_with_it(
    caller: Caller, portal: Portal
) -> None:
    first, second = portal.live_ids()[:2]

    survivor = portal.merge(first, second)

    document = caller.get(f"{DEALS}/{first}?properties=hs_merged_object_ids").json()
    batch = caller.post(f"{DEALS}/batch/read", {"inputs": [{"id": str(second)}]})
    everywhere = caller.deals() + caller.deals("&archived=true")
    assert document["id"] == str(survivor.id)
    assert document["properties"]["hs_merged_object_ids"] == f"{first};{second}"
    assert [deal["id"] for deal in batch.json()["results"]] == [str(survivor.id)]
    assert {str(first), str(second)}.isdisjoint(deal["id"] for deal in everywhere)
    assert portal.truth()[-1]["mergedIds"] == [str(first), str(second)]


def test_a_merge_can_keep_the_primary_deal(caller: Caller, portal: Portal) -> None:
    first, second = portal.live_ids()[:2]

    survivor = portal.merge(first, second, survivor="primary")

    assert survivor.id == first
    assert caller.get(f"{DEALS}/{second}").json()["id"] == str(first)
    assert portal.deals[first].properties["hs_merged_object_ids"] == str(second)


def test_a_deal_merged_twice_answers_with_the_last_survivor(caller: Caller, portal: Portal) -> None:
    first, second, third = portal.live_ids()[:3]

    last = portal.merge(third, portal.merge(first, second).id)

    assert caller.get(f"{DEALS}/{first}").json()["id"] == str(last.id)
    assert set(last.merged_ids) >= {first, second, third}


def test_the_survivor_takes_over_associations(simulator: HubSpotSimulator) -> None:
    portal = simulator.add(portals.generated(deals=2, associations=True))
    first, second = portal.live_ids()
    both = {
        link for deal_id in (first, second) for link in portal.associations[deal_id]["companies"]
    }

    survivor = portal.merge(first, second)

    assert set(portal.associations[survivor.id]["companies"]) == both
    assert first not in portal.associations


@pytest.mark.parametrize("cursor", ["id", "opaque"])
def test_a_change_can_happen_between_two_pages(caller: Caller, portal: Portal, cursor: Any) -> None:
    portal.cursor = cursor
    first, *_, last = portal.live_ids()
    portal.after_list_request(1, lambda p: p.archive(last))
    portal.after_list_request(2, lambda p: p.create(dealname="created meanwhile"))

    listed = [int(deal["id"]) for deal in caller.deals()]

    assert first in listed
    assert last not in listed
    assert listed == portal.live_ids()


def test_the_background_mutator_changes_the_account_until_it_is_stopped(portal: Portal) -> None:
    before = portal.truth()

    with portal.mutating(changes_per_s=500, seed=1):
        while portal.truth() == before:
            pass
    after = portal.truth()

    assert after != before
    assert portal.truth() == after


def test_a_seed_makes_the_same_changes() -> None:
    def after_changes(seed: int) -> list[tuple[str, bool, str]]:
        portal, rng = portals.generated(deals=60, archived=10), random.Random(seed)
        for _ in range(80):
            portal.mutate(rng)
        return [(d["id"], d["archived"], d["properties"]["amount"]) for d in portal.truth()]

    assert after_changes(1) == after_changes(1) != after_changes(2)


@pytest.mark.parametrize("lazy", [False, True])
def test_lists_and_truth_agree_after_many_changes(
    caller: Caller, simulator: HubSpotSimulator, lazy: bool
) -> None:
    portal = simulator.add(portals.generated(deals=120, archived=20, nasty=True, lazy=lazy))
    rng = random.Random(4)
    for _ in range(150):
        portal.mutate(rng)

    names = ",".join(portal.definitions)
    listed = [
        deal
        for archived in ("false", "true")
        for deal in caller.deals(f"&archived={archived}&properties={names}")
    ]

    truth = [{k: v for k, v in deal.items() if k != "mergedIds"} for deal in portal.truth()]
    assert sorted(listed, key=lambda deal: int(deal["id"])) == truth
