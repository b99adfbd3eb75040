from typing import Any

import msgspec
import pytest

from include.hubspot.answers import (
    Account,
    AssociationPage,
    BatchProblem,
    Owner,
    Pipeline,
    PropertyDefinition,
    Record,
    SearchPage,
    decode_page,
    decoder_of,
    unexplained,
)


def test_properties_stay_the_bytes_that_hubspot_sent() -> None:
    page = decode_page(b'{"results":[{"id":"1","properties":{"b": "1.50",\n "a":null}}]}')

    assert bytes(page.results[0].properties) == b'{"b": "1.50",\n "a":null}'


def test_a_page_ends_the_listing_only_when_it_has_no_next() -> None:
    assert decode_page(b'{"results":[],"paging":{"next":{"after":"x"}}}').after == "x"
    assert decode_page(b'{"results":[]}').after is None


@pytest.mark.parametrize(
    "value", [rb'"x\u0000"', rb'"\udc00"', b"NaN", b'"a\nb"', b'"\xff"'], ids=repr
)
def test_a_page_with_unstorable_values_is_still_a_page(value: bytes) -> None:
    page = decode_page(b'{"results":[{"id":"7","properties":{"a":' + value + b"}}]}")

    assert page.results[0].id == "7"
    msgspec.json.decode(page.results[0].properties)


def test_another_shape_than_documented_is_distinguished_from_garbage() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_page(b'{"results":"none"}')
    with pytest.raises(ValueError, match="Expecting"):
        decode_page(b'{"results":[')


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        pytest.param('{"id":12345678901234567890}', Record("12345678901234567890"), id="number"),
        pytest.param('{"id":"1","updatedAt":5}', Record("1", updated_at="5"), id="number as text"),
        pytest.param('{"id":"1","archived":"true"}', Record("1", archived=True), id="text as bool"),
        pytest.param('{"id":"1","archived":null}', Record("1", archived=None), id="null is unsaid"),
        pytest.param('{"id":"1","url":true}', Record("1", url="true"), id="bool as text"),
    ],
)
def test_nulls_and_other_scalars_are_read_where_nothing_is_lost(sent: str, read: Record) -> None:
    (record,) = decode_page(f'{{"results":[{sent}]}}'.encode()).results

    assert record == read


def test_properties_stay_the_bytes_that_were_sent_beside_a_field_of_another_type() -> None:
    page = decode_page(b'{"results":[{"id":1,"properties":{"n": 1.50, "t":null}}]}')

    assert bytes(page.results[0].properties) == b'{"n": 1.50, "t":null}'


@pytest.mark.parametrize(
    "sent",
    [
        '{"results":null}',
        "{}",
        '{"results":[null]}',
        '{"results":[{"id":null}]}',
        '{"results":[{"properties":{}}]}',
        '{"results":[{"id":["1"]}]}',
        '{"results":[],"paging":{"next":{}}}',
        '{"results":[],"paging":{"next":{"after":null}}}',
        '{"results":[],"paging":"none"}',
    ],
)
def test_what_could_be_taken_for_nothing_is_refused(sent: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_page(sent.encode())


@pytest.mark.parametrize("total", ["-1", "1e30", "null", '"many"', "1000000000001"])
def test_a_total_that_is_no_number_of_records_is_refused(total: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoder_of(SearchPage)(f'{{"total":{total},"results":[]}}'.encode())


@pytest.mark.parametrize("portal_id", ["0", "-1", str(2**63), "1e30", "null", '"acme"'])
def test_what_is_no_id_of_an_account_is_refused(portal_id: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoder_of(Account)(f'{{"portalId":{portal_id}}}'.encode())


def test_a_total_sent_as_text_is_read() -> None:
    assert decoder_of(SearchPage)(b'{"total":"7","results":[]}').total == 7


@pytest.mark.parametrize("field", ["to", "associationTypes", "toObjectId", "from"])
def test_an_association_without_its_parts_is_not_taken_for_none(field: str) -> None:
    link = {"toObjectId": 2, "associationTypes": [{"category": "A", "typeId": 1}]}
    result = {"from": {"id": "1"}, "to": [link]}
    (link if field in link else result)[field] = None

    with pytest.raises(msgspec.ValidationError):
        decoder_of(AssociationPage)(msgspec.json.encode({"results": [result]}))


@pytest.mark.parametrize(
    ("entry", "sent"),
    [
        (Pipeline, {"id": "p", "label": None, "stages": None}),
        (Pipeline, {"id": "p", "stages": [{"id": 1, "metadata": None, "label": None}]}),
        (Owner, {"id": 7, "archived": None, "teams": None, "userId": "12"}),
        (PropertyDefinition, {"name": "p", "options": None, "calculated": None, "label": 5}),
        (AssociationPage, {"results": [], "errors": None}),
        (AssociationPage, {"results": [], "errors": ["text", None, {"category": None}]}),
    ],
)
def test_fields_that_hubspot_may_leave_out_may_be_null(entry: type, sent: dict[str, Any]) -> None:
    decoder_of(entry)(msgspec.json.encode(sent))


def problem(**fields: Any) -> BatchProblem:
    return BatchProblem(**{"category": "OBJECT_NOT_FOUND", **fields})


@pytest.mark.parametrize(
    ("answered", "problems", "lacking"),
    [
        pytest.param(["1", "2"], [], ["3"], id="nothing is said of it"),
        pytest.param(["1", "2"], [problem(context={"ids": ["3"]})], [], id="not there"),
        pytest.param(["1", "2"], [problem(context={"ids": [3]})], [], id="not there, as a number"),
        pytest.param([], [problem(context={"fromObjectId": ["1"]})], ["2", "3"], id="one of them"),
        pytest.param(["1", "2"], [problem()], ["3"], id="which one is not said"),
        pytest.param([], [problem()], [], id="which is not said, but nothing came"),
        pytest.param([], [problem(context="3")], [], id="a context of another shape"),
        pytest.param(
            ["1", "2"],
            [problem(category="INTERNAL_ERROR", context={"ids": ["3"]})],
            ["3"],
            id="could not be read, which is not the same as not there",
        ),
        pytest.param([], [BatchProblem()], ["1", "2", "3"], id="no category"),
    ],
)
def test_a_batch_explains_what_it_lacks_or_is_incomplete(
    answered: list[str], problems: list[BatchProblem], lacking: list[str]
) -> None:
    assert unexplained(["1", "2", "3"], answered, problems) == lacking
