"""Two catalogs never serve one bucket: the second waits until the first is silent or has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.bucket.object_store import ObjectStoreClient
from pypiserver.bucket.ownership import PERIOD_SECONDS, SILENCE_SECONDS, BucketInUse, BucketOwnership

pytest.importorskip("obstore")


class Clock:
    """Seconds that continue when someone waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStoreClient:
    (tmp_path / "bucket").mkdir()
    return ObjectStoreClient(f"file://{tmp_path}/bucket")


def test_the_second_catalog_waits_while_the_first_one_serves(objects: ObjectStoreClient, clock: Clock) -> None:
    one, two = (BucketOwnership(objects, name, clock=clock, wait=clock.wait) for name in ("one", "two"))
    one.keep()
    for _ in range(10):
        with pytest.raises(BucketInUse, match=r"by one\. .*postgresql"):
            two.keep()
        clock.wait(PERIOD_SECONDS)
        one.keep()


def test_the_second_begins_when_the_first_is_silent(objects: ObjectStoreClient, clock: Clock) -> None:
    one, two = (BucketOwnership(objects, name, clock=clock, wait=clock.wait) for name in ("one", "two"))
    one.keep()
    with pytest.raises(BucketInUse):
        two.keep()
    clock.wait(SILENCE_SECONDS - 1)
    with pytest.raises(BucketInUse):
        two.keep()
    clock.wait(1)
    two.keep()
    # It was away, perhaps stopped: it must not continue.
    with pytest.raises(BucketInUse, match="by two"):
        one.keep()


def test_the_second_begins_at_once_when_the_first_has_ended(objects: ObjectStoreClient, clock: Clock) -> None:
    one, two = (BucketOwnership(objects, name, clock=clock, wait=clock.wait) for name in ("one", "two"))
    one.keep()
    one.give_up()
    two.keep()
    one.give_up()
    with pytest.raises(BucketInUse):
        one.keep()


def test_a_killed_server_continues_with_its_catalog_at_once(objects: ObjectStoreClient, clock: Clock) -> None:
    BucketOwnership(objects, "one", clock=clock, wait=clock.wait).keep()
    began = clock()
    BucketOwnership(objects, "one", clock=clock, wait=clock.wait).keep()
    assert clock() == began


def test_of_two_that_begin_together_one_serves(objects: ObjectStoreClient, clock: Clock) -> None:
    two = BucketOwnership(objects, "two", clock=clock, wait=clock.wait)
    # The other one has looked before, and writes while this one waits to be sure.
    one = BucketOwnership(objects, "one", clock=clock, wait=lambda seconds: two._write())
    with pytest.raises(BucketInUse, match="by two"):
        one.keep()
    two.keep()


def test_processes_of_one_catalog_serve_once_one_of_them_has_the_bucket(
    objects: ObjectStoreClient, clock: Clock
) -> None:
    one = BucketOwnership(objects, "one", clock=clock, wait=clock.wait)
    beside = BucketOwnership(objects, "one", clock=clock, wait=clock.wait)
    with pytest.raises(BucketInUse, match="without a name"):
        beside.look()
    one.keep()
    beside.look()
    clock.wait(PERIOD_SECONDS)
    BucketOwnership(objects, "many", gives_way=False, clock=clock).keep()
    with pytest.raises(BucketInUse, match="by many"):
        beside.look()


def test_what_is_no_claim_is_none(objects: ObjectStoreClient, clock: Clock) -> None:
    objects.put("server.json", b"\xff no claim")
    BucketOwnership(objects, "one", clock=clock, wait=clock.wait).keep()
