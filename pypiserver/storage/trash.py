"""Taking files away: for good, or into the hidden folder ``.trash`` of their root, from where they come back.

The rules to keep: a file goes before what stands beside it, so nothing that was yanked or signed is ever seen without;
what comes back never replaces what stands there now.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import Conflict, NotFound, PypiServerError
from .native import native, text_of
from .operations import OPERATIONS, Operations, refusal, sync_folder
from .placing import beside, claimed, place

FOLDER = ".trash"
SUFFIXES = (".asc", ".yanked", ".provenance")


def remove(file: Path, *, operations: Operations = OPERATIONS) -> None:
    """Delete a file with its sidecars; raises what :func:`operations.refusal` makes of an error."""
    try:
        with claimed(file, operations, is_needed=False):
            for path in (file, *(beside(file, suffix) for suffix in SUFFIXES)):
                if os.path.lexists(path):
                    operations.unlink(path)
            sync_folder(file.parent, operations)
    except OSError as error:
        raise _not_removed(error, file) from error


def move(root: Path, file: Path) -> None:
    """Move a file with its sidecars to the trash; an older one of its name there is replaced."""
    target = root / FOLDER / file.relative_to(root)
    try:
        _make_folders(root, target)
        with claimed(file, is_needed=False):
            file.replace(target)
            for suffix in SUFFIXES:
                here, kept = beside(file, suffix), beside(target, suffix)
                kept.unlink(missing_ok=True)
                if os.path.lexists(here):
                    here.replace(kept)
            sync_folder(target.parent)
            sync_folder(file.parent)
    except OSError as error:
        raise _not_removed(error, file) from error


def listing(root: Path) -> list[str]:
    """The paths of all files in the trash, as they were below the root, sidecars left out."""
    base = root / FOLDER
    found = [
        text_of(Path(folder, name).relative_to(base).as_posix())
        for folder, _, names in os.walk(base)
        for name in names
        if not name.endswith(SUFFIXES) and not name.startswith(".")
    ]
    return sorted(found)


def restore(root: Path, path: str, *, operations: Operations = OPERATIONS) -> None:
    """Move a file with its sidecars back; ``path`` is one that :func:`listing` gave."""
    if path not in listing(root):
        raise NotFound(f"The trash of {root} has no file {path!r}.")
    source, target = root / FOLDER / native(path), root / native(path)
    try:
        _make_folders(root, target)
        kept = [beside(source, suffix) for suffix in SUFFIXES]
        sidecars = {each.suffix: each.read_bytes() for each in kept if each.is_file()}
        place(source, target, sidecars, overwrite=False, operations=operations)
        for each in kept:
            each.unlink(missing_ok=True)
    except FileExistsError as error:
        raise Conflict(f"{path} already exists in {root}; the one in the trash stays there.") from error
    except OSError as error:
        raise refusal(error, target.parent) from error


def _make_folders(root: Path, target: Path) -> None:
    """Make the folders that lead from the root to ``target``; raises OSError when one of them is a link."""
    folder = root
    for part in target.parent.relative_to(root).parts:
        folder = folder / part
        if folder.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        folder.mkdir(exist_ok=True)


def _not_removed(error: OSError, file: Path) -> PypiServerError:
    failure = refusal(error, file.parent)
    words = error.strerror or error
    if os.path.lexists(file):
        return type(failure)(f"{file.name} could not be removed: {words}. It is still there.")
    return type(failure)(f"{file.name} was removed, but what stands beside it may still be there: {words}.")
