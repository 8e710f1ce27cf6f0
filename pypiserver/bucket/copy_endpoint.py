"""A bucket as the source or destination of ``pypi-server copy``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..backend.copy_endpoint import Item, take
from ..backend.hashing import sha256_of_stream
from ..distributions import filename as distfile
from ..distributions import metadata
from ..distributions.filename import SIDECARS
from ..errors import Conflict, InvalidFilename, Unavailable
from .storage import METADATA, STATUSES, UPLOADED, Bucket, BucketFile, format_time, path_of, sha256_of


class BucketEndpoint:
    """A bucket, or the part of it below a prefix."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._paths: dict[str, str] = {}

    # -- as a source ---------------------------------------------------------------------------------------------

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file; of several with one name the first uploaded, because only the catalog knows the owner."""
        first: dict[str, tuple[int, str]] = {}
        for file in self._bucket.walk([]):
            came = (file.modified_ns, file.path)
            first[file.filename] = min(first.get(file.filename, came), came)
        for file in self._bucket.walk([]):
            if first.get(file.filename, (0, file.path))[1] != file.path:
                skip(file.path, f"another upload of its name came first: {first[file.filename][1]}")
                continue
            try:
                dist = distfile.parse_filename(file.filename)
            except InvalidFilename as error:
                skip(file.path, str(error))
                continue
            yield self._item(file, dist)

    def _item(self, file: BucketFile, dist: distfile.FilenameParts) -> Item:
        def sidecars() -> dict[str, bytes]:
            wanted = [suffix for suffix in (*SIDECARS, METADATA) if suffix in file.siblings]
            found = {suffix: self._bucket.read_sidecar(file.path, suffix) for suffix in wanted}
            return {suffix: data for suffix, data in found.items() if data is not None}

        return Item(
            path=file.path,
            place=file.filename,
            dist=dist,
            size=file.size,
            uploaded_ns=self._bucket.uploaded_ns(file),
            sha256=file.sha256,
            sidecars=sidecars,
            open=lambda: self._bucket.open(0, file.path)[0],
        )

    def statuses(self) -> Mapping[str, str]:
        """The text of every ``status/<project>``."""
        return self._bucket.statuses()

    # -- as a destination ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """List the destination: one listing costs less than a request for each file."""
        self._paths = {file.filename: file.path for file in self._bucket.walk([])}

    def is_there(self, item: Item) -> bool:
        """Whether a file of this name and, by its key, with these bytes is there; raises Conflict for other bytes."""
        path = self._paths.get(item.dist.filename)
        if path is None:
            return False
        if sha256_of(path) != (item.sha256 or sha256_of_stream(item.open())):
            raise Conflict(
                f"{item.dist.filename} is in {self._bucket.roots[0]} with other bytes; it was left as it is."
            )
        return True

    def store(self, item: Item) -> None:
        """Copy the file to the local disk, upload it to the bucket, and read it back from there."""
        spooled = self._bucket.stage()
        try:
            sha256 = take(item, spooled.write)
            path = path_of(sha256, item.dist.filename)
            sidecars = {**item.sidecars(), UPLOADED: format_time(item.uploaded_ns)}
            with spooled.reader() as stream:
                raw = metadata.read_metadata(stream, item.dist)
            sidecars |= {} if raw is None else {METADATA: raw}
            with spooled.reader() as stream:
                self._bucket.put(path, stream, sidecars)
        finally:
            spooled.discard()
        if sha256_of_stream(self._bucket.open(0, path)[0]) != sha256:
            raise Unavailable(f"{item.dist.filename} came back from {self._bucket.roots[0]} with other bytes.")

    def set_status(self, project: str, text: str) -> None:
        """Write ``status/<project>``, unless it exists."""
        if self._bucket.objects.head(STATUSES + project) is None:
            self._bucket.objects.put(STATUSES + project, text.encode())
