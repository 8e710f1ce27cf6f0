"""The configuration file ``pypiserver.toml``: every setting by its name, at the top level, in TOML's own types.

**Invariants:** an unknown name is an error; a relative path is relative to the file, not to the working directory; only
this module reads the file, and values go through the same parsers as flags.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..text import printable
from . import path_parsers
from .config import OPEN_TO_ALL, SOURCES
from .discovered_files import objection
from .sources import ENVIRON_PREFIX, Given

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "pypiserver.toml"
VARIABLE = f"{ENVIRON_PREFIX}CONFIG"
NONE = "none"


def locate(flag: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the named one (``none``: no file), or ``pypiserver.toml`` in the working directory.

    Raises ValueError for a name that is no path.
    """
    named = str(flag) if flag is not None else environ.get(VARIABLE, "")
    if named.lower() == NONE:
        return None
    if named:
        found: Path = path_parsers.path(named)
        return found
    here = Path(NAME)
    return here if here.is_file() else None


def refuse_strange(found: Path, roots: Iterable[Path] = ()) -> None:
    """Raise ConfigError for a file that was found, not named, if another user may have put it there."""
    why = objection(found, roots)
    if why:
        raise ConfigError(
            f"{NAME} in the working directory is not read, because {why}. To use it, pass --config {NAME}; to ignore "
            "it, pass --config none.",
            kind="strange",
            setting="config",
            value=found,
        )


def read(file: Path) -> dict[str, Given]:
    """The values in the file, by the names it uses; raises ConfigError when it cannot be read or is not TOML."""
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        if file.is_dir():
            message = f"{file} is a folder, and not a configuration file; name a folder of packages with -r {file}."
            raise ConfigError(message, kind="folder", setting="config", value=file) from error
        raise ConfigError(
            f"The configuration file {file} cannot be read: {error.strerror or error}.",
            kind="unreadable",
            setting="config",
            value=file,
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"The configuration file {file} is not TOML: {printable(str(error))}.",
            kind="value",
            setting="config",
            value=file,
        ) from error
    tables = [name for name, value in values.items() if isinstance(value, dict)]
    if tables:
        raise ConfigError(
            f"{file}: "
            + (
                "write [[upstream]], with two brackets, for each index"
                if tables[0] == "upstream"
                else f"no section [{printable(tables[0])}] exists; write settings without sections, as in: port = 8080"
            ),
            kind="section",
            setting="config",
            value=file,
        )
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100 - resolve() would follow links
    return {
        name: Given(f"{file}: {name}", _placed(name, value, folder), source=str(file)) for name, value in values.items()
    }


def _placed(name: str, value: Any, folder: Path) -> Any:
    """The value with relative paths made absolute, except ``.`` for the password file, which means none."""
    known = SOURCES.declared(name)
    if known is None or known.parse not in (path_parsers.path, path_parsers.paths, path_parsers.catalog_place):
        return value
    if isinstance(value, list):
        return [_placed(name, each, folder) for each in value]
    if not isinstance(value, str) or not value.strip() or value.startswith("~"):
        return value
    if known.parse is path_parsers.catalog_place and "://" in value:
        return value
    return value if known.name == "password_file" and Path(value) == OPEN_TO_ALL else str(folder / value)
