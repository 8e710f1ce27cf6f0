"""Lists and counts over all projects, of which each client gets those that it may see.

**Invariants:** what ``names`` does not admit is in no list and no count.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from functools import partial

from packaging.utils import NormalizedName

from ..backend.backend import Backend
from ..catalog import FileFault
from ..catalog.file_pages import FilePage, FileSearch
from ..catalog.name_filter import EVERYTHING, NameFilter
from ..distributions.filename import projects_of
from ..model import Listed, Search

# The list of all files is read this many rows at a time.
ROWS = 1000


class Lists:
    """Questions about many projects; ``names`` is what the answer may contain. Every method raises Unavailable."""

    def __init__(self, backend: Backend) -> None:
        self._storage = backend.storage
        self._catalog = backend.catalog
        self._query = backend.queries.query

    def summaries(self, names: NameFilter = EVERYTHING) -> list[tuple[str, str, str]]:
        """(name, version, summary) of every project's newest release, as the project list shows them."""
        return self._query(lambda: self._catalog.listing.summaries(self._catalog.narrowed(names)))

    def paths(self, names: NameFilter = EVERYTHING) -> Iterator[tuple[str, int, int, str]]:
        """Path, size (bytes), modification time (nanoseconds) and link digest of every visible file, by path.

        The digest is '' for a file that is not digested yet, and where links have none. Rows are read while the
        iterator is consumed, so a file that is added or removed meanwhile may or may not be included.
        """
        return heapq.merge(*(self._paths(root, names) for root in range(len(self._storage.roots))))

    def _paths(self, root: int, names: NameFilter) -> Iterator[tuple[str, int, int, str]]:
        rows = [("", 0, 0, "")]
        while rows:
            rows = self._query(partial(self._paths_after, root, rows[-1][0], names))
            yield from rows

    def _paths_after(self, root: int, path: str, names: NameFilter) -> list[tuple[str, int, int, str]]:
        return self._catalog.paths(root, path, ROWS, self._catalog.narrowed(names))

    def files(self, search: FileSearch, names: NameFilter = EVERYTHING) -> FilePage:
        """A page of the file list."""
        return self._query(lambda: self._catalog.file_list.page(search, self._catalog.narrowed(names)))

    def totals(self, names: NameFilter = EVERYTHING) -> tuple[int, int]:
        """How many projects, and how many files, are visible."""
        files, projects = self._query(lambda: self._catalog.counts(self._catalog.narrowed(names)))
        return projects, files

    def find(self, search: Search, names: NameFilter = EVERYTHING) -> tuple[int, list[Listed]]:
        """How many projects match, and the projects of the requested page."""
        return self._query(lambda: self._catalog.listing.find(search, self._catalog.narrowed(names)))

    def newest(self, limit: int, names: NameFilter = EVERYTHING) -> list[Listed]:
        """The projects with the latest uploads, the latest first."""
        return self._query(lambda: self._catalog.listing.newest(limit, self._catalog.narrowed(names)))

    def present(self, projects: Iterable[NormalizedName], names: NameFilter = EVERYTHING) -> set[str]:
        """The subset of these projects that is here."""
        asked = [name for name in projects if names.admits(name)]
        return self._query(lambda: self._catalog.listing.present(asked))

    def needing(
        self, name: NormalizedName, limit: int, names: NameFilter = EVERYTHING
    ) -> tuple[int, list[tuple[str, str]]]:
        """How many projects' newest releases depend on this one, and (normalized name, name) of the first ``limit``."""
        return self._query(lambda: self._catalog.listing.needing(name, limit, self._catalog.narrowed(names)))

    def faults(self, name: NormalizedName, names: NameFilter = EVERYTHING) -> list[FileFault]:
        """The faults of a project's files that are not listed; none of a file that may be of a hidden project."""
        faults = self._query(lambda: self._catalog.faults_of(name))
        if names.is_all():
            return faults
        return [each for each in faults if all(map(names.admits, projects_of(each.path.rpartition("/")[2])))]

    def class_mark(self, names: NameFilter) -> str:
        """What distinguishes the validators of a class's pages from those of other classes; '' for everything.

        It is the same in all processes that share the catalog. The patterns that hide projects cannot be guessed from
        it, because it also depends on the catalog's random name.
        """
        if names.is_all():
            return ""
        secret = self._catalog.connections.epoch.encode()
        return "." + hashlib.blake2b(names.key.encode(), key=secret[:64], digest_size=8).hexdigest()
