"""The bounded memory: what fits is found, the oldest goes first."""

from __future__ import annotations

from pypiserver.remembered import Remembered


def test_what_was_put_is_found_until_newer_values_take_its_room() -> None:
    memory: Remembered[int, str] = Remembered(16)
    for number in range(17):
        memory.put(number, str(number))
    assert [memory.get(number) for number in (0, 1, 16)] == [None, "1", "16"]


def test_a_value_put_again_is_the_newest_and_counts_once() -> None:
    memory: Remembered[int, str] = Remembered(16)
    for number in range(16):
        memory.put(number, "old")
    memory.put(0, "new")
    memory.put(16, "last")
    assert [memory.get(number) for number in (0, 1, 2)] == ["new", None, "old"]


def test_a_value_that_would_push_out_too_many_others_is_not_kept() -> None:
    memory: Remembered[str, bytes] = Remembered(160)
    memory.put("small", b"", cost=10)
    memory.put("large", b"", cost=11)
    assert (memory.get("small"), memory.get("large")) == (b"", None)
