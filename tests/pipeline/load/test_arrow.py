import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from include.errors import ContractError
from include.hubspot.answers import Record
from include.pipeline.load.arrow import DEALS, RECORDS, Batch, joined, merges_of, to_batch

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def record(deal_id: str = "1", updated_at: str | None = None, **properties: Any) -> Record:
    return Record(
        id=deal_id,
        properties=msgspec.Raw(json.dumps(properties).encode()),
        updated_at=updated_at,
    )


def batch_of(*records: Record) -> Batch:
    return to_batch(
        records,
        DEALS,
        tenant_id="acme",
        object_name="deals",
        scan_id="scan-1",
        extracted_at=NOW,
    )


def hash_of(batch: Batch) -> int:
    (value,) = batch.table["_content_hash"].to_pylist()
    return value


def test_standard_properties_become_typed_columns() -> None:
    deal = record(
        dealname="Big one",
        amount="5000",
        hs_is_closed="false",
        closedate="2026-12-31T00:00:00Z",
        dealstage="qualifiedtobuy",
    )

    (row,) = batch_of(deal).table.to_pylist()

    assert row["deal_name"] == "Big one"
    assert row["amount"] == Decimal(5000)
    assert row["is_closed"] is False
    assert row["close_date"] == datetime(2026, 12, 31, tzinfo=UTC)
    assert row["stage_id"] == "qualifiedtobuy"


def test_every_row_carries_tenant_scan_and_time() -> None:
    (row,) = batch_of(record()).table.to_pylist()

    assert (row["_tenant_id"], row["_scan_id"], row["_extracted_at"]) == ("acme", "scan-1", NOW)


def test_properties_are_the_json_text_as_it_came_as_binary_jsonb() -> None:
    raw = b'{"dealname": "x",  "amount":null}'

    (row,) = batch_of(Record(id="1", properties=msgspec.Raw(raw))).table.to_pylist()

    assert row["properties"] == "\x01" + raw.decode()


def test_a_value_that_does_not_fit_is_null_counted_and_kept_in_properties() -> None:
    batch = batch_of(record(amount="1;2"), record("2", amount="NaN", closedate="soon"))

    assert batch.table["amount"].null_count == 2
    assert dict(batch.misfits) == {"amount": 2, "close_date": 1}
    assert json.loads(batch.table["properties"][0].as_py()[1:]) == {"amount": "1;2"}


def test_no_value_and_an_empty_one_are_null_and_no_misfit() -> None:
    batch = batch_of(record(amount="", closedate=None))

    assert batch.table["amount"].null_count == 1
    assert not batch.misfits


@pytest.mark.parametrize("last", ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "", None])
def test_of_a_deal_listed_twice_the_last_one_stays_whatever_its_time(last: str | None) -> None:
    batch = batch_of(
        record("1", "2026-01-01T00:00:00Z", dealname="first"),
        record("2", dealname="other"),
        record("1", "2026-01-03T00:00:00Z", dealname="second"),
        record("1", last, dealname="last"),
    )

    names = {row["deal_id"]: row["deal_name"] for row in batch.table.to_pylist()}
    assert names == {1: "last", 2: "other"}
    assert batch.duplicates_dropped == 2


def test_bare_numbers_and_booleans_are_read_as_the_text_they_are() -> None:
    (row,) = batch_of(record(amount=1500.5, hs_is_closed=True, dealname=7)).table.to_pylist()

    assert (row["amount"], row["is_closed"], row["deal_name"]) == (Decimal("1500.5"), True, "7")


def test_an_id_above_32_bits_is_an_id() -> None:
    assert batch_of(record("9223372036854775807")).table["deal_id"].to_pylist() == [2**63 - 1]


@pytest.mark.parametrize("deal_id", ["abc", "-1", "9223372036854775808", ""])
def test_an_id_that_is_no_64_bit_number_is_refused(deal_id: str) -> None:
    with pytest.raises(ContractError, match="tenant acme"):
        batch_of(record(deal_id))


def test_no_records_make_an_empty_table() -> None:
    assert batch_of().table.num_rows == 0


def test_the_same_content_has_the_same_hash_and_any_other_has_another() -> None:
    first, again = batch_of(record(amount="1")), batch_of(record(amount="1"))
    others = [
        record(amount="2"),
        record(),
        record(updated_at="2026-01-01T00:00:00Z", amount="1"),
        Record(id="1", properties=record(amount="1").properties, archived=True),
        Record(id="1", properties=record(amount="1").properties, archived_at="2026-01-01"),
    ]

    hashes = [hash_of(first), *(hash_of(batch_of(other)) for other in others)]

    assert [hash_of(first)] == [hash_of(again)] == first.table["_content_hash"].to_pylist()
    assert len(set(hashes)) == len(hashes)


def test_merged_ids_lead_to_the_record_that_names_them() -> None:
    batch = batch_of(record("9", hs_merged_object_ids="1;2"), record("8", hs_merged_object_ids=""))

    assert batch.merges == {1: 9, 2: 9}


def test_merged_ids_that_are_none_are_left_out() -> None:
    assert merges_of([(9, ";1; 2 ;x;9;99999999999999999999;")]) == {1: 9, 2: 9}


def test_records_of_other_objects_have_no_typed_columns() -> None:
    batch = to_batch(
        [record("7", email="a@example.com", hs_merged_object_ids="5")],
        RECORDS,
        tenant_id="acme",
        object_name="contacts",
        scan_id="scan-1",
        extracted_at=NOW,
    )

    (row,) = batch.table.to_pylist()
    assert (row["object"], row["record_id"], batch.merges) == ("contacts", 7, {5: 7})
    assert "deal_name" not in row


def test_of_an_id_in_several_batches_the_state_that_came_last_stays() -> None:
    first = batch_of(
        record("1", "2026-01-02T00:00:00Z", dealname="first"),
        record("2", "2026-01-01T00:00:00Z", dealname="first"),
    )
    second = batch_of(
        record("1", "2026-01-01T00:00:00Z", dealname="last"),
        record("2", "2026-01-02T00:00:00Z", dealname="last"),
        record("3", dealname="only"),
    )

    both = joined([first, second], DEALS)

    names = {row["deal_id"]: row["deal_name"] for row in both.table.to_pylist()}
    assert names == {1: "last", 2: "last", 3: "only"}
    assert both.duplicates_dropped == 2


def test_batches_that_share_no_id_are_put_one_after_the_other() -> None:
    both = joined([batch_of(record("1", amount="1;2")), batch_of(record("2", amount="x"))], DEALS)

    assert both.table["deal_id"].to_pylist() == [1, 2]
    assert both.duplicates_dropped == 0
    assert both.misfits == {"amount": 2}
