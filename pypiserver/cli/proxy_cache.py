"""What the cache of other indexes has: sizes, what its indexes no longer have, making room, asking for a page again.

**Invariants:** a report changes nothing; the folder is that of the settings, and a running server may use it meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TextIO

from packaging.utils import NormalizedName

from ..backend.cache_store import CacheStore, KeptEntry
from ..distributions.filename import normalize
from ..errors import ConfigError, NotFound
from ..factory.backends import build_cache_store
from ..factory.cache_place import cache_folder_of, place_of, shared_cache_of
from ..proxy import page_file
from ..proxy.space import Space
from ..settings.config import Config
from ..text import printable
from .fallback_lines import size
from .output import count_of, write_json

# At most this many files of each kind are named; JSON has all.
NAMED = 50


@dataclass(frozen=True, slots=True)
class Left:
    """A kept file that its index no longer lists; ``why`` is ``gone`` or ``quarantined``."""

    index: str
    file: str
    bytes: int
    why: str


def report(config: Config, out: TextIO, *, as_json: bool) -> int:
    """Say how large the cache is, and which of its files the indexes no longer list."""
    with _Opened(config) as store:
        entries = list(store.entries())
        left = list(_left(store, entries))
        total = Space(store, None).report()
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.key.upstream] += entry.size
        numbers[entry.key.upstream] += 1
    if as_json:
        indexes = {name: {"files": numbers[name], "bytes": sizes[name]} for name in sorted(sizes)}
        told = {"folder": place_of(config), **total._asdict(), "limit": config.cache_size}
        write_json({**told, "indexes": indexes, "left": [asdict(each) for each in left]}, out)
        return 0
    out.write(
        f"{printable(place_of(config))}: {count_of(total.files)}, {size(total.file_bytes)}; "
        f"{total.pages} page{'' if total.pages == 1 else 's'} and the rest, {size(total.other_bytes)}; "
        f"at most {size(config.cache_size)}\n"
    )
    out.writelines(f"  {name}: {count_of(numbers[name])}, {size(sizes[name])}\n" for name in sorted(sizes))
    for why, sentence in (
        ("gone", "No longer on the page of their index, served by address only:"),
        ("quarantined", "Of projects that their index has quarantined, not served:"),
    ):
        files = [each for each in left if each.why == why]
        if files:
            out.write(f"{sentence}\n")
            out.writelines(f"  {each.index}/{printable(each.file)} ({size(each.bytes)})\n" for each in files[:NAMED])
            if len(files) > NAMED:
                out.write(f"  and {len(files) - NAMED} more\n")
    return 0


def prune(config: Config, to: int, out: TextIO, *, as_json: bool) -> int:
    """Delete the files that were not used for longest, until the cache has at most ``to`` bytes."""
    with _Opened(config) as store:
        pruned = Space(store, None).prune(to)
    if as_json:
        write_json(pruned._asdict(), out)
    else:
        pages = f" and {pruned.pages} page{'' if pruned.pages == 1 else 's'}" if pruned.pages else ""
        out.write(f"Deleted {count_of(pruned.files)}{pages}: {size(pruned.bytes)} are free now.\n")
    return 0


def refresh(config: Config, name: str, out: TextIO, *, as_json: bool) -> int:
    """Ask the indexes for a project now, and keep its page; a running server reads it at its next question."""
    from . import proxy_server

    project = normalize(name)
    with proxy_server.opened(config) as server:
        if server.is_own(project):
            raise NotFound(f"{project} is yours, so no other index is asked for it.", kind="project", project=project)
        offered = server.index.project(project, revalidate=True)
    files, versions = offered.judged.files, offered.judged.versions
    if as_json:
        told = {"project": project, "index": offered.upstream.name, "files": len(files), "versions": len(versions)}
        write_json({**told, "withheld": len(offered.judged.withheld), "detail": offered.detail}, out)
    else:
        withheld = f", {count_of(len(offered.judged.withheld))} withheld" if offered.judged.withheld else ""
        stale = f"; the index cannot be asked now ({offered.detail}), so this is what is kept" if offered.detail else ""
        said = f"{len(versions)} version{'' if len(versions) == 1 else 's'}, {count_of(len(files))}{withheld}{stale}"
        out.write(f"{project}, from {offered.upstream.name}: {said}.\n")
    return 1 if offered.detail else 0


def _left(store: CacheStore, entries: list[KeptEntry]) -> Iterator[Left]:
    pages: dict[tuple[str, str], tuple[frozenset[str], bool] | None] = {}
    for entry in sorted(entries, key=lambda each: each.key):
        upstream, project, filename = entry.key
        key = (upstream, project)
        if key not in pages:
            data = store.page(upstream, project)
            kept = page_file.decode(data, upstream, NormalizedName(project)) if data is not None else None
            pages[key] = None
            if kept is not None:
                listed = frozenset() if kept.is_gone else frozenset(file.filename for file in kept.page.files)
                pages[key] = listed, kept.page.status.status == "quarantined"
        page = pages[key]
        if page is None:
            continue
        listed, is_quarantined = page
        if is_quarantined or filename not in listed:
            why = "quarantined" if is_quarantined else "gone"
            yield Left(upstream, f"{project}/{filename}", entry.size, why)


class _Opened:
    """The cache of the settings; raises ConfigError if there is none."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def __enter__(self) -> CacheStore:
        if shared_cache_of(self._config) is None and not cache_folder_of(self._config).is_dir():
            raise ConfigError(
                f"There is no cache in {printable(place_of(self._config))}; name its folder with --cache-folder.",
                kind="missing",
                setting="cache_folder",
                value=cache_folder_of(self._config),
            )
        self._store = build_cache_store(self._config)
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()
