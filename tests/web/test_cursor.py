import pytest
from pydantic import TypeAdapter

from include.web.cursor import InvalidCursorError, cursor_of, position_of

ANY = TypeAdapter(object)


def test_a_cursor_brings_back_its_position() -> None:
    cursor = cursor_of("deals", [17, "ä", None])

    assert position_of("deals", cursor, ANY, None) == [17, "ä", None]


def test_without_a_cursor_a_list_begins_at_its_first_position() -> None:
    assert position_of("deals", None, ANY, "first") == "first"


def test_a_cursor_is_fit_for_a_url() -> None:
    cursor = cursor_of("deals", ["?&=/+ %" * 20])

    assert cursor.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("cursor", ["", "x", "!", "ä", "A" * 40, "A" * 5_000, "=" * 8])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        position_of("deals", cursor, ANY, None)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidCursorError):
        position_of("scans", cursor_of("deals", [17]), ANY, None)


def test_every_changed_character_is_noticed() -> None:
    cursor = cursor_of("deals", [123_456_789])

    for at, char in enumerate(cursor):
        changed = cursor[:at] + ("A" if char != "A" else "B") + cursor[at + 1 :]
        with pytest.raises(InvalidCursorError):
            position_of("deals", changed, ANY, None)


def test_a_position_that_a_client_made_up_is_refused() -> None:
    with pytest.raises(InvalidCursorError):
        position_of("deals", cursor_of("deals", "17; drop table"), TypeAdapter(int), 0)
