"""What is seen in a folder, what is not, and that one odd entry affects nothing but itself."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from pathlib import Path

import pytest

from pypiserver.backend.name_lock import claimed
from pypiserver.backend.stored_file import ScanResult, entry_of
from pypiserver.catalog import Catalog
from pypiserver.errors import ConfigError, NotFound, Unavailable
from pypiserver.folder import safe_open
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from pypiserver.native_names import native
from tests.make_archives import make_wheel
from tests.raising import raises

from ..faults import Faults, tree

NAME, BYTES = make_wheel("foo", "1.0")


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    (roots[0] / NAME).write_bytes(BYTES)
    return roots


def seen(folders: Folders) -> list[tuple[int, str]]:
    return sorted((entry.root, entry.path) for entry in folders.scan().entries)


def skipped(folders: Folders) -> dict[str, str]:
    return {path: reason for _, path, reason in folders.scan().skipped}


def is_refused(folders: Folders, path: str, root: int = 0) -> bool:
    """Whether a path can neither be looked at nor opened."""
    with pytest.raises(NotFound):
        folders.open(root, path)
    return folders.stat(root, path) is None


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_what_is_wanted_first_comes_first(at_once: int, roots: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon in a folder of three names as in one that has more than are kept in memory."""
    monkeypatch.setattr(safe_open, "AT_ONCE", at_once)
    for name in ("a.zip", "a.zip.asc", "b.zip"):
        (roots[1] / name).write_bytes(b"x")
    paths = [entry.path for entry in Folders(roots[1:]).walk(ScanResult(), first=(".asc",))]
    assert paths[0] == "a.zip.asc" and sorted(paths[1:]) == ["a.zip", "b.zip"]


@pytest.mark.skipif(not safe_open.CAN_SCAN_OPEN, reason="folders are read by their paths")
def test_a_folder_that_became_a_link_is_not_entered(roots: list[Path]) -> None:
    """Between being seen and being read."""
    (roots[1] / "deep").symlink_to(roots[0])
    with pytest.raises(OSError), safe_open.opened_folder(str(roots[1] / "deep"), is_root=False):
        pass
    with safe_open.opened_folder(str(roots[1] / "deep"), is_root=True) as folder:
        assert os.listdir(folder) == [NAME]


def test_a_scan_gives_its_descriptors_back(roots: list[Path]) -> None:
    (roots[1] / "deep").mkdir()
    folders = Folders(roots)
    before = os.open(roots[0], os.O_RDONLY)
    os.close(before)
    folders.scan()
    next(iter(folders.walk(ScanResult())))
    after = os.open(roots[0], os.O_RDONLY)
    os.close(after)
    assert after == before


def test_folders_are_read_to_their_ends(roots: list[Path]) -> None:
    (roots[1] / "a/b/c d").mkdir(parents=True)
    (roots[1] / "a/b/c d/bar-1.0.zip").write_bytes(b"x")
    folders = Folders(roots)
    assert seen(folders) == [(0, NAME), (1, "a/b/c d/bar-1.0.zip")]
    file, entry = folders.open(1, "a/b/c d/bar-1.0.zip")
    with file:
        assert file.read() == b"x"
    assert entry in folders.scan().entries and folders.stat(1, entry.path) == entry


@pytest.mark.parametrize("path", [".foo-1.0.zip", ".git/foo-1.0.zip", "a/.b/foo-1.0.zip", ".trash/foo-1.0.zip"])
def test_what_begins_with_a_dot_is_not_there(roots: list[Path], path: str) -> None:
    (roots[0] / path).parent.mkdir(parents=True, exist_ok=True)
    (roots[0] / path).write_bytes(b"x")
    folders = Folders(roots)
    assert seen(folders) == [(0, NAME)] and skipped(folders) == {}
    assert is_refused(folders, path)


@pytest.mark.parametrize("path", ["", "/", "..", "../one/x", "a//b", "a/./b", "a/", "/etc/passwd", "a\0b", "..\\x"])
def test_a_path_that_no_scan_gave_is_refused(roots: list[Path], path: str) -> None:
    assert is_refused(Folders(roots), path)


def test_a_link_to_a_file_inside_any_root_is_a_file(roots: list[Path]) -> None:
    (roots[1] / "sub").mkdir()
    (roots[1] / "sub/link-1.0.zip").symlink_to(roots[0] / NAME)
    (roots[0] / "again-1.0.zip").symlink_to(roots[1] / "sub/link-1.0.zip")
    folders = Folders(roots)
    assert seen(folders) == [(0, "again-1.0.zip"), (0, NAME), (1, "sub/link-1.0.zip")]
    for root, path in seen(folders):
        file, entry = folders.open(root, path)
        with file:
            assert file.read() == BYTES
        assert folders.stat(root, path) == entry


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../outside", "outside of the folders"),
        (".hidden", "link to a file that is hidden"),
        ("nowhere", "leads nowhere"),
        ("odd-1.0.zip", "leads nowhere"),
        ("folder", "link to a folder"),
        ("../fifo", "no regular file"),
    ],
    ids=["out of the roots", "to a hidden file", "dangling", "to itself", "to a folder", "to a FIFO"],
)
def test_any_other_link_is_skipped_with_its_reason(roots: list[Path], target: str, reason: str) -> None:
    (roots[0].parent / "outside").write_bytes(b"secret")
    os.mkfifo(roots[0].parent / "fifo")
    (roots[0] / ".hidden").write_bytes(b"secret")
    (roots[0] / "folder").mkdir()
    (roots[0] / "odd-1.0.zip").symlink_to(target)
    folders = Folders(roots)
    assert seen(folders) == [(0, NAME)]
    assert list(skipped(folders)) == ["odd-1.0.zip"] and reason in skipped(folders)["odd-1.0.zip"]
    assert is_refused(folders, "odd-1.0.zip")


