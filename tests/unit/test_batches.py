"""Long work in parts."""

from __future__ import annotations

import itertools

from pypiserver.batches import batches
from pypiserver.catalog.database import AT_ONCE, in_lists


def test_items_come_a_number_at_a_time_and_are_read_as_they_are_taken() -> None:
    assert list(batches("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(batches([], 2)) == []
    assert next(batches(itertools.count(), 3)) == [0, 1, 2]


def test_a_question_has_no_more_values_than_sqlite_takes() -> None:
    parts = list(in_lists(range(2 * AT_ONCE + 1)))
    assert [len(values) for _, values in parts] == [AT_ONCE, AT_ONCE, 1]
    assert parts[-1] == (":value0", {"value0": 2 * AT_ONCE})
    assert list(in_lists([])) == []
