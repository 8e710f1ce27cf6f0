"""``pypi-server check`` over folders: read every file and report each fault with its remedy.

**Invariants:** nothing is changed. A skipped file has the reason that the server logs, because both come from the same
modules (``storage``, ``filename``, ``metadata``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ..backend.checks import ADVICE, Fault, archive_faults
from ..backend.digester import Digester
from ..backend.project_status import STATUSES
from ..backend.protocols import Tell
from ..backend.stored_file import ScanResult, StoredFile
from ..catalog import Catalog
from ..distributions import filename, versions
from ..distributions.filename import FilenameParts
from ..distributions.filename_keys import spelling_key
from ..errors import InvalidDistribution, InvalidFilename, PypiServerError
from .storage import Folders


class FolderChecker:
    """Checks the folders of one index against themselves and against their catalog."""

    def __init__(self, folders: Folders, catalog: Catalog) -> None:
        self._folders = folders
        self._catalog = catalog
        self._digester = Digester(folders, catalog, hash_algo=None)

    def run(self, *, progress: Tell) -> Iterator[Fault]:
        """Every fault, folder by folder; ``progress`` is called with the files done and their number.

        Raises Unavailable when a folder cannot be read.
        """
        scan = self._folders.scan()
        for root, path, reason in scan.skipped:
            yield self._fault(root, path, "skipped", reason)
        named = list(self._named(scan))
        for entry, outcome in named:
            # Notes and other files that are not meant as packages are no fault.
            is_meant = filename.is_meant_as_package(entry.path)
            if isinstance(outcome, InvalidFilename) and is_meant:
                yield self._fault(entry.root, entry.path, "skipped", str(outcome))
        files = [(entry, outcome) for entry, outcome in named if isinstance(outcome, FilenameParts)]
        yield from self._statuses()
        yield from self._orphans(scan, files)
        yield from self._duplicates(files)
        digests = {(file.root, file.path): file for file in self._catalog.files()}
        for number, (entry, dist) in enumerate(files, start=1):
            row = digests.get((entry.root, entry.path))
            yield from self._check(entry, dist, row.sha256 if row else "")
            progress(number, len(files))

    def _named(self, scan: ScanResult) -> Iterator[tuple[StoredFile, FilenameParts | InvalidFilename]]:
        for entry in scan.entries:
            if entry.path.endswith(filename.SIDECARS):
                continue
            try:
                yield entry, filename.parse_filename(entry.path.rpartition("/")[2])
            except InvalidFilename as error:
                yield entry, error

    def _statuses(self) -> Iterator[Fault]:
        for name, text in self._folders.statuses().items():
            if text.strip().partition("\n")[0].strip().lower() not in STATUSES:
                message = f"its first line must be one of {', '.join(STATUSES)}"
                yield self._fault(0, f".status/{name}", "status", message)

    def _orphans(self, scan: ScanResult, files: Iterable[tuple[StoredFile, FilenameParts]]) -> Iterator[Fault]:
        bases = {(entry.root, entry.path) for entry, _ in files}
        for entry in scan.entries:
            base, _, _ = entry.path.rpartition(".")
            if entry.path.endswith(filename.SIDECARS) and (entry.root, base) not in bases:
                message = f"it belongs to {base.rpartition('/')[2]}, which is not here"
                yield self._fault(entry.root, entry.path, "skipped", message)

    def _duplicates(self, files: Iterable[tuple[StoredFile, FilenameParts]]) -> Iterator[Fault]:
        first: dict[str, StoredFile] = {}
        spelled: dict[tuple[str, ...], StoredFile] = {}
        for entry, dist in sorted(files, key=lambda pair: pair[0][:2]):
            before = first.setdefault(dist.filename, entry)
            if before is not entry:
                message = f"a file of this name comes first: {self._where(before)}"
                yield self._fault(entry.root, entry.path, "duplicate", message)
                continue
            other = spelled.setdefault(spelling_key(dist), entry)
            if other is not entry:
                message = f"it is another spelling of {self._where(other)}"
                yield self._fault(entry.root, entry.path, "duplicate", message)

    def _check(self, entry: StoredFile, dist: FilenameParts, known_sha256: str) -> Iterator[Fault]:
        if not dist.others and not versions.is_standard(dist.version):
            message = f"its version {dist.version!r} is not a PEP 440 version"
            yield self._fault(entry.root, entry.path, "version", message)
        try:
            stream, opened = self._folders.open(entry.root, entry.path)
            with stream:
                yield from self._check_bytes(stream, entry, dist, known_sha256 if opened == entry else "")
        except InvalidDistribution as error:
            # The server does not list the file, and logs this reason.
            yield self._fault(entry.root, entry.path, error.kind, error.reason)
        except PypiServerError as error:
            yield self._fault(entry.root, entry.path, "unreadable", f"it cannot be opened ({error})")
        except OSError as error:
            yield self._fault(entry.root, entry.path, "unreadable", f"it cannot be read ({error.strerror or error})")

    def _check_bytes(
        self, stream: BinaryIO, entry: StoredFile, dist: FilenameParts, known_sha256: str
    ) -> Iterator[Fault]:
        """The faults a server would see, then those it does not look for; raises OSError, InvalidDistribution."""
        digest = self._digester.read(stream, dist)
        if known_sha256 and digest.sha256 != known_sha256:
            yield self._fault(entry.root, entry.path, "catalog", "its bytes are not those the catalog knows")
        if dist.others and not versions.is_standard(digest.version):
            message = f"its version {digest.version!r} is not a PEP 440 version"
            yield self._fault(entry.root, entry.path, "version", message)
        for kind, message in archive_faults(stream, dist, digest.metadata):
            yield self._fault(entry.root, entry.path, kind, message)

    def _where(self, entry: StoredFile) -> str:
        return f"{entry.path} in {self._folders.roots[entry.root]}"

    def _fault(self, root: int, path: str, kind: str, message: str) -> Fault:
        advice = ADVICE[kind].format(catalog=self._catalog.connections.place())
        return Fault(str(self._folders.roots[root]), path, kind, message, advice)
