"""A cache in a folder: names, links, sidecars, uses, and what two processes see of one fetch."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.backend.cache_store import Key, Progress
from pypiserver.backend.os_calls import OPERATIONS
from pypiserver.errors import Conflict, NotFound, StorageFull, Unavailable
from pypiserver.folder.cache_store import FolderCache
from pypiserver.folder.cache_tree import CacheTree
from pypiserver.folder.cache_uses import Uses

KEY = Key("pypi", "raven", "raven-1.0.tar.gz")
DATA = b"some bytes"
SHA256 = hashlib.sha256(DATA).hexdigest()
MTIME_NS = 1_700_000_000_123_456_789


@pytest.fixture
def store(tmp_path: Path) -> FolderCache:
    cache = FolderCache(tmp_path)
    cache.prepare(0.0)
    return cache


def keep(store: FolderCache, key: Key = KEY, data: bytes = DATA, **sidecars: bytes) -> None:
    growing = store.begin(key, len(data))
    growing.write(data)
    growing.publish(
        MTIME_NS, {f".{name}": each for name, each in sidecars.items()}, sha256=hashlib.sha256(data).hexdigest()
    )


def read(store: FolderCache, key: Key = KEY) -> bytes | None:
    kept = store.open(key)
    if kept is None:
        return None
    with kept.stream:
        return kept.stream.read()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_kept_has_its_time_hash_and_path(store: FolderCache, tmp_path: Path) -> None:
    keep(store, yanked=b"bad")
    kept = store.open(KEY)
    assert kept is not None
    with kept.stream:
        assert (kept.size, kept.mtime_ns, kept.sha256) == (len(DATA), MTIME_NS, SHA256)
    assert Path(kept.path).read_bytes() == DATA
    assert names(tmp_path) == {
        "pypi/raven/raven-1.0.tar.gz",
        "pypi/raven/raven-1.0.tar.gz.yanked",
        "pypi/.sidecars/raven/raven-1.0.tar.gz.sha256",
    }
    assert store.kept_yanks("pypi", "raven") == {KEY.filename: "bad"}


def test_a_file_has_no_name_before_it_is_published(store: FolderCache, tmp_path: Path) -> None:
    growing = store.begin(KEY, None)
    growing.write(DATA)
    assert read(store) is None
    assert growing.read_at(5, 100) == DATA[5:]
    growing.discard()
    growing.discard()
    assert (names(tmp_path), growing.read_at(0, 4)) == (set(), b"some")


def test_a_growing_file_can_be_read_with_seeks(store: FolderCache) -> None:
    growing = store.begin(KEY, None)
    growing.write(DATA)
    stream = growing.stream()
    stream.seek(-5, io.SEEK_END)
    assert (stream.read(), stream.seek(0), stream.read(4)) == (b"bytes", 0, b"some")
    growing.discard()


def test_hashes_are_of_the_bytes_that_are_there(store: FolderCache, tmp_path: Path) -> None:
    keep(store)
    file = tmp_path / "pypi/raven" / KEY.filename
    file.write_bytes(b"Some bytes")
    os.utime(file, ns=(MTIME_NS, MTIME_NS))
    for cache in (store, FolderCache(tmp_path)):
        kept = cache.open(KEY)
        assert kept is not None
        with kept.stream:
            assert kept.sha256 == hashlib.sha256(kept.stream.read()).hexdigest()


def test_the_hash_survives_a_restart(store: FolderCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store)
    monkeypatch.setattr(
        "pypiserver.folder.cache_store.sha256_of_stream", lambda stream: pytest.fail("it is read again")
    )
    kept = FolderCache(tmp_path).open(KEY)
    assert kept is not None
    kept.stream.close()
    assert kept.sha256 == SHA256


@pytest.mark.parametrize("link", ["pypi", "pypi/raven", "pypi/raven/raven-1.0.tar.gz"])
def test_no_link_is_followed(tmp_path: Path, link: str) -> None:
    elsewhere = FolderCache(tmp_path / "elsewhere")
    elsewhere.prepare(0.0)
    keep(elsewhere)
    cache = FolderCache(tmp_path / "cache")
    cache.prepare(0.0)
    path = tmp_path / "cache" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / "elsewhere" / link)
    assert (read(cache), list(cache.entries())) == (None, [])
    if path.name == KEY.filename:
        # The link itself is replaced.
        keep(cache, data=b"other")
        assert read(cache) == b"other"
    else:
        with pytest.raises(Conflict):
            cache.begin(KEY, None)
    assert read(elsewhere) == DATA


@pytest.mark.parametrize("name", ["..", ".", "", ".x", "a/b", "a\\b", "a\nb", "x" * 300])
def test_only_names_are_joined(store: FolderCache, name: str) -> None:
    for key in (Key(name, "raven", "x"), Key("pypi", name, "x"), Key("pypi", "raven", name)):
        with pytest.raises(NotFound):
            store.open(key)
        with pytest.raises(NotFound):
            store.begin(key, None)
        with pytest.raises(NotFound):
            store.put_sidecar(key, ".metadata", b"")
    assert store.page("pypi", name) is None


def test_sidecars_go_where_servers_look_for_them(store: FolderCache, tmp_path: Path) -> None:
    store.put_sidecar(KEY, ".provenance", b"early")
    store.put_sidecar(KEY, ".metadata", b"metadata")
    assert names(tmp_path / "pypi/.sidecars/raven") == {f"{KEY.filename}.provenance", f"{KEY.filename}.metadata"}
    keep(store)
    store.put_sidecar(KEY, ".provenance", b"late")
    assert store.sidecar(KEY, ".provenance") == b"late"
    assert (tmp_path / "pypi/raven" / f"{KEY.filename}.provenance").read_bytes() == b"late"
    assert store.sidecar(KEY, ".metadata") == b"metadata"
    store.remove_sidecar(KEY, ".provenance")
    assert store.sidecar(KEY, ".provenance") is None


def test_pages(store: FolderCache) -> None:
    store.put_page("pypi", "raven", b"one")
    store.put_page("pypi", "raven", b"page")
    store.put_page("torch", "torch", b"other")
    assert store.page("pypi", "raven") == b"page"
    assert list(store.pages()) == [("pypi", "raven"), ("torch", "torch")]
    assert (store.other_bytes(), store.remove_page("pypi", "raven"), store.page("pypi", "raven")) == (9, 4, None)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache = FolderCache(tmp_path, operations=replace(OPERATIONS, write=full))
    growing = cache.begin(KEY, 10)
    with pytest.raises(StorageFull):
        growing.write(DATA)
    growing.discard()
    with pytest.raises(StorageFull):
        cache.put_page("pypi", "raven", b"page")
    with pytest.raises(StorageFull):
        cache.begin(KEY, 1 << 60)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failure_leaves_no_name(tmp_path: Path, step: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    cache = FolderCache(tmp_path, operations=replace(OPERATIONS, **{step: fails}))
    growing = cache.begin(KEY, 10)
    growing.write(DATA)
    with pytest.raises(Unavailable):
        growing.publish(MTIME_NS, {}, sha256=SHA256)
    assert names(tmp_path) == set()


def test_what_is_in_use_is_not_deleted(store: FolderCache, tmp_path: Path) -> None:
    keep(store, yanked=b"")
    kept = store.open(KEY)
    assert kept is not None
    assert (FolderCache(tmp_path).remove(KEY), read(store)) == (0, DATA)
    kept.stream.close()
    assert store.remove(KEY) > len(DATA)
    assert (read(store), names(tmp_path), store.remove(KEY)) == (None, set(), 0)


# -- uses --------------------------------------------------------------------------------------------------------------


def test_uses_survive_a_restart_and_a_loss(store: FolderCache, tmp_path: Path) -> None:
    keep(store)
    other = Key("pypi", "raven", "raven-2.0.tar.gz")
    keep(store, other)
    store.note_use(KEY)
    store.close()
    uses = Uses(CacheTree(tmp_path)).all()
    assert (uses.get(KEY) > time.time() - 120, uses.get(other)) == (True, 0.0)
    used = {entry.key: entry.used for entry in FolderCache(tmp_path).entries()}
    assert used[KEY] == uses.get(KEY)
    (tmp_path / ".uses").write_bytes(b"damaged")
    lost = {entry.key: entry.used for entry in FolderCache(tmp_path).entries()}
    assert lost[KEY] == (tmp_path / "pypi/raven" / KEY.filename).stat().st_ctime


def test_the_latest_use_of_all_processes_counts(tmp_path: Path) -> None:
    now = [6_000_000.0]
    first, second = (Uses(CacheTree(tmp_path), clock=lambda: now[0]) for _ in range(2))
    first.note(KEY)
    now[0] += 600
    second.note(KEY)
    second.write()
    first.write()
    assert first.all().get(KEY) == 6_000_600.0
    first.keep([])
    assert first.all().get(KEY) == 0.0


# -- two processes, which are two caches here --------------------------------------------------------------------------


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[FolderCache, FolderCache]]:
    yield FolderCache(tmp_path), FolderCache(tmp_path)


def test_the_second_process_reads_what_the_first_fetches(both: tuple[FolderCache, FolderCache]) -> None:
    ours, theirs = both
    with ours.sole_fetcher(KEY) as is_ours, theirs.sole_fetcher(KEY) as is_theirs:
        assert (is_ours, is_theirs) == (True, False)
        with theirs.follow(KEY) as followed:
            assert followed is not None
            assert followed.progress() == Progress()
            growing = ours.begin(KEY, 20)
            growing.write(DATA)
            growing.tell(Progress(4, 20))
            assert (followed.progress(), followed.read_at(0, 4)) == (Progress(4, 20), b"some")
            growing.write(DATA)
            growing.tell(Progress(20, 20, is_whole=True))
            growing.publish(MTIME_NS, {}, sha256=SHA256)
            assert (followed.progress(), followed.read_at(10, 100)) == (Progress(20, 20, is_whole=True), DATA)
    with theirs.sole_fetcher(KEY) as is_theirs, theirs.follow(KEY) as followed:
        assert is_theirs


def test_a_fetch_that_ends_is_noticed(both: tuple[FolderCache, FolderCache]) -> None:
    ours, theirs = both
    with theirs.follow(KEY) as nothing:
        assert nothing is None
    fetching = ours.sole_fetcher(KEY)
    fetching.__enter__()
    growing = ours.begin(KEY, 20)
    growing.write(DATA)
    growing.tell(Progress(4, 20))
    with theirs.follow(KEY) as followed:
        assert followed is not None
        assert followed.progress() == Progress(4, 20)
        growing.discard()
        fetching.__exit__(None, None, None)
        assert followed.progress() is None
        assert followed.read_at(0, 4) == b"some"


def test_a_fetch_that_is_given_up_is_noticed(both: tuple[FolderCache, FolderCache]) -> None:
    ours, theirs = both
    with ours.sole_fetcher(KEY), theirs.follow(KEY) as followed:
        assert followed is not None
        growing = ours.begin(KEY, 20)
        growing.write(DATA)
        growing.tell(Progress(4, 20))
        assert followed.progress() == Progress(4, 20)
        growing.tell(None)
        assert followed.progress() is None
        growing.discard()


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    store = FolderCache(tmp_path)
    left = tmp_path / "pypi/raven/.upload-00000000000000000000000000000000.part"
    hidden = tmp_path / "pypi/.sidecars/raven/.upload-00000000000000000000000000000001.part"
    for path in (left, hidden):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
        os.utime(path, (1, 1))
    growing = store.begin(KEY, None)
    store.prepare(time.time() + 60)
    growing.write(DATA)
    growing.publish(MTIME_NS, {}, sha256=SHA256)
    assert (left.exists(), hidden.exists(), read(store)) == (False, False, DATA)


def test_a_file_that_is_opened_again_is_the_one_of_before(store: FolderCache, tmp_path: Path) -> None:
    keep(store)
    assert read(store) == read(store) == DATA
    folder, elsewhere = tmp_path / "pypi/raven", tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    (elsewhere / KEY.filename).write_bytes(b"other")
    assert read(store) is None
    folder.unlink()
    elsewhere.rename(folder)
    assert read(store) == b"other"
