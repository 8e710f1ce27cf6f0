"""The pages that are kept in the store: read, replaced, and what a new page takes over from the one before.

**Invariants:** what cannot be read counts as not kept, and what cannot be written is given all the same; each failure
is logged once. A file that an index had is known after it left the page, and since when it was known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from packaging.utils import NormalizedName

from ..backend.cache_store import CacheStore
from ..bounded_cache import OnceLog
from ..distributions.filename_keys import file_key
from ..distributions.versions import canonical_version
from ..errors import Forbidden, PypiServerError, StorageFull, Unavailable
from ..upstream.values import RemoteFile, RemotePage
from . import page_file
from .page_file import MAX_FORMER, KeptPage

_LOG = logging.getLogger(__name__)


class KeptPages:
    """The pages in ``store``."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self._said = OnceLog()

    def get(self, upstream: str, project: NormalizedName, ours: KeptPage | None) -> KeptPage | None:
        """The kept page; ``ours`` if it is the same or older than the one that this process knows."""
        try:
            data = self._store.page(upstream, project)
        except PypiServerError as error:
            self._tell("read", error)
            data = None
        if data is None or (ours is not None and ours.stamp == page_file.stamp_of(data)):
            return ours
        kept = page_file.decode(data, upstream, project)
        if kept is None:
            if self._said.is_new("damaged", upstream, project):
                _LOG.warning("The kept page of %s (index %s) is damaged, and counts as not kept.", project, upstream)
            return ours
        return ours if ours is not None and ours.checked >= kept.checked else kept

    def put(self, kept: KeptPage) -> KeptPage:
        """Keep a page in place of the one before; returns it with its stamp, if it could be kept."""
        data, stamped = page_file.encode(kept)
        try:
            self._store.put_page(kept.page.upstream, kept.page.project, data)
        except (Unavailable, StorageFull, Forbidden) as error:
            self._tell("kept", error)
            return kept
        return stamped

    def _tell(self, what: str, error: PypiServerError) -> None:
        if self._said.is_new(what, str(error)):
            _LOG.warning("Pages of other indexes cannot be %s: %s", what, error)


def merged(kept: KeptPage | None, page: RemotePage) -> RemotePage:
    """The page with its files in order, each seen first when the page before, or an earlier one, listed it.

    A page that does not list its versions has those of its files.
    """
    if kept is None:
        in_order = tuple(sorted(page.files, key=file_key))
        return replace(page, files=in_order, versions=page.versions or _versions(in_order))
    before = {_identity(file): file for file in (*kept.former, *kept.page.files)}
    files = []
    for file in sorted(page.files, key=file_key):
        old = before.get(_identity(file))
        files.append(file if old is None else replace(file, first_seen_ns=old.first_seen_ns))
    return replace(page, files=tuple(files), versions=page.versions or _versions(files))


def former(kept: KeptPage | None, page: RemotePage) -> tuple[RemoteFile, ...]:
    """The files that were on an earlier page and are not on this one, those of the page before first."""
    if kept is None:
        return ()
    present = {file.path for file in page.files}
    gone = [file for file in (*kept.page.files, *kept.former) if file.path not in present]
    return tuple(gone[:MAX_FORMER])


def gone(kept: KeptPage) -> KeptPage:
    """The page of a project that its index no longer has."""
    files = (*kept.page.files, *kept.former)[:MAX_FORMER]
    return replace(kept, page=replace(kept.page, files=()), former=files, is_gone=True)


def _versions(files: Iterable[RemoteFile]) -> tuple[str, ...]:
    """The versions of these files in their order, each in its first spelling (PEP 700)."""
    versions: dict[str, str] = {}
    for file in files:
        if file.version:
            versions.setdefault(canonical_version(file.version), file.version)
    return tuple(versions.values())


def _identity(file: RemoteFile) -> tuple[str, str]:
    """What makes two files of two pages the same: name and bytes, as far as the page says."""
    return file.filename, file.sha256
