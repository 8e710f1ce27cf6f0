"""What an index does whatever keeps its packages: the same tests for a folder, and for buckets of several stores.

A module that imports these gives a fixture ``world``.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import pypiserver
from pypiserver.bucket import ownership
from pypiserver.bucket.object_store import PART_BYTES
from tests.make_archives import make_sdist, make_wheel

from .wsgi import Answer, Client

JSON = {"HTTP_ACCEPT": "application/vnd.pypi.simple.v1+json"}
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
FOO, FOO_BYTES = make_wheel("foo", "1.0", requires_python=">=3.8", summary="first")
OTHER_BYTES = make_wheel("foo", "1.0", summary="second")[1]
OLD_SDIST, OLD_SDIST_BYTES = make_sdist("foo", "0.9+local.1")


@dataclass
class World:
    """One storage with one catalog, and as many servers over them as asked for."""

    storage: dict[str, object]
    catalog: Path | str
    databases: Callable[[], str] | None = None
    running: list[Any] = field(default_factory=list)

    def client(self, **settings: object) -> Client:
        application = pypiserver.app(
            **{"password_file": ".", "authenticate": ".", "catalog": self.catalog, **self.storage, **settings}
        )
        self.running.append(application)
        return Client(application)

    def lose_catalog(self) -> None:
        self.close()
        if self.databases is not None:
            self.catalog = self.databases()
        if isinstance(self.catalog, str):
            return
        for path in self.catalog.parent.glob(f"{self.catalog.name}*"):
            path.unlink()

    def close(self) -> None:
        for application in self.running:
            application.close()
        self.running.clear()


@contextmanager
def world_of(tmp_path: Path, **storage: object) -> Iterator[World]:
    made = World(storage, tmp_path / "catalog.sqlite")
    try:
        # No one else is about to claim the bucket of a test.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ownership, "CONFIRM_SECONDS", 0.0)
            yield made
    finally:
        made.close()


def post(client: Client, action: str, **fields: str) -> Answer:
    return client.post("/", urlencode({":action": action, **fields}).encode(), **FORM)


def files(client: Client, project: str = "foo") -> list[dict[str, Any]]:
    answer = client.get(f"/simple/{project}/", **JSON)
    found: list[dict[str, Any]] = answer.json()["files"] if answer.status == 200 else []
    return found


def address(file: dict[str, Any]) -> str:
    return "/" + str(file["url"]).removeprefix("../../")


def test_what_was_uploaded_is_listed_and_downloaded(world: World) -> None:
    client = world.client(fallback=False)
    assert (client.get("/health").status, client.get("/simple/foo/").status) == (200, 404)
    assert client.upload(FOO, FOO_BYTES, fields={"name": "foo", "version": "1.0"}).status == 200
    (file,) = files(client)
    assert file["hashes"] == {"sha256": hashlib.sha256(FOO_BYTES).hexdigest()}
    assert (file["size"], file["requires-python"], file["yanked"]) == (len(FOO_BYTES), ">=3.8", False)
    answer = client.get(address(file))
    assert (answer.status, answer.body) == (200, FOO_BYTES)
    metadata = client.get(address(file) + ".metadata")
    assert hashlib.sha256(metadata.body).hexdigest() == file["core-metadata"]["sha256"]
    assert client.get("/packages/" + FOO[:-1]).status == 404


def test_ranges_and_validators(world: World) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    url = address(files(client)[0])
    whole = client.get(url)
    etag = whole.headers["etag"]
    assert client.request("HEAD", url).headers == whole.headers
    assert client.get(url, HTTP_IF_NONE_MATCH=etag).status == 304
    for wanted, part in {"bytes=0-9": FOO_BYTES[:10], "bytes=-7": FOO_BYTES[-7:], "bytes=20-": FOO_BYTES[20:]}.items():
        answer = client.get(url, HTTP_RANGE=wanted, HTTP_IF_RANGE=etag)
        assert (answer.status, answer.body) == (206, part), wanted
    assert client.get(url, HTTP_RANGE=f"bytes={len(FOO_BYTES)}-").status == 416
    assert client.get(url, HTTP_RANGE="bytes=0-9", HTTP_IF_RANGE='"other"').body == FOO_BYTES


@pytest.mark.live
def test_a_large_file_arrives_whole_and_in_parts(world: World) -> None:
    name, data = make_wheel("large", "1.0", extra_members={"large.bin": random.Random(1).randbytes(9_000_000)})
    client = world.client()
    assert len(data) > PART_BYTES
    assert client.upload(name, data).status == 200
    url = address(files(client, "large")[0])
    assert hashlib.sha256(client.get(url).body).digest() == hashlib.sha256(data).digest()
    assert client.get(url, HTTP_RANGE="bytes=8000000-8999999").body == data[8_000_000:9_000_000]


def test_the_same_bytes_again_change_nothing_and_others_are_refused(world: World) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    before = files(client)
    again, other = client.upload(FOO, FOO_BYTES), client.upload(FOO, OTHER_BYTES)
    assert (again.status, "nothing was changed" in again.text) == (200, True)
    assert (other.status, "already exists" in other.reason) == (409, True)
    assert files(client) == before
    assert client.get(address(before[0])).body == FOO_BYTES


def test_overwriting_replaces_the_bytes_and_keeps_a_yank(world: World) -> None:
    client = world.client(overwrite=True)
    client.upload(FOO, FOO_BYTES, fields={"gpg_signature": "-----BEGIN PGP SIGNATURE-----"})
    before = address(files(client)[0])
    assert client.get(before + ".asc").body == b"-----BEGIN PGP SIGNATURE-----"
    post(client, "yank", name="foo", version="1.0", reason="a bad one")
    assert client.upload(FOO, OTHER_BYTES).status == 200
    (file,) = files(client)
    assert (file["hashes"]["sha256"], file["yanked"]) == (hashlib.sha256(OTHER_BYTES).hexdigest(), "a bad one")
    assert (client.get(address(file)).body, client.get(address(file) + ".asc").status) == (OTHER_BYTES, 404)
    world.lose_catalog()
    assert files(world.client(overwrite=True)) == [file]


def test_yanking_and_taking_it_back(world: World) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    assert post(client, "yank", name="foo", version="1.0", reason="breaks\nthings").status == 200
    assert files(client)[0]["yanked"] == "breaks things"
    assert post(client, "yank", name="foo", version="1.0").status == 200
    assert files(client)[0]["yanked"] is True
    assert post(client, "unyank", name="foo", version="1.0").status == 200
    assert files(client)[0]["yanked"] is False
    assert post(client, "unyank", name="foo", version="1.0").status == 200
    assert post(client, "yank", name="foo", version="2.0").status == 404


def test_what_was_removed_is_gone_and_its_name_free(world: World) -> None:
    client = world.client(fallback=False)
    client.upload(FOO, FOO_BYTES)
    url = address(files(client)[0])
    assert post(client, "remove_pkg", name="foo", version="1.0").status == 200
    assert (client.get("/simple/foo/").status, client.get(url).status) == (404, 404)
    assert client.upload(FOO, OTHER_BYTES).status == 200
    assert [file["hashes"]["sha256"] for file in files(client)] == [hashlib.sha256(OTHER_BYTES).hexdigest()]


def test_the_same_bytes_can_come_back(world: World) -> None:
    client = world.client()
    for _ in range(2):
        assert client.upload(FOO, FOO_BYTES).status == 200
        assert client.get(address(files(client)[0])).body == FOO_BYTES
        assert post(client, "remove_pkg", name="foo", version="1.0").status == 200


def test_storage_alone_is_enough_to_build_the_catalog_again(world: World) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES, fields={"gpg_signature": "-----BEGIN PGP SIGNATURE-----"})
    client.upload(OLD_SDIST, OLD_SDIST_BYTES)
    post(client, "yank", name="foo", version="0.9+local.1", reason="old")
    before = files(client)
    assert [file["yanked"] for file in before] == ["old", False]
    world.lose_catalog()
    again = world.client()
    assert files(again) == before
    assert again.get(address(before[1]) + ".asc").status == 200
    assert again.upload(FOO, OTHER_BYTES).status == 409


def test_another_server_sees_a_change_at_once(world: World) -> None:
    one, two = world.client(), world.client()
    assert files(two) == []
    for version in ("1.0", "1.1", "1.2"):
        assert one.upload(*make_wheel("foo", version)).status == 200
        assert files(two)[-1]["filename"].startswith(f"foo-{version}")
    post(two, "remove_pkg", name="foo", version="1.0")
    assert len(files(one)) == 2


@pytest.mark.live
def test_of_racing_uploads_of_one_name_one_is_stored(world: World) -> None:
    servers = [world.client(), world.client()]
    files(servers[0])
    rounds, racers = 3, 6
    begin = threading.Barrier(racers)
    answers: list[list[tuple[int, bytes]]] = [[] for _ in range(rounds)]

    def race(number: int) -> None:
        for turn in range(rounds):
            name, data = make_wheel("race", f"{turn}.0", summary=f"by {number}")
            begin.wait()
            answers[turn].append((servers[number % 2].upload(name, data).status, data))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [[data for status, data in turn if status == 200] for turn in answers]
    assert [sorted(status for status, _ in turn) for turn in answers] == [[200] + [409] * (racers - 1)] * rounds
    listed = files(servers[1], "race")
    assert [file["hashes"]["sha256"] for file in listed] == [hashlib.sha256(data).hexdigest() for (data,) in winners]
    for file, (data,) in zip(listed, winners, strict=True):
        assert servers[0].get(address(file)).body == data


def test_racing_uploads_of_the_same_bytes_all_succeed(world: World) -> None:
    servers = [world.client(), world.client()]
    files(servers[0])
    begin = threading.Barrier(4)
    statuses: list[int] = []

    def race(number: int) -> None:
        begin.wait()
        statuses.append(servers[number % 2].upload(FOO, FOO_BYTES).status)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert servers[0].get(address(files(servers[1])[0])).body == FOO_BYTES


def test_a_refused_upload_leaves_nothing(world: World) -> None:
    client = world.client(fallback=False)
    assert client.upload(FOO, FOO_BYTES[:-50]).status == 400
    assert client.upload(FOO, FOO_BYTES, fields={"version": "2.0"}).status == 400
    assert client.upload(FOO, FOO_BYTES, fields={"sha256_digest": "0" * 64}).status == 400
    assert client.get("/simple/foo/").status == 404
    assert client.upload(FOO, FOO_BYTES).status == 200
