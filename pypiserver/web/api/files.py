"""``/packages/<path>``: downloads of files and their sidecars (``.metadata``, ``.asc``, ``.provenance``).

**Invariants:** a path is looked up in the catalog and only then opened; the bytes and the digest in the ETag come from
the same file; a package is never content-encoded.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote

import bottle

from ... import request_info
from ...backend.backend import LocalPath
from ...deferred import Waits
from ...errors import NotFound, Unavailable
from ...index.absences import Absences
from ...index.read import Repository
from ...model import File
from ...repeatable import may_repeat
from ..http.conditional import Answer, Expect, is_not_modified, send_file
from ..http.prepared_response import PreparedResponse
from ..http.responses import revalidated, unkept
from .offload import Deliver

# We send files up to this many bytes ourselves, at the cost of telling a proxy to send them, so that the proxy can
# cache the response: nginx then serves nine times as many per second as when it asks us each time.
KEPT_BYTES = 65_536
SIDECARS = (".metadata", ".asc", ".provenance")
# mod_xsendfile uses a path unchanged up to 0.12, and decodes it since 1.0: paths of these characters suit both.
_PLAIN = re.compile(r"[ -$&-~]+")
Accel = Callable[[File], tuple[str, str] | None]


class Proxied(Protocol):
    """Files of other indexes: :class:`.proxied_files.ProxiedFiles`."""

    def download(self, path: str, mark: Hashable | None) -> bottle.HTTPResponse:
        """The file at this path; raises NotFound if no index has it.

        ``mark`` is that of absences, as this request read it before it looked the path up; None if it is not known.
        """

    def companion(self, path: str, suffix: str) -> bottle.HTTPResponse:
        """One of its sidecars; raises NotFound if no index has it."""


class Files:
    """Handlers below ``/packages/``; ``cache_control`` is the header of every file.

    ``private_files`` says that a login protects the files. ``accel`` returns the header that tells a proxy to send a
    file itself, None where no proxy can. ``deliver`` may answer in our place, where files are not on a disk.
    ``proxied`` is asked for files that are certainly not here.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        cache_control: str,
        private_files: bool = False,
        accel: Accel | None = None,
        deliver: Deliver | None = None,
        proxied: Proxied | None = None,
    ) -> None:
        self._accel = accel
        self._deliver = deliver
        self._proxied = proxied
        self._repository = repository
        self._absences = Absences(repository)
        self._cache_control = cache_control
        # A sidecar may be added or replaced by hand at any time.
        self._sidecar_cache_control = revalidated(private=private_files)

    def download(self, path: str) -> bottle.HTTPResponse:
        """``GET /packages/<path>``: a file, or one of its sidecars."""
        for suffix, handler in zip(SIDECARS, (self._metadata, self._signature, self._provenance), strict=True):
            if path.endswith(suffix):
                return self._companion(handler, path.removesuffix(suffix), suffix)
        mark = self._absences.mark() if self._proxied is not None else None
        if self._proxied is not None and self._absences.has(path, mark):
            return self._proxied.download(path, mark)
        try:
            file, stream = self._repository.open(self._repository.own_path(path))
        except NotFound:
            if self._proxied is None:
                raise
            self._absences.note(path, mark)
            return self._proxied.download(path, mark)
        environ = bottle.request.environ
        if (handed := self._handed_over(environ, file)) is not None:
            stream.close()
            # We send no byte of a file that a proxy or bucket sends.
            environ[request_info.DOWNLOAD] = (file.project, file.version, 0)
            return handed
        environ[request_info.DOWNLOAD] = (file.project, file.version, file.size)
        if self._deliver is not None:
            return self._send_package(file, stream, _expecting(file, stream))
        return self._send_package(file, self._repository.remembered(file, stream))

    def _send_package(self, file: File, stream: BinaryIO, expect: Expect | None = None) -> bottle.HTTPResponse:
        answer = send_file(
            bottle.request.environ,
            stream,
            size=file.size,
            etag=f'"{file.sha256}"',
            mtime_ns=file.mtime_ns,
            content_type="application/octet-stream",
            cache_control=self._cache_control,
            expect=expect,
        )
        return _response(answer)

    def _companion(self, handler: Callable[[str], bottle.HTTPResponse], path: str, suffix: str) -> bottle.HTTPResponse:
        if self._proxied is None:
            return handler(self._repository.own_path(path))
        mark = self._absences.mark()
        if self._absences.has(path, mark):
            return self._proxied.companion(path, suffix)
        own = self._repository.own_path(path)
        try:
            self._repository.file(own)
        except NotFound:
            self._absences.note(path, mark)
            return self._proxied.companion(path, suffix)
        return handler(own)

    def at_once(self, path: str) -> bottle.HTTPResponse:
        """A small file, or a file's core metadata, from memory; raises Waits for what is not there."""
        repository, is_metadata = self._repository, path.endswith(".metadata")
        known = repository.known_metadata(path[: -len(".metadata")]) if is_metadata else repository.known_bytes(path)
        if known is None:
            raise Waits
        file, data, serial = known
        environ = bottle.request.environ
        may_repeat(environ, lambda: repository.known_serial() == serial)
        if is_metadata:
            return self._send_metadata(file, data)
        environ[request_info.DOWNLOAD] = (file.project, file.version, file.size)
        return self._send_package(file, io.BytesIO(data))

    def _handed_over(self, environ: Mapping[str, Any], file: File) -> bottle.HTTPResponse | None:
        """The response that makes a proxy or bucket send the file, which then also handles preconditions and ranges."""
        if self._deliver is not None:
            return self._deliver(environ, file.path)
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
            raise Unavailable(
                f"The file {file.filename} is being replaced right now. Try again in a moment.", public=True
            )
        return self._send_metadata(file, raw)

    def _send_metadata(self, file: File, raw: bytes) -> bottle.HTTPResponse:
        etag = f'"{file.metadata_sha256}"'
        return self._send(file, raw, etag, "text/plain; charset=utf-8", cache_control=self._cache_control)

    def _signature(self, path: str) -> bottle.HTTPResponse:
        file, body = self._repository.sidecar(path, ".asc")
        return self._send_sidecar(file, body, "application/pgp-signature")

    def _provenance(self, path: str) -> bottle.HTTPResponse:
        file, body = self._repository.sidecar(path, ".provenance")
        return self._send_sidecar(file, body, "application/vnd.pypi.integrity.v1+json")

    def _send_sidecar(self, file: File, body: bytes, content_type: str) -> bottle.HTTPResponse:
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        return self._send(file, body, etag, content_type, cache_control=self._sidecar_cache_control)

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


def without_sidecar(path: str) -> str:
    """The path of the file that a request for it, or for one of its sidecars, is about."""
    return next((path.removesuffix(suffix) for suffix in SIDECARS if path.endswith(suffix)), path)


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
    told = accel_path(way, location)
    if told is None or local_path is None:
        return None
    return lambda file: told(local_path(file))


def accel_path(way: str, location: str) -> Callable[[str], tuple[str, str] | None] | None:
    """As :func:`accel_header`, for a path on this disk."""
    if way == "off":
        return None
    if way == "sendfile":
        return lambda path: ("X-Sendfile", path) if _PLAIN.fullmatch(path) else None
    return lambda path: ("X-Accel-Redirect", location.rstrip("/") + quote(os.fsencode(path)))


def file_cache_control(*, age: int | None, private: bool) -> str:
    """The ``Cache-Control`` of files: ``age`` seconds if the operator sets it, else revalidation at each use.

    The bytes under a name can change: another build is copied over the file, the file is removed and uploaded again, or
    the first of two folders loses its copy. A client's cached copy would no longer match the hash on the page.
    """
    if age is not None:
        return f"max-age={age}, {'private' if private else 'public'}"
    return revalidated(private=private)
