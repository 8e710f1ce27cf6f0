"""Small things that an index has about a file: its metadata, provenance and signature, and parts of it.

**Invariants:** each has a limit in bytes and in time; metadata that does not have the hash of the page is given to no
one; a part is given only if the index says that it is exactly the part that was asked for, and is never kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from ..errors import BadGateway, NotFound, Unavailable
from ..upstream.values import RemoteFile, Upstream
from .file_fetch import Fetching, Response
from .verdicts import refused

MAX_METADATA = 8 << 20
MAX_PROVENANCE = 2 << 20
MAX_SIGNATURE = 1 << 16
LIMITS = {".metadata": MAX_METADATA, ".provenance": MAX_PROVENANCE, ".asc": MAX_SIGNATURE}
# Bytes; a longer part is read from the file itself, which is fetched and checked.
MAX_PART = 1 << 20
# Seconds without a byte.
READ_SECONDS = 15.0
# And for all of it.
WHOLE_SECONDS = 30.0
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)


def fetch_companion(shared: Fetching, file: RemoteFile, upstream: Upstream, suffix: str) -> bytes:
    """What the index has under this suffix; raises NotFound, BadGateway, Unavailable and errors of the client."""
    name = file.filename + suffix
    url = file.provenance if suffix == ".provenance" else _beside(file.url, suffix)
    headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
    with shared.client.get(upstream, url, headers=headers, read_seconds=READ_SECONDS) as response:
        if response.status != 200:
            raise refused(response.status, name, upstream)
        data = _read(shared, response, LIMITS[suffix])
    if data is None:
        raise BadGateway(f"{name} of the index {upstream.name} is larger than {LIMITS[suffix]} bytes.", public=True)
    if suffix == ".metadata" and file.metadata_sha256 not in ("", hashlib.sha256(data).hexdigest()):
        raise BadGateway(
            f"{name} of the index {upstream.name} is not given out, because it has another hash than its page says.",
            public=True,
            kind="hash",
            filename=file.filename,
            project=file.project,
        )
    return data


def fetch_part(shared: Fetching, file: RemoteFile, upstream: Upstream, start: int, length: int) -> bytes | None:
    """These bytes of a file whose size is known; None if the index does not send exactly these."""
    headers = {"Accept-Encoding": "identity", "Accept": "*/*", "Range": f"bytes={start}-{start + length - 1}"}
    with shared.client.get(upstream, file.url, headers=headers, read_seconds=READ_SECONDS) as response:
        if response.status != 206 or not _is_part(response.headers, start, length, file.size):
            return None
        data = _read(shared, response, length, decode=False)
    return data if data is not None and len(data) == length else None


def _is_part(headers: Mapping[str, str], start: int, length: int, size: int | None) -> bool:
    if headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        return False
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    return match is not None and tuple(map(int, match.groups())) == (start, start + length - 1, size)


def _read(shared: Fetching, response: Response, most: int, *, decode: bool = True) -> bytes | None:
    """The body, None if it is longer than ``most`` bytes; raises Unavailable if it takes too long."""
    end = shared.clock() + WHOLE_SECONDS
    data = bytearray()
    for chunk in response.chunks(decode=decode):
        data += chunk
        if len(data) > most:
            return None
        if shared.clock() > end:
            raise Unavailable("Another index takes too long to send what belongs to a file.", kind="slow")
    return bytes(data)


def _beside(url: str, suffix: str) -> str:
    """The address of a file's companion (PEP 658): the suffix is of the path, before any query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + suffix, fragment=""))


def refuse_missing(file: RemoteFile, suffix: str) -> None:
    """Raise NotFound where the page says that there is no such companion."""
    exists = {
        ".metadata": file.has_metadata,
        ".provenance": bool(file.provenance),
        ".asc": file.has_signature,
    }[suffix]
    if not exists:
        raise NotFound(f"There is no file {file.filename + suffix!r} here.", filename=file.filename)
