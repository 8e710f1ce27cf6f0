"""What a response of another index about a file means to our clients, and which kept file is the one of its page.

**Invariants:** an outage is 503, something wrong is 502, what only the operator can allow is 403, and only what the
index itself says is gone is 404; a client is told no address.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from ..backend.cache_store import KeptFile, Key, Progress
from ..errors import BadGateway, NotFound, PypiServerError, Unavailable, Withholding
from ..upstream.errors import HostRefused
from ..upstream.values import RemoteFile, Upstream

_LOG = logging.getLogger(__name__)
# The rule by which no server is asked that no setting names, unless its address is public.
HOSTS = "hosts"


def key_of(file: RemoteFile) -> Key:
    """Where the cache keeps a file."""
    return Key(file.upstream, file.project, file.filename)


class Version(NamedTuple):
    """A file as its page has it at one time: an index may replace it by another of the same name."""

    key: Key
    mark: object
    size: int | None


def version_of(file: RemoteFile) -> Version:
    """Equal for equal bytes, as far as the page tells."""
    return Version(key_of(file), file.hashes or file.url, file.size)


def is_same(progress: Progress, file: RemoteFile) -> bool:
    """Whether a fetch of another process is of the file that the page has now; its size is known by then."""
    return progress.expected == file.sha256 and file.size in (None, progress.total)


def fits(kept: KeptFile, file: RemoteFile) -> bool:
    """Whether a kept file is the one that the page has now."""
    if file.sha256:
        return kept.sha256 == file.sha256
    return file.size is None or kept.size == file.size


def refused(status: int, filename: str, upstream: Upstream) -> PypiServerError:
    """The error for the status of a file's response."""
    if status in (404, 410):
        return NotFound(f"The index {upstream.name} no longer has {filename}.", kind="gone", filename=filename)
    if status in (408, 425, 429) or status >= 500:
        return Unavailable(
            f"The index {upstream.name} cannot send {filename} right now ({status}).",
            public=f"The index {upstream.name} cannot send {filename} right now. Try again in a moment.",
            kind="status",
            filename=filename,
        )
    return BadGateway(
        f"The index {upstream.name} answered {status} when it was asked for {filename}.",
        public=True,
        kind="status",
        filename=filename,
    )


def told(error: PypiServerError, file: RemoteFile, upstream: Upstream) -> PypiServerError:
    """The error that clients get, after a line in the log."""
    if not isinstance(error, NotFound):
        _LOG.warning("%s", error)
    if isinstance(error, NotFound | BadGateway | Unavailable):
        return error
    if isinstance(error, HostRefused):
        return Withholding(
            f"{file.filename} is not given out: the index {upstream.name} has it on another server, which has no "
            f"public address; the operator has to allow its host (rule {HOSTS}).",
            kind=HOSTS,
            filename=file.filename,
            project=file.project,
        )
    return Unavailable(
        f"{file.filename} cannot be fetched from the index {upstream.name}: {error}",
        public=f"{file.filename} cannot be fetched from the index {upstream.name} right now. Try again in a moment.",
        kind=error.kind or "unreachable",
        filename=file.filename,
        project=file.project,
    )
