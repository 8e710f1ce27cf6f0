"""Taking files away: for good, or into the hidden folder ``.trash`` of their root, from where they come back.

The rules to keep: a file goes before what stands beside it, so no signature is ever left to describe nothing for long;
what comes back never replaces what stands there now.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import Conflict, NotFound, PypiServerError
from .staging import OPERATIONS, Operations, refusal

FOLDER = ".trash"
SUFFIXES = (".asc", ".yanked", ".provenance")


def remove(file: Path, *, operations: Operations = OPERATIONS) -> None:
    """Delete a file with its sidecars; raises what :func:`staging.refusal` makes of an error."""
    try:
        file.unlink(missing_ok=True)
        for suffix in SUFFIXES:
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise _not_removed(error, file) from error


def move(root: Path, file: Path) -> None:
    """Move a file with its sidecars to the trash; an older one of its name there is replaced."""
    target = root / FOLDER / file.relative_to(root)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
        for suffix in SUFFIXES:
            beside, kept = file.with_name(file.name + suffix), target.with_name(target.name + suffix)
            kept.unlink(missing_ok=True)
            if beside.exists():
                beside.replace(kept)
    except OSError as error:
        raise _not_removed(error, file) from error


def listing(root: Path) -> list[str]:
    """The paths of all files in the trash, as they were below the root, sidecars left out."""
    base = root / FOLDER
    found = [
        Path(folder, name).relative_to(base).as_posix()
        for folder, _, names in os.walk(base)
        for name in names
        if not name.endswith(SUFFIXES)
    ]
    return sorted(found)


def restore(root: Path, path: str) -> None:
    """Move a file with its sidecars back; ``path`` is one that :func:`listing` gave."""
    if path not in listing(root):
        raise NotFound(f"The trash of {root} has no file {path!r}.")
    source, target = root / FOLDER / path, root / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for suffix in SUFFIXES:
            beside = source.with_name(source.name + suffix)
            if beside.exists() and not target.exists():
                beside.replace(target.with_name(target.name + suffix))
        # link is exclusive where rename would replace what stands there now.
        os.link(source, target)
        source.unlink()
    except FileExistsError as error:
        raise Conflict(f"{path} already exists in {root}; the one in the trash stays there.") from error
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) and not target.exists():
            source.replace(target)
            return
        raise refusal(error, target.parent) from error


def _not_removed(error: OSError, file: Path) -> PypiServerError:
    failure = refusal(error, file.parent)
    return type(failure)(f"{file.name} could not be removed: {error.strerror or error}. It is still there.")
