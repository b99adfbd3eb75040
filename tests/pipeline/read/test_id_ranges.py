import bisect
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from include.pipeline.read.ranges import SPLIT_MIN_RECORDS, IdRange, IdRanges, ListPosition

PAGE = 100


class Portal:
    """A list that is read by id, a page at a time, and counts how often it is asked."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.pages = 0

    def page(self, position: int) -> tuple[list[int], int | None]:
        self.pages += 1
        at = bisect.bisect_left(self.ids, position)
        page = self.ids[at : at + PAGE]
        return page, page[-1] + 1 if at + PAGE < len(self.ids) else None


def read_all(portal: Portal, readers: int, rng: random.Random) -> tuple[list[int], ListPosition]:
    """Let so many readers read, whose turn it is by chance; return what they got."""
    # as after the first pages, which one reader reads
    first = portal.ids[0] if portal.ids else 0
    ranges = IdRanges([(first, None)], portal.ids[-1] + 1 if portal.ids else 1)
    position, got = ListPosition([(first, None)]), []
    requested: list[IdRange] = []
    while ranges:
        while len(requested) < readers and (taken := ranges.take()) is not None:
            requested.append(taken)
        part = requested.pop(rng.randrange(len(requested)))
        ids, following = portal.page(part.position)
        start, end = ranges.advance(part, ids, following)
        got += [record_id for record_id in ids if end is None or record_id < end]
        position.cover(start, end)
    return got, position


def clustered(rng: random.Random, clusters: int, size: int) -> list[int]:
    """Ids in dense clusters, far apart from each other."""
    starts = [rng.randrange(10**10) for _ in range(clusters)]
    return sorted({start + n * rng.randint(1, 3) for start in starts for n in range(size)})


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(0, 6), st.integers(1, 900))
def test_every_id_is_read_exactly_once_however_ids_lie(
    seed: int, readers: int, clusters: int, size: int
) -> None:
    rng = random.Random(seed)
    portal = Portal(clustered(rng, clusters, size))

    got, position = read_all(portal, readers, rng)

    assert sorted(got) == portal.ids
    assert position.done


def test_even_ids_cost_hardly_more_pages_than_one_reader_needs() -> None:
    portal = Portal(list(range(5_000_000_000, 5_000_050_000)))

    read_all(portal, 8, random.Random(1))

    assert portal.pages <= 500 * 1.1


def test_ids_in_clusters_far_apart_cost_hardly_more_pages_either() -> None:
    rng = random.Random(2)
    portal = Portal(clustered(rng, 10, 5_000))

    read_all(portal, 8, rng)

    assert portal.pages <= len(portal.ids) / PAGE * 1.25


def test_an_idle_reader_takes_the_upper_half_of_the_largest_range() -> None:
    ranges = IdRanges([(0, 1_000), (10_000, 20_000)], 20_000)
    first, second = ranges.take(), ranges.take()
    assert first is not None
    assert second is not None

    third = ranges.take()

    assert third is not None
    assert (third.position, third.end) == (15_000, 20_000)
    assert second.end == 15_000
    assert first.end == 1_000


def test_a_range_with_few_records_left_is_not_split() -> None:
    ranges = IdRanges([(0, SPLIT_MIN_RECORDS - 1)], 10**9)
    ranges.take()

    assert ranges.take() is None


def test_a_page_counts_only_up_to_where_its_range_was_cut() -> None:
    ranges = IdRanges([(0, None)], 1_000)
    lower = ranges.take()
    upper = ranges.take()
    assert lower is not None
    assert upper is not None
    assert lower.end == 500

    assert ranges.advance(lower, list(range(450, 550)), 550) == (0, 500)


def test_a_range_waits_for_its_next_page_until_it_has_been_read() -> None:
    ranges = IdRanges([(0, 150)], 150)
    first = ranges.take()
    assert first is not None

    ranges.advance(first, list(range(100)), 100, "the next page")

    again = ranges.take()
    assert again is first
    assert again.cursor == "the next page"
    ranges.advance(again, list(range(100, 150)), 150)
    assert not ranges
    assert ranges.take() is None
