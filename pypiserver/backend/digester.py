"""Reading a distribution file once: its digests, its core metadata, and its faults.

**Invariants:** digests and metadata come from one open file; a request for a project digests its files in the thread of
that request, under the lock of that project and no other; a result is recorded only while the row still describes the
file that was read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from ..bounded_cache import OnceLog
from ..catalog import FAILURES, Catalog, Digest, FileFault
from ..distributions import filename as distfile
from ..distributions import metadata
from ..distributions.core_metadata import needed_projects, packed, parse_metadata, valid_requires_python
from ..distributions.filename import FilenameParts
from ..distributions.truncation import UNFINISHED
from ..errors import FaultKind, InvalidDistribution, PypiServerError
from ..model import File
from ..supervisor import say
from ..text import MAX_SENTENCE, cut
from .hashing import BLOCK
from .protocols import Storage
from .stored_file import sidecar

_LOG = logging.getLogger(__name__)
# A file of at most this many bytes is read in one call: reading block by block, and again for the metadata, costs 10 us
# more.
SMALL = 1 << 18
# Results are recorded after this many files, or this many bytes.
BATCH = 1000
BATCH_BYTES = 1 << 28
# Hashing large blocks releases the GIL; with small files threads only take turns.
HASHERS = min(4, os.cpu_count() or 1)
# Within the resolution of its times, a file may change again and look the same: most file systems count in ticks of the
# kernel, of at most ten milliseconds; those that keep no fraction of a millisecond may count in two seconds (FAT).
TICK_SECONDS = 0.02
COARSE_SECONDS = 2.0
# A file that is not a whole archive and changed within these seconds may still be being written, with pauses.
WRITING_SECONDS = 10.0
# For older files there is no check whether a downloader still writes them: it costs a tenth of reading a small file.
UNFINISHED_SECONDS = 86_400.0


def wait_until_settled(mtime_ns: int) -> None:
    """Return when any later change of a file with this modification time will give it another one."""
    if seconds := unsettled_seconds(mtime_ns, time.time()):
        time.sleep(seconds)


def unsettled_seconds(mtime_ns: int, now: float) -> float:
    """For how many more seconds a file modified at ``mtime_ns`` may change and keep that modification time."""
    age = now - mtime_ns / 1e9
    limit = TICK_SECONDS if mtime_ns % 1_000_000 else COARSE_SECONDS
    return limit - age if 0 <= age < limit else 0.0


def public_fault(fault: FileFault) -> str:
    """The sentence about a fault that a client may see: what is wrong inside the file, not its place or its owner."""
    if fault.is_damage:
        return fault.sentence
    if fault.kind == "unfinished":
        return f"{fault.filename} is still being downloaded"
    return f"{fault.filename} cannot be read now; the server's log says more"


class Digester:
    """Digests the files whose rows in the catalog have no digest yet.

    ``hash_algo`` is the algorithm of the link fragment, None for no fragment. ``wait`` is called before each file is
    read, with its change time, or its modification time where there is none (nanoseconds since the epoch).
    """

    def __init__(
        self,
        folders: Storage,
        catalog: Catalog,
        *,
        hash_algo: str | None,
        wait: Callable[[int], object] = wait_until_settled,
    ) -> None:
        self.folders = folders
        self.catalog = catalog
        self.hash_algo = hash_algo
        self._wait = wait
        self._locks: dict[str, threading.Lock] = {}
        self._said = OnceLog()

    def digest_project(self, name: str) -> list[tuple[int, str]]:
        """Digest the pending files of a project; of two concurrent callers, the second one finds the work done.

        Gives (root, path) of files that changed since they were scanned. Raises Unavailable while a folder cannot be
        read.
        """
        lock = self._locks.setdefault(name, threading.Lock())
        try:
            with lock:
                return self._digest_all(self.catalog.pending_of(name))
        finally:
            self._locks.pop(name, None)

    def digest_some(self, *, changed: Callable[[list[tuple[int, str]]], object] | None = None) -> int:
        """Digest up to BATCH pending files; gives their number.

        ``changed`` is called with (root, path) of those that changed since they were scanned, if there are any.
        """
        pending = self.catalog.pending(BATCH)
        differing = self._digest_all(pending)
        if differing and changed is not None:
            changed(differing)
        return len(pending)

    def _digest_all(self, pending: list[File]) -> list[tuple[int, str]]:
        """Digest files; gives (root, path) of those that changed since they were scanned."""
        changed: list[tuple[int, str]] = []
        for batch in _batches(pending):
            small = [file for file in batch if file.size <= SMALL]
            large = [file for file in batch if file.size > SMALL]
            digests = [(file, self.digest(file)) for file in small]
            if large:
                with ThreadPoolExecutor(min(HASHERS, len(large)), "pypiserver-hash") as pool:
                    digests += zip(large, pool.map(self.digest, large), strict=True)
            self._record(digests)
            changed += [(file.root, file.path) for file, digest in digests if digest.fault_kind == "changed"]
        return changed

    def _record(self, digests: list[tuple[File, Digest]]) -> None:
        """Record digests; one that the catalog cannot store becomes a fault of that file, and of no other."""
        try:
            self.catalog.record(digests)
            return
        except (*FAILURES, PypiServerError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            say("digests", error, "the files are recorded one by one")
        for file, digest in digests:
            try:
                self.catalog.record([(file, digest)])
            except (*FAILURES, PypiServerError, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - the log says which file it is
                reason = f"what it says cannot be recorded ({type(error).__name__})"
                self.catalog.record([(file, self._faulty(file, reason, "failed"))])

    def digest(self, file: File) -> Digest:
        """Read one file; anything that keeps it from being listed becomes the ``fault`` of the result.

        Raises Unavailable when the folder itself cannot be read: that is not a fault of the file.
        """
        reason = ""
        kind: FaultKind = "unreadable"
        # The folder may disappear and return before it is checked: only a second failure is the file's own fault.
        for _ in range(2):
            try:
                return self._digest(file)
            except InvalidDistribution as error:
                return self._faulty(file, error.reason, error.kind)
            except PypiServerError as error:
                self.folders.check()
                reason = f"it cannot be opened ({error})"
            except OSError as error:
                self.folders.check()
                reason = f"it cannot be read ({error.strerror or error})"
            except MemoryError:
                reason = "it cannot be read (there is not enough memory)"
            except Exception as error:  # noqa: BLE001 - logged with its traceback
                # A library failed; with an archive made to crash it, it fails again.
                say("digests", error, "the file is tried again, and then left out")
                reason, kind = f"reading it failed ({type(error).__name__})", "failed"
        return self._faulty(file, reason, kind)

    def _faulty(self, file: File, reason: str, kind: FaultKind) -> Digest:
        """A digest with a fault; the reason is cut, because it may contain an archive's member names of any length."""
        fault = FileFault(file.path, kind, cut(reason, MAX_SENTENCE))
        self._say_skipped(file, fault.reason)
        return Digest("", fault=fault.reason, fault_kind=kind)

    def _digest(self, file: File) -> Digest:
        stream, entry = self.folders.open(file.root, file.path)
        with stream:
            if not entry.identity.is_same(file.identity):
                return Digest("", fault="it changed while it was read", fault_kind="changed")
            self._wait(entry.ctime_ns or entry.mtime_ns)
            if time.time() - entry.mtime_ns / 1e9 < UNFINISHED_SECONDS and (control := self._unfinished(file)):
                reason = f"it cannot be served yet: {control} says that it is still downloaded"
                return Digest("", fault=reason, fault_kind="unfinished")
            whole = io.BytesIO(stream.read(entry.size)) if entry.size <= SMALL else stream
            dist = distfile.parse_filename(file.filename)
            digest = self.read(whole, dist)
            if isinstance(stream, io.FileIO):
                metadata.refuse_holes(stream, entry.size, dist)
            return digest

    def _unfinished(self, file: File) -> str:
        """The name of the file that a downloader keeps next to an incomplete file, '' when there is none."""
        for suffix in UNFINISHED:
            try:
                self.folders.open(file.root, sidecar(file.path, suffix))[0].close()
            except PypiServerError:
                continue
            return file.filename + suffix
        return ""

    def _say_skipped(self, file: File, reason: str) -> None:
        """Log a fault once: the indexer and a request may both read a file, and unreadable files are tried again."""
        if self._said.is_new(file.root, file.path, reason):
            _LOG.warning("Skipped %s in %s: %s", file.path, self.folders.roots[file.root], reason)

    def read(self, stream: BinaryIO, dist: FilenameParts) -> Digest:
        """The digests and core metadata of an open distribution file; raises OSError and InvalidDistribution."""
        sha256 = hashlib.sha256()
        algorithm = self.other_algorithm()
        other = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
        block = memoryview(bytearray(BLOCK))
        while count := stream.readinto(block):  # type: ignore[attr-defined]
            sha256.update(block[:count])
            if other is not None:
                other.update(block[:count])
        raw = metadata.read_metadata(stream, dist)
        return self.describe(dist, raw, sha256=sha256.hexdigest(), other=other.hexdigest() if other else None)

    def other_algorithm(self) -> str | None:
        """The algorithm to compute in addition to sha256, None when there is none."""
        return None if self.hash_algo in (None, "sha256") else self.hash_algo

    def describe(self, dist: FilenameParts, raw: bytes | None, *, sha256: str, other: str | None) -> Digest:
        """Combine digests and metadata; ``other`` is the hex digest by :meth:`other_algorithm`."""
        link = "" if self.hash_algo is None else f"{self.hash_algo}={other or sha256}"
        is_undecided, dist = bool(dist.others), metadata.decided(dist, raw)
        project, version = (dist.project, dist.version) if is_undecided else ("", "")
        if raw is None:
            return Digest(sha256, link, name=dist.name if is_undecided else "", project=project, version=version)
        core = parse_metadata(raw)
        requires_python = valid_requires_python(core.requires_python)
        if core.requires_python and requires_python is None:
            _LOG.warning(
                "%s: Requires-Python %r cannot be parsed; it is left out.", dist.filename, core.requires_python
            )
        servable = metadata.is_servable(raw, core, dist)
        return Digest(
            sha256,
            link,
            metadata=raw,
            metadata_sha256=hashlib.sha256(raw).hexdigest() if servable else None,
            requires_python=requires_python,
            summary=core.summary,
            keywords=core.keywords,
            needs=" ".join(needed_projects(core)),
            core=packed(core),
            name=_display_name(core.name, dist) or (dist.name if is_undecided else ""),
            project=project,
            version=version,
        )


def _batches(pending: list[File]) -> Iterator[list[File]]:
    """The files in batches of at most BATCH files and BATCH_BYTES; a file larger than that is a batch of its own."""
    batch: list[File] = []
    size = 0
    for file in pending:
        if batch and (len(batch) >= BATCH or size + file.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _display_name(name: str, dist: FilenameParts) -> str:
    """The project's name as the metadata spells it, '' when it is not the file's; file names have ``_`` for ``-``."""
    return name if name.isascii() and distfile.normalize(name) == dist.project else ""
