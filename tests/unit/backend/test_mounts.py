"""Which folders other machines may change without anything being told here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pypiserver.backend import mounts
from pypiserver.backend.stored_file import entry_of, folder_identity

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:31 / /srv/packages rw shared:5 master:2 - nfs4 server:/export rw,vers=4.2
31 22 0:32 / /srv/with\040blank rw - cifs //server/share rw
32 22 0:33 / /srv/fuse rw - fuse.glusterfs server:/volume rw
33 22 0:34 / /srv/hidden rw - nfs server:/old rw
34 33 8:2 / /srv/hidden rw - xfs /dev/sdb rw
35 30 8:3 / /srv/packages/local rw - btrfs /dev/sdc rw
36 22 0:35 / /srv/docker rw - virtiofs share rw
37 22 8:4 / /srv/ntfs rw - fuseblk /dev/sdd rw
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(TABLE.lstrip())
    return path


@pytest.mark.parametrize(
    ("folder", "kind", "shared"),
    [
        ("/home/ada/packages", "ext4", False),
        ("/srv/packages", "nfs4", True),
        ("/srv/packages/below/it", "nfs4", True),
        ("/srv/packages-of-others", "ext4", False),
        ("/srv/packages/local/x", "btrfs", False),
        ("/srv/with blank/x", "cifs", True),
        ("/srv/fuse", "fuse.glusterfs", True),
        ("/srv/hidden", "xfs", False),
        ("/srv/docker", "virtiofs", True),
        ("/srv/ntfs", "fuseblk", False),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of another kind")
def test_the_innermost_mount_counts(folder: str, kind: str, shared: bool, table: Path) -> None:
    assert mounts.kind_of(Path(folder), mounts=table) == kind
    assert mounts.is_shared(Path(folder), mounts=table) == shared


@pytest.mark.parametrize(
    ("kind", "of_files", "of_folders"),
    [("ext4", True, True), ("tmpfs", True, True), ("overlay", False, True), ("nfs4", False, False), ("", False, False)],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of another kind")
def test_every_change_is_known_at_once_on_local_disks_only(
    kind: str, of_files: bool, of_folders: bool, tmp_path: Path
) -> None:
    """A container's own files are on an overlay: a changed one may be a copy, which nothing watches."""
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 8:1 / / rw - {kind} none rw\n" if kind else "")
    known = [mounts.is_local(Path("/srv"), is_folder=is_folder, mounts=table) for is_folder in (False, True)]
    assert known == [of_files, of_folders]


def test_where_the_system_says_nothing_a_folder_is_not_shared(tmp_path: Path) -> None:
    assert mounts.kind_of(tmp_path, mounts=tmp_path / "missing") == ""
    assert not mounts.is_shared(tmp_path, mounts=tmp_path / "missing")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this table")
def test_the_table_of_this_system_is_understood() -> None:
    assert mounts.kind_of(Path("/proc")) == "proc"


def status_on(major: int, minor: int) -> os.stat_result:
    numbers = (0o100644, 77, os.makedev(major, minor), 1, 0, 0, 5, 0, 0, 0)
    return os.stat_result(numbers, {"st_mtime_ns": 8, "st_ctime_ns": 9})


@pytest.mark.parametrize(
    ("device", "inode", "ctime_ns"),
    [((8, 1), 77, 9), ((0, 31), 77, 9), ((0, 32), 0, 9), ((0, 33), 0, 9), ((8, 5), 0, 0), ((0, 99), 77, 9)],
    ids=["ext4", "nfs4", "cifs", "fuse", "vfat", "unknown"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="devices of another kind")
def test_of_a_file_counts_what_its_file_system_keeps(
    device: tuple[int, int], inode: int, ctime_ns: int, table: Path
) -> None:
    table.write_text(table.read_text() + "38 22 8:5 / /srv/fat rw - vfat /dev/sde rw\n")
    devices, status = mounts.Devices(table), status_on(*device)
    for _ in range(2):
        assert entry_of(0, "foo-1.0.zip", status, devices=devices).identity == (5, 8, inode, ctime_ns)
        assert folder_identity(status, devices=devices) == (os.makedev(*device), inode)


@pytest.mark.skipif(sys.platform == "win32", reason="devices of another kind")
def test_a_device_number_is_looked_up_again_when_another_disk_may_have_it(table: Path) -> None:
    devices, status = mounts.Devices(table), status_on(0, 40)
    assert entry_of(0, "foo-1.0.zip", status, devices=devices).inode == 77
    table.write_text(table.read_text() + "38 22 0:40 / /srv/new rw - fuse.sshfs host:/ rw\n")
    devices.look()
    assert entry_of(0, "foo-1.0.zip", status, devices=devices).inode == 0
