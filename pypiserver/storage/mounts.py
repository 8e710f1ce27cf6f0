"""On what kind of file system a folder lies: does the system here tell of changes that other machines make?

inotify tells of what happens through this machine's own mount, and never of what another machine does to the same
files. A folder that others can change unseen must be looked at often, although it can be watched.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

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
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_shared(folder: Path, *, mounts: Path = MOUNTS) -> bool:
    """Whether other machines may change the folder without the system here telling; False where nothing is known."""
    kind = kind_of(folder, mounts=mounts)
    return kind in _SHARED or kind.startswith("fuse.")


def kind_of(folder: Path, *, mounts: Path = MOUNTS) -> str:
    """The type of the file system a folder is on, such as ``ext4``; empty where the system does not say (not Linux)."""
    with contextlib.suppress(OSError):
        place = folder.resolve()
        found = ""
        longest = -1
        for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
            # "36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw"; proc(5) has the fields.
            left, _, right = line.partition(" - ")
            point = Path(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), left.split(" ")[4]))
            # Of two at one place the later one hides the other.
            if len(point.parts) >= longest and place.is_relative_to(point):
                found, longest = right.split(" ")[0], len(point.parts)
        return found
    return ""
