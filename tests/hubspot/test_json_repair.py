import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.hubspot.json_repair import Repairs, needs_repair, repair

#: Any text a JSON writer with ASCII escapes can send, NUL and halves of surrogate pairs included.
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_a_nul_character_is_taken_out_and_counted() -> None:
    body, repairs = repair(rb'{"a":"x\u0000y\u0000"}')

    assert json.loads(body) == {"a": "xy"}
    assert repairs == Repairs(nul_characters=2)


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    body, repairs = repair(rb'{"a":"x\ud83d"}')

    assert json.loads(body) == {"a": "x\ufffd"}
    assert repairs == Repairs(lone_surrogates=1)


def test_a_whole_surrogate_pair_stays_the_emoji_it_is() -> None:
    body, repairs = repair(rb'{"a":"\ud83d\ude00"}')

    assert json.loads(body) == {"a": "\U0001f600"}
    assert repairs == Repairs()


def test_an_escaped_backslash_before_u0000_is_plain_text() -> None:
    body, repairs = repair(rb'{"a":"\\u0000"}')

    assert json.loads(body) == {"a": "\\u0000"}
    assert repairs == Repairs()


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_know_becomes_text(constant: str) -> None:
    body, repairs = repair(f'{{"a":{constant}}}'.encode())

    assert json.loads(body) == {"a": constant}
    assert repairs == Repairs(invalid_numbers=1)


def test_bytes_that_are_no_utf8_are_replaced_and_counted() -> None:
    body, repairs = repair(b'{"a":"\xff"}')

    assert json.loads(body) == {"a": "\ufffd"}
    assert repairs == Repairs(invalid_utf8_pages=1)


@pytest.mark.parametrize(
    "body", [b'{"results":[{"id":"1"', b"<html>oops</html>", b""], ids=["cut", "html", "empty"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        repair(body)


@given(st.dictionaries(ANY_TEXT, st.none() | ANY_TEXT, max_size=5))
def test_a_page_is_either_untouched_or_made_storable(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()

    if needs_repair(body):
        body, _ = repair(body)

    text = body.decode()
    assert "\x00" not in json.dumps(json.loads(text), ensure_ascii=False)
    json.dumps(json.loads(text), ensure_ascii=False).encode()


@given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=5))
def test_nothing_but_nul_and_lone_surrogates_is_changed(document: dict[str, Any]) -> None:
    def storable(text: str) -> str:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return joined.replace("\x00", "")

    body, _ = repair(json.dumps(document).encode())

    assert set(json.loads(body).values()) <= {storable(value) for value in document.values()}
