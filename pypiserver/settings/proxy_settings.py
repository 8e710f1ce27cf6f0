"""The settings of projects that come from other indexes: name, default, flag, parser, unit and help text of each.

**Invariants:** those of :mod:`config`, whose table has these rows.
"""

# ruff: noqa: RUF009 - row() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import parsers, path_parsers, upstream_tables
from .setting import setting

MODES = ("redirect", "proxy", "cache", "off")
# The modes in which this server itself asks other indexes.
ASKING = ("proxy", "cache")

row = partial(setting, group="Fallback")


@dataclass(frozen=True)
class ProxySettings:
    """What happens to requests for projects that are not here, and what may come in from other indexes."""

    fallback_mode: str = row(
        "redirect", parse=parsers.one_of(MODES, "mode"), flags=("--fallback-mode",), metavar="MODE", choices=MODES,
        help="What to do with requests for unknown projects: redirect clients to the other index, fetch its pages and "
        "files for them (proxy), keep both too (cache), or answer 404 (off, like --disable-fallback).",
    )
    cache_folder: Path | None = row(
        None, parse=path_parsers.path, flags=("--cache-folder",), metavar="DIR",
        default_text="a folder in the user's cache folder",
        help="With --fallback-mode cache, keep files and pages of other indexes in this folder. Each folder in it has "
        "the packages of one index, and can be served on its own. With proxy, keep pages only.",
    )
    cache_size: int = row(
        50 << 30, parse=parsers.size, flags=("--cache-size",), metavar="SIZE", unit="bytes", default_text="50G",
        help="Delete the files that were not used for longest from the cache when it is larger than this.",
    )
    cache_fresh: int = row(
        600, parse=parsers.duration, flags=("--cache-fresh",), metavar="TIME", unit="seconds", default_text="10m",
        help="Serve a page of another index for this long before asking whether it changed: a number with s, m, h or "
        "d, at most as long as that index allows.",
    )
    offline: bool = row(
        False, parse=parsers.boolean, flags=("--offline",), action="switch",
        help="Ask no other index: serve what the cache has. Needs --fallback-mode cache.",
    )
    merge: tuple[str, ...] = row(
        (), parse=parsers.patterns, flags=("--merge",), metavar="PATTERN", action="repeat", split=parsers.words,
        help="For projects that match this pattern, add the other index's files of versions that are not here; without "
        "it, a project that is here never gets files from elsewhere. May be repeated.",
    )
    known_names: bool = row(
        False, parse=parsers.boolean, flags=("--known-names",), action="switch",
        help="Ask other indexes only for names in their lists of projects, read once a day, so that no index learns "
        "a misspelled or secret name. New projects count from the next day.",
    )
    max_fetches: int = row(
        32, parse=parsers.whole_number(1, 1000), flags=("--max-fetches",), metavar="N",
        help="Fetch at most this many pages and files of other indexes at once in each process; answer others with 503 "
        "and Retry-After.",
    )
    min_age: int | None = row(
        None, parse=parsers.duration, flags=("--min-age",), metavar="TIME", unit="seconds",
        help="Withhold files of other indexes until this long after their upload there: a number with s, m, h or d, "
        "such as 7d.",
    )
    not_after: str | None = row(
        None, parse=parsers.date, flags=("--not-after",), metavar="DATE",
        help="Withhold files that other indexes got after this date (2026-11-28, the whole day in UTC) or time "
        "(2026-11-28T12:00:00Z).",
    )
    allow: Path | None = row(
        None, parse=path_parsers.path, flags=("--allow",), metavar="FILE",
        help="Read exceptions from --min-age and --not-after from this file: lines such as 'urllib3==2.6.1  until "
        "2026-12-10  # security fix'. Changes count at once; pypi-server proxy allow writes them.",
    )
    allow_projects: Path | None = row(
        None, parse=path_parsers.path, flags=("--allow-projects",), metavar="FILE",
        help="Let only the projects and versions in this file come from other indexes: lines such as 'numpy', "
        "'django<6' or 'acme-*'. Changes count at once.",
    )
    deny_projects: Path | None = row(
        None, parse=path_parsers.path, flags=("--deny-projects",), metavar="FILE",
        help="Let no project or version in this file come from other indexes; a comment in its line is the reason "
        "that clients get. Changes count at once.",
    )
    upstream: tuple[upstream_tables.UpstreamTable, ...] = row(
        (), parse=upstream_tables.upstream_tables,
        help="Only in pypiserver.toml and from Python: other indexes to ask before --fallback-url, a table "
        "[[upstream]] for each, in this order. The first that has a project answers alone.",
    )
