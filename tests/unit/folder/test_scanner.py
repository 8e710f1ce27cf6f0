"""The diff between storage and catalog: real folders, a clock of our own, no sleeping."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.stored_file import ScanResult, StoredFile
from pypiserver.catalog import SeenFile
from pypiserver.distributions.filename import parse_filename
from pypiserver.errors import InvalidFilename, Unavailable
from pypiserver.folder.storage import Folders
from pypiserver.model import ProjectStatus
from tests.make_archives import core_metadata, make_sdist, make_wheel
from tests.raising import raises

from .scanned_folders import OLD, SDIST, SDIST_BYTES, WHEEL, WHEEL_BYTES, World


def test_a_scan_lists_what_is_there_and_forgets_what_went(world: World) -> None:
    wheel = world.put(f"deep/down/{WHEEL}", WHEEL_BYTES)
    world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    assert world.listed() == [f"deep/down/{WHEEL}", SDIST]
    wheel.unlink()
    world.sync.scan()
    assert world.listed() == [SDIST]


def test_an_unchanged_folder_changes_nothing(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    serial = world.catalog.serial()
    world.sync.scan()
    assert world.catalog.serial() == serial


def test_digesting_brings_hash_metadata_and_requires_python(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.digester.digest_project("foo")
    (file,) = world.catalog.files_of("foo")
    assert len(file.sha256) == 64
    assert file.link_digest == f"sha256={file.sha256}"
    assert file.requires_python == ">=3.8"
    assert b"Summary: A foo" in (world.catalog.metadata(file) or b"")
    assert world.digester.digest_some() == 0


def test_the_spelling_of_a_project_is_that_of_its_metadata(world: World) -> None:
    for name in ("Foo.Bar", "Someone-Else"):
        world.put("foo_bar-1.0-py3-none-any.whl", make_wheel("foo_bar", "1.0", metadata=core_metadata(name, "1.0"))[1])
        world.sync.scan()
        world.digester.digest_project("foo-bar")
        world.now += 5
    assert [each[:2] for each in world.catalog.projects()] == [("foo-bar", "Foo.Bar")]


def test_a_replaced_file_is_digested_again(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.digester.digest_project("foo")
    before = world.catalog.files_of("foo")[0].sha256
    world.put(WHEEL, make_wheel("foo", "1.0", summary="Another")[1], mtime=OLD + 5)
    world.sync.scan()
    world.digester.digest_project("foo")
    assert world.catalog.files_of("foo")[0].sha256 not in ("", before)


def test_a_file_that_may_be_read_now_is_listed_after_the_next_scan(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so that a mode alone shows nothing."""
    path = world.put(SDIST, SDIST_BYTES)
    opened = Folders.open

    def refusing(self: Folders, root: int, name: str) -> object:
        if path.stat().st_mode & 0o400:
            return opened(self, root, name)
        raise Unavailable(f"The file {name} cannot be opened: Permission denied.")

    monkeypatch.setattr(Folders, "open", refusing)
    path.chmod(0)
    world.sync.scan()
    world.digester.digest_some()
    assert world.listed() == []
    path.chmod(0o644)
    world.sync.scan()
    world.digester.digest_some()
    assert world.listed() == [SDIST]


def by_copy_over_it(path: Path, source: Path) -> None:
    shutil.copy2(source, path)


def by_removal_and_copy(path: Path, source: Path) -> None:
    path.unlink()
    shutil.copy2(source, path)


