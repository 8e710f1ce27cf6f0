"""The commands that look after a bucket, over one in a local folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.__main__ import main
from tests.make_archives import make_sdist, make_wheel

from ..storage_contract import FOO, FOO_BYTES, OTHER_BYTES, World, address, files, post, world_of

OLD = 1_500_000_000
DAY = 86_400


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/bucket"


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "bucket" / "files"


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, storage=url) as made:
        yield made


@pytest.fixture
def run(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, status: int = 0) -> str:
        options = [] if words[0] == "copy" else ["--catalog", str(tmp_path / "catalog.sqlite")]
        assert main([*words, *options, "--config", "none"]) == status, capsys.readouterr()
        captured = capsys.readouterr()
        return captured.err if status == 2 else captured.out

    return run


def stored(objects: Path) -> list[str]:
    return sorted(path.name for path in objects.rglob("*") if path.is_file())


def age(objects: Path, seconds: float = DAY * 2) -> None:
    """Let everything in the bucket be so old."""
    for path in objects.rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))


def place(objects: Path, sha256: str, name: str, data: bytes, *, mtime: float = OLD) -> Path:
    """Put an object where no one but the test expects one."""
    path = objects / sha256[:2] / sha256[2:4] / sha256 / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (mtime, mtime))
    return path


def test_yank_and_unyank(world: World, url: str, run: Any) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    assert run("yank", url, "foo", "1.0", "--reason", "it is\nbad") == f"yanked {FOO}\n"
    assert files(client)[0]["yanked"] == "it is bad"
    assert run("unyank", url, "Foo", "1.0.0") == f"no longer yanked {FOO}\n"
    assert files(client)[0]["yanked"] is False
    assert "of foo there is 1.0" in run("yank", url, "foo", "2.0", status=2)


def test_deleting_asks_twice_and_leaves_nothing(world: World, url: str, run: Any, objects: Path) -> None:
    client = world.client(fallback=False)
    client.upload(FOO, FOO_BYTES, fields={"gpg_signature": "signed"})
    assert stored(objects) == [FOO, f"{FOO}.asc", f"{FOO}.metadata"]
    assert "would delete: " in run("delete", url, "foo", "1.0")
    assert "has no trash" in run("delete", url, "foo", "1.0", "--yes", status=2)
    assert len(stored(objects)) == 3
    assert run("delete", url, "foo", "1.0", "--yes", "--purge").startswith(f"deleted {FOO}\n")
    assert (stored(objects), client.get("/simple/foo/").status) == ([], 404)
    # The name stays ours, in the other process at once.
    assert world.client(fallback_url="http://index.invalid/simple/").get("/simple/foo/").status == 404
    assert run("unclaim", url) == "foo\n"
    run("unclaim", url, "foo")
    assert world.client(fallback_url="http://index.invalid/simple/").get("/simple/foo/").status == 302
    assert "has no trash" in run("restore", url, status=2)


def test_changes_go_into_the_audit_log(world: World, url: str, run: Any, tmp_path: Path) -> None:
    world.client().upload(FOO, FOO_BYTES)
    log = tmp_path / "audit.log"
    run("yank", url, "foo", "1.0", "--reason", "why", "--audit-log", str(log))
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["action"] == "yank" and json.loads(line)["reason"] == "why"


def test_commands_want_the_catalog_of_the_server(url: str, run: Any) -> None:
    for words in (["yank", url, "foo", "1.0"], ["check", "--storage", url], ["gc", url]):
        assert "run pypi-server reindex first" in run(*words, status=2), words
    assert "name it with --storage" in run("gc", status=2)


def test_reindex_builds_the_catalog_and_then_finds_nothing_new(world: World, url: str, run: Any) -> None:
    client = world.client()
    for version in ("1.0", "1.1"):
        client.upload(*make_wheel("foo", version, requires_python=">=3.9"))
    client.upload(*make_sdist("foo", "1.1"))
    post(client, "yank", name="foo", version="1.0", reason="r")
    before = files(client)
    world.lose_catalog()
    assert run("reindex", url).startswith(f"3 files in {url}: 3 new or changed, 0 gone, 0 left out, in ")
    report = json.loads(run("reindex", "--storage", url, "--json"))
    assert {**report, "seconds": 0} == {"files": 3, "changed": 1, "gone": 0, "skipped": 0, "seconds": 0}
    assert files(world.client()) == before


def test_reindex_sees_what_was_done_to_the_bucket_by_hand(world: World, url: str, run: Any, objects: Path) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    client.upload(*make_wheel("foo", "2.0"))
    next(objects.rglob("foo-2.0*.whl")).unlink()
    one = next(objects.rglob(FOO))
    one.with_name(f"{FOO}.yanked").write_text("by hand\n")
    one.with_name(f"{FOO}.uploaded").write_text("2020-02-03T04:05:06Z\n")
    (objects.parent / "status").mkdir()
    (objects.parent / "status" / "foo").write_text("deprecated\nUse bar.\n")
    assert ": 1 new or changed, 1 gone" in run("reindex", url)
    (file,) = files(client)
    assert (file["yanked"], file["upload-time"]) == ("by hand", "2020-02-03T04:05:06.000000Z")
    assert client.get("/simple/foo/", HTTP_ACCEPT="application/vnd.pypi.simple.v1+json").json()["project-status"] == {
        "status": "deprecated", "reason": "Use bar.",
    }  # fmt: skip
    one.with_name(f"{FOO}.yanked").unlink()
    run("reindex", url)
    assert files(client)[0]["yanked"] is False


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_objects_of_one_name_one_is_taken(
    overwrite: bool, world: World, url: str, run: Any, objects: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place(objects, "aa" * 32, FOO, FOO_BYTES, mtime=OLD + 10)
    place(objects, "bb" * 32, FOO, OTHER_BYTES, mtime=OLD)
    place(objects, "cc" * 32, FOO, OTHER_BYTES, mtime=OLD + 20)
    assert "2 left out" in run("reindex", url, *(["-o"] if overwrite else []))
    wanted = "cc" if overwrite else "bb"
    assert [file["hashes"]["sha256"] for file in files(world.client())] == [wanted * 32]
    assert f"{wanted}/{wanted}" in caplog.text and "keeps the name" in caplog.text
    # Whoever has the name now keeps it, whatever the rule.
    assert "2 left out" in run("reindex", url, *([] if overwrite else ["-o"]))
    assert [file["hashes"]["sha256"] for file in files(world.client())] == [wanted * 32]
    assert "as the catalog says" in caplog.text


def test_reindex_reads_the_archive_where_it_has_no_metadata_object(
    world: World, url: str, run: Any, objects: Path
) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    client.upload(*make_sdist("foo", "0.1", metadata_version="2.2"))
    before = files(client)
    for path in objects.rglob("*.metadata"):
        path.unlink()
    world.lose_catalog()
    run("reindex", url)
    assert files(world.client()) == before


def test_reindex_continues_after_an_interruption(
    world: World, url: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    for number in range(5):
        client.upload(*make_wheel("foo", f"{number}.0"))
    before = files(client)
    world.lose_catalog()
    from pypiserver.bucket import scanner
    from pypiserver.bucket.catalog import BucketCatalog

    real, calls = BucketCatalog.adopt, iter(range(100))

    def dying(self: Any, *arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(scanner, "BATCH", 2)
        patched.setattr(BucketCatalog, "adopt", dying)
        assert main(["reindex", url, "--catalog", str(world.catalog), "--config", "none"]) == 130
    assert ": 1 new or changed" in run("reindex", url)
    assert files(world.client()) == before


def test_gc_deletes_old_orphans_and_nothing_else(world: World, url: str, run: Any, objects: Path) -> None:
    client = world.client()
    client.upload(FOO, FOO_BYTES)
    age(objects)
    place(objects, "ab" * 32, FOO, OTHER_BYTES)
    place(objects, "ab" * 32, f"{FOO}.metadata", b"x")
    place(objects, "cd" * 32, "gone-1.0.zip.yanked", b"")
    young = place(objects, "ef" * 32, "young-1.0.zip", b"x", mtime=OLD)
    os.utime(young)
    other = place(objects, "12" * 32, "../notes.txt", b"mine")
    before = stored(objects)
    shown = run("gc", url)
    assert "would delete ab/ab/" in shown and "2 files" in shown and "say --yes" in shown
    assert stored(objects) == before
    report = json.loads(run("gc", url, "--yes", "--json"))
    assert report["deleted"] and [path[:2] for path in report["files"]] == ["ab", "cd"]
    assert stored(objects) == sorted([FOO, f"{FOO}.metadata", young.name, other.name])
    assert client.get(address(files(client)[0])).body == FOO_BYTES
    assert run("gc", url, "--yes", "--older-than", "0s").count("deleted") == 1
    assert run("gc", url, "--older-than", "0s").startswith("0 files")


def test_check_names_every_fault(world: World, url: str, run: Any, objects: Path) -> None:
    client = world.client()
    for version in ("1.0", "2.0", "3.0", "4.0"):
        client.upload(*make_wheel("foo", version))
    assert run("check", "--storage", url) == "0 faults found in 4 files.\n"
    one, two, three, four = (next(objects.rglob(f"foo-{number}.0*.whl")) for number in (1, 2, 3, 4))
    one.unlink()
    two.write_bytes(make_wheel("foo", "2.0", summary="altered")[1])
    three.with_name(f"{three.name}.metadata").write_bytes(b"Name: bar\n")
    four.write_bytes(four.read_bytes()[:-10])
    place(objects, "ab" * 32, FOO, OTHER_BYTES)
    place(objects, "ab" * 32, "notes.txt", b"")
    place(objects, "cd" * 32, "gone-1.0.zip.yanked", b"")
    found = json.loads(run("check", "--storage", url, "--json", status=1))["faults"]
    wheel = "-py3-none-any.whl"
    kinds = sorted((fault["path"].rpartition("/")[2].replace(wheel, ""), fault["kind"]) for fault in found)
    assert kinds == [
        ("foo-1.0", "altered"), ("foo-1.0", "missing"), ("foo-1.0", "orphan"), ("foo-1.0.metadata", "metadata"),
        ("foo-1.0.metadata", "stray"), ("foo-2.0", "altered"), ("foo-2.0", "catalog"), ("foo-2.0.metadata", "metadata"),
        ("foo-3.0.metadata", "metadata"), ("foo-4.0", "catalog"), ("foo-4.0", "corrupt"),
        ("gone-1.0.zip.yanked", "stray"), ("notes.txt", "skipped"),
    ]  # fmt: skip


def test_a_good_upload_takes_the_place_of_a_damaged_object(world: World, objects: Path) -> None:
    bad = FOO_BYTES[:-30]
    damaged = place(objects, hashlib.sha256(bad).hexdigest(), FOO, bad)
    client = world.client(fallback=False)
    answer = client.get("/simple/foo/")
    assert answer.status == 503 and "retry-after" not in answer.headers and "is refused" in answer.text
    assert client.upload(FOO, FOO_BYTES).status == 200
    assert files(client)[0]["hashes"] == {"sha256": hashlib.sha256(FOO_BYTES).hexdigest()}
    assert not damaged.exists(), "no row refers to it"
    assert client.upload(FOO, OTHER_BYTES).status == 409
