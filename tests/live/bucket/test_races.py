"""Objects of a bucket are deleted while an upload of the same file waits for its row."""

from __future__ import annotations

import threading

import pytest

from tests.unit.bucket import test_races as unit
from tests.unit.bucket.test_races import parts
from tests.unit.storage_contract import FOO, FOO_BYTES, World, files

pytestmark = pytest.mark.live
world = unit.world


def test_no_one_gets_a_row_while_objects_are_deleted(world: World) -> None:
    client = world.client()
    files(client)
    _, catalog = parts(client)
    deleting, uploaded = threading.Event(), threading.Event()
    order: list[str] = []

    def delete(paths: list[str]) -> None:
        deleting.set()
        # The upload has time to come through here, if anything lets it.
        uploaded.wait(0.3)
        order.append("deleted")

    def upload() -> None:
        deleting.wait()
        client.upload(FOO, FOO_BYTES)
        order.append("uploaded")
        uploaded.set()

    thread = threading.Thread(target=upload)
    thread.start()
    assert catalog.sweep(["aa/aa/" + "a" * 64 + "/x.zip"], delete) == ["aa/aa/" + "a" * 64 + "/x.zip"]
    thread.join()
    assert order == ["deleted", "uploaded"]