@pytest.mark.parametrize("replace", [by_copy_over_it, by_removal_and_copy], ids=lambda replace: replace.__name__)
def test_another_file_of_the_same_size_and_time_is_another_file(
    world: World, replace: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    path = world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    world.digester.digest_some()
    (before,) = world.catalog.files_of("foo")
    # What a build with SOURCE_DATE_EPOCH gives: Python's own version of gzip's header, say, and nothing else.
    other = SDIST_BYTES[:8] + bytes([SDIST_BYTES[8] ^ 2]) + SDIST_BYTES[9:]
    source = tmp_path / "build"
    source.write_bytes(other)
    os.utime(source, (OLD, OLD))
    replace(path, source)
    assert (before.size, before.mtime_ns) == (len(other), path.stat().st_mtime_ns)
    world.sync.scan()
    world.digester.digest_some()
    (after,) = world.catalog.files_of("foo")
    assert after.sha256 == hashlib.sha256(other).hexdigest() != before.sha256


def test_a_sidecar_of_the_same_size_and_time_is_another_one(world: World) -> None:
    world.put(SDIST, SDIST_BYTES)
    yanked = world.put(f"{SDIST}.yanked", b"one")
    world.sync.scan()
    yanked.write_bytes(b"two")
    os.utime(yanked, (OLD, OLD))
    world.sync.scan()
    assert [file.yanked for file in world.catalog.files_of("foo")] == ["two"]


@pytest.mark.parametrize("look", ["scan", "event"])
def test_a_file_is_read_as_soon_as_its_download_has_ended(world: World, look: str) -> None:
    """A minute later it was, with all that could not be read."""
    world.put(SDIST, SDIST_BYTES, mtime=time.time() - 10)
    marker = world.put(f"{SDIST}.aria2", b"pieces")
    world.sync.scan()
    world.digester.digest_some()
    before = world.catalog.serial()
    marker.write_bytes(b"other pieces")
    world.sync.scan()
    assert world.listed() == [] and world.catalog.serial() == before
    marker.unlink()
    if look == "scan":
        world.sync.scan()
    else:
        world.sync.refresh([(0, SDIST)])
    assert world.digester.digest_some() == 1
    assert [bool(file.sha256) for file in world.catalog.files_of("foo")] == [True]


def test_rows_of_an_earlier_version_are_completed_and_no_file_is_read_for_it(world: World) -> None:
    world.put(SDIST, SDIST_BYTES)
    world.put(WHEEL, WHEEL_BYTES)
    world.put(f"{WHEEL}.yanked", b"one")
    world.sync.scan()
    world.digester.digest_some()
    with world.catalog.connections.transaction() as connection:
        connection.execute("UPDATE file SET ctime_ns = 0")
    before = world.catalog.files_of("foo")
    for file in before:
        stream = world.folders.open_as(file)
        assert stream is not None
        stream.close()
    world.sync.scan()
    assert world.catalog.pending_count() == 0
    after = {file.path: file for file in world.catalog.files_of("foo")}
    assert {file.path: (file.sha256, file.ctime_ns) for file in after.values()} == {
        file.path: (file.sha256, (world.roots[0] / file.path).stat().st_ctime_ns) for file in before
    }


def test_the_first_root_wins_and_the_other_file_is_named_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.put(f"sub/{WHEEL}", WHEEL_BYTES, root=1)
    with caplog.at_level(logging.WARNING):
        world.sync.scan()
        world.put("other-1.0.zip", make_sdist("other", "1.0", format=".zip")[1])
        world.sync.scan()
    assert world.listed() == [WHEEL]
    (said,) = [
        message for message in caplog.messages if message.startswith(f"Skipped sub/{WHEEL} in {world.roots[1]}:")
    ]
    assert said.endswith(f": {WHEEL} in {world.roots[0]}")


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("README.txt", "INFO"),
        ("some_file", "INFO"),
        ("foo-1.0-variants.json", "INFO"),
        ("some_wheel.whl", "WARNING"),
        ("foo-1.0 (2).zip", "WARNING"),
        ("foo-1.0.tar", "WARNING"),
        ("foo-1.0.noarch.RPM", "WARNING"),
    ],
)
def test_what_is_no_package_is_named_once_and_a_warning_if_meant_as_one(
    world: World, caplog: pytest.LogCaptureFixture, name: str, level: str
) -> None:
    world.put(name, b"")
    with caplog.at_level(logging.INFO):
        world.sync.scan()
        world.sync.scan()
    assert [record.levelname for record in caplog.records if name in record.getMessage()] == [level]


def test_of_many_files_of_a_kind_ten_are_named_and_the_others_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(15):
        world.put(f"simple/p{number}/index.html", b"")
    world.put("x-1.0 (2).zip", b"")
    with caplog.at_level(logging.INFO):
        world.sync.scan()
        world.sync.scan()
    named = [message for message in caplog.messages if "index.html" in message]
    with raises(InvalidFilename, kind="ending") as caught:
        parse_filename("index.html")
    (counted,) = [
        message
        for message in caplog.messages
        if message.endswith(f" in {world.roots[0]}: {caught.value.rule}") and message not in named
    ]
    assert len(named) == 10 and counted.split()[1] == "5"
    assert len([message for message in caplog.messages if "(2)" in message]) == 1
    world.put("simple/p15/index.html", b"")
    with caplog.at_level(logging.INFO):
        world.sync.scan()
    assert caplog.messages[-1] == counted.replace(" 5 ", " 6 ")


