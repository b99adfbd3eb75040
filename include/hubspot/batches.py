"""Cutting a long list into the batches that HubSpot takes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield *items* in lists of *size*; the last may be shorter. (itertools has it from 3.12.)"""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
