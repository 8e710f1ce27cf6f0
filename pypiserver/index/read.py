"""Reading packages: what is listed, and what may be downloaded; :mod:`publish` is the other half.

Invariants: a path from outside is looked up, never joined; a page is given only when every file on it has its
sha256; what fails in storage is Unavailable, never an empty answer; what is not in the catalog is not found only when
the catalog, complete and still in its place, says so at that moment.
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

# More than any upload may bring: what somebody put there by hand must not fill the memory.
MAX_SIDECAR_BYTES = 16 * 1024 * 1024
# How many bytes of files' rows, and of metadata, are remembered.
FILE_BYTES = 4 << 20
METADATA_BYTES = 4 << 20
# Seconds before each look at something that changes while it is asked for, and at how many files then.
PAUSES = (0.0, 0.0, 0.01, 0.03)
MOST_LOOKED_AT = 50
# So many of the faults of a project are in an answer.
MAX_FAULTS_SAID = 3
# How many rows a list of all files takes at a time.
ROWS = 1000


class _Taken(NamedTuple):
    """Whether the folders may hold any file that was asked for, and whether one of them had no row yet."""

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
        # SQLite's part in a small download was 40 us of 90, in a METADATA 40 of 57.
        self._files: BoundedCache[str, tuple[int, File, float]] = BoundedCache(FILE_BYTES)
        self._metadata: BoundedCache[str, bytes] = BoundedCache(METADATA_BYTES)
        self._stats = stats
        self._stale_for = stale_for
        # The last serial, and when it was the last one (time.monotonic).
        self._heard = (-1, 0.0)

    def downloads(self, name: NormalizedName) -> Counts | None:
        """How often the project was downloaded, None where nobody counts; raises ConfigError for an unusable file."""
        return self._stats.counts(name) if self._stats is not None else None

    def serial(self) -> int:
        """The number of the last change of anything."""
        serial = self._query(self._catalog.serial)
        self._heard = (serial, time.monotonic())
        return serial

    def stale_age(self, serial: int, since: float) -> float | None:
        """How many seconds ago what was known at ``serial`` was right, None when that is too long ago.

        ``since`` is when it was looked up, or compared, by time.monotonic(). For whoever met CatalogUnavailable.
        """
        heard, when = self._heard
        age = time.monotonic() - (when if heard == serial else since)
        return age if age < self._stale_for else None

    def is_outdated(self, serial: int, project: str = "", project_serial: int = -1) -> bool:
        """Whether what was right at ``serial``, a project at ``project_serial``, is known to lack a change.

        The catalog is asked though it cannot be brought up to date, as while another program locks it. A database that
        others keep is not asked: it is away.
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
        """The number of the last change of a project, 0 for one that never was."""
        return self._query(lambda: self._catalog.project_state(name).serial)

    def projects(self) -> Sequence[Indexed]:
        """Every project, sorted by its normal form."""
        return self._query(self._catalog.projects)

    def project(self, name: NormalizedName) -> Project:
        """The project of that name; raises NotFound when it has no file.

        One whose files are all damaged, or being replaced, is here all the same, and Unavailable: it must not be looked
        for elsewhere.
        """
        return self._query(lambda: self._project(name))

    def _project(self, normal: NormalizedName) -> Project:
        state, files = self._listed(normal)
        files.sort(key=file_key)
        display_name = files[-1].name
        if state.status.status == "quarantined":
            files = []
        # One spelling of each version (PEP 700), the first: ``1.0`` and ``1.0.0`` are one.
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
                # What still has no digest changed while it was read: it is being copied, and not listed yet.
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
        """Whether another look at hidden files tells more than their rows do: no event may have told of it yet."""
        if self._presence is None:
            return False
        before = {(row.root, row.path): row for row in rows[:MOST_LOOKED_AT]}
        self._refresher.refresh(before)
        after = {(row.root, row.path): row for row in self._catalog.rows_of(rows[0].project)}
        return any(after.get(key) != row for key, row in before.items())

    def _refuse_unservable(self, normal: str) -> None:
        """Raise Unavailable for a project that has files, none of which can be listed: what is wrong with them."""
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
        """Raise Unavailable for a file that is here and cannot be served: what is wrong with it."""
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
        """The file at that path below ``/packages/``, looked up by name; raises NotFound."""
        known = self._files.get(path)
        try:
            serial = self.serial()
            if known is None or known[0] != serial:
                # The serial was read before: whatever changes meanwhile makes the answer one of the past.
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
                # What the catalog has no row of must be certain; it may also have one by now.
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
                    # It was given its row, or became visible, since it was looked for.
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
        """Whether a project or file is certainly not here; part of a question to the catalog."""
        if self._indexer.is_behind():
            raise CatalogUnavailable("The catalog cannot be brought up to date now. Try again in a moment.")
        if not self._catalog.is_absent(project=project, filename=filename):
            return False
        taken = self._take_in((project,) if project else projects_of(filename), filename)
        # A row may have come after the first question also where it was not this one that gave it.
        return not taken.is_any or self._catalog.is_absent(project=project, filename=filename)

    def _take_in(self, projects: tuple[str, ...], filename: str = "") -> _Taken:
        """Give what the folders hold now of these projects its rows, before any event has told of it.

        Raises Unavailable when something came and went meanwhile.
        """
        found = self._presence.holding(projects) if self._presence is not None and projects else None
        keys = [key for key in found or () if not filename or key[1].rpartition("/")[2] == filename]
        unknown = [key for key in keys if self._catalog.row(*key) is None]
        if unknown and self._presence is not None:
            self._refresher.refresh(unknown)
            if any(self._catalog.row(*key) is None and not self._presence.is_named(key) for key in unknown):
                # It was here a moment ago.
                raise Unavailable(
                    f"{filename or projects[0]} is changing right now. Try again in a moment.",
                    kind="changing",
                    filename=filename,
                    project=projects[0],
                )
        # A name that has a row is no longer told of in a large tree; it may have got it only now.
        may_have_rows = found is None and self._presence is not None
        return _Taken(bool(keys) or may_have_rows, bool(unknown))

    @staticmethod
    def _is_replaced(rows: Iterable[File]) -> bool:
        """Whether a file is hidden because another one takes its place, is still written, or came just now."""
        now = time.time()
        return any(
            row.inode == REPLACED or min(abs(now - row.mtime_ns / 1e9), abs(now - row.ctime_ns / 1e9)) < WRITING_SECONDS
            for row in rows
        )

    def open(self, path: str) -> tuple[File, BinaryIO]:
        """The file at that path and its bytes: both from the same inode, size and time, or Unavailable."""
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
        """A file's signature (``.asc``) or attestations (``.provenance``); raises NotFound."""
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
        """The core metadata inside a file, None when it carries none."""
        digest = file.metadata_sha256
        known = self._metadata.get(digest) if digest else None
        if known is None:
            known = self._query(lambda: self._catalog.metadata(file))
            # By its digest, so that what is remembered is right for ever.
            if known is not None and digest:
                self._metadata.put(digest, known, size=len(known))
        return known

    def core_metadata(self, file: File) -> CoreMetadata | None:
        """What the core metadata inside a file says, None when it carries none."""
        return self._query(lambda: self._catalog.core_metadata(file))

    def summaries(self) -> list[tuple[str, str, str]]:
        """(name, version, summary) of every project's newest release, as lists for people show it."""
        return self._query(self._catalog.listing.summaries)

    def paths(self) -> Iterator[tuple[str, int, int, str]]:
        """Path, size (bytes), modification time (nanoseconds) and link digest of every visible file, by path.

        The digest is empty for a file that was not read yet, and where no link is to have one. Asked for as they are
        taken; what comes or goes meanwhile may be among them or not.
        """
        return heapq.merge(*(self._paths(root) for root in range(len(self._storage.roots))))

    def _paths(self, root: int) -> Iterator[tuple[str, int, int, str]]:
        rows = [("", 0, 0, "")]
        while rows:
            rows = self._query(partial(self._catalog.paths, root, rows[-1][0], ROWS))
            yield from rows

    def files(self, search: FileSearch) -> FilePage:
        """A page of the list of files for people."""
        return self._query(lambda: self._catalog.file_list.page(search))

    def totals(self) -> tuple[int, int]:
        """How many projects and how many files are visible."""
        files, projects = self._query(self._catalog.counts)
        return projects, files

    def find(self, search: Search) -> tuple[int, list[Listed]]:
        """How many projects match, and those of the page asked for."""
        return self._query(lambda: self._catalog.listing.find(search))

    def newest(self, limit: int) -> list[Listed]:
        """The projects that were uploaded to last, the last one first."""
        return self._query(lambda: self._catalog.listing.newest(limit))

    def present(self, names: Iterable[str]) -> set[str]:
        """Which of these projects, in normal form, are here."""
        return self._query(lambda: self._catalog.listing.present(names))

    def needing(self, name: NormalizedName, limit: int) -> tuple[int, list[tuple[str, str]]]:
        """How many projects' newest releases depend on this one, and (normal form, name) of the first of them."""
        return self._query(lambda: self._catalog.listing.needing(name, limit))

    def faults(self, name: NormalizedName) -> list[FileFault]:
        """What is wrong with every file of a project that is not listed."""
        return self._query(lambda: self._catalog.faults_of(name))
