"""Splits long work into batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of ``size``, the last one maybe shorter; items are read only as lists are taken."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
