"""On what kind of file system a folder lies: does the system here tell of changes that other machines make, and does a
file keep its inode?

inotify tells of what happens through this machine's own mount, and never of what another machine does to the same
files. A folder that others can change unseen must be looked at often, although it can be watched. Where inodes are
numbered anew each time the kernel forgets a file, an inode says nothing, and would have every file read again.
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
# What numbers inodes by itself. FAT and exFAT keep no time of the last change either, but make one up in memory.
_NO_INODES = frozenset(
    (
        *("9p", "cifs", "coda", "exfat", "fakeowner", "fuse", "fuseblk", "msdos", "ncpfs", "prl_fs", "smb3", "smbfs"),
        *("vboxsf", "vfat", "virtiofs", "vmhgfs"),
    )
)
_NO_CTIMES = frozenset(("exfat", "msdos", "vfat"))
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_shared(folder: Path, *, mounts: Path = MOUNTS) -> bool:
    """Whether other machines may change the folder without the system here telling; False where nothing is known."""
    kind = kind_of(folder, mounts=mounts)
    return kind in _SHARED or kind.startswith("fuse.")


def kind_of(folder: Path, *, mounts: Path = MOUNTS) -> str:
    """The type of the file system a folder is on, such as ``ext4``; empty where the system does not say (not Linux)."""
    with contextlib.suppress(OSError):
        place = f"{folder.resolve()}/"
        found = ""
        longest = 0
        for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
            # "36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw"; proc(5) has the fields.
            left, _, right = line.partition(" - ")
            point = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), left.split(" ")[4]).rstrip("/") + "/"
            # Of two at one place the later one hides the other.
            if len(point) >= longest and place.startswith(point):
                found, longest = right.split(" ")[0], len(point)
        return found
    return ""


class Believed(NamedTuple):
    """Which numbers of a file system's files mean something."""

    inodes: bool = True
    ctimes: bool = True


class Devices:
    """What can be believed of the files on each device, by ``st_dev``; what the system does not tell of can be.

    ``plain`` are devices all of whose numbers are believed. A device that is unmounted leaves its number to the next
    one, so :meth:`look` is called before everything is looked at.
    """

    def __init__(self, mounts: Path = MOUNTS) -> None:
        self._mounts = mounts
        self._odd: dict[int, Believed] = {}
        self.plain: frozenset[int] = frozenset()

    def believed(self, device: int) -> Believed:
        """What can be believed of the files there."""
        if device not in self._odd and device not in self.plain:
            self.look()
            if device not in self._odd:
                # Such as a subvolume of btrfs, which has a number of its own.
                self.plain |= {device}
        return self._odd.get(device, Believed())

    def look(self) -> None:
        """Ask the system which devices are mounted now."""
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
