"""Reading packages: what is listed, and what may be downloaded; :mod:`publish` has the changes.

**Invariants:** a path from a request is looked up, never joined to a folder; a page is given only when every file on it
has its sha256; a failure of storage is Unavailable, never an empty answer; "not found" is raised only when the catalog,
complete and not replaced, has no row at that moment.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple

from packaging.utils import NormalizedName

from ..backend.backend import Backend
from ..backend.digester import WRITING_SECONDS, public_fault
from ..backend.stored_file import sidecar
from ..bounded_cache import BoundedCache, weight
from ..catalog import FAILURES, REPLACED, FileFault
from ..catalog.file_pages import FilePage, FileSearch
from ..catalog.queries import ProjectState
from ..distributions.core_metadata import CoreMetadata
from ..distributions.filename import canonical_version, file_key, projects_of
from ..errors import CatalogUnavailable, Forbidden, NotFound, Unavailable
from ..model import File, Indexed, Listed, Project, Search, last_serial
from ..observability.download_statistics import Counts, Downloads

# More than any upload may bring: a sidecar that was put there by hand must not fill the memory.
MAX_SIDECAR_BYTES = 16 * 1024 * 1024
# Limits, in bytes, of the caches of files' rows and of metadata.
FILE_BYTES = 4 << 20
METADATA_BYTES = 4 << 20
# Seconds to wait before each attempt at a project or file that is changing, and the most files to compare in one.
PAUSES = (0.0, 0.0, 0.01, 0.03)
MOST_LOOKED_AT = 50
# At most this many of a project's faults are in an answer.
MAX_FAULTS_SAID = 3
# The list of all files is read this many rows at a time.
ROWS = 1000


class _Taken(NamedTuple):
    """Whether the folders may have a requested file (``is_any``), and whether one was without a row (``is_new``)."""

    is_any: bool
    is_new: bool


class Repository:
    """The read port: projects, their files, and the bytes of a file.

    Every method raises Unavailable while a folder cannot be read.
    """

    def __init__(self, backend: Backend, *, stats: Downloads | None = None, stale_for: float = 0.0) -> None:
        self._storage = backend.storage
        self._catalog = backend.catalog
        self._query = backend.queries.query
        self._indexer = backend.indexer
        self._refresher = backend.refresher
        self._presence = backend.presence
        self._digests = backend.digests
        # Without these caches SQLite took 40 us of the 90 of a small download, and 40 of the 57 of a METADATA.
        self._files: BoundedCache[str, tuple[int, File, float]] = BoundedCache(FILE_BYTES)
        self._metadata: BoundedCache[str, bytes] = BoundedCache(METADATA_BYTES)
        self._stats = stats
        self._stale_for = stale_for
        # The last known serial, and when it was read (time.monotonic).
        self._heard = (-1, 0.0)

    def downloads(self, name: NormalizedName) -> Counts | None:
        """How often the project was downloaded, None where downloads are not counted.

        Raises ConfigError when the file of the counts is unusable.
        """
        return self._stats.counts(name) if self._stats is not None else None

    def serial(self) -> int:
        """The catalog's serial: the number of its last change."""
        serial = self._query(self._catalog.serial)
        self._heard = (serial, time.monotonic())
        return serial

    def stale_age(self, serial: int, since: float) -> float | None:
        """How many seconds ago data of ``serial`` was certainly current, None when that is too long ago.

        ``since`` is when the data was looked up or compared (time.monotonic). For callers that met CatalogUnavailable.
        """
        heard, when = self._heard
        age = time.monotonic() - (when if heard == serial else since)
        return age if age < self._stale_for else None

    def is_outdated(self, serial: int, project: str = "", project_serial: int = -1) -> bool:
        """Whether data of ``serial``, and of a project at ``project_serial``, is known to lack a change.

        A SQLite catalog is asked even when it cannot be brought up to date, such as while another program locks it. A
        database server is not asked, because it is down.
        """
        if not self._catalog.connections.is_disposable:
            return False
        try:
            if self._catalog.serial() == serial:
                return False
            return not project or self._catalog.project_state(project).serial != project_serial
        except FAILURES:
            return self._heard[0] != serial

    def project_serial(self, name: NormalizedName) -> int:
        """The serial of the last change of a project, 0 for one that never existed."""
        return self._query(lambda: self._catalog.project_state(name).serial)

    def projects(self) -> Sequence[Indexed]:
        """Every project, sorted by normalized name."""
        return self._query(self._catalog.projects)

    def project(self, name: NormalizedName) -> Project:
        """The project of that name; raises NotFound when it has no file.

        A project whose files are all damaged or being replaced still exists: it is Unavailable, so that clients do not
        look for it at another index.
        """
        return self._query(lambda: self._project(name))

    def _project(self, normal: NormalizedName) -> Project:
        state, files = self._listed(normal)
        files.sort(key=file_key)
        display_name = files[-1].name
        if state.status.status == "quarantined":
            files = []
        # The first spelling of each version (PEP 700): ``1.0`` and ``1.0.0`` are the same version.
        versions: dict[str, str] = {}
        for file in files:
            if file.version:
                versions.setdefault(canonical_version(file.version), file.version)
        return Project(
            normal,
            display_name,
            tuple(files),
            tuple(versions.values()),
            state.status,
            state.serial,
            last_serial(state.changed_ns),
        )

    def _listed(self, normal: NormalizedName) -> tuple[ProjectState, list[File]]:
        """State and visible files of a project that has any; raises NotFound and Unavailable."""
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            state = self._catalog.project_state(normal)
            files = self._catalog.files_of(normal)
            if any(not file.sha256 or file.project != normal for file in files):
                self._digests.digest_project(normal)
                state = self._catalog.project_state(normal)
                # A file still without digest changed while it was read: it is being copied, and not listed yet.
                files = [file for file in self._catalog.files_of(normal) if file.sha256 and file.project == normal]
            if files:
                return state, files
            rows = self._catalog.rows_of(normal)
            if rows and (self._has_changed(rows) or self._take_in((normal,)).is_new):
                continue
            self._refuse_unservable(normal)
            if self._is_absent(project=normal):
                raise NotFound(f"There is no project {normal!r} here.", kind="project", project=normal)
        raise Unavailable(
            f"The project {normal} is changing right now. Try again in a moment.", kind="changing", project=normal
        )

    def _has_changed(self, rows: Sequence[File]) -> bool:
        """Whether storage differs from the rows of hidden files, of which no event may have told yet."""
        if self._presence is None:
            return False
        before = {(row.root, row.path): row for row in rows[:MOST_LOOKED_AT]}
        self._refresher.refresh(before)
        after = {(row.root, row.path): row for row in self._catalog.rows_of(rows[0].project)}
        return any(after.get(key) != row for key, row in before.items())

    def _refuse_unservable(self, normal: str) -> None:
        """Raise Unavailable, with the faults, for a project that has files but none that can be listed."""
        rows, faults = self._catalog.rows_of(normal), self._catalog.faults_of(normal)
        if not rows and not faults:
            return
        now = time.time()
        is_passing = any(row.inode == REPLACED or now - row.mtime_ns / 1e9 < WRITING_SECONDS for row in rows)
        is_passing = is_passing or not all(fault.is_damage for fault in faults) or not faults
        said = [public_fault(fault) for fault in faults[:MAX_FAULTS_SAID]]
        more = [f"{len(faults) - len(said)} more"] if len(faults) > len(said) else []
        advice = (
            "Wait until they are copied, or see the server's log." if is_passing else "Put good ones in their place."
        )
        raise Unavailable(
            f"None of the files of {normal} can be served now: {'; '.join([*said, *more]) or 'they change'}. {advice}",
            public=True,
            is_passing=is_passing,
            kind="unlisted",
            project=normal,
        )

    def _refuse_faulty(self, path: str, rows: Iterable[File]) -> None:
        """Raise Unavailable, with the fault, for a file that is here and cannot be served."""
        for project in {row.project for row in rows}:
            for fault in self._catalog.faults_of(project):
                if fault.path == path:
                    advice = "Put a good one in its place." if fault.is_damage else "Try again in a moment."
                    raise Unavailable(
                        f"{public_fault(fault)}. {advice}",
                        public=True,
                        is_passing=not fault.is_damage,
                        kind=fault.kind,
                        filename=fault.filename,
                        reason=fault.reason,
                    )

    def file(self, path: str) -> File:
        """The file at that path below ``/packages/``, looked up by name.

        Raises NotFound, Forbidden for a file of a quarantined project, and Unavailable.
        """
        known = self._files.get(path)
        try:
            serial = self.serial()
            if known is None or known[0] != serial:
                # The serial is read first: any change meanwhile raises it, so this entry counts as outdated.
                known = (serial, self._query(lambda: self._file(path)), time.monotonic())
                self._files.put(path, known, size=weight(known))
        except CatalogUnavailable:
            if known is None or self.stale_age(known[0], known[2]) is None:
                raise
        return known[1]

    def _file(self, path: str) -> File:
        file = self._standing(path)
        if self._catalog.project_state(file.project).status.status == "quarantined":
            raise Forbidden(
                f"The project {file.project} is quarantined; none of its files can be downloaded.",
                kind="quarantined",
                filename=file.filename,
                project=file.project,
            )
        return file

    def _standing(self, path: str) -> File:
        """The visible file at that path, with its digests; raises NotFound and Unavailable."""
        filename = path.rpartition("/")[2]
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            file = self._digests.file(filename)
            if file is not None and file.path == path and file.sha256:
                return file
            rows = self._rows_at(path)
            if not rows and file is None:
                # Absence must be certain; this check may also give the file a row.
                self._is_absent(filename=filename)
                rows = self._rows_at(path)
                if rows:
                    continue
            if not rows or (file is not None and file.path != path):
                raise NotFound(f"There is no file {filename!r} here.", kind="file", filename=filename)
            if self._has_changed(rows):
                continue
            if file is None and not self._is_replaced(rows):
                if self._catalog.file(filename) is not None:
                    # It got a row, or became visible, since it was looked up.
                    continue
                self._refuse_faulty(path, rows)
                raise NotFound(f"There is no file {filename!r} here.", kind="file", filename=filename)
            break
        raise Unavailable(
            f"The file {filename} is changing right now. Try again in a moment.", kind="changing", filename=filename
        )

    def _rows_at(self, path: str) -> list[File]:
        projects = projects_of(path.rpartition("/")[2])
        return [row for project in projects for row in self._catalog.rows_of(project) if row.path == path]

    def _is_absent(self, *, project: str = "", filename: str = "") -> bool:
        """Whether a project or file is certainly not here; runs as part of a query of the catalog."""
        if self._indexer.is_behind():
            raise CatalogUnavailable("The catalog cannot be brought up to date now. Try again in a moment.")
        if not self._catalog.is_absent(project=project, filename=filename):
            return False
        taken = self._take_in((project,) if project else projects_of(filename), filename)
        # Another thread or process may have added a row after the first query.
        return not taken.is_any or self._catalog.is_absent(project=project, filename=filename)

    def _take_in(self, projects: tuple[str, ...], filename: str = "") -> _Taken:
        """Add rows for files of these projects that are in the folders now, before an event tells of them.

        Raises Unavailable when a file appeared and disappeared meanwhile.
        """
        found = self._presence.holding(projects) if self._presence is not None and projects else None
        keys = [key for key in found or () if not filename or key[1].rpartition("/")[2] == filename]
        unknown = [key for key in keys if self._catalog.row(*key) is None]
        if unknown and self._presence is not None:
            self._refresher.refresh(unknown)
            if any(self._catalog.row(*key) is None and not self._presence.is_named(key) for key in unknown):
                # The file was here a moment ago.
                raise Unavailable(
                    f"{filename or projects[0]} is changing right now. Try again in a moment.",
                    kind="changing",
                    filename=filename,
                    project=projects[0],
                )
        # In a large tree ``holding`` leaves out files that have a row, and a file may have got one only now.
        may_have_rows = found is None and self._presence is not None
        return _Taken(bool(keys) or may_have_rows, bool(unknown))

    @staticmethod
    def _is_replaced(rows: Iterable[File]) -> bool:
        """Whether one of these files is being replaced, is still being written, or has only just arrived."""
        now = time.time()
        return any(
            row.inode == REPLACED or min(abs(now - row.mtime_ns / 1e9), abs(now - row.ctime_ns / 1e9)) < WRITING_SECONDS
            for row in rows
        )

    def open(self, path: str) -> tuple[File, BinaryIO]:
        """The file at that path and a stream of its bytes, both of the same inode, size and time.

        Raises Unavailable when they differ twice, and as :meth:`file` does.
        """
        for _ in range(2):
            file = self.file(path)
            stream = self._storage.open_as(file)
            if stream is not None:
                return file, stream
            self._query(lambda file=file: self._refresher.refresh([(file.root, file.path)]))  # type: ignore[misc]
        raise Unavailable(
            f"The file {path} is changing right now. Try again in a moment.",
            public=True,
            kind="changing",
            filename=path.rpartition("/")[2],
        )

    def sidecar(self, path: str, suffix: str) -> tuple[File, bytes]:
        """A file, and the bytes of its signature (``.asc``) or attestations (``.provenance``).

        Raises NotFound without one, or for one larger than MAX_SIDECAR_BYTES, and as :meth:`file` does.
        """
        file = self.file(path)
        stands = file.has_signature if suffix == ".asc" else file.has_provenance
        if stands:
            try:
                stream, _ = self._storage.open(file.root, sidecar(file.path, suffix))
            except NotFound:
                self._storage.check()
            else:
                with stream:
                    body = stream.read(MAX_SIDECAR_BYTES + 1)
                if len(body) <= MAX_SIDECAR_BYTES:
                    return file, body
        raise NotFound(f"There is no file {path.rpartition('/')[2] + suffix!r} here.")

    def metadata(self, file: File) -> bytes | None:
        """The core metadata inside a file, None when it has none."""
        digest = file.metadata_sha256
        known = self._metadata.get(digest) if digest else None
        if known is None:
            known = self._query(lambda: self._catalog.metadata(file))
            # The key is the digest of the metadata, so that an entry never becomes outdated.
            if known is not None and digest:
                self._metadata.put(digest, known, size=len(known))
        return known

    def core_metadata(self, file: File) -> CoreMetadata | None:
        """The parsed core metadata inside a file, None when it has none."""
        return self._query(lambda: self._catalog.core_metadata(file))

    def summaries(self) -> list[tuple[str, str, str]]:
        """(name, version, summary) of every project's newest release, as the project list shows them."""
        return self._query(self._catalog.listing.summaries)

    def paths(self) -> Iterator[tuple[str, int, int, str]]:
        """Path, size (bytes), modification time (nanoseconds) and link digest of every visible file, by path.

        The digest is '' for a file that is not digested yet, and where links have none. Rows are read while the
        iterator is consumed, so a file that is added or removed meanwhile may or may not be included.
        """
        return heapq.merge(*(self._paths(root) for root in range(len(self._storage.roots))))

    def _paths(self, root: int) -> Iterator[tuple[str, int, int, str]]:
        rows = [("", 0, 0, "")]
        while rows:
            rows = self._query(partial(self._catalog.paths, root, rows[-1][0], ROWS))
            yield from rows

    def files(self, search: FileSearch) -> FilePage:
        """A page of the file list."""
        return self._query(lambda: self._catalog.file_list.page(search))

    def totals(self) -> tuple[int, int]:
        """How many projects, and how many files, are visible."""
        files, projects = self._query(self._catalog.counts)
        return projects, files

    def find(self, search: Search) -> tuple[int, list[Listed]]:
        """How many projects match, and the projects of the requested page."""
        return self._query(lambda: self._catalog.listing.find(search))

    def newest(self, limit: int) -> list[Listed]:
        """The projects with the latest uploads, the latest first."""
        return self._query(lambda: self._catalog.listing.newest(limit))

    def present(self, names: Iterable[str]) -> set[str]:
        """The subset of these projects (normalized names) that is here."""
        return self._query(lambda: self._catalog.listing.present(names))

    def needing(self, name: NormalizedName, limit: int) -> tuple[int, list[tuple[str, str]]]:
        """How many projects' newest releases depend on this one, and (normalized name, name) of the first ``limit``."""
        return self._query(lambda: self._catalog.listing.needing(name, limit))

    def faults(self, name: NormalizedName) -> list[FileFault]:
        """The faults of a project's files that are not listed."""
        return self._query(lambda: self._catalog.faults_of(name))
