"""The diff between storage and catalog: real folders, a clock of our own, no sleeping."""

from __future__ import annotations

import errno
import gc
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.digester import Digester
from pypiserver.backend.stored_file import ScanResult, StoredFile
from pypiserver.catalog import ANY_ROW, Catalog, Digest, SeenFile
from pypiserver.distributions.filename import parse_filename
from pypiserver.errors import Unavailable
from pypiserver.folder.partial_files import FORGET_SECONDS, HOLD_SECONDS, MANY, Missing, PartialFileTracker
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from pypiserver.model import ProjectStatus
from tests.make_archives import core_metadata, make_sdist, make_wheel

OLD = 1_600_000_000
NOW = 1_700_000_000.0


@dataclass
class World:
    """One or two roots, a catalog in memory or in PostgreSQL, and the parts that keep them together."""

    roots: list[Path]
    place: str | None = None
    now: float = NOW

    def __post_init__(self) -> None:
        self.folders = Folders(self.roots)
        self.catalog = Catalog(self.place, "roots")
        self.sync = self.another_sync()
        self.digester = Digester(self.folders, self.catalog, hash_algo="sha256")

    def another_sync(self) -> FolderScanner:
        sync = FolderScanner(self.folders, self.catalog, clock=lambda: self.now)
        sync.missing = Missing(lambda: self.now)
        return sync

    def put(self, path: str, data: bytes, *, root: int = 0, mtime: float = OLD) -> Path:
        target = self.roots[root] / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        os.utime(target, (mtime, mtime))
        return target

    def listed(self, project: str = "foo") -> list[str]:
        return sorted(file.path for file in self.catalog.files_of(project))


