"""What a bucket tells about a file without its bytes: the digest in its key, the metadata in its sidecar.

**Invariants:** the file itself is read only if these are not enough (an archive without a ``.metadata`` sidecar, a
digest of another algorithm); a store that does not answer leaves the file pending, because it is no fault of the file.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ..backend.digester import Digester
from ..catalog import Catalog, Digest
from ..distributions import filename, metadata
from ..errors import InvalidDistribution, PypiServerError
from ..model import File
from ..supervisor import say
from .storage import METADATA, Bucket, sha256_of

# Each thread mostly waits for the store: 8 threads read 2,900 small objects a second from a gateway on this machine.
READERS = 16


class BucketDigester(Digester):
    """Digests the pending files of a bucket; see :class:`Digester`."""

    def __init__(self, bucket: Bucket, catalog: Catalog, *, hash_algo: str | None) -> None:
        super().__init__(bucket, catalog, hash_algo=hash_algo)
        self._bucket = bucket

    def _digest_all(self, pending: list[File]) -> list[tuple[int, str]]:
        """Digest files; a stored file never changes, because its key is the digest of its bytes."""
        if len(pending) < 2:
            self._record([(file, self.digest(file)) for file in pending])
            return []
        with ThreadPoolExecutor(min(READERS, len(pending)), "pypiserver-read") as pool:
            self._record(list(zip(pending, pool.map(self.digest, pending), strict=True)))
        return []

    def digest(self, file: File) -> Digest:
        """The digest and metadata of a file from the bucket; raises Unavailable, which leaves the file pending."""
        try:
            return self._known(file)
        except InvalidDistribution as error:
            return self._faulty(file, error.reason, error.kind)
        except MemoryError:
            return self._faulty(file, "it cannot be read (there is not enough memory)", "unreadable")
        except (PypiServerError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            say("digests", error, "the file is left out")
            return self._faulty(file, f"reading it failed ({type(error).__name__})", "failed")

    def _known(self, file: File) -> Digest:
        dist, sha256 = filename.parse_filename(file.filename), sha256_of(file.path)
        if self.other_algorithm() is not None:
            with self._bucket.open_as(file) as stream:
                digest = self.read(stream, dist)
            if digest.sha256 != sha256:
                raise InvalidDistribution(file.filename, "its bytes are not those of its key", kind="altered")
            return digest
        raw = self._bucket.read_sidecar(file.path, METADATA)
        if raw is None:
            with self._bucket.open_as(file) as stream:
                raw = metadata.read_metadata(stream, dist)
        return self.describe(dist, raw, sha256=sha256, other=None)
