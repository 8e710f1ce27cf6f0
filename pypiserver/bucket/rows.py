"""Files of a bucket as rows of the catalog.

**Invariants:** a row's fingerprint names the file's sidecars with their sizes, which a listing tells without a further
request.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..backend.stored_file import StoredFile
from ..catalog import Fingerprint, SeenFile
from ..distributions.filename import FilenameParts, as_filed
from ..model import File
from ..text import MAX_REASON, line_of


def found_from(entry: StoredFile, dist: FilenameParts, sidecars: Mapping[str, int], yanked: bytes | None) -> SeenFile:
    """The row of a file; ``sidecars`` has the size of each sidecar by suffix, ``yanked`` the reason or None."""
    return SeenFile(
        entry.root,
        entry.path,
        Fingerprint(entry.size, entry.mtime_ns, entry.inode, fingerprint(sidecars), entry.ctime_ns),
        dist,
        yanked=None if yanked is None else line_of(yanked.decode("utf-8", "replace"), MAX_REASON),
        has_signature=".asc" in sidecars,
        has_provenance=".provenance" in sidecars,
    )


def fingerprint(sidecars: Mapping[str, int]) -> str:
    """The sidecars of a file, by suffix, with their sizes in bytes, as one text."""
    return ";".join(f"{suffix}:{size}" for suffix, size in sorted(sidecars.items()))


def remarked(file: File, row: Fingerprint, yanked: bytes | None) -> SeenFile:
    """The row of a file whose yank was just set or undone; it replaces ``row`` only."""
    sidecars = {
        suffix: int(size) for suffix, _, size in (each.partition(":") for each in row.sidecars.split(";")) if size
    }
    sidecars.pop(".yanked", None)
    if yanked is not None:
        sidecars[".yanked"] = len(yanked)
    entry = StoredFile(file.root, file.path, row.size, row.mtime_ns, row.inode, row.ctime_ns)
    dist = as_filed(file.filename, file.project)
    return found_from(entry, dist, sidecars, yanked)._replace(before=row)