def test_what_is_below_a_link_to_a_folder_cannot_be_reached(roots: list[Path]) -> None:
    (roots[0] / "sub").mkdir()
    (roots[0] / "sub/bar-1.0.zip").write_bytes(b"x")
    (roots[0] / "link").symlink_to("sub")
    folders = Folders(roots)
    assert seen(folders) == [(0, NAME), (0, "sub/bar-1.0.zip")]
    assert is_refused(folders, "link/bar-1.0.zip")


def test_a_folder_that_became_a_link_takes_no_upload(roots: list[Path]) -> None:
    outside = roots[0].parent / "outside"
    outside.mkdir()
    (roots[0] / "sub").symlink_to(outside)
    Folders(roots).stage("sub").publish("bar-1.0.zip", overwrite=True, sidecars={})
    assert tree(outside) == {} and (roots[0] / "bar-1.0.zip").is_file()


def test_odd_entries_are_each_said_once_and_hide_nothing_else(
    roots: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(roots[0] / "fifo-1.0.zip")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(roots[0])  # the path of a socket is short
        try:
            listener.bind("socket-1.0.zip")
        finally:
            os.chdir(here)
    (roots[0] / "loop-1.0.zip").symlink_to("loop-1.0.zip")
    (roots[0] / "line\nforged-1.0.zip").write_bytes(b"x")
    (roots[0] / "\x1b[31mred").mkdir()
    (roots[0] / native("\u202egnp.exe")).write_bytes(b"x")
    (Path(os.fsdecode(os.fsencode(roots[0]) + b"/latin-\xe9-1.0.zip"))).write_bytes(b"x")
    sync = FolderScanner(Folders(roots), Catalog(None, ""), clock=lambda: 4e9)
    with caplog.at_level(logging.WARNING):
        sync.scan()
        sync.scan()
    assert [file.path for file in sync.catalog.files()] == [NAME]
    assert sorted(message.split(" in ")[0] for message in caplog.messages) == [
        "Skipped \\u202egnp.exe",
        "Skipped \\x1b[31mred",
        "Skipped fifo-1.0.zip",
        "Skipped latin-\\xe9-1.0.zip",
        "Skipped line\\nforged-1.0.zip",
        "Skipped loop-1.0.zip",
        "Skipped socket-1.0.zip",
        "What cannot be read may hold any project: until it can, projects that are not known are 503.",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="everything can be read by root")
def test_what_may_not_be_read_hides_nothing_else(roots: list[Path]) -> None:
    (roots[0] / "closed").mkdir(mode=0)
    (roots[0] / "bar-1.0.zip").write_bytes(b"x")
    (roots[0] / "bar-1.0.zip").chmod(0)
    folders = Folders(roots)
    assert seen(folders) == [(0, "bar-1.0.zip"), (0, NAME)]
    assert "cannot be read" in skipped(folders)["closed"]
    with pytest.raises(Unavailable, match=r"bar-1.0.zip cannot be opened"):
        folders.open(0, "bar-1.0.zip")


@pytest.mark.parametrize("year", [1, 1960, 2500, 9999])
def test_any_time_a_file_may_have_fits_a_catalog(roots: list[Path], year: int) -> None:
    seconds = int((year - 1970) * 365.2425 * 86_400)
    try:
        os.utime(roots[0] / NAME, (seconds, seconds))
    except OverflowError:
        pytest.skip("this system has no such times")
    sync = FolderScanner(Folders(roots), Catalog(None, ""), clock=lambda: 9e9)
    sync.scan()
    times = [file.uploaded_at.year for file in sync.catalog.files()]
    assert len(times) <= 1 and all(1677 <= year <= 2262 for year in times)
    stream, entry = Folders(roots).open(0, NAME)
    stream.close()
    assert entry == Folders(roots).stat(0, NAME) == Folders(roots).scan().entries[0]


def test_inodes_of_64_bits_fit_a_catalog() -> None:
    status = os.stat_result((0o100644, 2**64 - 1, 1, 1, 0, 0, 5, 0, 0, 0), {"st_mtime_ns": 0, "st_ctime_ns": 0})
    assert entry_of(0, NAME, status).inode == 2**63 - 1


def test_a_file_whose_name_leaves_no_room_for_a_suffix_is_a_file(roots: list[Path]) -> None:
    name = f"foo-1.0-py3-none-{'x' * 230}.whl"
    assert len(name) > 255 - len(".provenance")
    (roots[0] / name).write_bytes(BYTES)
    folders = Folders(roots)
    assert folders.stat(0, name + ".provenance") is None
    sync = FolderScanner(folders, Catalog(None, ""), clock=lambda: 4e9)
    sync.refresh([(0, name)])
    assert [file.path for file in sync.catalog.files()] == [name]


def test_a_root_that_is_gone_is_an_outage(roots: list[Path]) -> None:
    folders = Folders(roots)
    roots[1].rmdir()
    for ask in (folders.check, folders.scan, lambda: folders.stat(1, NAME)):
        with pytest.raises(Unavailable, match=str(roots[1])):
            ask()


def test_a_root_inside_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for roots in ([tmp_path, tmp_path / "in"], [tmp_path / "in", tmp_path], [tmp_path, tmp_path]):
        with raises(ConfigError, kind="twice", setting="roots"):
            Folders(roots).check()


def test_statuses_are_small_files_and_the_first_root_wins(roots: list[Path]) -> None:
    for number, root in enumerate(roots):
        (root / ".status").mkdir()
        (root / ".status/foo").write_text(f"archived\n{number}\n")
    (roots[1] / ".status/bar").write_bytes(b"deprecated\n" + b"\xff" * 10_000)
    (roots[1] / ".status/.hidden").write_text("archived")
    (roots[1] / ".status/link").symlink_to("foo")
    os.mkfifo(roots[1] / ".status/fifo")
    found = Folders(roots).statuses()
    assert set(found) == {"foo", "bar"} and found["foo"] == "archived\n0\n" and len(found["bar"]) == 4096


def test_a_sidecar_is_written_in_one_step_and_durable(roots: list[Path]) -> None:
    faults = Faults()
    folders = Folders(roots, operations=faults.operations)
    folders.write_sidecar(0, NAME, ".yanked", b"broken\n")
    assert faults.calls == ["open", "open", "write", "fsync", "replace", "fsync"]
    assert folders.read_text(0, f"{NAME}.yanked") == "broken\n"
    folders.remove_sidecar(0, NAME, ".yanked")
    assert faults.calls[6:] == ["unlink", "fsync"]
    folders.remove_sidecar(0, NAME, ".yanked")
    assert set(tree(roots[0])) == {NAME}


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_a_sidecar_that_cannot_be_written_leaves_the_old_one(roots: list[Path], name: str) -> None:
    (roots[0] / f"{NAME}.yanked").write_text("before")
    before = tree(roots[0])
    folders = Folders(roots, operations=Faults(name, errno.ENOSPC, at=0).operations)
    with pytest.raises(Exception, match="is full"):
        folders.write_sidecar(0, NAME, ".yanked", b"after")
    assert tree(roots[0]) == before


def test_a_file_that_goes_meanwhile_leaves_no_sidecar(roots: list[Path]) -> None:
    folders = Folders(roots)
    with claimed(roots[0] / NAME):
        yank = threading.Thread(target=_write_beside, args=(folders,))
        yank.start()
        yank.join(0.2)
        (roots[0] / NAME).unlink()
    yank.join()
    assert tree(roots[0]) == {}


def _write_beside(folders: Folders) -> None:
    with contextlib.suppress(NotFound):
        folders.write_sidecar(0, NAME, ".yanked", b"")


def test_no_sidecar_is_written_for_a_file_that_is_not_there(roots: list[Path]) -> None:
    for path in ("bar-1.0.zip", "../x", f".{NAME}"):
        with pytest.raises(NotFound):
            Folders(roots).write_sidecar(0, path, ".yanked", b"")
    assert set(tree(roots[0])) == {NAME}


def test_a_reason_of_any_length_is_read_to_a_limit(roots: list[Path]) -> None:
    (roots[0] / f"{NAME}.yanked").write_bytes("ü".encode() * 100_000)
    text = Folders(roots).read_text(0, f"{NAME}.yanked")
    assert text is not None and len(text) <= 32_768


@pytest.mark.skipif(not safe_open.CAN_WALK, reason="here files are opened by their whole path")
@pytest.mark.parametrize("swapped", ["the link", "a folder on the way"])
def test_what_changes_after_a_link_was_resolved_leads_no_one_outside(
    swapped: str, roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who looks and the one who opens must look at the same file."""
    outside, folder = tmp_path / "outside", roots[0] / "sub"
    for each in (outside, folder):
        each.mkdir()
        (each / "x-1.0.zip").write_bytes(each.name.encode())
    link = roots[0] / "link-1.0.zip"
    link.symlink_to("sub/x-1.0.zip")
    real = Path.resolve

    def resolve(path: Path, strict: bool = False) -> Path:
        found = real(path, strict)
        if path == link and swapped == "the link":
            link.unlink()
            link.symlink_to(outside / "x-1.0.zip")
        elif path == link:
            folder.rename(roots[0] / "moved")
            folder.symlink_to(outside)
        return found

    monkeypatch.setattr(Path, "resolve", resolve)
    with contextlib.suppress(NotFound):
        stream, _ = Folders(roots).open(0, link.name)
        with stream:
            assert stream.read() == b"sub"
