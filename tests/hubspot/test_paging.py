from collections.abc import Callable

import pytest

from include.errors import ContractError
from include.hubspot.answers import (
    EMPTY_PAGES_MAX,
    REPEATED_PAGES_MAX,
    UNCOUNTED_RECORDS,
    CursorGuard,
)


def guard(count: Callable[[], int] | None = None) -> CursorGuard:
    return CursorGuard("/owners", count)


def page(number: int) -> list[str]:
    return [str(record_id) for record_id in range(100 * number, 100 * number + 100)]


def test_a_list_is_followed_to_its_end() -> None:
    followed = guard()

    assert [followed.next(str(n), page(n)) for n in range(50)] == [str(n) for n in range(50)]
    assert followed.next(None, page(50)) is None


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_circle_of_cursors_is_refused(length: int) -> None:
    followed = guard()
    for number in range(length):
        followed.next(str(number), page(number))

    with pytest.raises(ContractError, match="HubSpot's list /owners leads back"):
        followed.next("0", page(length))


def test_a_page_may_be_empty_but_not_all_that_follow() -> None:
    followed = guard()
    for number in range(EMPTY_PAGES_MAX):
        followed.next(f"a{number}", [])
    followed.next("b", page(1))

    for number in range(EMPTY_PAGES_MAX):
        followed.next(f"c{number}", [])
    with pytest.raises(ContractError, match="empty pages"):
        followed.next("d", [])


def test_the_same_page_under_ever_new_cursors_is_refused() -> None:
    followed = guard()

    for number in range(1 + REPEATED_PAGES_MAX):
        followed.next(str(number), page(0))
    with pytest.raises(ContractError, match="same pages"):
        followed.next("once more", page(0))


def test_records_beyond_all_that_hubspot_counts_are_refused() -> None:
    counted: list[int] = []
    followed = guard(lambda: counted.append(1) or 5_000)

    allowed = (UNCOUNTED_RECORDS + 2 * 5_000) // 100
    for number in range(allowed):
        followed.next(str(number), page(number))
    with pytest.raises(ContractError, match="more than HubSpot counts"):
        followed.next("one page more", page(allowed))
    assert len(counted) == 2, "asked once that many came, and once more before it is refused"


def test_a_list_that_is_as_long_as_was_counted_before_is_not_counted_again() -> None:
    counted: list[int] = []
    followed = guard(lambda: counted.append(1) or 0)
    followed.expect(UNCOUNTED_RECORDS)

    for number in range(3 * UNCOUNTED_RECORDS // 100):
        followed.next(str(number), page(number))
    assert not counted

    with pytest.raises(ContractError, match="more than HubSpot counts"):
        followed.next("one page more", page(number + 1))


def test_a_list_that_is_longer_than_expected_goes_on_if_hubspot_counts_as_many() -> None:
    pages = UNCOUNTED_RECORDS // 100 * 5
    followed = guard(lambda: 100 * pages)

    for number in range(pages):
        assert followed.next(str(number), page(number)) == str(number)