def test_a_yank_is_a_file_next_to_the_file(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    yanked = world.put(f"{WHEEL}.yanked", b"broken,\n use\t1.1\n")
    world.put(f"{WHEEL}.asc", b"signature")
    world.sync.scan()
    (file,) = world.catalog.files_of("foo")
    assert (file.yanked, file.has_signature, file.has_provenance) == ("broken, use 1.1", True, False)
    yanked.unlink()
    world.sync.scan()
    assert world.catalog.files_of("foo")[0].yanked is None


@pytest.mark.parametrize("data", [b"", b"no archive", WHEEL_BYTES[:-30]], ids=["empty", "text", "cut off"])
def test_a_broken_wheel_is_skipped_and_harms_no_other(
    world: World, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(WHEEL, data)
    good, good_bytes = make_wheel("foo", "1.1")
    world.put(good, good_bytes)
    world.sync.scan()
    with caplog.at_level(logging.WARNING):
        world.digester.digest_project("foo")
    assert world.listed() == [good]
    assert any(WHEEL in message for message in caplog.messages)


def test_project_statuses_come_from_files(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put(".status/Foo", b"archived\nuse bar instead\n")
    world.put(".status/baz", b"nonsense\n")
    with caplog.at_level(logging.WARNING):
        world.sync.scan()
    assert world.catalog.statuses() == {"foo": ProjectStatus("archived", "use bar instead")}
    assert any("baz" in message for message in caplog.messages)
    (world.roots[0] / ".status" / "Foo").unlink()
    world.sync.scan()
    assert world.catalog.statuses() == {}


def test_an_upload_during_a_scan_is_not_taken_for_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog is read first: a row that appears after that is none of the scan's business."""
    world.put("bar-1.0.zip", WHEEL_BYTES)
    world.sync.scan()
    real_walk = world.folders.walk

    def walk_then_upload(scan: ScanResult, **options: Any) -> Iterator[StoredFile]:
        yield from real_walk(scan, **options)
        world.put(WHEEL, WHEEL_BYTES)
        world.sync.refresh([(0, WHEEL)])

    monkeypatch.setattr(world.folders, "walk", walk_then_upload)
    world.sync.scan()
    assert world.listed() == [WHEEL]


def test_a_cut_off_sdist_is_hidden_though_its_metadata_can_be_read(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its copying pauses for longer than a second, and continues."""
    world.put(SDIST, SDIST_BYTES[:-30])
    world.sync.scan()
    world.digester.digest_project("foo")
    assert world.listed() == []
    assert "cut off" in caplog.text
    world.put(SDIST, SDIST_BYTES, mtime=OLD + 60)
    world.sync.scan()
    world.digester.digest_project("foo")
    assert world.listed() == [SDIST]


@pytest.mark.parametrize("at_once", [2, 1000])
def test_a_first_scan_sees_the_sidecars_of_files(at_once: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder has more names than are kept in memory, and more files than are sorted together."""
    monkeypatch.setattr("pypiserver.folder.safe_open.AT_ONCE", at_once)
    monkeypatch.setattr("pypiserver.folder.scanner.RUN", 1)
    for number in range(9):
        name, data = make_wheel("foo", f"1.{number}")
        world.put(name, data)
        world.put(f"{name}.yanked", b"broken\n")
    world.sync.scan()
    assert [file.yanked for file in world.catalog.files_of("foo")] == ["broken"] * 9
    serial = world.catalog.serial()
    world.sync.scan()
    assert world.catalog.serial() == serial


def test_a_first_scan_leaves_the_search_for_cycles_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    fill = world.catalog.fill
    meanwhile: list[bool] = []

    def watched(found: Iterator[SeenFile]) -> None:
        fill(found)
        meanwhile.append(gc.isenabled())
        raise Unavailable("gone")

    monkeypatch.setattr(world.catalog, "fill", watched)
    with pytest.raises(Unavailable):
        world.sync.scan()
    assert (meanwhile, gc.isenabled()) == ([False], True)


def test_a_first_scan_that_fails_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk_and_fail(scan: ScanResult, **options: Any) -> Iterator[StoredFile]:
        yield StoredFile(0, WHEEL, 1, 1, 1)
        raise Unavailable("gone")

    monkeypatch.setattr(world.folders, "walk", walk_and_fail)
    with pytest.raises(Unavailable):
        world.sync.scan()
    assert world.listed() == []
