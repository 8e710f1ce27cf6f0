"""The path of a server's catalog, and its identity.

**Invariants:** every process of a server makes the same decision, so no temporary condition, such as a full disk, may
influence it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ...errors import ConfigError
from ...text import printable
from ..schema import SCHEMA_VERSION
from .file import was_catalog


def catalog_identity(roots: Iterable[Path | str], hash_algo: str | None) -> str:
    """The identity of a catalog: rows of other roots, or with another algorithm of link digests, cannot be used.

    A database stores only text, so bytes of a folder's name that are not UTF-8 become escapes.
    """
    identity = "\n".join([hash_algo or "off", *map(str, roots)])
    return identity.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def usable_place(place: Path | str | None) -> Path | str | None:
    """The place that the operator set for the catalog, checked; None when none is set.

    Raises ConfigError when the file cannot be created or written, because an operator who sets a place wants that one,
    and when it was never a catalog: it would make way for one, and may be a password file.
    """
    if not isinstance(place, Path):
        return place
    fault = _fault(place)
    if fault:
        raise ConfigError(
            f"The catalog {printable(str(place))} cannot be used: {fault}; name another with --catalog.",
            kind="unusable",
            setting="catalog",
            value=place,
        )
    if not was_catalog(place):
        raise ConfigError(
            f"The file {printable(str(place))} of --catalog is no catalog of pypiserver; name another one.",
            kind="foreign",
            setting="catalog",
            value=place,
        )
    return place


def _fault(place: Path) -> str:
    """Why there can be no catalog at this place, '' when there can be one."""
    folder = place.parent
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return f"{printable(str(folder))} is not a folder"
        if not _may(folder, os.W_OK | os.X_OK):
            return "this user may not write to its folder"
        status = place.stat()
    except FileNotFoundError:
        return "" if folder.is_dir() else "its folder does not exist"
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    return "" if _may(place, os.R_OK | os.W_OK) else "this user may not write to it"


def _may(path: Path, mode: int) -> bool:
    """Whether the effective user of this process has that access; by default ``os.access`` checks the real user."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def catalog_path(identity: str) -> Path | None:
    """The first place that can be written: the user's cache folder, a private temporary folder, or None."""
    # A name for this version: a server of the previous version may still use its own catalog until it stops.
    wanted = f"{SCHEMA_VERSION}\n{identity}"
    name = hashlib.sha256(wanted.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    user = os.getuid() if sys.platform != "win32" else "user"
    # Suppressed here and below: the user has no home, there is no temporary folder, or neither can be written.
    with contextlib.suppress(OSError, RuntimeError):
        path = default_catalog_path(name, environ=dict(os.environ))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_ours(path.parent):
            return path
    with contextlib.suppress(OSError):
        private = Path(tempfile.gettempdir()) / f"pypiserver-{user}"
        path = private / name / "catalog.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_ours(path.parent) and _is_ours(private):
            return path
    return None


def default_catalog_path(name: str, *, environ: dict[str, str]) -> Path:
    """The default path of the catalog called ``name``, in the user's cache folder (XDG Base Directory Specification).

    Raises RuntimeError when the user has no home.
    """
    if os.name == "nt" and environ.get("LOCALAPPDATA"):
        base = Path(environ["LOCALAPPDATA"])
    else:
        base = Path(environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return base / "pypiserver" / name / "catalog.sqlite"


def _is_ours(folder: Path) -> bool:
    """Whether the folder can be written, belongs to this user, and is not a link, so that no other user planted it."""
    status = folder.lstat()
    owned = sys.platform == "win32" or status.st_uid == os.getuid()
    return owned and not folder.is_symlink() and os.access(folder, os.W_OK | os.X_OK)
