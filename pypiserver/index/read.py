"""Reading packages: what is listed, and what may be downloaded; :mod:`publish` has the changes.

**Invariants:** a path from a request is looked up, never joined to a folder; a page is given only when every file on it
has its sha256; a failure of storage is Unavailable, never an empty answer; "not found" is raised only when the catalog,
complete and not replaced, has no row at that moment.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Hashable, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple

from packaging.utils import NormalizedName

from ..backend.backend import Backend
from ..backend.stored_file import sidecar
from ..bounded_cache import BoundedCache, weight
from ..catalog import FAILURES
from ..catalog.name_filter import EVERYTHING, NameFilter
from ..distributions.core_metadata import CoreMetadata
from ..distributions.filename_keys import file_key
from ..distributions.versions import canonical_version
from ..errors import CatalogUnavailable, Forbidden, NotFound, Unavailable
from ..model import File, Indexed, Project, last_serial
from ..observability.download_statistics import Counts, Downloads
from .lists import Lists
from .lookup import Lookup

# Where PyPI has a file: parts of the BLAKE2b digest, and the name.
PYPI_PATH = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+")
# More than any upload may bring: a sidecar that was put there by hand must not fill the memory.
MAX_SIDECAR_BYTES = 16 * 1024 * 1024
# Limits, in bytes, of the caches of files' rows, and of metadata.
FILE_BYTES = 4 << 20
METADATA_BYTES = 4 << 20
# Files up to this many bytes are kept in memory when they are asked for again, this many bytes of them together.
SMALL_BYTES = 65_536
CONTENT_BYTES = 4 << 20


class Known(NamedTuple):
    """A file, bytes of it or of its metadata, and the catalog's serial at which they were current."""

    file: File
    data: bytes
    serial: int


class Repository(Lists):
    """The read port: projects, their files, and the bytes of a file.

    Every method raises Unavailable while a folder cannot be read. ``names`` is what a list, or a count, may contain.
    """

    def __init__(self, backend: Backend, *, stats: Downloads | None = None, stale_for: float = 0.0) -> None:
        super().__init__(backend)
        self._is_current = backend.indexer.is_current
        self._refresher = backend.refresher
        self._lookup = Lookup(backend)
        # Without these caches SQLite took 40 us of the 90 of a small download, and 40 of the 57 of a METADATA.
        self._files: BoundedCache[str, tuple[int, File, float]] = BoundedCache(FILE_BYTES)
        self._metadata: BoundedCache[str, bytes] = BoundedCache(METADATA_BYTES)
        # Content by its digest, empty for a file that was asked for once.
        self._contents: BoundedCache[str, bytes] = BoundedCache(CONTENT_BYTES)
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

    def known_serial(self) -> int | None:
        """The result of :meth:`serial` if it is known without waiting, else None."""
        serial = self._catalog.known_serial() if self._is_current() else None
        if serial is not None:
            self._heard = (serial, time.monotonic())
        return serial

    def absence_mark(self) -> Hashable | None:
        """Equal to an earlier one as long as what was not here then is not here now; None where only a lookup tells.

        Waits for nothing.
        """
        serial = self.known_serial()
        mark = None if serial is None else self._lookup.mark()
        return None if mark is None else (serial, mark)

    def known_metadata(self, path: str) -> Known | None:
        """The file at that path with its core metadata if both are in memory and current, else None."""
        known = self._files.get(path)
        return None if known is None else self._known(known, self._metadata, known[1].metadata_sha256)

    def known_bytes(self, path: str) -> Known | None:
        """The file at that path with its bytes if both are in memory and current, else None."""
        known = self._files.get(path)
        return None if known is None else self._known(known, self._contents, known[1].sha256)

    def _known(
        self, known: tuple[int, File, float], memory: BoundedCache[str, bytes], digest: str | None
    ) -> Known | None:
        data = memory.get(digest) if digest else None
        return Known(known[1], data, known[0]) if data and known[0] == self.known_serial() else None

    def remembered(self, file: File, stream: BinaryIO) -> BinaryIO:
        """The stream, or one of the same bytes that are kept in memory, as they are few and were asked for before."""
        if not 0 < file.size <= SMALL_BYTES or not file.sha256:
            return stream
        if self._contents.get(file.sha256) is None:
            self._contents.put(file.sha256, b"", size=0)
            return stream
        data = stream.read(file.size + 1)
        # The file may be written to at this moment; what is kept has the digest of its page.
        if hashlib.sha256(data).hexdigest() != file.sha256:
            stream.seek(0)
            return stream
        stream.close()
        self._contents.put(file.sha256, data, size=len(data))
        return io.BytesIO(data)

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

    def projects(self, names: NameFilter = EVERYTHING) -> Sequence[Indexed]:
        """Every project, sorted by normalized name."""
        return self._query(lambda: self._catalog.projects(self._catalog.narrowed(names)))

    def project(self, name: NormalizedName) -> Project:
        """The project of that name; raises NotFound when it has no file.

        A project whose files are all damaged or being replaced still exists: it is Unavailable, so that clients do not
        look for it at another index.
        """
        return self._query(lambda: self._project(name))

    def versions_here(self, name: NormalizedName) -> frozenset[str]:
        """The versions, in canonical form, of all files of a project, those that cannot be listed included."""
        return self._query(lambda: frozenset(canonical_version(row.version) for row in self._catalog.rows_of(name)))

    def _project(self, normal: NormalizedName) -> Project:
        state, files = self._lookup.project(normal)
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

    def own_path(self, path: str) -> str:
        """The path of the visible file of that name, for a path in the form that PyPI gives to files; else the path.

        A lock file made at PyPI finds its files here once its host is replaced; it has their hashes.
        """
        if not PYPI_PATH.fullmatch(path):
            return path
        filename = path.rpartition("/")[2]
        file = self._query(lambda: self._catalog.file(filename))
        return file.path if file is not None else path

    def _file(self, path: str) -> File:
        file = self._lookup.file(path)
        if self._catalog.project_state(file.project).status.status == "quarantined":
            raise Forbidden(
                f"The project {file.project} is quarantined; none of its files can be downloaded.",
                kind="quarantined",
                filename=file.filename,
                project=file.project,
            )
        return file

    def open(self, path: str) -> tuple[File, BinaryIO]:
        """The file at that path and a stream of its bytes, both of the same inode, size and time.

        Raises Unavailable when they differ twice, and as :meth:`file` does.
        """
        for _ in range(2):
            file = self.file(path)
            stream = self._storage.open_as(file)
            if stream is not None:
                return file, stream
            self._query(partial(self._refresher.refresh, [(file.root, file.path)]))
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
        exists = file.has_signature if suffix == ".asc" else file.has_provenance
        if exists:
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
