"""Reading a file once: what becomes a fault of the file, and what does not."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from pypiserver.backend import digester as digests
from pypiserver.backend.digester import Digester, unsettled_seconds
from pypiserver.backend.stored_file import StoredFile
from pypiserver.catalog import Catalog
from pypiserver.distributions.core_metadata import CoreMetadata
from pypiserver.errors import Unavailable
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.make_archives import make_sdist, make_wheel

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", summary="A foo")


class World:
    def __init__(self, root: Path, hash_algo: str | None = "sha256") -> None:
        self.root = root
        self.folders = Folders([root])
        self.catalog = Catalog(None, "")
        self.sync = FolderScanner(self.folders, self.catalog, clock=lambda: 4e9)
        self.digester = Digester(self.folders, self.catalog, hash_algo=hash_algo)

    def put(self, name: str, data: bytes) -> None:
        (self.root / name).write_bytes(data)
        self.sync.scan()


@pytest.fixture
def world(tmp_path: Path) -> World:
    root = tmp_path / "packages"
    root.mkdir()
    return World(root)


def test_a_file_that_changes_twice_within_one_time_has_the_digest_of_its_last_bytes(tmp_path: Path) -> None:
    path = tmp_path / WHEEL
    # The same archive, packed on another day.
    last = WHEEL_BYTES.replace(b"\0\0!P", b"\0\0#P")
    assert last != WHEEL_BYTES

    def write_again(mtime_ns: int) -> None:
        path.write_bytes(last)
        os.utime(path, ns=(mtime_ns, mtime_ns))

    world = World(tmp_path)
    world.digester = Digester(world.folders, world.catalog, hash_algo=None, wait=write_again)
    world.put(WHEEL, WHEEL_BYTES)
    world.digester.digest_project("foo")
    (file,) = world.catalog.files_of("foo")
    assert file.sha256 == hashlib.sha256(last).hexdigest()


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, AssertionError, RuntimeError])
def test_an_exception_over_one_file_keeps_no_other_from_being_digested(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    read = digests.parse_metadata

    def parse(raw: bytes) -> CoreMetadata:
        core = read(raw)
        if core.name == "bad":
            raise error
        return core

    monkeypatch.setattr(digests, "parse_metadata", parse)
    for name, data in (make_wheel("bad", "1.0"), (WHEEL, WHEEL_BYTES)):
        world.put(name, data)
    assert world.digester.digest_some() == 2 and world.digester.digest_some() == 0
    assert [file.filename for file in world.catalog.files_of("foo") if file.sha256] == [WHEEL]
    (bad,) = world.catalog.rows_of("bad")
    assert world.catalog.files_of("bad") == []
    found = world.digester.digest(bad)
    assert found.fault_kind == ("unreadable" if error is MemoryError else "failed")
    assert error is MemoryError or f"({error.__name__})" in found.fault


@pytest.mark.parametrize(
    ("mtime_ns", "now", "seconds"),
    [
        (50_000_000_123_456, 50_000.005123456, 0.015),
        (50_000_000_123_456, 50_000.021, 0.0),
        (50_000_000_000_000, 50_000.5, 1.5),
        (50_000_000_000_000, 50_003.0, 0.0),
        # Someone's clock is ahead, or the time was set by hand: nothing is known, and no one waits.
        (50_000_000_123_456, 49_999.0, 0.0),
    ],
)
def test_a_file_is_read_when_another_change_would_show(mtime_ns: int, now: float, seconds: float) -> None:
    assert unsettled_seconds(mtime_ns, now) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    ("hash_algo", "link"),
    [
        ("sha256", f"sha256={hashlib.sha256(WHEEL_BYTES).hexdigest()}"),
        ("md5", f"md5={hashlib.md5(WHEEL_BYTES).hexdigest()}"),
        ("sha512", f"sha512={hashlib.sha512(WHEEL_BYTES).hexdigest()}"),
        (None, ""),
    ],
)
def test_sha256_is_always_known_and_the_link_has_the_digest_that_was_chosen(
    tmp_path: Path, hash_algo: str | None, link: str
) -> None:
    world = World(tmp_path, hash_algo)
    world.put(WHEEL, WHEEL_BYTES)
    world.digester.digest_project("foo")
    (file,) = world.catalog.files_of("foo")
    assert (file.sha256, file.link_digest) == (hashlib.sha256(WHEEL_BYTES).hexdigest(), link)


def test_a_damaged_file_is_hidden_said_once_and_hides_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.put("foo-1.1.tar.gz", b"no archive")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            world.digester.digest_some()
            world.digester.digest_project("foo")
    assert [file.filename for file in world.catalog.files_of("foo")] == [WHEEL]
    assert [message for message in caplog.messages if "Skipped foo-1.1.tar.gz" in message] == [
        message for message in caplog.messages if message.startswith("Skipped")
    ]
    assert len(caplog.messages) == 1


def test_a_folder_that_is_gone_is_no_fault_of_its_files(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    away = world.root.with_name("away")
    world.root.rename(away)
    for digest in (world.digester.digest_some, lambda: world.digester.digest_project("foo")):
        with pytest.raises(Unavailable):
            digest()
    away.rename(world.root)
    world.digester.digest_project("foo")
    assert [file.sha256 != "" for file in world.catalog.files_of("foo")] == [True]


class BackAgain(Folders):
    """A folder that is away at the first look, and back when someone asks whether it is."""

    def open(self, root: int, path: str) -> tuple[BinaryIO, StoredFile]:
        try:
            return super().open(root, path)
        finally:
            self.roots[0].with_name("away").rename(self.roots[0]) if not self.roots[0].exists() else None


def test_a_folder_that_is_back_at_once_left_no_fault(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    digester = Digester(BackAgain([world.root]), world.catalog, hash_algo="sha256")
    world.root.rename(world.root.with_name("away"))
    digester.digest_project("foo")
    assert [file.sha256 != "" for file in world.catalog.files_of("foo")] == [True]
    assert caplog.messages == []


def test_a_file_that_vanished_is_no_fault_of_the_folder(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.put(*make_sdist("foo", "1.0"))
    (world.root / WHEEL).unlink()
    world.digester.digest_project("foo")
    assert [file.filename for file in world.catalog.files_of("foo")] == ["foo-1.0.tar.gz"]


def test_a_file_that_changed_since_it_was_seen_is_not_recorded(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    (file,) = world.catalog.pending(9)
    (world.root / WHEEL).write_bytes(WHEEL_BYTES + b" ")
    assert world.digester.digest(file).sha256 == ""
    world.sync.scan()
    world.digester.digest_project("foo")
    assert world.catalog.pending_count() == 0


def test_an_unreadable_requires_python_is_left_out_and_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put(*make_wheel("foo", "2.0", requires_python="no specifier"))
    with caplog.at_level(logging.WARNING):
        world.digester.digest_project("foo")
    (file,) = world.catalog.files_of("foo")
    assert file.requires_python is None and file.sha256
    assert [message for message in caplog.messages if "Requires-Python 'no specifier' cannot be parsed" in message]


@pytest.mark.parametrize("field", ["Version", "Requires-Python"])
def test_numbers_of_any_length_in_metadata_are_survived(world: World, field: str) -> None:
    value = "1" * 5000 if field == "Version" else ">=" + "1" * 5000
    metadata = f"Metadata-Version: 2.1\nName: foo\nVersion: 3.0\n{field}: {value}\n\n".encode()
    if field == "Version":
        metadata = metadata.replace(b"Version: 3.0\n", b"", 1)
    world.put(*make_wheel("foo", "3.0", metadata=metadata))
    world.put(WHEEL, WHEEL_BYTES)
    world.digester.digest_project("foo")
    assert WHEEL in [file.filename for file in world.catalog.files_of("foo")]


def test_who_reads_a_file_a_second_time_changes_no_page(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    pending = world.catalog.pending(9)  # as the background thread had it before a request came
    world.digester.digest_project("foo")
    serial = world.catalog.serial()
    world.catalog.record([(file, world.digester.digest(file)) for file in pending])
    assert world.catalog.serial() == serial


def test_two_who_ask_for_one_project_read_its_files_once(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    read: list[object] = []
    real = world.digester.digest
    world.digester.digest = lambda file: (read.append(file), real(file))[1]  # type: ignore[method-assign]
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        world.digester.digest_project("foo")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 1
