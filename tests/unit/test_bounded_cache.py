"""The bounded memory: what fits is found, the oldest goes first, and keys count too."""

from __future__ import annotations

import tracemalloc

from pypiserver.bounded_cache import ENTRY_BYTES, BoundedCache, OnceLog, short_texts, weight
from pypiserver.model import File

ONE = ENTRY_BYTES + weight(1)


def test_what_was_put_is_found_until_newer_values_take_its_room() -> None:
    memory: BoundedCache[int, str] = BoundedCache(16 * ONE)
    for number in range(1, 18):
        memory.put(number, str(number), size=0)
    assert [memory.get(number) for number in (1, 2, 17)] == [None, "2", "17"]


def test_a_value_put_again_is_the_newest_and_counts_once() -> None:
    memory: BoundedCache[int, str] = BoundedCache(16 * ONE)
    for number in range(1, 17):
        memory.put(number, "old", size=0)
    memory.put(1, "new", size=0)
    memory.put(17, "last", size=0)
    assert [memory.get(number) for number in (1, 2, 3)] == ["new", None, "old"]


def test_a_value_that_would_push_out_too_many_others_is_not_kept() -> None:
    memory: BoundedCache[int, bytes] = BoundedCache(16 * (ONE + 10))
    memory.put(1, b"", size=10)
    memory.put(2, b"", size=11)
    assert (memory.get(1), memory.get(2)) == (b"", None)


def test_long_keys_take_the_room_of_others() -> None:
    memory: BoundedCache[str, bool] = BoundedCache(1 << 20)
    for number in range(1000):
        memory.put(f"{number:050000}", True, size=1)
    assert sum(memory.get(f"{number:050000}") is not None for number in range(1000)) <= 20
    memory.put("x" * 100_000, True, size=1)
    assert memory.get("x" * 100_000) is None


def test_what_a_file_weighs_includes_its_texts() -> None:
    file = File(*["a"] * 6, 0, 1, 2, 3, "b" * 64, yanked="r" * 4000)  # type: ignore[arg-type]
    assert 4000 < weight(("path", file, 1.5)) < 8000


def test_what_was_said_is_said_again_only_when_it_was_forgotten() -> None:
    said = OnceLog(100_000)
    assert (
        said.is_new(0, "a", "it is bad") and not said.is_new(0, "a", "it is bad") and said.is_new(1, "a", "it is bad")
    )
    for number in range(2000):
        said.is_new(number, "b", "it is bad")
    assert said.is_new(0, "a", "it is bad")


def test_a_function_remembers_short_texts_and_keeps_no_long_ones() -> None:
    calls: list[str] = []

    @short_texts(entries=2, longest=10)
    def doubled(text: str) -> str:
        calls.append(text[:3])
        return text * 2

    assert [doubled(text) for text in ("a", "a", "b", "c", "a")] == ["aa", "aa", "bb", "cc", "aa"]
    assert calls == ["a", "b", "c", "a"]
    tracemalloc.start()
    for number in range(100):
        doubled(f"{number:0100000}")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000 and len(calls) == 104
