"""``pypi-server check`` on a bucket: compare the bytes of every file with its key, its sidecars and its row.

**Invariants:** nothing is changed; each file is read once, to the local disk, and checked there like one in a folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from ..backend.checks import ADVICE, Fault, archive_faults
from ..backend.digester import Digester
from ..backend.hashing import BLOCK
from ..backend.project_status import STATUSES
from ..backend.protocols import Tell
from ..distributions import filename, versions
from ..distributions.filename import FilenameParts
from ..errors import InvalidDistribution, InvalidFilename, NotFound
from ..model import File
from .catalog import BucketCatalog
from .object_store import StoredObject
from .storage import METADATA, Bucket, BucketFile

ROOT = 0


class BucketChecker:
    """Checks a bucket against itself and against its catalog."""

    def __init__(self, bucket: Bucket, catalog: BucketCatalog) -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._digester = Digester(bucket, catalog, hash_algo=None)

    def run(self, *, progress: Tell) -> Iterator[Fault]:
        """Every fault, in the order of the keys; ``progress`` gets the number of files done and the number of rows."""
        for name, text in self._bucket.statuses().items():
            if text.strip().partition("\n")[0].strip().lower() not in STATUSES:
                message = f"its first line must be one of {', '.join(STATUSES)}"
                yield self._fault(f"status/{name}", "bucket-status", message)
        rows = {file.path: file for file in self._catalog.files()}
        total = len(rows)
        strange: list[StoredObject] = []
        for number, file in enumerate(self._bucket.walk(strange), start=1):
            yield from self._check_file(file, rows.pop(file.path, None))
            progress(number, max(number, total))
        for stray in strange:
            yield self._fault(stray.key, "stray", "it is no package file, and belongs to none")
        for path in rows:
            if not self._bucket.is_there(path):
                yield self._fault(path, "missing", "the catalog knows it, and the bucket has no such object")

    def _check_file(self, file: BucketFile, row: File | None) -> Iterator[Fault]:
        try:
            dist = filename.parse_filename(file.filename)
        except InvalidFilename as error:
            yield self._fault(file.path, "skipped", str(error))
            return
        if row is None:
            yield self._fault(file.path, "orphan", "no row of the catalog refers to it")
        elif row.size != file.size:
            yield self._fault(file.path, "catalog", f"it has {file.size} bytes, the catalog says {row.size}")
        if not versions.is_standard(dist.version):
            yield self._fault(file.path, "version", f"its version {dist.version!r} is not a PEP 440 version")
        try:
            yield from self._check_content(file, dist)
        except InvalidDistribution as error:
            yield self._fault(file.path, error.kind, error.reason)
        except NotFound:
            yield self._fault(file.path, "missing", "it went while it was looked at")

    def _check_content(self, file: BucketFile, dist: FilenameParts) -> Iterator[Fault]:
        with tempfile.TemporaryFile() as local:
            stream, _ = self._bucket.open(ROOT, file.path)
            try:
                with stream:
                    while block := stream.read(BLOCK):
                        local.write(block)
            except OSError as error:
                yield self._fault(file.path, "unreadable", f"it cannot be read ({error})")
                return
            local.seek(0)
            digest = self._digester.read(local, dist)
            if digest.sha256 != file.sha256:
                yield self._fault(file.path, "altered", "its bytes are not those its key was given for")
            for kind, message in archive_faults(local, dist, digest.metadata):
                yield self._fault(file.path, kind, message)
        yield from self._check_metadata_object(file, digest.metadata)

    def _check_metadata_object(self, file: BucketFile, raw: bytes | None) -> Iterator[Fault]:
        stored = self._bucket.read_sidecar(file.path, METADATA) if METADATA in file.siblings else None
        if stored != raw:
            wrong = "is missing" if stored is None else "is not what the archive says"
            yield self._fault(file.path + METADATA, "metadata", f"the metadata object of {file.filename} {wrong}")

    def _fault(self, path: str, kind: str, message: str) -> Fault:
        advice = ADVICE[kind].format(catalog=self._catalog.connections.place())
        return Fault(str(self._bucket.roots[ROOT]), path, kind, message, advice)