@pytest.fixture(params=["memory", "postgresql"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    world = World(roots, request.getfixturevalue("database") if request.param == "postgresql" else None)
    yield world
    world.catalog.connections.close()


WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", requires_python=">=3.8", summary="A foo")
SDIST, SDIST_BYTES = make_sdist("foo", "1.0")


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


@pytest.mark.parametrize("is_large", [False, True])
def test_the_last_row_of_a_project_goes_when_no_folder_has_another_file_of_it(
    world: World, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file came into a folder that was looked at before."""
    monkeypatch.setattr("pypiserver.folder.presence.MOST_NAMES", 0 if is_large else 1000)
    old = world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    old.unlink()
    for may_delete in (True, False, True):
        world.sync.refresh([(0, SDIST)], may_delete=may_delete)
        assert [file.path for file in world.catalog.rows_of("foo")] == [SDIST]
    world.put(f"new/{WHEEL}", WHEEL_BYTES)
    world.now += HOLD_SECONDS
    world.sync.refresh([(0, SDIST)])
    assert [file.path for file in world.catalog.rows_of("foo")] == [SDIST]
    world.sync.refresh([(0, SDIST)], may_delete=True)
    assert [file.path for file in world.catalog.rows_of("foo")] == [f"new/{WHEEL}"]


def test_a_file_that_was_back_for_a_moment_is_missing_from_then_on(world: World) -> None:
    """A look of another process found it back, and the next one found it missing again."""
    path = world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    path.unlink()
    world.sync.refresh([(0, SDIST)], may_delete=True)
    world.now += HOLD_SECONDS
    other = world.another_sync()
    world.put(SDIST, SDIST_BYTES)
    other.refresh([(0, SDIST)])
    path.unlink()
    other.refresh([(0, SDIST)])
    world.sync.refresh([(0, SDIST)], may_delete=True)
    assert [file.path for file in world.catalog.rows_of("foo")] == [SDIST]
    world.now += HOLD_SECONDS
    world.sync.refresh([(0, SDIST)], may_delete=True)
    assert world.catalog.rows_of("foo") == []


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
    assert [message for message in caplog.messages if "comes first" in message] == [
        f"Skipped sub/{WHEEL} in {world.roots[1]}: a file of this name comes first: {WHEEL} in {world.roots[0]}"
    ]


def test_what_is_no_package_is_named_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put("some_file", b"")
    with caplog.at_level(logging.WARNING):
        world.sync.scan()
        world.sync.scan()
    assert len([message for message in caplog.messages if "some_file" in message]) == 1


def test_of_many_files_of_a_kind_ten_are_named_and_the_others_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(15):
        world.put(f"simple/p{number}/index.html", b"")
    world.put("x-1.0 (2).zip", b"")
    with caplog.at_level(logging.WARNING):
        world.sync.scan()
        world.sync.scan()
    named = [message for message in caplog.messages if "index.html" in message]
    counted = [message for message in caplog.messages if " more files in " in message]
    reason = "its name has none of the endings of a distribution"
    assert len(named) == 10 and counted == [f"Skipped 5 more files in {world.roots[0]}: {reason}"]
    assert len([message for message in caplog.messages if "(2)" in message]) == 1
    world.put("simple/p15/index.html", b"")
    with caplog.at_level(logging.WARNING):
        world.sync.scan()
    assert f"Skipped 6 more files in {world.roots[0]}: {reason}" in caplog.messages


def test_a_yank_is_a_file_beside_the_file(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    yanked = world.put(f"{WHEEL}.yanked", b"broken,\n use\t1.1\n")
    world.put(f"{WHEEL}.asc", b"signature")
    world.sync.scan()
    (file,) = world.catalog.files_of("foo")
    assert (file.yanked, file.has_signature, file.has_provenance) == ("broken, use 1.1", True, False)
    yanked.unlink()
    world.sync.scan()
    assert world.catalog.files_of("foo")[0].yanked is None


@pytest.mark.parametrize(
    ("name", "data", "listed"),
    [
        pytest.param(WHEEL, WHEEL_BYTES, True, id="whole wheel"),
        pytest.param(WHEEL, WHEEL_BYTES[:-30], False, id="half wheel"),
        pytest.param(SDIST, SDIST_BYTES, True, id="whole sdist"),
        pytest.param(SDIST, SDIST_BYTES[:-30], False, id="half sdist"),
        pytest.param("foo-1.0.win32.exe", b"MZ", False, id="installer, which does not tell"),
    ],
)
def test_a_file_that_may_be_growing_is_hidden_until_it_is_whole(
    world: World, name: str, data: bytes, listed: bool
) -> None:
    world.put(name, data, mtime=NOW)
    growing = world.sync.scan()
    assert (world.listed() == [name]) is listed
    assert growing == (set() if listed else {(0, name)})


INSTALLER = "foo-1.0.win32.exe"


def test_an_installer_is_listed_after_a_second_or_when_it_was_closed(world: World) -> None:
    world.put(INSTALLER, b"MZ", mtime=NOW)
    world.sync.scan()
    world.sync.growing.note_closed((0, INSTALLER))
    assert world.sync.refresh([(0, INSTALLER)]) == set()
    assert world.listed() == [INSTALLER]
    other = "foo-2.0.win32.exe"
    world.put(other, b"MZ", mtime=NOW)
    assert world.sync.scan() == {(0, other)}
    world.now += 1.1
    assert world.sync.scan() == set()
    assert world.listed() == [INSTALLER, other]


def test_a_file_from_the_future_is_listed_once_it_stays_as_it_is(world: World) -> None:
    world.put(INSTALLER, b"MZ", mtime=NOW + 3600)
    assert world.sync.scan() == {(0, INSTALLER)}
    world.now += 1.1
    assert world.sync.scan() == set()
    assert world.listed() == [INSTALLER]


def test_a_file_that_is_being_replaced_in_place_is_hidden(world: World) -> None:
    world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    world.put(SDIST, SDIST_BYTES[:20], mtime=NOW)
    world.sync.scan()
    assert world.listed() == []


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


def test_a_missing_root_is_an_outage_and_leaves_the_catalog_alone(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.roots[1].rmdir()
    with pytest.raises(Unavailable, match="two"):
        world.sync.scan()
    assert world.listed() == [WHEEL]


def test_a_root_that_became_another_empty_folder_is_an_outage(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.roots[0].rename(world.roots[0].with_name("unmounted"))
    world.roots[0].mkdir()
    with pytest.raises(Unavailable, match="mount"):
        world.sync.scan()
    world.roots[0].rmdir()
    world.roots[0].with_name("unmounted").rename(world.roots[0])
    world.sync.scan()
    assert world.listed() == [WHEEL]


def test_who_asks_for_a_file_does_not_take_it_for_gone_with_its_root(world: World) -> None:
    """Between an unmount and the next scan, a download that finds nothing must not empty the catalog."""
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.roots[0].rename(world.roots[0].with_name("unmounted"))
    world.roots[0].mkdir()
    with pytest.raises(Unavailable, match="replaced a moment ago"):
        world.sync.refresh([(0, WHEEL)])
    with pytest.raises(Unavailable, match="mount"):
        world.sync.scan()
    assert world.listed() == [WHEEL]


def test_a_root_that_is_emptied_is_empty(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES).unlink()
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    (world.roots[0] / WHEEL).unlink()
    world.sync.scan()
    assert world.listed() == []


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
    """Its copying pauses for longer than a second, and goes on."""
    world.put(SDIST, SDIST_BYTES[:-30])
    world.sync.scan()
    world.digester.digest_project("foo")
    assert world.listed() == []
    assert "cut off" in caplog.text
    world.put(SDIST, SDIST_BYTES, mtime=OLD + 60)
    world.sync.scan()
    world.digester.digest_project("foo")
    assert world.listed() == [SDIST]


def test_an_older_look_does_not_undo_what_an_upload_told(world: World) -> None:
    for look in (world.sync.scan, lambda: world.sync.refresh([(0, WHEEL)])):
        world.put(WHEEL, WHEEL_BYTES)
        real = world.sync._apply

        def late(found: list[SeenFile], *rest: Any, real: Callable[..., None] = real) -> None:
            world.sync._apply = real  # type: ignore[method-assign]
            world.put(WHEEL, WHEEL_BYTES + b"newer", mtime=OLD + 60)
            entry = world.folders.stat(0, WHEEL)
            assert entry is not None
            world.catalog.add(world.sync.found(entry, parse_filename(WHEEL)), Digest("5" * 64))
            real(found, *rest)

        world.sync._apply = late  # type: ignore[method-assign]
        look()
        (file,) = world.catalog.files_of("foo")
        assert (file.sha256, file.size) == ("5" * 64, len(WHEEL_BYTES) + 5)
        (world.roots[0] / WHEEL).unlink()
        world.sync.scan()


def test_a_look_that_came_too_late_is_taken_again(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    real = world.sync._apply

    def late(found: list[SeenFile], *rest: Any) -> None:
        world.sync._apply = real  # type: ignore[method-assign]
        stale = found[0]._replace(row=found[0].row._replace(sidecars="stale"), has_signature=False, before=ANY_ROW)
        world.catalog.apply([stale])
        real(found, *rest)

    world.sync._apply = late  # type: ignore[method-assign]
    world.put(f"{WHEEL}.asc", b"sig")
    world.sync.refresh([(0, WHEEL)])
    (file,) = world.catalog.files_of("foo")
    assert file.has_signature


def test_an_older_look_does_not_bring_back_what_was_removed(world: World) -> None:
    path = world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    real = world.sync._apply

    def late(found: list[SeenFile], *rest: Any) -> None:
        world.sync._apply = real  # type: ignore[method-assign]
        for each in (path, path.with_name(f"{WHEEL}.asc")):
            each.unlink()
        world.sync.refresh([(0, WHEEL)])
        real(found, *rest)
        assert world.listed() == []

    world.sync._apply = late  # type: ignore[method-assign]
    world.put(f"{WHEEL}.asc", b"sig")
    world.sync.refresh([(0, WHEEL)])
    assert world.listed() == []


@pytest.mark.parametrize("by", ["scan", "refresh"])
def test_a_project_whose_file_is_being_replaced_is_still_here(world: World, by: str) -> None:
    look = world.sync.scan if by == "scan" else lambda: world.sync.refresh([(0, WHEEL)])
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.digester.digest_project("foo")
    serial = world.catalog.project_state("foo")[0]
    world.put(WHEEL, WHEEL_BYTES[:100], mtime=NOW)
    for _ in range(2):
        assert look() == {(0, WHEEL)}
        assert (world.listed(), len(world.catalog.rows_of("foo"))) == ([], 1)
    assert world.catalog.project_state("foo")[0] == serial + 1
    world.put(WHEEL, WHEEL_BYTES)  # what stood there before, with its time
    assert look() == set()
    world.digester.digest_project("foo")
    assert [bool(file.sha256) for file in world.catalog.files_of("foo")] == [True]


def test_while_a_file_is_replaced_the_same_one_in_another_folder_serves(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.put(f"sub/{WHEEL}", WHEEL_BYTES, root=1)
    world.sync.scan()
    world.put(WHEEL, WHEEL_BYTES[:100], mtime=NOW)
    world.sync.scan()
    assert world.listed() == [f"sub/{WHEEL}"]
    (world.roots[0] / WHEEL).unlink()
    for _ in range(2):
        world.sync.scan()
        assert world.listed() == [f"sub/{WHEEL}"]
        world.now += HOLD_SECONDS
    assert len(world.catalog.rows_of("foo")) == 1


@pytest.mark.parametrize("by", ["scan", "refresh"])
def test_the_row_of_a_file_that_vanished_is_held_and_deleted_when_it_stays_away(world: World, by: str) -> None:
    look = (
        world.sync.scan
        if by == "scan"
        else lambda: world.sync.refresh(world.sync.missing.due() or [(0, WHEEL)], may_delete=True)
    )
    world.put(WHEEL, WHEEL_BYTES)
    world.put(f"sub/{WHEEL}", WHEEL_BYTES, root=1)
    world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    serial = world.catalog.serial()
    (world.roots[0] / WHEEL).unlink()
    for _ in range(3):
        assert look() == set() and world.sync.missing.due() == set()
        # The same file in another folder is seen at once.
        assert (world.listed(), len(world.catalog.rows_of("foo"))) == ([SDIST, f"sub/{WHEEL}"], 3)
        assert world.catalog.serial() == serial + 1
    world.now += HOLD_SECONDS
    assert world.sync.missing.due() == {(0, WHEEL)}
    look()
    assert (len(world.catalog.rows_of("foo")), world.sync.missing.due(), bool(world.sync.missing)) == (2, set(), False)


def test_a_file_that_comes_back_in_time_was_never_gone(world: World) -> None:
    path = world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    for _ in range(2):
        path.unlink()
        world.sync.scan()
        world.now += HOLD_SECONDS - 0.1
        world.sync.scan()
        assert len(world.catalog.rows_of("foo")) == 1
        world.put(WHEEL, WHEEL_BYTES)
        world.sync.scan()
        assert world.listed() == [WHEEL] and not world.sync.missing


def test_a_row_held_by_a_process_that_died_is_deleted_by_the_next_one(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES).unlink()
    world.put(WHEEL, WHEEL_BYTES)
    os.utime(world.roots[0], (OLD, OLD))
    world.now = time.time() + 60
    world.sync.scan()
    (world.roots[0] / WHEEL).unlink()
    os.utime(world.roots[0], (OLD, OLD))
    world.sync.scan()
    world.sync = world.another_sync()
    # Nobody takes the catalog for finished meanwhile.
    assert not world.sync.is_current()
    world.sync.scan()
    world.now += HOLD_SECONDS
    world.sync.refresh(world.sync.missing.due(), may_delete=True)
    assert world.catalog.rows_of("foo") == []


def test_what_nobody_comes_back_to_is_not_remembered_for_ever() -> None:
    now = 0.0
    missing = Missing(lambda: now)
    for number in range(3000):
        mark = missing.note((0, str(number)))
        assert not missing.is_gone((0, str(number)), mark)
        now += 1.0
    assert len(missing._since) <= FORGET_SECONDS + 1
    # One that vanishes for the second time counts anew.
    assert not missing.is_gone((0, "2999"), missing.note((0, "2999")))
    assert not missing.is_gone((0, "2998"), 1)


def test_what_the_server_removes_is_deleted_at_once_whoever_holds_the_row(world: World) -> None:
    path = world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    real = world.sync._apply

    def late(*changes: Any) -> None:
        world.sync._apply = real  # type: ignore[method-assign]
        world.another_sync().scan()
        real(*changes)

    path.unlink()
    world.sync._apply = late  # type: ignore[method-assign]
    world.sync.refresh([(0, WHEEL)], hold=False)
    assert world.catalog.rows_of("foo") == []


@pytest.mark.parametrize("at_once", [2, 1000])
def test_a_first_scan_sees_what_stands_beside_files(
    at_once: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def _add(world: World) -> None:
    world.put(f"deep/{SDIST}", SDIST_BYTES)


def _remove(world: World) -> None:
    (world.roots[0] / "deep" / WHEEL).unlink()


def _move(world: World) -> None:
    (world.roots[0] / "deep").rename(world.roots[0] / "deeper")


def _lose(world: World) -> None:
    world.roots[1].rmdir()


@pytest.mark.parametrize("change", [_add, _remove, _move, _lose])
def test_folders_tell_whether_anything_came_or_went(world: World, change: Callable[[World], None]) -> None:
    world.put(f"deep/{WHEEL}", WHEEL_BYTES)
    assert not world.sync.is_current()
    for folder in (*world.roots, world.roots[0] / "deep"):
        # Long ago, as a fast machine does all of this within one time that the file system tells apart.
        os.utime(folder, (1_600_000_000, 1_600_000_000))
    world.now = time.time() + 60
    world.sync.scan()
    assert world.sync.is_current()
    change(world)
    assert not world.sync.is_current()


def test_folders_do_not_tell_of_a_file_changed_in_place_and_a_scan_does(world: World) -> None:
    wheel = world.put(WHEEL, WHEEL_BYTES)
    world.now = time.time() + 60
    world.sync.scan()
    wheel.write_bytes(WHEEL_BYTES + b"more")
    assert world.sync.is_current()
    world.sync.scan()
    assert [file.size for file in world.catalog.files_of("foo")] == [len(WHEEL_BYTES) + 4]


def test_a_folder_that_has_just_changed_is_not_trusted(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.now = world.roots[0].stat().st_mtime
    world.sync.scan()
    assert not world.sync.is_current()


def test_a_root_that_goes_and_comes_back_takes_nothing_away(world: World) -> None:
    """Between a look at a file and a look at its root the root may be back: then the file would seem to be gone."""
    root, away = world.roots[0], world.roots[0].with_name("away")

    class Returning(Folders):
        def check(self) -> None:
            away.rename(root)
            super().check()

    world.put(f"deep/{WHEEL}", WHEEL_BYTES)
    world.sync.scan()
    root.rename(away)
    world.sync.folders = Returning(world.roots)
    with pytest.raises(Unavailable):
        world.sync.refresh([(0, f"deep/{WHEEL}")])
    assert world.listed() == [f"deep/{WHEEL}"]


def test_a_file_that_cannot_be_looked_at_is_not_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real_stat = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith(WHEEL):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real_stat(path, **options)

    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    monkeypatch.setattr(os, "stat", stat)
    assert world.sync.refresh([(0, WHEEL)]) == set()
    assert world.listed() == [WHEEL]


def test_a_root_that_is_unmounted_while_it_is_read_is_an_outage_then_and_afterwards(world: World) -> None:
    """The files were still seen, and the empty folder behind them must not become the one that is known."""
    root, away = world.roots[0], world.roots[0].with_name("away")

    class Unmounting(Folders):
        def walk(self, scan: ScanResult, **options: Any) -> Iterator[StoredFile]:
            yield from super().walk(scan, **options)
            if not away.exists():
                root.rename(away)
                root.mkdir()

    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.sync.folders = Unmounting(world.roots)
    for words in ("was replaced while it was read", "no longer the one that was served"):
        with pytest.raises(Unavailable, match=words):
            world.sync.scan()
        assert world.listed() == [WHEEL]


class Counting(float):
    """A number that counts how often something is compared with it."""

    times = 0

    def __gt__(self, other: float) -> bool:
        Counting.times += 1
        return super().__gt__(other)


def test_many_files_that_are_copied_at_once_are_looked_through_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing, dist, count = (
        PartialFileTracker(Folders([tmp_path]), lambda: NOW),
        parse_filename("foo-1.0.tar.gz"),
        5 * MANY,
    )
    monkeypatch.setattr(growing, "_is_whole", lambda entry, dist: False)
    monkeypatch.setattr("pypiserver.folder.partial_files.FORGET_SECONDS", Counting(FORGET_SECONDS))
    for number in range(count):
        entry = StoredFile(0, f"{number}/foo-1.0.tar.gz", 1, int(NOW * 1e9), number)
        assert growing.has(entry, dist, None)
    assert 0 < Counting.times < 3 * count
