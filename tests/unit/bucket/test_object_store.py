"""Objects as files: any reading of one is as that of the bytes, and a request that ends early is made again."""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.bucket import reader
from pypiserver.bucket.object_store import ObjectStoreClient
from pypiserver.bucket.reader import ObjectFile
from pypiserver.bucket.staged import Spooled
from pypiserver.errors import ConfigError, NotFound, Unavailable

DATA = random.Random(7).randbytes(1_000_000)


class Counting(ObjectStoreClient):
    """Counts requests, and lets some of them end early."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.requests: list[tuple[int, int]] = []
        self.ends_after: list[int] = []

    def read(self, key: str, start: int, stop: int, *, block: int) -> Iterator[bytes]:
        self.requests.append((start, stop))
        blocks = super().read(key, start, stop, block=block)
        return self._cut(blocks, self.ends_after.pop(0)) if self.ends_after else blocks

    def _cut(self, blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
        for block in blocks:
            yield block[:count]
            if (count := count - len(block)) <= 0:
                raise Unavailable("The store hung up.")


@pytest.fixture(scope="module")
def store() -> Counting:
    made = Counting("memory://")
    made.put("key", DATA)
    return made


@pytest.fixture(autouse=True)
def fresh(store: Counting) -> None:
    store.requests.clear()
    store.ends_after.clear()


moves = st.one_of(
    st.tuples(st.just("seek"), st.integers(0, len(DATA) + 10)),
    st.tuples(st.just("read"), st.integers(0, 300_000)),
    st.tuples(st.just("into"), st.integers(1, 300_000)),
)


@given(st.lists(moves, max_size=12), st.lists(st.integers(0, 200_000), max_size=3))
def test_any_reading_is_as_that_of_the_bytes(steps: list[tuple[str, int]], ends: list[int]) -> None:
    store = Counting("memory://")
    store.put("key", DATA)
    # Two in turn that bring nothing are an error; here each is followed by one that does.
    store.ends_after = [each for end in ends for each in (end, len(DATA))]
    file, whole = ObjectFile(store, "key", len(DATA)), io.BytesIO(DATA)
    with file:
        for what, number in steps:
            if what == "seek":
                assert file.seek(number) == whole.seek(number)
            elif what == "read":
                assert file.read(number) == whole.read(number)
            else:
                buffer = bytearray(number)
                count = file.readinto(buffer)
                assert buffer[:count] == whole.read(count) and (count or whole.tell() >= len(DATA))
            assert file.tell() == whole.tell()


def test_nothing_is_asked_before_the_first_read(store: Counting) -> None:
    with ObjectFile(store, "gone", 10) as file:
        file.seek(5)
        assert store.requests == []
        with pytest.raises(OSError, match="gone"):
            file.read(1)


def test_reading_on_takes_few_requests_and_a_range_exactly_one(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ObjectFile(store, "key", len(DATA)) as file:
        while file.read(100_000):
            pass
    assert store.requests == [(0, 100_000), (100_000, 1_000_000)]
    store.requests.clear()
    monkeypatch.setattr(reader, "WINDOW", 400_000)
    with ObjectFile(store, "key", len(DATA)) as file:
        file.expect(10, 500_000)
        assert store.requests == [(10, 400_010)]
        assert file.read(500_000) == DATA[10:500_010]
    assert store.requests == [(10, 400_010), (400_010, 500_010)]


def test_what_is_expected_and_missing_is_said_before_anything_is_read(store: Counting) -> None:
    with ObjectFile(store, "gone", 10) as file, pytest.raises(NotFound):
        file.expect(0, 10)
    with ObjectFile(store, "key", len(DATA) + 1) as file, pytest.raises(Unavailable, match="has become another one"):
        file.expect(0, len(DATA) + 1)


def test_two_requests_in_turn_that_bring_nothing_are_an_error(store: Counting) -> None:
    store.ends_after = [1000, 0, 0]
    with ObjectFile(store, "key", len(DATA)) as file:
        assert file.readinto(bytearray(5000)) == 1000
        with pytest.raises(OSError, match="ended 999000 bytes early"):
            file.read(10)


def test_an_object_is_whole_or_not_there(store: Counting) -> None:
    assert store.head("nothing") is None
    with pytest.raises(NotFound, match=r"nothing in memory://\."):
        store.get("nothing")
    store.put("a/b", io.BytesIO(DATA))
    store.put("a/b.asc", b"")
    assert [(each.key, each.size) for each in store.list("a/")] == [("a/b", len(DATA)), ("a/b.asc", 0)]
    store.delete(["a/b", "a/none", "a/b.asc"])
    assert list(store.list("a/")) == []


@pytest.mark.parametrize("url", ["file:///dev/null/bucket", "s3://no-such-bucket/x"])
def test_a_store_that_cannot_be_used_is_an_outage(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(Unavailable, match=r"^The object store \S+ fails to"):
        ObjectStoreClient(url).head("key")


def test_what_a_failure_says_has_no_signature_in_it() -> None:
    from pypiserver.bucket.object_store import _words

    assert (
        _words(OSError("GET http://h/b?X-Amz-Signature=abc in 1 ms: 403.\n\nDebug: ..."))
        == "GET http://h/b in 1 ms: 403"
    )


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import pypiserver

    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigError, match=r"pip install 'pypiserver\[objectstore\]'"):
        pypiserver.app(storage="s3://bucket")


def test_a_spooled_file_has_no_name_and_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    published: list[Any] = []
    spooled = Spooled(lambda *arguments: published.append(arguments), digests=("sha256",))  # type: ignore[arg-type, func-returns-value]
    spooled.open()
    for number in range(4):
        spooled.write(DATA[number * 250_000 : (number + 1) * 250_000])
    assert os.listdir(tmp_path) == []
    for _ in range(2):
        with spooled.reader() as stream:
            assert stream.read() == DATA
    spooled.discard()
    spooled.discard()
    with pytest.raises(AssertionError):
        spooled.write(b"more")


def test_a_full_disk_names_the_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from pypiserver.errors import StorageFull

    def full(**_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(StorageFull, match="is full"):
        Spooled(lambda *_: None, digests=()).open()  # type: ignore[arg-type, return-value]
