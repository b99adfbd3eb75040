"""What an account has of one object type: records, definitions, associations, searches."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from tests.hubspot_simulator.definitions import support_pipeline
from tests.hubspot_simulator.links import Associations, Links
from tests.hubspot_simulator.object_type import ObjectType
from tests.hubspot_simulator.record import Properties, Record
from tests.hubspot_simulator.records import Records

if TYPE_CHECKING:
    from tests.hubspot_simulator.portal import Portal


class StoredObject:
    """Records of one type. Every change and every read happens under the portal's lock."""

    def __init__(
        self, portal: "Portal", type_: ObjectType, definitions: dict[str, dict[str, Any]]
    ) -> None:
        self.type, self.definitions = type_, definitions
        self.records, self.associations = Records(), Links()
        #: The last search: what was asked, of which version of the records, and all it found.
        self.search_cache: tuple[str, int, list[tuple[Record, Properties]]] | None = None
        self.portal = portal
        #: Of other objects than deals; every account has some of tickets.
        self.pipelines = [support_pipeline()] if type_.name == "tickets" else []
        self._after_lists: list[tuple[int, Callable[[Portal], object]]] = []

    @property
    def by_id(self) -> MutableMapping[int, Record]:
        """Every record by id, live and archived."""
        return self.records.by_id

    def live_ids(self) -> list[int]:
        return list(self.records.ids(archived=False))

    def archived_ids(self) -> list[int]:
        return list(self.records.ids(archived=True))

    # What a client should find

    def truth(self) -> list[dict[str, Any]]:
        """Return every record, live and archived, with all its properties, by ascending id.

        ``mergedIds`` is there where records were merged into this one.
        """
        with self.portal.lock:
            return list(self.each_truth())

    def each_truth(self) -> Iterator[dict[str, Any]]:
        names = self.with_always(
            name for name, defined in self.definitions.items() if not defined["archived"]
        )
        for record_id in sorted(self.by_id):
            record = self.by_id[record_id]
            document = record.document(names)
            if record.merged_ids:
                document["mergedIds"] = [str(merged_id) for merged_id in record.merged_ids]
            yield document

    def associations_truth(self) -> dict[int, Associations]:
        """Return id → object type → sorted (id, type id, label), of every live record."""
        with self.portal.lock:
            return self.associations.truth(self.live_ids())

    def with_always(self, names: "Iterator[str] | tuple[str, ...]") -> tuple[str, ...]:
        """Add the properties that come unasked."""
        return tuple(dict.fromkeys((*names, *self.type.always)))

    # Listing

    def endpoint(self, name: str) -> str:
        """Return what statistics and faults call an endpoint; that of deals has the bare name."""
        return name if self.type.name == "deals" else f"{name}:{self.type.name}"

    def page(
        self, archived: bool, after: str | None, limit: int
    ) -> tuple[list[Record], str | None]:
        """Return a page of records by ascending id, and the cursor of the next one."""
        portal, cursors = self.portal, self.portal.cursors
        ids = self.records.ids(archived=archived)
        if portal.short_pages_by and after is None:
            return [], cursors.write(ids[0], portal.cursor) if ids else None
        start = None if after is None else cursors.read(after, portal.cursor)
        size = max(1, limit - portal.short_pages_by)
        records, more = self.records.page(archived=archived, start=start, size=size)
        return records, cursors.write(records[-1].id + 1, portal.cursor) if more else None

    def after_list_request(self, nth: int, change: "Callable[[Portal], object]") -> None:
        """Run *change* when the *nth* list request from now on has been answered."""
        with self.portal.lock:
            self._after_lists.append((self.portal.requests[self.endpoint("list")] + nth, change))

    def list_was_answered(self) -> None:
        count = self.portal.requests[self.endpoint("list")]
        for entry in [entry for entry in self._after_lists if entry[0] <= count]:
            self._after_lists.remove(entry)
            entry[1](self.portal)
