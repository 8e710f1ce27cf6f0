"""The settings of what clients and people get: name, default, flag, parser, unit and help text of each.

**Invariants:** those of :mod:`config`, whose table has these rows.
"""

# ruff: noqa: RUF009 - row() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import address_parsers, parsers, path_parsers
from .setting import setting

ACCELS = ("off", "nginx", "sendfile")
DOWNLOADS = ("auto", "redirect", "stream", "accel")

row = partial(setting, group="Index")


@dataclass(frozen=True)
class IndexSettings:
    """Other indexes, links and pages, and how files are sent."""

    fallback: bool = row(
        True, parse=parsers.boolean, flags=("--disable-fallback",), action="off",
        aliases=("redirect_to_fallback",), opposites=("disable_fallback",),
        help="Do not redirect requests for unknown projects to the public index.",
    )
    fallback_url: str | None = row(
        None, parse=address_parsers.web_address, flags=("--fallback-url",), metavar="URL",
        default_text="the public index",
        help="Redirect requests for unknown projects to this index.",
    )
    private: tuple[str, ...] = row(
        (), parse=parsers.patterns, flags=("--private",), metavar="PATTERN", action="repeat",
        split=parsers.words,
        help="Never redirect requests for projects that match this pattern, nor look for updates of them: 'acme-*'; "
        "may be repeated.",
    )
    private_file: Path | None = row(
        None, parse=path_parsers.path, flags=("--private-file",), metavar="FILE",
        help="Read more patterns for --private from this file, one per line.",
    )
    hash_algo: str | None = row(
        "sha256", parse=parsers.hash_algorithm, flags=("--hash-algo",), metavar="ALGO", none_is_value=True,
        help="Put this hash into the fragment of links, any fixed-length hash of hashlib; off, no, false or 0 omit it.",
    )
    welcome: Path | path_parsers.Content | None = row(
        None, parse=path_parsers.path_or_content, flags=("--welcome",), metavar="HTML_FILE",
        aliases=("welcome_file", "welcome_msg"),
        help="Show this page at the root URL.",
    )
    title: str | None = row(
        None, parse=parsers.title, flags=("--title",), metavar="TEXT", default_text="pypiserver",
        help="Call the index so on its pages, in their titles and in the feed: 'Acme packages'.",
    )
    cache_control: int | None = row(
        None, parse=parsers.whole_number(0), flags=("--cache-control",), metavar="AGE", unit="seconds",
        help='Send "Cache-Control: public, max-age=AGE" with package files: clients and proxies keep them for AGE '
        "seconds and fail to install a file that is replaced meanwhile. By default they revalidate each time.",
    )
    accel: str = row(
        "off", parse=parsers.one_of(ACCELS, "way"), flags=("--accel",), metavar="WAY", choices=ACCELS,
        help="Let the reverse proxy send package files: nginx (X-Accel-Redirect), or sendfile (Apache's X-Sendfile).",
    )
    accel_location: str = row(
        "/protected", parse=address_parsers.url_path, flags=("--accel-location",), metavar="PATH",
        help="The internal nginx location that maps to the package files.",
    )
    downloads: str = row(
        "auto", parse=parsers.one_of(DOWNLOADS, "way"), flags=("--downloads",), metavar="WAY", choices=DOWNLOADS,
        help="How to send files of a bucket: redirect (to a signed URL of the bucket), stream (through this server) "
        "or accel (nginx fetches and caches them); auto is redirect.",
    )
    signed_url_ttl: int = row(
        3600, parse=parsers.whole_number(60, 604_800), flags=("--signed-url-ttl",), metavar="SECONDS", unit="seconds",
        help="Let signed URLs of a bucket expire after this many seconds.",
    )
    public_storage_endpoint: str | None = row(
        None, parse=address_parsers.web_address, flags=("--public-storage-endpoint",), metavar="URL",
        default_text="the one of AWS_ENDPOINT_URL",
        help="Redirect clients to the S3 store at this URL, if they cannot use the one this server uses.",
    )
