"""Fetching one file of another index: the response is judged, its bytes are checked, and what is right is kept.

**Invariants:** nothing is kept that is not exactly what the page of the index says; the index is asked once for all
processes; a fetch ends, at the latest when it gets too little for as long as ``stall_seconds``.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, Protocol

from ..backend.cache_store import CacheStore, FollowedFile, GrowingFile
from ..distributions.archive_limits import BadArchive
from ..distributions.archive_reader import read_contents
from ..distributions.filename import as_filed
from ..errors import BadGateway, PypiServerError, Unavailable
from ..upstream.values import RemoteFile, Upstream
from .space import Space
from .transfer import Transfer
from .verdicts import fits, is_same, key_of, refused, told

_LOG = logging.getLogger(__name__)
# How long another process's fetch is waited for between two looks at it (seconds).
POLL_SECONDS = 0.008
# A fetch that gets fewer bytes per second than this, over the stall time, is over.
SLOWEST = 64
_NOT_CODED = frozenset({"", "identity"})
_GZIP = (".gz", ".tgz")


class Response(Protocol):
    """What an index responds; ``headers`` are looked up in any case."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        """The body in pieces, with or without its content coding."""


class Client(Protocol):
    """Asks other indexes: :class:`..upstream.guarded_client.GuardedClient`."""

    def get(
        self, upstream: Upstream, url: str, *, headers: Mapping[str, str], read_seconds: float
    ) -> AbstractContextManager[Response]:
        """The response, after redirects."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """What all fetches need: ``keep`` is off where files are only passed on; ``most`` is the size limit of a file.

    ``space`` limits the cache; ``offline`` asks no index; ``ending`` ends all fetches. ``note_wrong`` gets a name.
    """

    client: Client
    store: CacheStore
    keep: bool = True
    stall_seconds: float = 60.0
    most: int | None = None
    space: Space | None = None
    offline: bool = False
    note_wrong: Callable[[str], object] = str
    ending: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic


class FileFetch:
    """The fetch of one file into a transfer."""

    def __init__(self, shared: Fetching, file: RemoteFile, upstream: Upstream, transfer: Transfer) -> None:
        self._shared = shared
        self._file = file
        self._upstream = upstream
        self._transfer = transfer
        self._key = key_of(file)
        self.is_wrong = False

    def run(self) -> None:
        """Fetch it; the transfer gets the result or the error. Raises nothing of :mod:`..errors`."""
        try:
            self._get()
        except PypiServerError as error:
            self._transfer.fail(told(error, self._file, self._upstream))
        except BaseException:
            self._transfer.fail(Unavailable(f"Fetching {self._file.filename} failed unexpectedly."))
            raise

    def _get(self) -> None:
        misses = 0
        while True:
            with self._shared.store.sole_fetcher(self._key) as is_ours:
                if is_ours:
                    if not self._take_kept():
                        self._fetch(keep=True)
                    return
            with self._shared.store.follow(self._key) as followed:
                if followed is not None and self._follow(followed):
                    return
            if self._take_kept():
                return
            misses += 1
            if misses > 2:
                # Another process fetches it and shows nothing.
                self._fetch(keep=False)
                return
            time.sleep(POLL_SECONDS)

    def _take_kept(self) -> bool:
        kept = self._shared.store.open(self._key)
        if kept is None or not fits(kept, self._file):
            if kept is not None:
                kept.stream.close()
            return False
        self._transfer.finish_from(_Kept(kept.stream), kept.size, kept.sha256, kept.mtime_ns)
        return True

    def _follow(self, followed: FollowedFile) -> bool:
        """Read what another process fetches; returns False if that came to nothing before anything could be read."""
        clock, transfer = self._shared.clock, self._transfer
        moved = clock()
        while not self._shared.ending.is_set():
            progress = followed.progress()
            if progress is None:
                if transfer.available == 0 or self._take_kept():
                    return transfer.is_whole
                raise Unavailable(f"The process that fetched {self._file.filename} gave up.")
            if progress.available and not is_same(progress, self._file):
                return False  # the index replaced the file
            if progress.is_whole or progress.available > transfer.available:
                moved = clock()
                transfer.follow(followed, progress, self._file.sha256)
            if progress.is_whole:
                return True
            if clock() - moved > 2 * self._shared.stall_seconds and transfer.available:
                break
            time.sleep(POLL_SECONDS)
        raise Unavailable(f"The process that fetches {self._file.filename} makes no progress.")

    def _fetch(self, *, keep: bool) -> None:
        shared, file = self._shared, self._file
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        with shared.client.get(
            self._upstream, file.url, headers=headers, read_seconds=shared.stall_seconds
        ) as response:
            total, decode = self._judged(response)
            growing = self._begun(total) if keep else None
            try:
                self._transfer.begin(growing, total)
                hashes = self._received(response, decode)
                self._check(hashes, growing)
                sha256 = hashes["sha256"].hexdigest()
                self._transfer.finish(sha256, file.uploaded_ns or _modified_ns(response))
                if growing is not None and not self._transfer.is_in_memory:
                    self._publish(growing, sha256)
            finally:
                if growing is not None:
                    growing.discard()

    def _judged(self, response: Response) -> tuple[int | None, bool]:
        """The size of the file, None if it is not known for certain, and whether its bytes are to be decoded."""
        file, upstream = self._file, self._upstream
        if response.status != 200:
            raise refused(response.status, file.filename, upstream)
        coding = response.headers.get("content-encoding", "").strip().lower()
        length = _number(response.headers.get("content-length", ""))
        decode = coding not in _NOT_CODED and not self._is_said_only(coding, length)
        size = file.size if decode or length is None else length
        if file.size is not None and size != file.size:
            raise self._wrong("size", f"has {size} bytes in place of the {file.size} that its page says")
        self._refuse_large(size or 0)
        return size, decode

    def _is_said_only(self, coding: str, length: int | None) -> bool:
        """Whether the coding is that of the file itself: some servers say it of every .tar.gz."""
        if self._file.size is not None:
            return length == self._file.size
        return "gzip" in coding and self._file.filename.lower().endswith(_GZIP)

    def _refuse_large(self, size: int) -> None:
        limits = [each for each in (self._shared.most, self._upstream.max_file_size) if each is not None]
        if limits and size > min(limits):
            raise self._wrong("too-large", f"has more than the {min(limits)} bytes that a file may have")

    def _begun(self, total: int | None) -> GrowingFile | None:
        """The growing file, None if it cannot be kept now: then it is only passed on."""
        try:
            return self._shared.store.begin(self._key, total)
        except PypiServerError as error:
            _LOG.warning("%s is not kept: %s", self._file.filename, error)
            return None

    def _received(self, response: Response, decode: bool) -> dict[str, Any]:
        """The hashes of all bytes, which are in the transfer now."""
        shared, transfer = self._shared, self._transfer
        names = {name for name, _ in self._file.hashes} | {"sha256"}
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}
        looked, seen = shared.clock(), 0
        for chunk in response.chunks(decode=decode):
            for each in hashes.values():
                each.update(chunk)
            if transfer.total is not None and transfer.written + len(chunk) > transfer.total:
                raise self._wrong("size", f"has more than the {transfer.total} bytes that were announced")
            self._refuse_large(transfer.written + len(chunk))
            trouble = transfer.add(chunk)
            if trouble is not None:
                _LOG.warning("%s is not kept: %s", self._file.filename, trouble)
            now = shared.clock()
            if now - looked > shared.stall_seconds:
                if transfer.written - seen < SLOWEST * shared.stall_seconds and not transfer.is_in_memory:
                    raise Unavailable(f"The index {self._upstream.name} sends {self._file.filename} too slowly.")
                looked, seen = now, transfer.written
            if shared.ending.is_set():
                raise Unavailable("The server ends.")
        return hashes

    def _check(self, hashes: Mapping[str, Any], growing: GrowingFile | None) -> None:
        """Refuse a file that is not exactly what the page says."""
        transfer, file = self._transfer, self._file
        if transfer.total is not None and transfer.written != transfer.total:
            raise self._wrong("size", f"broke off after {transfer.written} of {transfer.total} bytes", is_cut=True)
        for name, value in file.hashes:
            if hashes[name].hexdigest() != value.lower():
                raise self._wrong("hash", f"has another {name} than its page says")
        if not file.hashes and growing is not None:
            try:
                read_contents(growing.stream(), as_filed(file.filename, file.project))
            except BadArchive as fault:
                raise self._wrong("archive", f"is no right archive, and has no hash on its page: {fault}") from fault

    def _publish(self, growing: GrowingFile, sha256: str) -> None:
        """Keep it; a failure to keep it is no failure to serve it."""
        shared, file = self._shared, self._file
        if not shared.keep or (shared.space is not None and not shared.space.has_room(growing.size)):
            return
        try:
            sidecars = {} if file.yanked is None else {".yanked": file.yanked.encode()}
            provenance = shared.store.sidecar(self._key, ".provenance")
            if provenance is not None:
                sidecars[".provenance"] = provenance
            mtime_ns = self._transfer.mtime_ns
            growing.publish(time.time_ns() if mtime_ns is None else mtime_ns, sidecars, sha256=sha256)
            if shared.space is not None:
                shared.space.note(growing.size)
        except PypiServerError as error:
            _LOG.warning("%s is not kept: %s", file.filename, error)

    def _wrong(self, kind: str, what: str, *, is_cut: bool = False) -> BadGateway:
        self.is_wrong = not is_cut
        file, index = self._file, self._upstream.name
        return BadGateway(
            f"{file.filename} from the index {index} is not given out, because it {what}.",
            public=True,
            kind=kind,
            filename=file.filename,
            project=file.project,
            reason=what,
        )


class _Kept:
    """The bytes of a kept file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._seeking = threading.Lock()

    def read_at(self, offset: int, count: int) -> bytes:
        with self._seeking:
            self._stream.seek(offset)
            return self._stream.read(count)

    def __del__(self) -> None:
        # Its readers may be done long after the fetch.
        self._stream.close()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _modified_ns(response: Response) -> int | None:
    """When the index says that the file changed last."""
    try:
        return int(parsedate_to_datetime(response.headers.get("last-modified", "")).timestamp()) * 1_000_000_000
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
