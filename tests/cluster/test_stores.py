"""What an index does with its packages in a real object store: Ceph's gateway, and Swift, whose writes race."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from pypiserver.web.api.offload import Addresses
from tests.cluster.buckets import ObjectStore
from tests.live_server import DIRECT
from tests.make_archives import make_sdist, make_wheel
from tests.reliability.bucket_crash import CHANGES
from tests.reliability.bucket_crashes import die_at_every_step
from tests.unit.storage_contract import *  # noqa: F403 - the tests
from tests.unit.storage_contract import FOO, FOO_BYTES, World, address, files, world_of

# The longest life of a signed address: how long the tests take is nothing against it.
LONGEST = 604_800


@pytest.fixture(params=["ceph_store", "swift_store", "ceph_store and database"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    name, _, catalog = request.param.partition(" and ")
    store: ObjectStore = request.getfixturevalue(name)
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    storage = f"{store.create(f'test-{uuid.uuid4().hex[:12]}')}/some/prefix"
    with world_of(tmp_path, storage=storage, downloads="stream") as made:
        if catalog:
            made.databases = lambda: request.getfixturevalue("database_server").create(f"test-{uuid.uuid4().hex[:12]}")
            made.lose_catalog()
        yield made


@pytest.mark.parametrize(
    ("name", "change"), [*(("ceph_store", change) for change in CHANGES), ("swift_store", "remove")]
)
def test_a_death_between_two_steps_leaves_at_most_an_orphan(
    name: str, change: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: ObjectStore = request.getfixturevalue(name)
    for variable, value in store.environ.items():
        monkeypatch.setenv(variable, value)
    bucket = store.create(f"test-{uuid.uuid4().hex[:12]}")
    assert die_at_every_step(change, tmp_path, lambda name: f"{bucket}/{name}") >= 2


def test_an_outage_of_the_store_is_503_and_ends_by_itself(
    ceph_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in ceph_store.environ.items():
        monkeypatch.setenv(variable, value)
    bucket = ceph_store.create(f"test-{uuid.uuid4().hex[:12]}")
    with world_of(tmp_path, storage=bucket, downloads="stream", fallback_url="http://127.0.0.1:9/") as world:
        client = world.client()
        client.upload(FOO, FOO_BYTES)
        (file,) = files(client)
        ceph_store.gateway.kill()
        try:
            assert files(client) == [file], "pages come from the catalog"
            refused = client.get(address(file))
            assert (refused.status, "packages cannot be read" in refused.text) == (503, True)
            assert client.upload(*make_wheel("bar", "1.0")).status == 503
            # Who answered a moment ago is not asked again.
            client._application.backend.storage._checked = -1e9  # type: ignore[attr-defined]
            assert (client.get("/health").status, client.get("/health/ready").status) == (503, 503)
            world.lose_catalog()
            empty = world.client()
            assert empty.get("/simple/foo/").status == 503, "never an empty index, never elsewhere"
        finally:
            ceph_store.gateway.start()
        with world_of(tmp_path, storage=bucket, downloads="stream") as again:
            client = again.client()
            assert files(client) == [file]
            assert client.upload(*make_wheel("bar", "1.0")).status == 200
            assert client.get("/health/ready").status == 200


def test_a_signed_address_gives_the_file_to_anyone(
    ceph_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in ceph_store.environ.items():
        monkeypatch.setenv(variable, value)
    bucket = ceph_store.create(f"test-{uuid.uuid4().hex[:12]}")
    with world_of(tmp_path, storage=bucket) as world:
        client = world.client()
        name, data = make_sdist("foo", "1.0+local.1")
        client.upload(name, data)
        path = address(files(client)[0])
        answer = client.get(path)
        assert (answer.status, answer.headers["cache-control"]) == (302, "max-age=0, must-revalidate, private")
        assert client.get(path).headers["location"] == answer.headers["location"]
        with DIRECT.open(answer.headers["location"], timeout=30) as got:
            assert got.read() == data
        with DIRECT.open(Request(answer.headers["location"], headers={"Range": "bytes=0-9"}), timeout=30) as got:
            assert (got.status, got.read()) == (206, data[:10])
        assert client.request("HEAD", path).headers["content-length"] == str(len(data))
        assert client.get(path + ".metadata").status in (200, 404)


@pytest.mark.parametrize("name", ["ceph_store", "swift_store"])
def test_a_signed_address_is_the_same_everywhere_until_half_of_its_life_is_over(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: ObjectStore = request.getfixturevalue(name)
    for variable, value in store.environ.items():
        monkeypatch.setenv(variable, value)
    bucket = store.create(f"test-{uuid.uuid4().hex[:12]}")
    with world_of(tmp_path, storage=bucket, signed_url_ttl=LONGEST) as world:
        client = world.client()
        client.upload(FOO, FOO_BYTES)
        path = address(files(client)[0])
        others = [world.client().get(path).headers["location"] for _ in range(2)]
        assert others == [client.get(path).headers["location"]] * 2
        sign = client._application.backend.storage.sign  # type: ignore[attr-defined]
        now = [time.time()]
        own, other = (Addresses(sign, LONGEST, clock=lambda: now[0]) for _ in range(2))
        given = {}
        for what, moment in (
            ("now", now[0]),
            ("in the same half", now[0] // (LONGEST / 2) * (LONGEST / 2)),
            ("half a life ago", now[0] - LONGEST / 2),
            ("ended", now[0] - LONGEST * 1.5),
        ):
            now[0] = moment
            given[what] = own.of(path.removeprefix("/packages/"))
            assert given[what] == other.of(path.removeprefix("/packages/"))
        assert given["now"] == given["in the same half"] == others[0]
        assert len(set(given.values())) == 3
        for what in ("now", "half a life ago"):
            with DIRECT.open(given[what], timeout=30) as got:
                assert got.read() == FOO_BYTES
        with pytest.raises(HTTPError, match="403"):
            DIRECT.open(given["ended"], timeout=30)


def test_clients_reach_the_store_at_another_address_than_the_server(
    ceph_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in ceph_store.environ.items():
        monkeypatch.setenv(variable, value)
    bucket = ceph_store.create(f"test-{uuid.uuid4().hex[:12]}")
    public = ceph_store.endpoint.replace("127.0.0.1", "localhost")
    with world_of(tmp_path, storage=bucket, public_storage_endpoint=public) as world:
        client = world.client()
        client.upload(FOO, FOO_BYTES)
        location = client.get(address(files(client)[0])).headers["location"]
        assert location.startswith(f"{public}/test-")
        with DIRECT.open(location, timeout=30) as got:
            assert got.read() == FOO_BYTES
        with pytest.raises(HTTPError, match="403"):
            DIRECT.open(location.replace("localhost", "127.0.0.1"), timeout=30)
    with world_of(tmp_path, storage=bucket, public_storage_endpoint="http://127.0.0.1:9") as world:
        client = world.client()
        assert client.upload(*make_wheel("bar", "1.0")).status == 200, "the server itself goes to its own address"
        assert client.get(address(files(client, "bar")[0])).headers["location"].startswith("http://127.0.0.1:9/test-")


def test_wrong_credentials_are_an_outage_and_said(
    ceph_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = ceph_store.create(f"test-{uuid.uuid4().hex[:12]}")
    for variable, value in ceph_store.environ.items():
        monkeypatch.setenv(variable, value)
    with world_of(tmp_path, storage=bucket, downloads="stream") as world:
        world.client().upload(FOO, FOO_BYTES)
        world.close()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        client = world.client()
        # No one can say whether the bucket is another server's meanwhile, so nothing is answered.
        refused = client.upload(*make_wheel("bar", "1.0"))
        assert (refused.status, ceph_store.environ["AWS_ENDPOINT_URL"] in refused.text) == (503, False), refused.text
        assert client.get("/simple/").status == client.get("/health").status == 503
