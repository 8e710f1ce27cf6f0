"""Package files in a bucket, under keys made from their bytes, with their sidecars next to them.

``files/<2>/<2>/<sha256>/<filename>`` and its siblings ``.metadata``, ``.asc``, ``.yanked``, ``.provenance`` and
``.uploaded`` are enough to rebuild the catalog.

**Invariants:** the bytes under a key never change, so a repeated write does no harm, and no write depends on what the
store says it contains; the catalog alone decides which of several keys owns a file name; no request is answered by
listing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import BinaryIO, NamedTuple

from ..backend.stored_file import StoredFile, sidecar
from ..distributions.filename import SIDECARS
from ..errors import NotFound, Unavailable
from ..model import File, utc
from .object_store import ObjectStoreClient, StoredObject
from .reader import ObjectFile
from .staged import Spooled

FILES = "files/"
STATUSES = "status/"
METADATA = ".metadata"
# When the file was uploaded, if not when it came into this bucket: ISO 8601, UTC.
UPLOADED = ".uploaded"
SIBLINGS = (METADATA, *SIDECARS, UPLOADED)
# A file's path is its whole identity.
INODE = 0
# A store that answered is not checked again for this many seconds.
CHECK_SECONDS = 10.0
# Nanoseconds; no upload takes this long between its parts.
STALE_NS = 3600 * 1_000_000_000
_PATH = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})/([^/]+)")


class BucketFile(NamedTuple):
    """A file in a bucket: its path, its size in bytes, when it came there, and its siblings by suffix."""

    path: str
    size: int
    modified_ns: int
    siblings: Mapping[str, StoredObject]

    @property
    def sha256(self) -> str:
        """The digest in its key."""
        return sha256_of(self.path)

    @property
    def filename(self) -> str:
        """The last part of its key."""
        return self.path.rpartition("/")[2]

    @property
    def keys(self) -> list[str]:
        """All its keys: the file first, because nothing counts without it."""
        return [FILES + self.path, *(each.key for each in self.siblings.values())]


class Bucket:
    """The bucket, or the part of it, at ``objects``; the only root. Constructing it sends no request.

    ``clock`` returns monotonic seconds.
    """

    def __init__(self, objects: ObjectStoreClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.objects = objects
        self.roots = (objects.url,)
        self._clock = clock
        self._checked = -CHECK_SECONDS

    # -- reading -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Unavailable unless the store answered within the last ten seconds, or answers now."""
        if self._clock() - self._checked < CHECK_SECONDS:
            return
        # No object ever has this prefix: the shortest request that says most about a bucket.
        for _ in self.objects.list("check/"):
            break
        self._checked = self._clock()

    def open(self, root: int, path: str) -> tuple[BinaryIO, StoredFile]:
        """The bytes and the entry of a file or a sidecar; raises NotFound."""
        found = self.objects.head(FILES + path)
        if found is None:
            raise NotFound(f"There is no file {path!r} here.")
        return self._opened(path, found.size), StoredFile(root, path, found.size, found.modified_ns, INODE)

    def open_as(self, file: File) -> BinaryIO:
        """The bytes of a file; the request is sent at the first read."""
        return self._opened(file.path, file.size)

    def _opened(self, path: str, size: int) -> BinaryIO:
        return ObjectFile(self.objects, FILES + path, size)  # type: ignore[return-value]

    def read_sidecar(self, path: str, suffix: str) -> bytes | None:
        """The bytes of a sidecar, None if it does not exist."""
        try:
            return self.objects.get(FILES + sidecar(path, suffix))
        except NotFound:
            return None

    def find(self, path: str) -> BucketFile | None:
        """One file with its siblings, by listing its own folder; None if it does not exist."""
        folder = path.rpartition("/")[0]
        files = _grouped(self.objects.list(FILES + folder + "/"), [])
        return next((file for file in files if file.path == path), None)

    def walk(self, strange: list[StoredObject]) -> Iterator[BucketFile]:
        """Every file, in the order of the store; adds objects that are no file and no file's sidecar to ``strange``."""
        return _grouped(self.objects.list(FILES), strange)

    def uploaded_ns(self, file: BucketFile) -> int:
        """When a file was uploaded: the time in ``.uploaded``, or when the file came into the bucket."""
        if UPLOADED in file.siblings:
            text = self.read_sidecar(file.path, UPLOADED)
            written = parse_time(text.decode("ascii", "replace")) if text is not None else None
            if written is not None:
                return written
        return file.modified_ns

    def statuses(self) -> dict[str, str]:
        """The text of every ``status/<project>`` by its name."""
        found: dict[str, str] = {}
        for each in self.objects.list(STATUSES):
            name = each.key.removeprefix(STATUSES)
            if "/" not in name and each.size <= 4096:
                try:
                    found[name] = self.objects.get(each.key).decode("utf-8", "replace")
                except NotFound:
                    continue
        return found

    def sign(self, path: str, seconds: int, since: int) -> str:
        """An address of the file that is valid from ``since`` for ``seconds``, see :meth:`ObjectStoreClient.sign`."""
        return self.objects.sign(FILES + path, seconds, since)

    # -- writing -------------------------------------------------------------------------------------------------

    def stage(self, directory: str = "", *, digests: Sequence[str] = ("sha256",)) -> Spooled:
        """Begin an upload in the system's temporary folder."""
        return Spooled(self._publish, digests=digests).open()

    def _publish(self, filename: str, sidecars: Mapping[str, bytes], spooled: Spooled) -> StoredFile:
        path = path_of(spooled.hexdigest("sha256"), filename)
        with spooled.reader() as stream:
            self.put(path, stream, sidecars)
        found = self.find(path) or self._headed(path)
        if found is None or found.size != spooled.size:
            raise Unavailable(f"{filename} was put into {self.objects.url}, and is not there. Try again in a moment.")
        # Sidecars left over from an earlier upload of the same bytes; one that a user writes now is not among them.
        stale = found.modified_ns - STALE_NS
        old = [suffix for suffix, each in found.siblings.items() if each.modified_ns < stale]
        self.remove_sidecars(path, [suffix for suffix in old if suffix not in sidecars])
        return StoredFile(0, path, found.size, found.modified_ns, INODE)

    def _headed(self, path: str) -> BucketFile | None:
        """The file alone, by a HEAD: in some stores a new object appears in listings a moment later."""
        found = self.objects.head(FILES + path)
        return None if found is None else BucketFile(path, found.size, found.modified_ns, {})

    def put(self, path: str, stream: BinaryIO, sidecars: Mapping[str, bytes]) -> None:
        """Store a file's siblings, and then the file: a file that exists has all its siblings."""
        for suffix, data in sidecars.items():
            self.objects.put(FILES + sidecar(path, suffix), data)
        self.objects.put(FILES + path, stream)

    def is_there(self, path: str, suffixes: Iterable[str] = ()) -> bool:
        """Whether a file is in the store with all of these sidecars."""
        return all(self.objects.head(FILES + each) for each in (path, *(sidecar(path, suffix) for suffix in suffixes)))

    def write_sidecar(self, path: str, suffix: str, data: bytes) -> None:
        """Write or replace a sidecar."""
        self.objects.put(FILES + sidecar(path, suffix), data)

    def remove_sidecars(self, path: str, suffixes: Iterable[str]) -> None:
        """Delete sidecars; one that does not exist is ignored."""
        if keys := [FILES + sidecar(path, suffix) for suffix in suffixes]:
            self.objects.delete(keys)

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files, and then all their sidecars.

        Call it only if no row has, or gets, one of these paths: see ``Catalog.sweep``.
        """
        self.objects.delete([FILES + path for path in paths])
        self.objects.delete([FILES + sidecar(path, suffix) for path in paths for suffix in SIBLINGS])


def path_of(sha256: str, filename: str) -> str:
    """The path of a file with this digest."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}/{filename}"


