"""What the records of one type are associated with."""

from tests.hubspot_simulator.object_type import ObjectType

#: The id it leads to, the type's id, the label.
Link = tuple[int, int, str | None]
#: Object type → links; an id is there once for each type of association.
Associations = dict[str, list[Link]]

#: Type ids of associations without a label; others have one that means nothing.
TYPE_IDS = {
    ("deals", "contacts"): 3,
    ("deals", "companies"): 341,
    ("deals", "line_items"): 19,
    ("deals", "tickets"): 27,
    ("deals", "quotes"): 63,
    ("contacts", "companies"): 279,
    ("contacts", "deals"): 4,
    ("companies", "contacts"): 280,
    ("companies", "deals"): 342,
    ("tickets", "contacts"): 16,
    ("tickets", "companies"): 339,
    ("tickets", "deals"): 28,
    ("line_items", "deals"): 20,
}
OTHER_TYPE_ID = 100


def default_type_id(start: ObjectType, end: ObjectType) -> int:
    return TYPE_IDS.get((start.name, end.name), OTHER_TYPE_ID)


class Links(dict[int, Associations]):
    """Id of a record → its associations, in one direction: the other end has its own."""

    def of(self, record_id: int, end: str) -> list[Link]:
        return self.get(record_id, {}).get(end, [])

    def put(self, record_id: int, end: str, link: Link) -> None:
        """Associate; the same type of association to the same id takes the new label."""
        kept = [known for known in self.of(record_id, end) if known[:2] != link[:2]]
        self.setdefault(record_id, {})[end] = [*kept, link]

    def take(self, record_id: int, end: str, to_id: int, type_id: int | None) -> None:
        """End all associations with an id, or the one of a type. Raises KeyError without any."""
        links = self.of(record_id, end)
        kept = [known for known in links if known[0] != to_id or type_id not in (None, known[1])]
        if len(kept) == len(links):
            raise KeyError(f"{record_id} is not associated with {to_id} of {end}")
        self[record_id][end] = kept

    def move(self, gone: list[int], into: int) -> None:
        """Give a survivor of a merge what those had that were merged into it."""
        target = self.setdefault(into, {})
        for record_id in gone:
            for end, links in self.get(record_id, {}).items():
                target[end] = list(dict.fromkeys([*target.get(end, []), *links]))

    def truth(self, record_ids: list[int]) -> dict[int, Associations]:
        """Return id → end → sorted links, without empty ends."""
        return {
            record_id: {
                end: sorted(links, key=lambda link: (*link[:2], link[2] or ""))
                for end, links in self.get(record_id, {}).items()
                if links
            }
            for record_id in record_ids
        }
