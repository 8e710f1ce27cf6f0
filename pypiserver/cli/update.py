"""Which of our files have newer releases upstream: the plan is made first, then printed, or carried out by pip.

``decide`` makes the plan, and is pure.

**Invariants:** what is unknown is reported, never taken for "up to date"; nothing of upstream is run, only downloaded,
unless source distributions are asked for.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, sys_tags
from packaging.utils import NormalizedName, is_normalized_name
from packaging.version import Version

from ..bounded_cache import short_texts
from ..distributions.filename import FilenameParts, normalize
from ..distributions.filename_keys import file_key
from ..distributions.versions import parse_version
from ..errors import ConfigError
from ..upstream.client import UpstreamFile, open_index
from ..upstream.errors import Unreachable, UpstreamError
from .output import count_of, write_json
from .pip_download import Download, Runner, command, environment, run_pip
from .update_report import (
    Finding,
    Local,
    paragraph_of,
    report_of,
    row_of,
    table_of,
    tell_errors,
    tell_missing,
    write_mark,
)

LOOKUPS = 8  # requests at once


@dataclass(frozen=True, slots=True)
class Options:
    """Which index to ask (its simple page), what to look for there, and what to do with the result."""

    index_url: str
    allow_unstable: bool = False
    allow_sdist: bool = False
    download_directory: Path | None = None
    ignore: frozenset[NormalizedName] = frozenset()
    execute: bool = False
    as_json: bool = False


def newest_local(files: Iterable[tuple[FilenameParts, Path]]) -> list[Local]:
    """The newest of these files for each project with its folder, by project; of equals the first."""
    newest: dict[NormalizedName, tuple[FilenameParts, Path]] = {}
    for dist, folder in files:
        if dist.project not in newest or file_key(newest[dist.project][0]) < file_key(dist):
            newest[dist.project] = (dist, folder)
    return [Local(name, dist.name, dist.version, folder) for name, (dist, folder) in sorted(newest.items())]


def read_ignorelist(path: Path) -> frozenset[NormalizedName]:
    """The projects in a file, one on each line, ``#`` starts a comment; raises ConfigError."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"The list of projects to leave alone, {str(path)!r}, cannot be read: {reason}.",
            kind="unreadable",
            setting="ignorelist_file",
            value=path,
        ) from fault
    names = {at: normalize(line.partition("#")[0].strip()) for at, line in enumerate(lines, 1)}
    wrong = [str(at) for at, name in names.items() if name and not is_normalized_name(name)]
    if wrong:
        raise ConfigError(
            f"{str(path)!r} has something else than one project's name in line {', '.join(wrong)}.",
            kind="value",
            setting="ignorelist_file",
            value=path,
        )
    return frozenset(name for name in names.values() if name)


def decide(local: Local, files: Sequence[UpstreamFile], options: Options) -> Finding:
    """Whether these files of an index include a newer release than ours, for the running Python."""
    if not files:
        return Finding(local, "e")
    releases: dict[Version, list[UpstreamFile]] = {}
    for file in files:
        releases.setdefault(file.version, []).append(file)
    # A version that is not valid by PEP 440 is older than any other, as in older pip.
    ours = parse_version(local.version.replace("_", "-"))
    for version in sorted(releases, reverse=True):
        if ours is not None and version <= ours:
            break
        if version.is_prerelease and not options.allow_unstable:
            continue
        usable = [file for file in releases[version] if not file.is_yanked and _runs_here(file.requires_python)]
        if usable:
            folder = options.download_directory or local.folder
            download = Download(local.project, version, folder, options.index_url, options.allow_sdist)
            return Finding(local, "u", download, _obstacle(usable, options.allow_sdist))
    return Finding(local, ".")


def run_update(
    local: Sequence[Local],
    options: Options,
    *,
    out: TextIO,
    err: TextIO,
    show: Callable[[int, int], None] = lambda done, total: None,
    run: Runner = run_pip,
) -> int:
    """Look for updates and print them or, with ``execute``, have pip download them.

    Returns the exit status: 0 all is up to date (with ``execute``: now), 1 there are updates, 2 a lookup or a download
    failed. ``show`` draws progress on a terminal. Raises UpstreamError if the index gives no answer at all.
    """
    asked = [each for each in local if each.project not in options.ignore]
    text = io.StringIO() if options.as_json else out
    text.write(f"checking {count_of(len(asked), 'package')} for newer version\n\n")
    findings = []
    for finding in _look_up(asked, options):
        findings.append(finding)
        show(len(findings), len(asked))
        write_mark(finding.mark, text, done=len(findings), total=len(asked))
    tell_missing(findings, options.index_url, text)
    tell_errors(findings, options.index_url, err)
    updates = [(each, each.download) for each in findings if each.download]
    text.write(table_of(updates))
    statuses: dict[str, int] = {}
    for finding, download in updates:
        text.write(paragraph_of(finding, download))
        text.flush()
        if options.execute and not finding.obstacle:
            statuses[download.project] = _execute(download, run, err)
    if options.as_json:
        rows = [row_of(finding, download, statuses) for finding, download in updates]
        write_json(report_of(findings, rows), out)
    if any(statuses.values()) or any(each.error for each in findings):
        return 2
    return 1 if len(statuses) < len(updates) else 0


def _look_up(local: Sequence[Local], options: Options) -> Iterator[Finding]:
    """Findings in this order; raises Unreachable if the first result is that."""
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(open_index(options.index_url, connections=LOOKUPS))
        pool = ThreadPoolExecutor(LOOKUPS, "update")
        stack.callback(pool.shutdown, cancel_futures=True)

        def look_up(each: Local) -> Finding:
            # Decided in the thread, so that memory holds no more pages than there are threads.
            return decide(each, index.files(each.project), options)

        answered = False
        for each, future in [(each, pool.submit(look_up, each)) for each in local]:
            try:
                yield future.result()
                answered = True
            except UpstreamError as error:
                if isinstance(error, Unreachable) and not answered:
                    raise
                yield Finding(each, "!", error=str(error))


def _execute(download: Download, run: Runner, err: TextIO) -> int:
    status = run(command(download), environment(download, os.environ))
    if status:
        what = f"{download.project} {download.version}"
        err.write(f"pypi-server: pip ended with exit status {status}; {what} was not downloaded.\n")
    return status


def _runs_here(requires_python: str | None) -> bool:
    """Whether this Python is among them; a specifier that cannot be parsed allows every Python, as in pip."""
    return _includes_this(requires_python or "")


@short_texts(entries=1024, longest=100)
def _includes_this(requires_python: str) -> bool:
    try:
        return SpecifierSet(requires_python).contains(".".join(map(str, sys.version_info[:3])))
    except InvalidSpecifier:
        return True


@functools.cache
def _tags() -> frozenset[Tag]:
    return frozenset(sys_tags())


def _obstacle(files: Sequence[UpstreamFile], allow_sdist: bool) -> str:
    """Why pip could not download any of these files of a release, or ''."""
    if any(_fits(file.filename) if file.kind == "bdist_wheel" else allow_sdist for file in files):
        return ""
    if any(file.kind == "sdist" for file in files):
        return "it has no wheel for this Python and machine; --allow-sdist downloads its source, and pip then runs that"
    return "it has no wheel for this Python and machine"


def _fits(wheel: str) -> bool:
    # Not packaging.utils.parse_wheel_filename: it makes every tag, and a name can mean thousands.
    python, abi, platform = (set(part.split(".")) for part in wheel[:-4].lower().split("-")[-3:])
    return any(tag.interpreter in python and tag.abi in abi and tag.platform in platform for tag in _tags())
