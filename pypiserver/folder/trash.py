"""Removing files: for good, or into the hidden folder ``.trash`` of their root, from which they can be restored.

**Invariants:** a file is removed before its sidecars, so a yanked or signed file is never visible without its mark or
signature; a restored file never replaces another one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..backend.name_lock import claimed, look_at
from ..backend.os_calls import OPERATIONS, Operations, hidden_name, refusal, sync_folder
from ..backend.stored_file import entry_of
from ..distributions.filename import SIDECARS
from ..errors import Conflict, NotFound, PypiServerError
from ..native_names import native, text_of
from .atomic import name_exclusively, place, sidecar_path
from .safe_open import held_folder, read_plain

FOLDER = ".trash"
# The most bytes of a sidecar that are restored; sidecars are small.
MAX_SIDECAR = 16 * 1024 * 1024


def remove(
    file: Path, folder: Path, *, only: tuple[int, int, int] | None = None, operations: Operations = OPERATIONS
) -> bool:
    """Delete a file with its sidecars; raises the error that :func:`os_calls.refusal` maps an OSError to.

    ``folder`` is the name of its folder in messages. With ``only`` just a file of this size, time (nanoseconds) and
    inode is deleted; returns whether it was that one.
    """
    try:
        with claimed(file, operations, is_needed=False):
            if only is not None and not _set_aside(file, only, operations):
                return False
            for path in (file, *(sidecar_path(file, suffix) for suffix in SIDECARS)):
                with contextlib.suppress(FileNotFoundError):
                    operations.unlink(path)
            sync_folder(file.parent, operations)
            return True
    except OSError as error:
        raise _not_removed(error, file, folder) from error


def _set_aside(file: Path, only: tuple[int, int, int], operations: Operations) -> bool:
    """Delete a file if it is this one; it first gets a hidden name, which no other process can give to another file."""
    kept = hidden_name(file.parent, "kept")
    status = look_at(file)
    if status is None or entry_of(0, "", status)[2:5] != only:
        return False
    try:
        operations.replace(file, kept)
    except FileNotFoundError:
        return False
    if entry_of(0, "", kept.lstat())[2:5] == only:
        operations.unlink(kept)
        return True
    try:
        name_exclusively(kept, file, may_rename=True, operations=operations)
    except FileExistsError:
        # By now there is a newer one.
        operations.unlink(kept)
    return False


def move(root: Path, path: str, file: Path) -> None:
    """Move ``file``, which has this path below the root, to the trash; replaces an older one of its name there."""
    folder, _, name = f"{FOLDER}/{path}".rpartition("/")
    try:
        with held_folder(root, folder, make=True) as held, claimed(file, is_needed=False):
            target = held / native(name)
            file.replace(target)
            for suffix in SIDECARS:
                here, kept = sidecar_path(file, suffix), sidecar_path(target, suffix)
                kept.unlink(missing_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    here.replace(kept)
            sync_folder(target.parent)
            sync_folder(file.parent)
    except OSError as error:
        raise _not_removed(error, file, (root / path).parent) from error


def listing(root: Path) -> list[str]:
    """The paths of all files in the trash, as they were below the root, without sidecars."""
    base = root / FOLDER
    found = [
        text_of(Path(folder, name).relative_to(base).as_posix())
        for folder, _, names in os.walk(base)
        for name in names
        if not name.endswith(SIDECARS) and not name.startswith(".")
    ]
    return sorted(found)


def restore(root: Path, path: str, *, operations: Operations = OPERATIONS) -> None:
    """Move a file and its sidecars back; ``path`` is one that :func:`listing` returned."""
    if path not in listing(root):
        raise NotFound(f"The trash of {root} has no file {path!r}.")
    folder, _, name = path.rpartition("/")
    trash = f"{FOLDER}/{folder}".rstrip("/")
    try:
        with held_folder(root, trash) as below, held_folder(root, folder, make=True) as held:
            source, target = below / native(name), held / native(name)
            kept = [sidecar_path(source, suffix) for suffix in SIDECARS]
            read = {each.suffix: read_plain(each, MAX_SIDECAR) for each in kept}
            sidecars = {suffix: data for suffix, data in read.items() if data is not None}
            place(source, target, sidecars, overwrite=False, operations=operations)
            for each in kept:
                each.unlink(missing_ok=True)
    except FileExistsError as error:
        raise Conflict(f"{path} already exists in {root}; the one in the trash stays there.") from error
    except FileNotFoundError as error:
        raise NotFound(f"The trash of {root} has no file {path!r} any more.") from error
    except OSError as error:
        raise refusal(error, (root / path).parent) from error


def _not_removed(error: OSError, file: Path, folder: Path) -> PypiServerError:
    failure = refusal(error, folder)
    words = error.strerror or error
    if os.path.lexists(file):
        return type(failure)(f"{file.name} could not be removed: {words}. It is still there.")
    return type(failure)(f"{file.name} was removed, but its sidecars may still be there: {words}.")
