"""The limit of the cache: what goes first, and what stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypiserver.backend.cache_store import Key
from pypiserver.folder.cache_store import FolderCache
from pypiserver.proxy.space import Space

from ..folder.test_cache_store import keep

NOW = 2_000_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> FolderCache:
    cache = FolderCache(tmp_path)
    cache.prepare(0.0)
    return cache


def key(number: int) -> Key:
    return Key("pypi", f"raven{number}", f"raven{number}-1.0.tar.gz")


def fill(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five files of 1,000 bytes; the lower its number, the longer ago a file was used."""
    for number in range(5):
        keep(store, key(number), os.urandom(1000))
        store._uses._clock = lambda number=number: NOW - 86_400 * (5 - number)  # type: ignore[misc]
        store.note_use(key(number))


def left(store: FolderCache) -> list[int]:
    return sorted(int(entry.key.project[5:]) for entry in store.entries())


def test_the_least_recently_used_go_first(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, monkeypatch)
    space = Space(store, None, clock=lambda: NOW)
    before = space.report()
    assert (before.files, before.file_bytes) == (5, 5000)
    pruned = space.prune(before.total - 2000)
    assert (pruned.files, left(store)) == (2, [2, 3, 4])
    assert space.report().total == before.total - pruned.bytes


def test_what_is_read_stays(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, monkeypatch)
    kept = store.open(key(0))
    assert kept is not None
    with kept.stream:
        Space(store, None, clock=lambda: NOW).prune(0)
        assert left(store) == [0]


def test_pages_go_last(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, monkeypatch)
    store.put_page("pypi", "raven0", b"x" * 500)
    store.put_page("pypi", "other", b"x" * 500)
    store.put_sidecar(Key("pypi", "other", "other-1.0-py3-none-any.whl"), ".metadata", b"x" * 500)
    space = Space(store, None, clock=lambda: NOW)
    assert space.prune(3000).pages == 0
    assert space.prune(0).pages == 2
    assert space.report().total == 0


def test_a_new_file_makes_room_for_itself(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, monkeypatch)
    limit = Space(store, None).report().total - 500
    space = Space(store, limit, clock=lambda: NOW)
    space.note(1000)
    assert 0 not in left(store)
    assert space.report().total <= limit
    assert (space.has_room(limit), space.has_room(limit + 1)) == (True, False)


def test_what_was_used_a_moment_ago_stays(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, monkeypatch)
    space = Space(store, 100, clock=lambda: NOW - 86_400)
    space.note(1000)
    assert left(store) == [4]


def test_where_nothing_can_go_folders_are_read_once_in_ten_seconds(
    store: FolderCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, monkeypatch)
    # Everything was used a minute ago.
    now = NOW - 86_400 + 60
    for number in range(5):
        store._uses._clock = lambda: NOW - 86_400  # type: ignore[misc]
        store.note_use(key(number))
    space, read = Space(store, 1000, clock=lambda: now), []
    real = store.entries
    monkeypatch.setattr(store, "entries", lambda: (read.append(now), real())[1])
    for _ in range(20):
        space.note(10)
    assert len(left(store)) == 5
    first = len(read)
    assert first <= 4
    now += 11
    space.note(10)
    assert len(read) > first


def test_one_process_at_a_time_makes_room(store: FolderCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, monkeypatch)
    with FolderCache(store.root).sole_pruner() as is_ours:
        assert is_ours
        assert Space(store, None, clock=lambda: NOW).prune(0).files == 0
    assert Space(store, None, clock=lambda: NOW).prune(0).files == 5


def test_the_size_is_added_up_once_a_minute(store: FolderCache) -> None:
    now = [NOW]
    space = Space(store, None, clock=lambda: now[0])
    before = space.size()
    keep(store, key(0), os.urandom(1000))
    assert space.size() == before
    now[0] += 61
    assert space.size() >= before + 1000
    now[0] -= 3600
    keep(store, key(1), os.urandom(1000))
    assert space.size() >= before + 2000, "the clock was set back"
