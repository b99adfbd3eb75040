"""Variables in docker-compose.yaml are replaced as the Compose Specification says."""

import pytest

from tests.ops.compose.compose import MissingVariableError, interpolated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("${SET}", "value", id="set"),
        pytest.param("${UNSET}", "", id="not-set"),
        pytest.param("${UNSET:-other}", "other", id="default"),
        pytest.param("${EMPTY:-other}", "other", id="default-of-an-empty-one"),
        pytest.param("${EMPTY-other}", "", id="empty-counts-as-set"),
        pytest.param("${UNSET:-a ${UNSET:-b ${SET}}}", "a b value", id="nested"),
        pytest.param("$$(cut ${SET})", "$(cut value)", id="escaped"),
    ],
)
def test_a_variable_is_replaced(text: str, expected: str) -> None:
    assert interpolated(text, {"SET": "value", "EMPTY": ""}) == expected


def test_a_variable_that_must_be_set_says_so() -> None:
    with pytest.raises(MissingVariableError, match="NEEDED: say which"):
        interpolated("${NEEDED:?say which}", {})
