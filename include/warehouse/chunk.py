"""Records that were loaded together."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """The records' ids, and in which state they were.

    ``modified_us``: when each was modified, in microseconds since 1970.
    """

    ids: Sequence[int]
    hashes: Sequence[int]
    modified_us: Sequence[int | None]


def number_array(numbers: Iterable[int | None]) -> str:
    """Write a PostgreSQL array: psycopg takes 20 times as long for ten thousand numbers."""
    return "{" + ",".join("NULL" if n is None else str(n) for n in numbers) + "}"
