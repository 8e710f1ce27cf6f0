"""Parsers of settings that name files, folders and places of a catalog or of packages.

**Invariants:** those of :mod:`parsers`; an empty path is refused, never the working directory.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .address_parsers import bucket_address
from .parsers import several


def place(value: object) -> Path | str:
    """A folder, or the URL of a bucket."""
    return bucket_address(value) if "://" in str(value) else path(value)


def path(value: object) -> Path:
    """A path with ``~`` expanded; refuses an empty one, which would silently mean the working directory."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{value!r} is not a path")
    written = os.fspath(value)
    if not isinstance(written, str) or not written.strip() or "\0" in written:
        raise ValueError(f"{value!r} is not a valid path; give the path of a file or folder")
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise ValueError(f"{value!r} has no meaning without a home folder; give a full path") from None


class Content(str):
    """The content of a file, given instead of its path."""

    __slots__ = ()


def path_or_content(value: object) -> Path | Content:
    """A path, or a ``Content`` unchanged."""
    return value if isinstance(value, Content) else path(value)


def catalog_place(value: object) -> Path | str:
    """The path of a file, or the URL of a PostgreSQL database; errors never repeat the URL, it may hold a password."""
    scheme, separator, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    if not separator:
        return path(value)
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError("the value is not a PostgreSQL URL; give a file, or postgresql://USER@HOST/DATABASE")
    if rest.partition("/")[0].count("@") > 1 or any(character.isspace() for character in rest):
        raise ValueError("its user or password has a character that must be percent-encoded: @ is %40")
    return str(value)


def paths(value: object) -> tuple[Path, ...]:
    """One path or several; a string is always one path."""
    values = [value] if isinstance(value, str | os.PathLike) else several(value)
    if not values:
        raise ValueError("the list of folders is empty; give at least one")
    return tuple(dict.fromkeys(path(each) for each in values))


def path_list(text: str) -> list[str]:
    """The folders in a variable: one per line, or separated as in ``PATH``."""
    return [part.strip() for part in re.split(rf"[\r\n{re.escape(os.pathsep)}]+", text) if part.strip()]
