"""What is true of an account's deals, in the form in which `holdings` shows what is held."""

import json
from typing import Any

from tests.hubspot_simulator import Portal
from tests.support.truth import Deals, as_stored, storable

#: Rows that can be compared whatever their order.
Rows = set[tuple[Any, ...]]


class Facts:
    """Of one account, as it is now."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def values(self, but: str) -> Rows:
        return values_of(as_stored(self._portal.truth()), but)

    def survivors(self, merged: Rows, known: set[int]) -> Rows:
        """Return what became of deals that are marked as merged: (id, survivor).

        A survivor that was archived and purged before a scan could see it is not *known*.
        """
        return {
            (deal_id, survivor if (survivor := self._survivor(deal_id)) in known else into)
            for deal_id, into in merged
        }

    def associations(self) -> Rows:
        return {
            (deal_id, to_type.replace(" ", "_"), to_id, type_id)
            for deal_id, ends in self._portal.associations_truth().items()
            for to_type, links in ends.items()
            for to_id, type_id, _ in links
        }

    def histories(self, names: tuple[str, ...]) -> Rows:
        # of several values at one moment the last one stays
        return {
            (
                deal_id,
                name,
                tuple({e["timestamp"]: storable(e["value"]) for e in reversed(entries)}.values()),
            )
            for deal_id in self._portal.live_ids()
            for name in names
            if (entries := self._portal.deals[deal_id].history(name))
        }

    def _survivor(self, deal_id: int) -> int:
        while deal_id in self._portal.merged:
            deal_id = self._portal.merged[deal_id]
        return deal_id


def values_of(deals: Deals, but: str) -> Rows:
    """Return (id, archived, property, value); of each deal there is one without a property.

    A value that is no string, which HubSpot should not send but which is kept, is shown as JSON.

    :param but: a property that is left out.
    """
    return {
        (deal_id, str(archived), name, value if isinstance(value, str) else json.dumps(value))
        for deal_id, (archived, properties) in deals.items()
        for name, value in [("", ""), *properties.items()]
        if name != but or not name
    }
