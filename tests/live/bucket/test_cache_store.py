"""A cache that machines share: bytes in an object store, rows and pages in a real PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator

import pytest

from pypiserver.backend.cache_store import Key
from pypiserver.bucket.cache_store import BucketCache
from pypiserver.bucket.object_store import ObjectStoreClient
from pypiserver.catalog import Catalog
from pypiserver.errors import ConfigError, Unavailable
from pypiserver.proxy.space import Space

pytestmark = pytest.mark.live
KEY = Key("pypi", "raven", "raven-1.0.tar.gz")
DATA = b"some bytes" * 1000
MTIME_NS = 1_700_000_000_123_456_789


@pytest.fixture
def objects() -> ObjectStoreClient:
    return ObjectStoreClient("memory://")


@pytest.fixture
def machines(objects: ObjectStoreClient, database: str) -> Iterator[list[BucketCache]]:
    """The caches of two machines."""
    made = [BucketCache(objects, database, patience=0.1) for _ in range(2)]
    yield made
    for each in made:
        each.close()


def keep(store: BucketCache, key: Key = KEY, data: bytes = DATA, **sidecars: bytes) -> None:
    growing = store.begin(key, len(data))
    growing.write(data[:10])
    growing.write(data[10:])
    assert growing.read_at(5, 10) == data[5:15]
    named = {f".{name}": each for name, each in sidecars.items()}
    growing.publish(MTIME_NS, named, sha256=hashlib.sha256(data).hexdigest())
    growing.discard()


def read(store: BucketCache, key: Key = KEY) -> bytes | None:
    kept = store.open(key)
    if kept is None:
        return None
    with kept.stream:
        return kept.stream.read()


def keys(objects: ObjectStoreClient) -> list[str]:
    return [each.key for each in objects.list("")]


def test_what_one_machine_keeps_the_others_have(machines: list[BucketCache], objects: ObjectStoreClient) -> None:
    ours, theirs = machines
    assert read(theirs) is None
    keep(ours, yanked=b"bad", provenance=b"{}")
    assert read(theirs) == read(ours) == DATA
    kept = theirs.open(KEY)
    assert kept is not None
    assert (kept.size, kept.mtime_ns, kept.sha256) == (len(DATA), MTIME_NS, hashlib.sha256(DATA).hexdigest())
    assert theirs.kept_yanks("pypi", "raven") == {KEY.filename: "bad"}
    assert theirs.sidecar(KEY, ".yanked") == b"bad" and theirs.sidecar(KEY, ".provenance") == b"{}"
    theirs.remove_sidecar(KEY, ".yanked")
    assert ours.kept_yanks("pypi", "raven") == {KEY.filename: None}
    assert ours.sidecar(KEY, ".metadata") is None
    ours.put_sidecar(KEY, ".metadata", b"Name: raven")
    assert theirs.sidecar(KEY, ".metadata") == b"Name: raven"
    assert ours.remove(KEY) == len(DATA) and ours.remove(KEY) == 0
    assert keys(objects) == []


def test_pages_are_rows(machines: list[BucketCache]) -> None:
    ours, theirs = machines
    assert theirs.page("pypi", "raven") is None
    for data in (b"first", b"\x00\xffsecond"):
        ours.put_page("pypi", "raven", data)
    ours.put_page("pytorch", "torch", b"x" * 100_000)
    assert theirs.page("pypi", "raven") == b"\x00\xffsecond"
    assert sorted(theirs.pages()) == [("pypi", "raven"), ("pytorch", "torch")]
    assert theirs.other_bytes() == 100_000 + len(b"\x00\xffsecond")
    assert theirs.remove_page("pytorch", "torch") == 100_000 and theirs.remove_page("pytorch", "torch") == 0


def test_the_same_bytes_of_two_indexes_are_there_once(machines: list[BucketCache], objects: ObjectStoreClient) -> None:
    ours, theirs = machines
    other = KEY._replace(upstream="mirror")
    keep(ours)
    keep(theirs, other)
    assert len(keys(objects)) == 1
    assert ours.remove(KEY) == 0, "the bytes are still those of the other"
    assert read(ours) is None and read(ours, other) == DATA
    assert ours.remove(other) == len(DATA) and keys(objects) == []


def test_one_process_of_all_fetches_a_file(machines: list[BucketCache]) -> None:
    ours, theirs = machines
    with ours.sole_fetcher(KEY) as first:
        assert first
        with theirs.sole_fetcher(KEY) as second, ours.sole_fetcher(KEY) as third:
            assert (second, third) == (False, False)
        with theirs.sole_fetcher(KEY._replace(filename="raven-2.0.tar.gz")) as other, theirs.follow(KEY) as followed:
            assert other and followed is None
    with theirs.sole_fetcher(KEY) as again:
        assert again


def test_a_machine_that_waits_gets_the_file_once_it_is_there(objects: ObjectStoreClient, database: str) -> None:
    both = [BucketCache(objects, database) for _ in range(2)]
    with contextlib.closing(both[0]), contextlib.closing(both[1]):
        wait_and_read(*both)


def wait_and_read(ours: BucketCache, theirs: BucketCache) -> None:
    begun = threading.Event()
    seen: list[bytes | None] = []

    def wait() -> None:
        begun.set()
        with theirs.sole_fetcher(KEY) as is_ours:
            assert is_ours
            seen.append(read(theirs))

    with ours.sole_fetcher(KEY) as first:
        thread = threading.Thread(target=wait)
        thread.start()
        begun.wait()
        assert first
        keep(ours)
    thread.join()
    assert seen == [DATA]


def test_a_connection_that_ends_takes_its_locks_with_it(machines: list[BucketCache], database: str) -> None:
    ours, theirs = machines
    with ours.sole_fetcher(KEY) as first:
        assert first
        ours.close()
        with theirs.sole_fetcher(KEY) as second:
            assert second


def test_room_is_made_for_all_by_one(machines: list[BucketCache], objects: ObjectStoreClient) -> None:
    ours, theirs = machines
    now = [1_800_000_000.0]
    old, new = (KEY._replace(filename=f"raven-{number}.0.tar.gz") for number in (1, 2))
    for store in machines:
        store._uses._clock = store._tables._clock = lambda: now[0]
    for key in (old, new):
        keep(ours, key, data=key.filename.encode() * 100)
        now[0] += 100
    theirs.note_use(old)
    size = Space(theirs, None, clock=lambda: now[0]).report().file_bytes
    with ours.sole_pruner() as is_ours:
        assert is_ours
        assert Space(theirs, None, clock=lambda: now[0]).prune(0).files == 0, "another machine is making room"
    assert Space(theirs, None, clock=lambda: now[0]).prune(size - 1).files == 1
    assert read(ours, old) is not None and read(ours, new) is None, "the one that was used last is still there"


def test_a_rebuild_of_the_catalog_touches_nothing(machines: list[BucketCache], database: str) -> None:
    keep(machines[0])
    catalog = Catalog(database, "another")
    catalog.serial()
    catalog.close()
    assert read(machines[1]) == DATA


def test_an_index_with_another_address_is_refused(machines: list[BucketCache]) -> None:
    ours, theirs = machines
    ours.claim({"pypi": "https://pypi.example/simple/"})
    theirs.claim({"pypi": "https://pypi.example/simple/"})
    with pytest.raises(ConfigError, match="give the index pypi another name"):
        theirs.claim({"pypi": "https://elsewhere.example/simple/"})


def test_an_outage_is_no_empty_cache(objects: ObjectStoreClient) -> None:
    store = BucketCache(objects, "postgresql://user:s3cret@127.0.0.1:1/cache?connect_timeout=1")
    for ask in (lambda: store.open(KEY), lambda: store.page("pypi", "raven"), lambda: list(store.entries())):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert "s3cret" not in str(caught.value)
    store.note_use(KEY)
    store.close()
