from contextlib import nullcontext

import msgspec
import pytest

from include.errors import HubSpotUnavailableError
from include.hubspot.answers import decode_page, raise_for_problems


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


def test_another_shape_than_documented_is_told_apart_from_garbage() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_page(b'{"results":"none"}')
    with pytest.raises(ValueError, match="Expecting"):
        decode_page(b'{"results":[')


@pytest.mark.parametrize(
    ("category", "raises"), [("OBJECT_NOT_FOUND", False), ("INTERNAL_ERROR", True), ("", True)]
)
def test_what_could_not_be_read_is_not_taken_for_what_is_not_there(
    category: str, raises: bool
) -> None:
    body = f'{{"results":[],"numErrors":1,"errors":[{{"category":"{category}","message":"m"}}]}}'
    page = decode_page(body.encode())

    with (
        pytest.raises(HubSpotUnavailableError, match="could not read part of a batch")
        if raises
        else nullcontext()
    ):
        raise_for_problems(page.errors, "POST /batch/read", "acme")
