"""Pages that came again because of a kill."""

import pytest

from tests.chaos.promise import pages_reread

FIRST, SECOND, THIRD = (tuple(range(n, n + 100)) for n in (0, 100, 200))


@pytest.mark.parametrize(
    ("attempts", "pages"),
    [
        pytest.param([[FIRST, SECOND, THIRD]], 0.0, id="one attempt"),
        pytest.param([[FIRST, FIRST], [SECOND]], 0.0, id="twice in one attempt"),
        pytest.param([[FIRST, SECOND], [SECOND, THIRD]], 1.0, id="one page again"),
        pytest.param([[FIRST], [FIRST], [FIRST]], 2.0, id="the same page in each attempt"),
        pytest.param([[FIRST], [FIRST[50:] + SECOND[:50]]], 0.5, id="half a page again"),
    ],
)
def test_what_an_earlier_attempt_was_sent_counts(
    attempts: list[list[tuple[int, ...]]], pages: float
) -> None:
    assert pages_reread(attempts) == pages
