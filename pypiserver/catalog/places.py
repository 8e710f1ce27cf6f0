"""Where the catalog of a server is, and what it is a catalog of.

The rule to keep: every process of a server decides this alike, so nothing that passes may count, as a full disk does.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import ConfigError
from .schema import SCHEMA_VERSION

_LOG = logging.getLogger(__name__)


def catalog_identity(roots: Iterable[Path | str], hash_algo: str | None) -> str:
    """What a catalog describes: rows of other roots, or with another link digest, are of no use to us.

    A database takes only text, so bytes of a folder's name that are not UTF-8 are written as escapes.
    """
    identity = "\n".join([hash_algo or "off", *map(str, roots)])
    return identity.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def usable_place(place: Path | str | None) -> Path | str | None:
    """The place an operator names for the catalog, or None where no file can be made, now or later.

    Raises ConfigError for a file that is there and cannot be written.
    """
    if not isinstance(place, Path):
        return place
    folder = place.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise ConfigError(f"The catalog {place} cannot be written; name another file with --catalog.")
        return place
    if place.exists():
        raise ConfigError(f"The folder of the catalog {place} cannot be written; name another file with --catalog.")
    _LOG.warning(
        "The catalog %s cannot be made, as its folder is missing or cannot be written; it is kept elsewhere, or in "
        "memory.",
        place,
    )
    return None


def catalog_path(identity: str) -> Path | None:
    """The first place that can be written: the user's cache folder, a private one below the temporary one, none."""
    # Of this version: the one before may go on with its own until it ends.
    wanted = f"{SCHEMA_VERSION}\n{identity}"
    name = hashlib.sha256(wanted.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    user = os.getuid() if sys.platform != "win32" else "user"
    private = Path(tempfile.gettempdir()) / f"pypiserver-{user}"
    for path in (default_catalog_path(name, environ=dict(os.environ)), private / name / "catalog.sqlite"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if _is_ours(path.parent) and (private not in path.parents or _is_ours(private)):
            return path
    return None


def default_catalog_path(name: str, *, environ: dict[str, str]) -> Path:
    """Where the catalog called ``name`` lives when nobody says: the user's cache folder (XDG base directories)."""
    if os.name == "nt" and environ.get("LOCALAPPDATA"):
        base = Path(environ["LOCALAPPDATA"])
    else:
        base = Path(environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return base / "pypiserver" / name / "catalog.sqlite"


def _is_ours(folder: Path) -> bool:
    """Whether the folder can be written, and nobody else put it there for us to fall into."""
    status = folder.lstat()
    owned = sys.platform == "win32" or status.st_uid == os.getuid()
    return owned and not folder.is_symlink() and os.access(folder, os.W_OK | os.X_OK)
