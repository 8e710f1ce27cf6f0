"""Taking files away and getting them back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pypiserver.errors import Conflict, Forbidden, NotFound, PypiServerError
from pypiserver.folder import trash
from pypiserver.folder.storage import Folders

from ..faults import Faults, tree

NAME = "sub/foo-1.0.zip"
BESIDE = (".asc", ".yanked", ".provenance")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "packages"
    (root / "sub").mkdir(parents=True)
    put(root, b"bytes", *BESIDE)
    (root / "sub/foo-1.1.zip").write_bytes(b"another")
    return root


def put(root: Path, data: bytes, *suffixes: str) -> None:
    for suffix in ("", *suffixes):
        (root / (NAME + suffix)).write_bytes(data + suffix.encode())


def test_what_goes_takes_along_its_sidecars(root: Path) -> None:
    Folders([root]).remove(0, NAME)
    assert set(tree(root)) == {"sub", "sub/foo-1.1.zip"}


def test_a_removal_is_durable_when_it_is_answered(root: Path) -> None:
    faults = Faults()
    Folders([root], operations=faults.operations).remove(0, NAME)
    assert faults.calls[-5:] == ["unlink"] * 4 + ["fsync"]


def test_a_full_disk_keeps_no_file_from_being_removed(root: Path) -> None:
    Folders([root], operations=Faults("open", errno.ENOSPC).operations).remove(0, NAME)
    assert set(tree(root)) == {"sub", "sub/foo-1.1.zip"}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_cannot_be_removed_is_still_there_and_is_said_so(root: Path, number: int) -> None:
    before = tree(root)
    with pytest.raises(Forbidden, match=r"foo-1\.0\.zip"):
        Folders([root], operations=Faults("unlink", number).operations).remove(0, NAME)
    assert tree(root) == before


def test_a_removal_that_stops_half_way_does_not_claim_that_the_file_is_still_there(root: Path) -> None:
    with pytest.raises(PypiServerError, match=r"foo-1\.0\.zip"):
        Folders([root], operations=Faults("unlink", at=2).operations).remove(0, NAME)
    assert NAME not in tree(root)


@pytest.mark.parametrize("path", ["foo-9.zip", "../outside", ".hidden-1.0.zip", "sub", "sub/../sub/foo-1.0.zip"])
def test_only_a_file_that_is_there_can_be_removed(root: Path, path: str) -> None:
    (root.parent / "outside").write_bytes(b"x")
    before = tree(root.parent)
    folders = Folders([root])
    for take in (folders.remove, folders.trash):
        with pytest.raises(NotFound):
            take(0, path)
    assert tree(root.parent) == before


def test_removing_a_link_leaves_what_it_leads_to(root: Path) -> None:
    (root / "foo-2.0.zip").symlink_to(root / NAME)
    Folders([root]).remove(0, "foo-2.0.zip")
    assert NAME in tree(root) and "foo-2.0.zip" not in tree(root)


def test_from_the_trash_everything_comes_back(root: Path) -> None:
    before = tree(root)
    folders = Folders([root])
    folders.trash(0, NAME)
    assert set(tree(root / "sub")) == {"foo-1.1.zip"}
    assert folders.list_trash() == [(0, NAME)]
    folders.restore(0, NAME)
    assert folders.list_trash() == []
    after = tree(root)
    assert {key for key in after if not key.startswith(".trash")} == set(before)
    # The modification time of the file is its upload time: it must survive.
    assert after[NAME] == before[NAME]
    assert {key: after[key][0] for key in after if key.startswith(NAME)} == {
        key: before[key][0] for key in before if key.startswith(NAME)
    }


def test_an_older_one_in_the_trash_is_replaced_with_all_that_was_its(root: Path) -> None:
    folders = Folders([root])
    folders.trash(0, NAME)
    put(root, b"newer")
    folders.trash(0, NAME)
    assert [key for key in tree(root / ".trash") if key != "sub"] == [NAME]
    folders.restore(0, NAME)
    assert {key: value[0] for key, value in tree(root).items() if key.startswith(NAME)} == {NAME: b"newer"}


def test_what_comes_back_replaces_nothing(root: Path) -> None:
    folders = Folders([root])
    folders.trash(0, NAME)
    put(root, b"newer", ".asc")
    before = tree(root)
    with pytest.raises(Conflict, match="stays there"):
        folders.restore(0, NAME)
    assert tree(root) == before


def test_what_comes_back_takes_over_no_signature_that_was_left_lying(root: Path) -> None:
    for suffix in BESIDE:
        (root / (NAME + suffix)).unlink()
    folders = Folders([root])
    folders.trash(0, NAME)
    (root / (NAME + ".asc")).write_bytes(b"an orphan")
    folders.restore(0, NAME)
    assert {key for key in tree(root) if key.startswith(NAME)} == {NAME}


def test_what_comes_back_survives_a_file_system_without_hard_links(root: Path) -> None:
    operations = Faults("link", errno.EPERM).operations
    folders = Folders([root], operations=operations)
    folders.trash(0, NAME)
    folders.restore(0, NAME)
    assert {key for key in tree(root) if key.startswith(NAME)} == {NAME, *(NAME + suffix for suffix in BESIDE)}


def test_restoring_follows_no_link_out_of_the_root(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    folders = Folders([root])
    folders.trash(0, NAME)
    (root / "sub/foo-1.1.zip").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(outside)
    with pytest.raises(Conflict):
        folders.restore(0, NAME)
    assert tree(outside) == {}


@pytest.mark.parametrize("path", ["foo-9.zip", "../sub/foo-1.1.zip", NAME + ".asc"])
def test_only_what_is_in_the_trash_comes_back(root: Path, path: str) -> None:
    folders = Folders([root])
    folders.trash(0, NAME)
    with pytest.raises(NotFound):
        folders.restore(0, path)


def test_a_trash_that_leads_elsewhere_is_not_used(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / trash.FOLDER).symlink_to(outside)
    before = tree(root)
    with pytest.raises(PypiServerError, match="still there"):
        Folders([root]).trash(0, NAME)
    assert (tree(outside), tree(root)) == ({}, before)


def test_a_missing_trash_is_an_empty_one(tmp_path: Path) -> None:
    assert Folders([tmp_path]).list_trash() == []
    assert os.listdir(tmp_path) == []
