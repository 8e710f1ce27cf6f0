"""Where files and pages of other indexes are kept, and the mark that says whose they are.

**Invariants:** what one index offered is never given out as another's: the folder of an index has its address in it,
and an index with another address does not use the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..catalog.sqlite.places import default_catalog_path
from ..errors import ConfigError
from ..settings.config import Config
from ..text import printable
from ..upstream.values import Upstream

# In the folder of an index: its address.
MARK = ".index"


def cache_folder_of(config: Config) -> Path:
    """The folder of ``--cache-folder``, else one in the user's cache folder; raises ConfigError without a home."""
    if config.cache_folder is not None:
        return Path(os.path.abspath(config.cache_folder))  # noqa: PTH100 - resolve() would follow links
    try:
        return default_catalog_path("", environ=dict(os.environ)).parent / "indexes"
    except RuntimeError:
        raise ConfigError(
            "This user has no home folder, so there is no default for the cache; name a folder with --cache-folder.",
            kind="missing",
            setting="cache_folder",
        ) from None


def shared_cache_of(config: Config) -> tuple[str, str] | None:
    """The bucket and the database that servers on several machines have as their cache; None if it is a folder."""
    if config.cache_folder is not None or config.storage is None or not isinstance(config.catalog, str):
        return None
    return config.storage, config.catalog


def place_of(config: Config) -> str:
    """The cache as people name it; raises ConfigError as :func:`cache_folder_of`."""
    shared = shared_cache_of(config)
    return str(cache_folder_of(config)) if shared is None else f"{shared[0].rstrip('/')}/cache"


def refuse_overlap(config: Config, folder: Path) -> None:
    """Raise ConfigError for a cache in a folder of packages, or around one: its files would be taken for ours."""
    real = Path(os.path.realpath(folder))
    for root in config.roots:
        other = Path(os.path.realpath(root))
        if real == other or other in real.parents or real in other.parents:
            raise ConfigError(
                f"The cache {printable(str(folder))} and the folder of packages {printable(str(root))} are one in the "
                "other, so files of other indexes would be taken for yours; name another --cache-folder.",
                kind="contradiction",
                setting="cache_folder",
                value=folder,
            )


def claim_folders(folder: Path, upstreams: Iterable[Upstream], *, makes: bool = True) -> None:
    """Make the folder of each index, with its mark; raises ConfigError if it is that of another index, or unusable.

    Without ``makes`` nothing is made.
    """
    for each in upstreams:
        mark = folder / each.name / MARK
        try:
            known = _read(mark)
            if not known and makes:
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.write_text(f"{each.url}\n", "utf-8")
        except OSError as error:
            raise ConfigError(
                f"The cache {printable(str(folder))} cannot be used ({error.strerror or error}); name another "
                "--cache-folder.",
                kind="unusable",
                setting="cache_folder",
                value=folder,
            ) from error
        if known and known != each.url:
            raise ConfigError(
                f"The cache {printable(str(mark.parent))} has what another index offered ({printable(known)}); give "
                f"the index {each.name} another name, or name another --cache-folder.",
                kind="contradiction",
                setting="cache_folder",
                value=folder,
            )


def _read(mark: Path) -> str:
    try:
        return mark.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
