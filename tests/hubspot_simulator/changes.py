"""What can happen to the records of one object type."""

import time
from typing import Literal

from tests.hubspot_simulator.crm_object import StoredObject
from tests.hubspot_simulator.definitions import CLOSED, STAGES
from tests.hubspot_simulator.links import default_type_id
from tests.hubspot_simulator.record import Properties, Record, now_iso


class CrmObject(StoredObject):
    """Records of one type that can be changed."""

    def add(self, record: Record) -> Record:
        """Put a record in as it is (seeding)."""
        with self.portal.lock:
            return self.records.add(record)

    def create(self, **properties: str | None) -> Record:
        with self.portal.lock:
            self._require_defined(properties)
            moment, record_id = now_iso(), self.records.next_id()
            record = Record(record_id, {}, moment, moment, self.portal.portal_id, self.type)
            record.properties = {
                self.type.created_property: moment,
                "hs_object_id": str(record_id),
                **self.initial(),
                **properties,
            }
            self._touch(record, {}, before=None)
            return self.records.add(record)

    def update(self, record_id: int, **properties: str | None) -> None:
        """Write values: calculated ones follow, and the modification time moves."""
        with self.portal.lock:
            self._require_defined(properties)
            record = self.by_id[record_id]
            indexed = time.time() >= record.indexed_at
            before = dict(record.properties) if indexed else record.indexed
            self._touch(record, properties, before)
            self.records.changed(record)

    def drift(self, record_id: int, **calculated: str | None) -> None:
        """Change calculated values: no modification time moves."""
        with self.portal.lock:
            self._require_defined(calculated)
            record = self.by_id[record_id]
            record.change(calculated, now_iso())
            self.records.changed(record)

    def archive(self, record_id: int) -> None:
        """Archive a record: no modification time moves, search forgets it."""
        with self.portal.lock:
            self.records.move(self.by_id[record_id], now_iso())

    def restore(self, record_id: int) -> None:
        """Undo archiving: no modification time moves."""
        with self.portal.lock:
            self.records.move(self.by_id[record_id], None)

    def purge(self, record_id: int) -> None:
        """Remove a record without a trace, as 90 days after it was archived."""
        with self.portal.lock:
            self.records.remove(self.by_id[record_id])
            self.associations.pop(record_id, None)

    def merge(self, first: int, second: int, survivor: Literal["new", "primary"] = "new") -> Record:
        """Merge two, into a new record or into the first; who is merged vanishes from the lists.

        HubSpot's announcement speaks of a new deal, its specification of the primary one.
        """
        with self.portal.lock:
            one, other = self.by_id[first], self.by_id[second]
            gone = [one, other] if survivor == "new" else [other]
            ids = (*(record.id for record in gone), *one.merged_ids, *other.merged_ids)
            values = {"hs_merged_object_ids": ";".join(map(str, ids))}
            if survivor == "new":
                kept = {n: v for n, v in one.properties.items() if n not in self.type.always}
                into = self.create(**{**kept, **values})
            else:
                self.update(first, **values)
                into = self.by_id[first]
            into.merged_ids = ids
            self.associations.move([record.id for record in gone], into.id)
            for record in gone:
                self.purge(record.id)
                self.records.merged[record.id] = into.id
            return into

    # Associations: no modification time moves

    def associate(
        self,
        record_id: int,
        to_type: str,
        to_id: int,
        type_id: int | None = None,
        label: str | None = None,
    ) -> None:
        """Associate in this direction. ``type_id``: of HubSpot's one without a label, if None."""
        with self.portal.lock:
            end = self.portal.end(to_type)
            found = self.by_id[record_id]
            chosen = default_type_id(self.type, end) if type_id is None else type_id
            self.associations.put(found.id, end.end, (to_id, chosen, label))

    def dissociate(
        self, record_id: int, to_type: str, to_id: int, type_id: int | None = None
    ) -> None:
        """End every association with an id, or the one of a type."""
        with self.portal.lock:
            self.associations.take(record_id, self.portal.end(to_type).end, to_id, type_id)

    # What deals do otherwise

    def initial(self) -> Properties:
        """Return what a new record has beside what is given."""
        return {}

    def calculated(self, properties: Properties) -> Properties:
        """Return the values that follow from others."""
        return {}

    def _require_defined(self, properties: Properties) -> None:
        if unknown := properties.keys() - self.definitions.keys():
            raise ValueError(f"no such properties: {sorted(unknown)}")

    def _touch(self, record: Record, properties: Properties, before: Properties | None) -> None:
        moment = now_iso()
        calculated = self.calculated({**record.properties, **properties})
        modified = {self.type.modified_property: moment}
        record.change({**properties, **calculated, **modified}, moment)
        record.updated_at = moment
        record.indexed, record.indexed_at = before, time.time() + self.portal.index_lag_s


class Deals(CrmObject):
    """Whether a deal is closed follows from its stage."""

    def initial(self) -> Properties:
        return {"dealstage": STAGES[0][0], "pipeline": "default"}

    def calculated(self, properties: Properties) -> Properties:
        stage = properties.get("dealstage")
        return {
            "hs_is_closed": str(stage in CLOSED).lower(),
            "hs_is_closed_won": str(stage == "closedwon").lower(),
        }
