"""Long work in parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items, ``size`` of them at a time; read as they are taken."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
