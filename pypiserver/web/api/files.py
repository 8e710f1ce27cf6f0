"""``/packages/<path>``: downloads of files and their sidecars (``.metadata``, ``.asc``, ``.provenance``).

**Invariants:** a path is looked up in the catalog and only then opened; the bytes and the digest in the ETag come from
the same file; a package is never content-encoded.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import bottle

from ... import request_info
from ...backend.backend import LocalPath
from ...errors import NotFound, Unavailable
from ...index.read import Repository
from ...model import File
from ..http.conditional import Answer, Expect, is_not_modified, send_file
from ..http.prepared_response import PreparedResponse
from ..http.responses import revalidated, unkept
from .offload import Deliver

# We send files up to this many bytes ourselves, at the cost of telling a proxy to send them, so that the proxy can
# cache the response: nginx then serves nine times as many per second as when it asks us each time.
KEPT_BYTES = 65_536
# mod_xsendfile uses a path unchanged up to 0.12, and decodes it since 1.0: paths of these characters suit both.
_PLAIN = re.compile(r"[ -$&-~]+")
Accel = Callable[[File], tuple[str, str] | None]


class Files:
    """Handlers below ``/packages/``; ``cache_control`` is the header of every file.

    ``private_files`` says that a login protects the files. ``accel`` returns the header that tells a proxy to send a
    file itself, None where no proxy can. ``deliver`` may answer in our place, where files are not on a disk.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        cache_control: str,
        private_files: bool = False,
        accel: Accel | None = None,
        deliver: Deliver | None = None,
    ) -> None:
        self._accel = accel
        self._deliver = deliver
        self._repository = repository
        self._cache_control = cache_control
        # A sidecar may be added or replaced by hand at any time.
        self._beside_cache_control = revalidated(private=private_files)

    def download(self, path: str) -> bottle.HTTPResponse:
        """``GET /packages/<path>``: a file, or one of its sidecars."""
        for suffix, handler in (
            (".metadata", self._metadata),
            (".asc", self._signature),
            (".provenance", self._provenance),
        ):
            if path.endswith(suffix):
                return handler(path[: -len(suffix)])
        file, stream = self._repository.open(path)
        environ = bottle.request.environ
        if (handed := self._handed_over(environ, file)) is not None:
            stream.close()
            # We send no byte of a file that a proxy or bucket sends.
            environ[request_info.DOWNLOAD] = (file.project, file.version, 0)
            return handed
        environ[request_info.DOWNLOAD] = (file.project, file.version, file.size)
        answer = send_file(
            environ,
            stream,
            size=file.size,
            etag=f'"{file.sha256}"',
            mtime_ns=file.mtime_ns,
            content_type="application/octet-stream",
            cache_control=self._cache_control,
            expect=_expecting(file, stream) if self._deliver is not None else None,
        )
        return _response(answer)

    def _handed_over(self, environ: Mapping[str, Any], file: File) -> bottle.HTTPResponse | None:
        """The response that makes a proxy or bucket send the file, which then also handles preconditions and ranges."""
        if self._deliver is not None:
            return self._deliver(environ, file)
        told = self._accel(file) if self._accel is not None and file.size > KEPT_BYTES else None
        if told is None:
            return None
        etag = f'"{file.sha256}"'
        validators = [("ETag", etag), ("Cache-Control", self._cache_control), *unkept(self._cache_control).items()]
        if is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag):
            # The proxy's own validator is made of time and size, which another file can share.
            return PreparedResponse(b"", validators, status="304 Not Modified")
        headers = [("Content-Type", "application/octet-stream"), ("X-Content-Type-Options", "nosniff")]
        # Apache would use a length of "0" for all files, nginx sets its own.
        return PreparedResponse(b"", [*headers, *validators, ("Content-Length", "0"), told])

    def _metadata(self, path: str) -> bottle.HTTPResponse:
        file = self._repository.file(path)
        if not file.metadata_sha256:
            raise NotFound(f"The metadata of {file.filename} is not served on its own.")
        raw = self._repository.metadata(file)
        if raw is None:
            raise Unavailable(f"The file {file.filename} is being replaced right now. Try again in a moment.")
        etag = f'"{file.metadata_sha256}"'
        return self._send(file, raw, etag, "text/plain; charset=utf-8", cache_control=self._cache_control)

    def _signature(self, path: str) -> bottle.HTTPResponse:
        file, body = self._repository.sidecar(path, ".asc")
        return self._send_beside(file, body, "application/pgp-signature")

    def _provenance(self, path: str) -> bottle.HTTPResponse:
        file, body = self._repository.sidecar(path, ".provenance")
        return self._send_beside(file, body, "application/vnd.pypi.integrity.v1+json")

    def _send_beside(self, file: File, body: bytes, content_type: str) -> bottle.HTTPResponse:
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        return self._send(file, body, etag, content_type, cache_control=self._beside_cache_control)

    def _send(
        self, file: File, body: bytes, etag: str, content_type: str, *, cache_control: str
    ) -> bottle.HTTPResponse:
        answer = send_file(
            bottle.request.environ,
            io.BytesIO(body),
            size=len(body),
            etag=etag,
            mtime_ns=file.mtime_ns,
            content_type=content_type,
            cache_control=cache_control,
        )
        return _response(answer)


def _response(answer: Answer) -> bottle.HTTPResponse:
    return PreparedResponse(answer.body, answer.headers, status=answer.status)


def _expecting(file: File, stream: Any) -> Expect:
    """A function that tells a remote file which bytes will be read."""

    def expect(start: int, length: int) -> None:
        try:
            stream.expect(start, length)
        except NotFound as error:
            raise Unavailable(
                f"{file.filename} is missing from the bucket; pypi-server check says more.", public=True
            ) from error

    return expect


def accel_header(way: str, location: str, local_path: LocalPath | None) -> Accel | None:
    """How a proxy is told to send a file: ``nginx`` by internal location, ``sendfile`` by path, None for ``off``.

    ``local_path`` returns a file's path on this disk; it is None where files are not on a disk.
    """
    if way == "off" or local_path is None:
        return None
    if way == "sendfile":
        return lambda file: ("X-Sendfile", path) if _PLAIN.fullmatch(path := local_path(file)) else None
    return lambda file: ("X-Accel-Redirect", location.rstrip("/") + quote(os.fsencode(local_path(file))))


def file_cache_control(*, age: int | None, private: bool) -> str:
    """The ``Cache-Control`` of files: ``age`` seconds if the operator sets it, else revalidation at each use.

    The bytes under a name can change: another build is copied over the file, the file is removed and uploaded again, or
    the first of two folders loses its copy. A client's cached copy would no longer match the hash on the page.
    """
    if age is not None:
        return f"max-age={age}, {'private' if private else 'public'}"
    return revalidated(private=private)