def is_path(text: str) -> bool:
    """Whether this is a path of a package file."""
    return _PATH.fullmatch(text) is not None


def sha256_of(path: str) -> str:
    """The digest in a path."""
    return path.split("/")[2]


def parse_time(text: str) -> int | None:
    """Nanoseconds since the epoch of an ISO 8601 time in UTC; None for any other text."""
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - utc(0)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def format_time(nanoseconds: int) -> bytes:
    """The text that :func:`parse_time` reads."""
    return f"{utc(nanoseconds).isoformat()}\n".encode()


def _grouped(objects: Iterable[StoredObject], strange: list[StoredObject]) -> Iterator[BucketFile]:
    """The files among these objects, with their siblings; the objects of one folder follow each other."""
    folder, inside = "", {}  # type: str, dict[str, StoredObject]
    for each in objects:
        place, _, name = each.key.rpartition("/")
        if place != folder:
            yield from _files_in(inside, strange)
            folder, inside = place, {}
        inside[name] = each
    yield from _files_in(inside, strange)


def _files_in(inside: Mapping[str, StoredObject], strange: list[StoredObject]) -> Iterator[BucketFile]:
    siblings: dict[str, dict[str, StoredObject]] = {}
    files: dict[str, StoredObject] = {}
    for name, each in inside.items():
        if name.endswith(SIBLINGS):
            base, _, suffix = name.rpartition(".")
            siblings.setdefault(base, {})[f".{suffix}"] = each
        elif is_path(each.key.removeprefix(FILES)):
            files[name] = each
        else:
            strange.append(each)
    for name, each in files.items():
        path = each.key.removeprefix(FILES)
        yield BucketFile(path, each.size, each.modified_ns, siblings.pop(name, {}))
    strange.extend(each for sidecars in siblings.values() for each in sidecars.values())
