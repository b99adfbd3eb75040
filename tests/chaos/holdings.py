"""What the warehouse holds of one tenant."""

from typing import Any

from include.warehouse.connection import Warehouse
from tests.chaos.facts import Rows, values_of
from tests.support.scans import query
from tests.support.truth import present

_LIVE = (
    "deals._tenant_id = %s and not archived and vanished_at is null and merged_into_deal_id is null"
)


class Holdings:
    """Reads the tenant's rows."""

    def __init__(self, warehouse: Warehouse, tenant_id: str) -> None:
        self._warehouse = warehouse
        self._tenant = tenant_id

    def values(self, but: str) -> Rows:
        with self._warehouse.connect() as connection:
            return values_of(present(connection, self._warehouse.schema, self._tenant), but)

    def known(self) -> set[int]:
        rows = self._rows("select deal_id from deals where _tenant_id = %s", self._tenant)
        return {deal_id for (deal_id,) in rows}

    def merged(self) -> Rows:
        return self._rows(
            "select deal_id, merged_into_deal_id from deals"
            " where _tenant_id = %s and merged_into_deal_id is not null",
            self._tenant,
        )

    def associations(self) -> Rows:
        """Of live deals: what HubSpot says of archived ones is not known."""
        return self._rows(
            "select from_id, to_object, to_id, type_id from associations as link join deals"
            f" on deal_id = from_id and deals._tenant_id = link._tenant_id where {_LIVE}",
            self._tenant,
        )

    def histories(self) -> Rows:
        found = self._rows(
            "select record_id, property, string_agg(coalesce(value, ''), chr(1)"
            " order by changed_at) from property_history as history join deals"
            " on deal_id = record_id and deals._tenant_id = history._tenant_id"
            f" where {_LIVE} group by 1, 2",
            self._tenant,
        )
        return {(deal_id, name, tuple(values.split("\x01"))) for deal_id, name, values in found}

    def live_in_view(self) -> int:
        return int(
            self._one(f"select count(*) from {self._warehouse.schema}__{self._tenant}.deals")
        )

    def doubled(self) -> int:
        return int(
            self._one(
                "select count(*) - count(distinct deal_id) from deals where _tenant_id = %s",
                self._tenant,
            )
        )

    def of_other_accounts(self, portal_id: int) -> int:
        return int(
            self._one(
                "select count(*) from deals where _tenant_id = %s and url not like %s",
                self._tenant,
                f"%/contacts/{portal_id}/%",
            )
        )

    def verdict(self, scan_id: str) -> str:
        """Return how the check of all that was received came out."""
        return str(
            self._one(
                "select status from quality_results"
                " where scan_id = %s and check_name = 'received_records_are_held'",
                scan_id,
            )
        )

    def states(self, scan_ids: list[str]) -> Rows:
        return self._rows("select distinct state from scans where scan_id = any(%s)", scan_ids)

    def chunks(self, scan_id: str) -> int:
        return int(self._one("select count(*) from scan_chunks where scan_id = %s", scan_id))

    def scans_with_chunks(self) -> Rows:
        return self._rows(
            "select distinct scan_id from scan_chunks join scans using (scan_id)"
            # one that was given up could still be retried
            " where tenant_id = %s and state in ('succeeded', 'failed')",
            self._tenant,
        )

    def _one(self, statement: str, *parameters: Any) -> Any:
        ((value,),) = self._rows(statement, *parameters)
        return value

    def _rows(self, statement: str, *parameters: Any) -> Rows:
        return {tuple(row.values()) for row in query(self._warehouse, statement, *parameters)}
