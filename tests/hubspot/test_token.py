import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from include.errors import PortalMismatchError
from include.hubspot.http import Token


def test_a_token_that_was_replaced_is_read_once_by_the_first_thread() -> None:
    together = threading.Barrier(20)
    read: list[str] = []

    def read_again() -> str:
        read.append("new")
        return "new"

    def ask(_: int) -> bool:
        together.wait(10)
        return token.replaced("old")

    token = Token("old", read_again)
    with ThreadPoolExecutor(20) as executor:
        answers = list(executor.map(ask, range(20)))

    assert answers == [True] * 20
    assert (token.text, read) == ("new", ["new"])


def test_a_token_that_is_still_the_same_is_not_read_again_and_again() -> None:
    read: list[str] = []

    def read_again() -> str:
        read.append("old")
        return "old"

    token = Token("old", read_again)

    assert [token.replaced("old") for _ in range(3)] == [False, False, False]
    assert len(read) == 1


def test_a_token_can_be_replaced_more_than_once() -> None:
    texts = iter(["second", "third"])
    token = Token("first", lambda: next(texts))

    assert token.replaced("first")
    assert token.replaced("second")
    assert token.text == "third"


def test_a_token_that_is_not_accepted_is_not_used() -> None:
    def refuse(text: str) -> None:
        raise PortalMismatchError(f"not {text[:3]}")

    token = Token("old", lambda: "new")
    token.accept = refuse

    with pytest.raises(PortalMismatchError):
        token.replaced("old")
    assert token.text == "old"


def test_without_a_place_to_read_it_from_there_is_no_other_token() -> None:
    assert not Token("old").replaced("old")
