import json

from hypothesis import given
from hypothesis import strategies as st

from include.pipeline.read.ranges import ListPosition, Position

IDS = 40
intervals = st.tuples(st.integers(0, IDS), st.none() | st.integers(0, IDS)).filter(
    lambda part: part[1] is None or part[0] < part[1]
)


def ids_in(position: ListPosition) -> set[int]:
    """What remains, below a bound that stands for infinity."""
    return {
        record_id
        for low, high in position.remaining
        for record_id in range(low, IDS + 2 if high is None else high)
    }


def test_a_new_position_has_everything_to_be_read() -> None:
    position = ListPosition()

    assert not position.done
    assert not position.by_id
    assert position.first == 0


@given(st.lists(intervals, max_size=12))
def test_what_remains_is_what_no_page_has_covered(covered: list[tuple[int, int | None]]) -> None:
    position, expected = ListPosition(), set(range(IDS + 2))

    for start, end in covered:
        position.cover(start, end)
        expected -= set(range(start, IDS + 2 if end is None else end))

    assert ids_in(position) == expected
    assert position.done == (not expected)
    assert position.remaining == sorted(position.remaining)
    ends = [high for _, high in position.remaining]
    assert all(high is not None for high in ends[:-1])


@given(
    st.lists(intervals, max_size=6),
    st.none() | st.text(max_size=5),
    st.sets(st.integers(0, 2**63 - 1), max_size=5),
)
def test_a_position_survives_being_written_as_json(
    covered: list[tuple[int, int | None]], after: str | None, not_found: set[int]
) -> None:
    position = Position(associations={"contacts": 7})
    position.live.not_found = not_found
    for start, end in covered:
        position.live.cover(start, end)
    if after is not None:
        position.archived.after = after

    document = position.to_json()

    assert Position.from_json(document) == position
    # without tuples, which Airflow's task state refuses
    assert json.loads(json.dumps(document)) == document


def test_no_json_at_all_is_a_new_position() -> None:
    assert Position.from_json(None) == Position()


def test_a_range_that_is_covered_makes_a_cursor_void() -> None:
    position = ListPosition()
    position.after = "abc"

    position.cover(0, 10)

    assert position.after is None
    assert position.by_id


def test_a_restart_forgets_both() -> None:
    position = ListPosition()
    position.cover(5, 10)
    position.after = "abc"

    position.restart()

    assert position == ListPosition()
