"""Where packages are, for the commands that change them: folders or a bucket, spoken to in the same words.

``place_of`` gives a module with ``yank``, ``unyank``, ``delete``, ``restore`` (each an iterator of what is done) and
``check`` (a list of faults).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Protocol, TextIO

from ..catalog import FAILURES
from ..errors import Unavailable
from ..maintenance.copy_endpoints import BucketEnd, FolderEnd
from ..observability.logging_setup import redacted
from ..settings.config import Config
from ..text import printable
from . import manage_bucket, manage_folder
from .output import Change, tell_changes


class _Reported(Protocol):
    @property
    def config(self) -> Config: ...

    @property
    def json(self) -> bool: ...


def place_of(config: Config) -> ModuleType:
    """What changes packages where these settings say they are."""
    return manage_folder if config.storage is None else manage_bucket


def tell(changes: Iterable[Change], command: _Reported, out: TextIO) -> int:
    """Let the changes happen, and say each; gives the exit status."""
    with catalog_failures(command.config):
        tell_changes(changes, out, as_json=command.json)
    return 0


@contextlib.contextmanager
def catalog_failures(config: Config) -> Iterator[None]:
    """Say which catalog cannot be used; raises Unavailable."""
    try:
        yield
    except FAILURES as error:
        raise Unavailable(
            f"The catalog {_catalog_of(config)} cannot be used: {printable(str(error))}. See to it, or name "
            "another one with --catalog."
        ) from error


def _catalog_of(config: Config) -> str:
    """The catalog's place as it may be shown."""
    place = config.catalog or ""
    return redacted(printable(str(place).partition("?")[0])) if "://" in str(place) else printable(str(place))


def endpoint(place: Path | str) -> FolderEnd | BucketEnd:
    """A folder or a bucket to copy from or to."""
    return FolderEnd(place.absolute()) if isinstance(place, Path) else manage_bucket.endpoint(place)
