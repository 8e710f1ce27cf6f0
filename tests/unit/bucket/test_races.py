"""What happens to a bucket between two steps of someone else, one interleaving at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.bucket.garbage import Garbage

from ..storage_contract import FOO, FOO_BYTES, OTHER_BYTES, World, address, files, post, world_of
from ..wsgi import Client

DAY = 86_400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, storage=f"file://{tmp_path}/bucket") as made:
        yield made


def parts(client: Client) -> tuple[Any, Any]:
    backend = client._application.backend  # type: ignore[attr-defined]
    return backend.storage, backend.catalog


def before(owner: Any, name: str, first: Callable[[], object]) -> None:
    """Let something happen just before the next call of a method."""
    real = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        setattr(owner, name, real)
        first()
        return real(*arguments, **options)

    setattr(owner, name, call)


def stored(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "bucket" / "files").rglob("*") if path.is_file())


def test_an_upload_survives_gc_that_deletes_its_bytes_before_it_has_a_row(world: World, tmp_path: Path) -> None:
    client = world.client()
    files(client)
    bucket, catalog = parts(client)
    garbage = Garbage(bucket, catalog)

    def collect() -> None:
        assert len(list(garbage.delete(garbage.find(-DAY)))) == 1, "what was put a moment ago"

    before(catalog, "add", collect)
    assert client.upload(FOO, FOO_BYTES, fields={"gpg_signature": "signed"}).status == 200
    url = address(files(client)[0])
    assert (client.get(url).body, client.get(url + ".asc").body) == (FOO_BYTES, b"signed")
    assert stored(tmp_path) == [FOO, f"{FOO}.asc", f"{FOO}.metadata"]


def test_gc_leaves_what_got_a_row_since_it_looked(world: World) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    bucket, catalog = parts(client)
    garbage = Garbage(bucket, catalog)
    path = address(files(client)[0]).removeprefix("/packages/")
    post(client, "remove_pkg", name="foo", version="1.0")
    bucket.objects.put(f"files/{path}", FOO_BYTES)
    found = list(garbage.find(-DAY))
    assert [each.path for each in found] == [path]
    assert client.upload(FOO, FOO_BYTES).status == 200
    assert list(garbage.delete(found)) == []
    assert client.get(address(files(client)[0])).body == FOO_BYTES


def test_the_same_bytes_come_back_while_they_are_removed(world: World) -> None:
    one, two = world.client(), world.client()
    one.upload(FOO, FOO_BYTES)

    def again() -> None:
        assert two.upload(FOO, FOO_BYTES).status == 200

    before(parts(one)[1], "sweep", again)
    assert post(one, "remove_pkg", name="foo", version="1.0").status == 200
    assert one.get(address(files(one)[0])).body == FOO_BYTES


def test_the_old_bytes_come_back_while_they_are_replaced(world: World) -> None:
    one, two = world.client(overwrite=True), world.client(overwrite=True)
    one.upload(FOO, FOO_BYTES)

    def back() -> None:
        assert two.upload(FOO, FOO_BYTES).status == 200

    before(parts(one)[1], "sweep", back)
    assert one.upload(FOO, OTHER_BYTES).status == 200
    (file,) = files(one)
    assert file["hashes"]["sha256"] == hashlib.sha256(FOO_BYTES).hexdigest()
    assert two.get(address(file)).body == FOO_BYTES


@pytest.mark.parametrize("wins", ["the latest", "the first"])
def test_a_catalog_made_again_lets_the_latest_upload_win_where_rights_let_files_be_overwritten(
    world: World, tmp_path: Path, wins: str
) -> None:
    """Two objects of one name: the second upload was put, and its server killed before the first one was removed."""
    rights = tmp_path / "rights"
    rights.write_text("everyone read *\nci upload,overwrite foo\n" if wins == "the latest" else "everyone read *\n")
    settings = {"rights": rights, "password_file": None, "authenticate": None, "disable_fallback": True}
    world.client().upload(FOO, FOO_BYTES)
    sha256 = hashlib.sha256(OTHER_BYTES).hexdigest()
    second = tmp_path / "bucket" / "files" / sha256[:2] / sha256[2:4] / sha256 / FOO
    second.parent.mkdir(parents=True)
    second.write_bytes(OTHER_BYTES)
    later = second.stat().st_mtime + 60
    os.utime(second, (later, later))
    world.lose_catalog()
    client = world.client(**settings)
    (file,) = files(client)
    assert client.get(address(file)).body == (OTHER_BYTES if wins == "the latest" else FOO_BYTES)


def test_a_file_that_was_removed_is_not_yanked(world: World) -> None:
    one, two = world.client(fallback=False), world.client()
    one.upload(FOO, FOO_BYTES)
    bucket, _ = parts(one)
    before(bucket, "write_sidecar", lambda: post(two, "remove_pkg", name="foo", version="1.0"))
    assert post(one, "yank", name="foo", version="1.0").status == 404
    assert one.get("/simple/foo/").status == 404
    one.upload(FOO, FOO_BYTES)
    assert files(one)[0]["yanked"] is False


def test_what_is_left_of_the_same_bytes_from_another_time_goes(world: World, tmp_path: Path) -> None:
    client = world.client()
    sha256 = hashlib.sha256(FOO_BYTES).hexdigest()
    folder = tmp_path / "bucket" / "files" / sha256[:2] / sha256[2:4] / sha256
    folder.mkdir(parents=True)
    for name, age in ((f"{FOO}.yanked", DAY), (f"{FOO}.asc", DAY), (f"{FOO}.provenance", 0)):
        (folder / name).write_bytes(b"")
        status = (folder / name).stat()
        os.utime(folder / name, (status.st_atime - age, status.st_mtime - age))
    assert client.upload(FOO, FOO_BYTES).status == 200
    # The last one may be that of an upload of the same bytes that continues now.
    assert stored(tmp_path) == [FOO, f"{FOO}.metadata", f"{FOO}.provenance"]


def test_an_object_that_is_missing_is_an_outage_of_that_file(world: World, tmp_path: Path) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    url = address(files(client)[0])
    next((tmp_path / "bucket").rglob(FOO)).unlink()
    answer = client.get(url)
    assert (answer.status, "missing from the bucket; pypi-server check says more" in answer.text) == (503, True)
    assert client.get(url + ".metadata").status == 200
    assert client.upload(FOO, FOO_BYTES).text.startswith(f"{FOO} is already here")


def test_what_cannot_be_deleted_is_no_failure_of_the_removal(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from pypiserver.errors import Unavailable

    client = world.client(fallback=False)
    client.upload(FOO, FOO_BYTES)
    bucket, _ = parts(client)

    def refuse() -> None:
        raise Unavailable("The object store is away.")

    before(bucket.objects, "delete", refuse)
    assert post(client, "remove_pkg", name="foo", version="1.0").status == 200
    assert client.get("/simple/foo/").status == 404
    assert stored(tmp_path) == [FOO, f"{FOO}.metadata"]
    assert "pypi-server gc deletes it" in caplog.text
