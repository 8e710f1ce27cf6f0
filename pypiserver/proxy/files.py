"""Files of other indexes: kept ones from the cache, all others from the index, fetched once for all who ask.

**Invariants:** a file is fetched by one thread, however many read it; no thread waits here unless the caller says that
it may; nothing is given that the page of the index does not name.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from functools import partial

from ..backend.cache_store import KeptFile, Key
from ..bounded_cache import BoundedCache
from ..distributions.archive_limits import BadArchive
from ..distributions.archive_reader import read_contents
from ..distributions.filename import as_filed
from ..errors import InvalidFilename, PypiServerError, Unavailable
from ..upstream.values import RemoteFile, RemotePage, Upstream
from .file_fetch import Fetching, FileFetch
from .lanes import Job, Jobs, Lanes, wait_for
from .small_fetch import LIMITS, fetch_companion, fetch_part, refuse_missing
from .transfer import Transfer
from .verdicts import Version, fits, key_of, told, version_of

# Bytes of metadata and the like in memory.
SMALL_BYTES = 4 << 20
# A file that was wrong twice is not asked for again for this many seconds.
WRONG_SECONDS = 60.0
# How long a client may wait for the first byte.
FIRST_SECONDS = 60.0


class ProxyFiles:
    """The files of all upstreams.

    ``most_fetches`` is how many files are fetched at once from each index, and how many small things;
    ``most_blocking`` how many threads may wait here at once, where the server has no loop that waits.
    """

    def __init__(self, shared: Fetching, *, most_fetches: int = 32, most_blocking: int = 8) -> None:
        self._shared = shared
        self._store = shared.store
        self._lanes = Lanes(most_fetches)
        self._jobs = Jobs(Lanes(most_fetches))
        self._blocking = threading.BoundedSemaphore(most_blocking)
        self._lock = threading.Lock()
        self._transfers: dict[Version, Transfer] = {}
        self._small: BoundedCache[tuple[str, str], bytes] = BoundedCache(SMALL_BYTES)
        # How often a file was wrong, and when it was last (by the clock).
        self._wrong: BoundedCache[Version, tuple[int, float, PypiServerError]] = BoundedCache(1 << 20)

    # -- files ---------------------------------------------------------------------------------------------------

    def open(self, file: RemoteFile, upstream: Upstream) -> KeptFile | None:
        """The kept file, None if it is not kept; a use by a client."""
        key = key_of(file)
        kept = self._store.open(key)
        if kept is not None and not fits(kept, file):
            kept.stream.close()
            return None
        if kept is not None:
            self._store.note_use(key)
        return kept

    def is_coming(self, file: RemoteFile) -> bool:
        """Whether the file is being fetched, and is not whole yet."""
        transfer = self._transfers.get(version_of(file)) if self._transfers else None
        return transfer is not None and transfer.error is None and not transfer.is_whole

    def transfer(self, file: RemoteFile, upstream: Upstream, start: int = 0) -> Transfer:
        """The file as it comes, from the byte at ``start`` on; it is fetched from now on, unless it is already.

        Raises BadGateway for a file that was wrong a moment ago, and Unavailable if too much is being fetched.
        """
        version = version_of(file)
        self._refuse_offline(file.filename)
        with self._lock:
            transfer = self._transfers.get(version)
            if transfer is not None and transfer.can_begin(start):
                return transfer
            self._refuse_wrong(version)
            transfer = Transfer(expected=file.sha256, patience=self._shared.stall_seconds)
            fetch = FileFetch(self._shared, file, upstream, transfer)
            self._lanes.run(upstream.name, partial(self._run, version, fetch, transfer))
            self._transfers[version] = transfer
        return transfer

    def _run(self, version: Version, fetch: FileFetch, transfer: Transfer) -> None:
        try:
            fetch.run()
        finally:
            with self._lock:
                if self._transfers.get(version) is transfer:
                    del self._transfers[version]
            if fetch.is_wrong and transfer.error is not None:
                count = (self._wrong.get(version) or (0, 0.0, None))[0]
                self._wrong.put(version, (count + 1, self._shared.clock(), transfer.error), size=1500)
                self._shared.note_wrong(version.key.upstream)
            elif transfer.is_whole:
                self._wrong.drop(version)
                self._store.note_use(version.key)

    def _refuse_wrong(self, version: Version) -> None:
        """Raise the error of a file that was wrong twice, a moment ago."""
        count, when, error = self._wrong.get(version) or (0, 0.0, None)
        if error is None:
            return
        if self._shared.clock() - when > WRONG_SECONDS:
            self._wrong.drop(version)
        elif count > 1:
            raise error.reworded(str(error), public=True)

    def hold_thread(self) -> Callable[[], object]:
        """Take one of the places for threads that wait; returns what gives it back."""
        if not self._blocking.acquire(blocking=False):
            raise Unavailable(
                "Too many requests wait for files of other indexes.",
                public="Too many requests wait for files of other indexes right now. Try again in a moment.",
                kind="too-many",
            )
        return self._blocking.release

    # -- parts of files ------------------------------------------------------------------------------------------

    def part(self, file: RemoteFile, upstream: Upstream, start: int, length: int) -> Job[bytes]:
        """These bytes as the index sends them, b"" if it does not; nothing is kept."""

        def make() -> bytes:
            try:
                return fetch_part(self._shared, file, upstream, start, length) or b""
            except PypiServerError as error:
                raise told(error, file, upstream) from error

        return self._begin((key_of(file), f"{start}+{length} {version_of(file)}"), upstream, make)

    def has_begun(self, file: RemoteFile, end: int) -> bool:
        """Whether the file is being fetched, and the bytes before ``end`` are there."""
        transfer = self._transfers.get(version_of(file))
        return transfer is not None and transfer.error is None and transfer.available >= end

    # -- metadata, provenance, signatures ------------------------------------------------------------------------

    def companion(self, file: RemoteFile, upstream: Upstream, suffix: str) -> bytes | Job[bytes]:
        """``.metadata``, ``.provenance`` or ``.asc`` of a file, or who brings it; raises NotFound if there is none."""
        name = key_of(file), _memory_key(file, suffix)[1]
        known = self._small.get(_memory_key(file, suffix))
        if known is None:
            known = self._kept_companion(file, suffix)
        if known is not None:
            return known
        refuse_missing(file, suffix)

        def make() -> bytes:
            try:
                data = fetch_companion(self._shared, file, upstream, suffix)
            except PypiServerError as error:
                raise told(error, file, upstream) from error
            self._keep_companion(file, suffix, data)
            return data

        return self._begin(name, upstream, make)

    def metadata(self, file: RemoteFile, upstream: Upstream) -> bytes:
        """The core metadata; waits for it. Raises NotFound, BadGateway and Unavailable."""
        return self._settled(self.companion(file, upstream, ".metadata"))

    def provenance(self, file: RemoteFile, upstream: Upstream) -> bytes:
        """The provenance; waits for it. Raises NotFound, BadGateway and Unavailable."""
        return self._settled(self.companion(file, upstream, ".provenance"))

    def known_metadata(self, file: RemoteFile) -> bytes | None:
        """The core metadata if it is in memory."""
        return self._small.get(_memory_key(file, ".metadata"))

    def wait(self, job: Job[bytes]) -> None:
        """Wait for a result in this thread; raises Unavailable if too many do."""
        release = self.hold_thread()
        try:
            wait_for(job.when_ready, FIRST_SECONDS)
        finally:
            release()

    def _settled(self, found: bytes | Job[bytes]) -> bytes:
        if isinstance(found, bytes):
            return found
        self.wait(found)
        return found.result()

    def _refuse_offline(self, filename: str) -> None:
        if self._shared.offline:
            raise Unavailable(
                f"{filename} is not in the cache, and no index is asked for it (--offline).",
                public=True,
                is_passing=False,
                kind="offline",
                filename=filename,
            )

    def _begin(self, name: tuple[Key, str], upstream: Upstream, make: Callable[[], bytes]) -> Job[bytes]:
        self._refuse_offline(name[0].filename)
        return self._jobs.begin(name, upstream.name, make)

    def _kept_companion(self, file: RemoteFile, suffix: str) -> bytes | None:
        """It from the cache: as the index sent it, or, of a kept wheel, made from the wheel."""
        key, data = key_of(file), None
        with contextlib.suppress(Unavailable):
            data = self._store.sidecar(key, suffix)
            if data is not None and not _is_right(file, suffix, data):
                data = None
            if data is None and suffix == ".metadata":
                data = self._from_wheel(file)
        if data is not None:
            self._small.put(_memory_key(file, suffix), data, size=len(data))
        return data

    def _from_wheel(self, file: RemoteFile) -> bytes | None:
        kept = self._store.open(key_of(file)) if file.filename.endswith(".whl") else None
        if kept is None:
            return None
        with kept.stream:
            if not fits(kept, file):
                return None
            try:
                raw = read_contents(kept.stream, as_filed(file.filename, file.project)).raw
            except (BadArchive, InvalidFilename, OSError):
                return None
        return raw if raw is not None and _is_right(file, ".metadata", raw) else None

    def _keep_companion(self, file: RemoteFile, suffix: str, data: bytes) -> None:
        self._small.put(_memory_key(file, suffix), data, size=len(data))
        # Without a hash on the page nothing says that it is right; a signature is not worth a file.
        if suffix == ".provenance" or (suffix == ".metadata" and file.metadata_sha256):
            with contextlib.suppress(PypiServerError):
                self._store.put_sidecar(key_of(file), suffix, data)

    def close(self) -> None:
        """End what is being fetched, and write what the cache has only in memory."""
        self._shared.ending.set()
        self._store.close()

    # -- what a new page changes ---------------------------------------------------------------------------------

    def note_page(self, page: RemotePage) -> None:
        """Yank and unyank kept files as the page says."""
        with contextlib.suppress(PypiServerError):
            kept = self._store.kept_yanks(page.upstream, page.project)
            for file in page.files if kept else ():
                if file.filename not in kept or kept[file.filename] == file.yanked:
                    continue
                if file.yanked is None:
                    self._store.remove_sidecar(key_of(file), ".yanked")
                else:
                    self._store.put_sidecar(key_of(file), ".yanked", file.yanked.encode())


def _memory_key(file: RemoteFile, suffix: str) -> tuple[str, str]:
    """What another state of the page does not share."""
    return "/".join(key_of(file)), f"{suffix} {file.metadata_sha256} {file.provenance} {file.sha256}"


def _is_right(file: RemoteFile, suffix: str, data: bytes) -> bool:
    if len(data) > LIMITS[suffix]:
        return False
    return suffix != ".metadata" or file.metadata_sha256 in ("", hashlib.sha256(data).hexdigest())
