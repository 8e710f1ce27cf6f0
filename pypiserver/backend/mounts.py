"""The type of the file system of a folder: whether it reports changes of other machines, and keeps a file's inode.

**Invariants:** a folder that other machines can change is scanned often, even when it can be watched, because inotify
reports only changes made through this machine's own mount; an inode is ignored where the kernel numbers inodes again
each time it forgets a file, because it would make every file look changed and be read again.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
# The kernel's network file systems, what virtual machines share with their host, and cluster file systems. What goes
# through FUSE (sshfs, GlusterFS, s3fs, Docker Desktop) is "fuse" or begins with "fuse.".
_SHARED = frozenset(
    (
        *(
            "9p",
            "acfs",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "fakeowner",
            "fhgfs",
            "fuse",
            "gfs2",
            "gpfs",
            "lustre",
        ),
        *(
            "ncpfs",
            "nfs",
            "nfs4",
            "ocfs2",
            "orangefs",
            "panfs",
            "prl_fs",
            "pvfs2",
            "smb3",
            "smbfs",
            "vboxsf",
            "virtiofs",
        ),
        "vmhgfs",
    )
)
# File systems whose inodes do not last. FAT and exFAT do not store the change time either, but make one up in memory.
_NO_INODES = frozenset(
    (
        *("9p", "cifs", "coda", "exfat", "fakeowner", "fuse", "fuseblk", "msdos", "ncpfs", "prl_fs", "smb3", "smbfs"),
        *("vboxsf", "vfat", "virtiofs", "vmhgfs"),
    )
)
_NO_CTIMES = frozenset(("exfat", "msdos", "vfat"))
# File systems of this machine alone, on which inotify knows of every change before the call that made it returns. On
# "overlay" that holds for the entries of folders; a changed file may be a copy, which nothing watches.
_LOCAL = frozenset(
    ("bcachefs", "btrfs", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "ramfs", "rootfs", "tmpfs", "xfs", "zfs")
)
_LOCAL_ENTRIES = _LOCAL | {"overlay"}
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_shared(folder: Path, *, mounts: Path = MOUNTS) -> bool:
    """Whether other machines may change the folder without an event on this one; False where that is not known."""
    kind = kind_of(folder, mounts=mounts)
    return kind in _SHARED or kind.startswith("fuse.")


def is_local(place: Path, *, is_folder: bool, mounts: Path = MOUNTS) -> bool:
    """Whether inotify certainly knows at once what changes in this file, or which entries of this folder change.

    False where that is not known.
    """
    return kind_of(place, mounts=mounts) in (_LOCAL_ENTRIES if is_folder else _LOCAL)


def kind_of(folder: Path, *, mounts: Path = MOUNTS) -> str:
    """The type of a folder's file system, such as ``ext4``; '' where the system does not tell (anything but Linux)."""
    with contextlib.suppress(OSError):
        place = f"{folder.resolve()}/"
        found = ""
        longest = 0
        for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
            # "36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw"; proc(5) has the fields.
            left, _, right = line.partition(" - ")
            point = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), left.split(" ")[4]).rstrip("/") + "/"
            # Of two mounts at one point, the later one hides the other.
            if len(point) >= longest and place.startswith(point):
                found, longest = right.split(" ")[0], len(point)
        return found
    return ""


class Believed(NamedTuple):
    """Which numbers of a file system's files can be trusted."""

    inodes: bool = True
    ctimes: bool = True


class Devices:
    """Which numbers of files can be trusted on each device, by ``st_dev``; on an unknown device, all of them.

    ``plain`` are the devices with all numbers trusted. The next mount may get the number of an unmounted device, so
    :meth:`look` is called before each full scan.
    """

    def __init__(self, mounts: Path = MOUNTS) -> None:
        self._mounts = mounts
        self._odd: dict[int, Believed] = {}
        self.plain: frozenset[int] = frozenset()

    def believed(self, device: int) -> Believed:
        """Which numbers can be trusted on this device."""
        if device not in self._odd and device not in self.plain:
            self.look()
            if device not in self._odd:
                # For example a btrfs subvolume, which has its own device number.
                self.plain |= {device}
        return self._odd.get(device, Believed())

    def look(self) -> None:
        """Read from the system which devices are mounted now."""
        odd: dict[int, Believed] = {}
        with contextlib.suppress(OSError, ValueError):
            for line in self._mounts.read_text("utf-8", "surrogateescape").splitlines():
                left, _, right = line.partition(" - ")
                kind = right.split(" ")[0]
                if kind in _NO_INODES or kind.startswith("fuse."):
                    major, _, minor = left.split(" ")[2].partition(":")
                    odd[os.makedev(int(major), int(minor))] = Believed(inodes=False, ctimes=kind not in _NO_CTIMES)
        self._odd, self.plain = odd, self.plain - odd.keys()


DEVICES = Devices()
