"""The settings of packages and their catalog: name, default, flag, parser, unit and help text of each.

**Invariants:** those of :mod:`config`, whose table has these rows.
"""

# ruff: noqa: RUF009 - row() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import ConfigError
from . import address_parsers, parsers, path_parsers
from .setting import setting

BACKENDS = ("auto", "simple-dir", "cached-dir")


def default_roots() -> tuple[Path, ...]:
    """``~/packages``; raises ``ConfigError`` when the user has no home folder."""
    try:
        return path_parsers.paths("~/packages")
    except ValueError as fault:
        raise ConfigError(f"No folder was given, and the default {fault}.", kind="missing", setting="roots") from None


row = partial(setting, group="Folders")


@dataclass(frozen=True)
class FolderSettings:
    """Where packages and the catalog are, and how large uploads may be."""

    roots: tuple[Path, ...] = row(
        factory=default_roots, parse=path_parsers.paths, flags=("-r", "--root"), metavar="DIR", action="repeat",
        default_text="~/packages", aliases=("root",),
        help="Serve the packages in this folder; same as naming it without the flag. Uploads go to the first folder.",
    )
    storage: str | None = row(
        None, parse=address_parsers.bucket_address, flags=("--storage",), metavar="URL", aliases=("store_url",),
        help="Keep the packages in this bucket instead of folders: s3://BUCKET/PREFIX, gs://... or az://...; needs "
        "pypiserver[objectstore]. Reads credentials and endpoint from AWS_*, GOOGLE_* and AZURE_* variables.",
    )
    overwrite: bool = row(
        False, parse=parsers.boolean, flags=("-o", "--overwrite"), action="switch",
        help="Allow uploads to replace existing files.",
    )
    max_upload_size: int = row(
        4 << 30, parse=parsers.size, flags=("--max-upload-size",), metavar="SIZE", unit="bytes",
        default_text="4G", help="Refuse larger uploads. SIZE is a number of bytes, or a number with K, M, G or T.",
    )
    max_form_size: int = row(
        16 << 20, parse=parsers.size, flags=("--max-form-size",), metavar="SIZE", unit="bytes",
        default_text="16M", help="Refuse uploads whose form fields, without the file, are larger than this.",
    )
    catalog: Path | str | None = row(
        None, parse=path_parsers.catalog_place, flags=("--catalog",), metavar="FILE",
        default_text="a file in the user's cache folder",
        help="Keep the catalog in this file, which can be deleted at any time, or in a database that several servers "
        "share: postgresql://USER@HOST/DATABASE; needs pypiserver[postgres].",
    )
    stale_for: int = row(
        300, parse=parsers.whole_number(0, 86_400), flags=("--stale-for",), metavar="SECONDS", unit="seconds",
        help="Keep serving the last known pages for this many seconds while the catalog database is down.",
    )
    backend: str = row(
        "auto", parse=parsers.one_of(BACKENDS, "backend"), flags=("--backend",), metavar="BACKEND", choices=BACKENDS,
        aliases=("backend_arg",),
        help="Accepted for compatibility; has no effect.",
    )
