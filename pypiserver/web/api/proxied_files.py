"""Downloads of files of other indexes: kept ones are sent as local files are, all others while they are fetched.

**Invariants:** a path is looked up on a page, never passed on; what the rules refuse is refused before anything is
opened or asked for; the length, the ranges and the validators are those of the file's checked bytes; no thread waits
where the server can wait without one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Protocol

import bottle

from ... import request_info
from ...backend.cache_store import KeptFile
from ...deferred import POSTPONES, RESUMED, Postponed
from ...proxy.files import FIRST_SECONDS, ProxyFiles
from ...proxy.flights import Waiting
from ...proxy.lanes import Job, wait_for
from ...proxy.small_fetch import MAX_PART
from ...proxy.transfer import Transfer
from ...proxy.values import Offered
from ...upstream.values import RemoteFile, Upstream
from ..http.conditional import Answer, is_not_modified, send_file
from ..http.elsewhere_note import FETCHED, HIT, note
from ..http.prepared_response import PreparedResponse
from ..http.responses import revalidated, unkept
from .offload import Deliver
from .waiting import waiting_of

CONTENT_TYPE = "application/octet-stream"
_TYPES = {
    ".metadata": "text/plain; charset=utf-8",
    ".asc": "application/pgp-signature",
    ".provenance": "application/vnd.pypi.integrity.v1+json",
}
Environ = dict[str, Any]
# Returns the header that tells a proxy to send the file at this path, None where it cannot.
AccelPath = Callable[[str], tuple[str, str] | None]


class Find(Protocol):
    """Looks a path up: :meth:`..proxy.service.Proxy.find`."""

    def __call__(self, path: str, waiting: Waiting, mark: Hashable | None = None, /) -> tuple[RemoteFile, Offered]:
        """The file at this path; raises NotFound, Forbidden and Unavailable, and Postponed if ``waiting`` says so.

        ``mark`` is that of absences if this request has read it.
        """


class ProxiedFiles:
    """Responses for paths below ``/packages/`` that are not here; the parameters are as of :class:`.files.Files`."""

    def __init__(
        self,
        find: Find,
        files: ProxyFiles,
        *,
        cache_control: str,
        private_files: bool = False,
        accel: AccelPath | None = None,
        accel_above: int = 0,
        deliver: Deliver | None = None,
    ) -> None:
        self._find = find
        self._files = files
        self._cache_control = cache_control
        self._sidecar_cache_control = revalidated(private=private_files)
        self._accel = accel
        self._accel_above = accel_above
        self._deliver = deliver

    def download(self, path: str, mark: Hashable | None = None) -> bottle.HTTPResponse:
        """The file at this path; raises NotFound, Forbidden, BadGateway and Unavailable.

        ``mark`` is that of absences if this request has read it.
        """
        environ = bottle.request.environ
        file, offered = self._find(path, waiting_of(environ), mark)
        # A file that is still coming is not kept: no folder is looked into, of which fifty clients at once would wait.
        kept = None if self._files.is_coming(file) else self._files.open(file, offered.upstream)
        if kept is not None:
            # It may be kept by now, but this request waited for it.
            note(environ, offered.upstream.name, FETCHED if isinstance(environ.get(RESUMED), Transfer) else HIT)
            return self._send_kept(environ, file, kept)
        answer = self._send_remote(environ, file, offered.upstream)
        note(environ, offered.upstream.name, FETCHED)
        return answer

    def companion(self, path: str, suffix: str) -> bottle.HTTPResponse:
        """Its metadata, provenance or signature; ``path`` is that of the file."""
        environ = bottle.request.environ
        file, offered = self._find(path, waiting_of(environ))
        resumed = environ.get(RESUMED)
        found = resumed if isinstance(resumed, Job) else self._files.companion(file, offered.upstream, suffix)
        body = found if isinstance(found, bytes) else self._result(environ, found)
        note(environ, offered.upstream.name, HIT if isinstance(found, bytes) else FETCHED)
        etag = file.metadata_sha256 if suffix == ".metadata" else ""
        answer = send_file(
            environ,
            io.BytesIO(body),
            size=len(body),
            etag=f'"{etag or hashlib.sha256(body).hexdigest()}"',
            mtime_ns=file.uploaded_ns,
            content_type=_TYPES[suffix],
            cache_control=self._cache_control if suffix == ".metadata" else self._sidecar_cache_control,
        )
        return _response(answer)

    def _send_kept(self, environ: Environ, file: RemoteFile, kept: KeptFile) -> bottle.HTTPResponse:
        told = self._accel(kept.path) if self._accel and kept.path and kept.size > self._accel_above else None
        if told is not None:
            kept.stream.close()
            environ[request_info.DOWNLOAD] = (file.project, file.version, 0)
            return handed_over(environ, f'"{kept.sha256}"', self._cache_control, told)
        sent = self._deliver(environ, kept.stored) if self._deliver is not None and kept.stored else None
        if sent is not None:
            kept.stream.close()
            environ[request_info.DOWNLOAD] = (file.project, file.version, 0)
            return sent
        environ[request_info.DOWNLOAD] = (file.project, file.version, kept.size)
        return _response(
            send_file(
                environ,
                kept.stream,
                size=kept.size,
                etag=f'"{kept.sha256}"',
                mtime_ns=kept.mtime_ns,
                content_type=CONTENT_TYPE,
                cache_control=self._cache_control,
            )
        )

    def _send_remote(self, environ: Environ, file: RemoteFile, upstream: Upstream) -> bottle.HTTPResponse:
        size, sha256, mtime_ns = file.size, file.sha256, file.uploaded_ns
        if size is None or not sha256:
            if environ["REQUEST_METHOD"] == "HEAD":
                return self._head(file)
            # Only the file itself tells; where the page has no hash, it is whole by then.
            transfer = self._begun(environ, file, upstream, 0)
            environ = {**environ, RESUMED: transfer}
            size, sha256 = transfer.total, sha256 or transfer.sha256
            mtime_ns = mtime_ns or transfer.mtime_ns
        assert size is not None  # noqa: S101 - a transfer that can be read has its length

        def blocks(start: int, length: int) -> Iterable[bytes]:
            if length <= MAX_PART < size and file.size is not None:
                part = self._part(environ, file, upstream, start, length)
                if part:
                    return [part]
            transfer = self._begun(environ, file, upstream, start)
            blocks = environ.get(POSTPONES) or transfer.is_whole
            return transfer.body(start, length, *([] if blocks else [self._files.hold_thread()]))

        answer = send_file(
            environ,
            io.BytesIO(),
            size=size,
            etag=f'"{sha256}"',
            mtime_ns=mtime_ns,
            content_type=CONTENT_TYPE,
            cache_control=self._cache_control,
            blocks=blocks,
        )
        bottle.request.environ[request_info.DOWNLOAD] = (file.project, file.version, size)
        return _response(answer)

    def _head(self, file: RemoteFile) -> bottle.HTTPResponse:
        """What the page says of a file of unknown size or hash."""
        headers = [("Content-Type", CONTENT_TYPE), ("Accept-Ranges", "bytes"), ("X-Content-Type-Options", "nosniff")]
        headers += [("Cache-Control", self._cache_control), *unkept(self._cache_control).items()]
        if file.sha256:
            headers.append(("ETag", f'"{file.sha256}"'))
        if file.size is not None:
            headers.append(("Content-Length", str(file.size)))
        return PreparedResponse([], headers)

    def _part(self, environ: Environ, file: RemoteFile, upstream: Upstream, start: int, length: int) -> bytes:
        """A short range as the index sends it; b"" if it must come from the file."""
        resumed = environ.get(RESUMED)
        if isinstance(resumed, Transfer) or self._files.has_begun(file, start + length):
            return b""
        job = resumed if isinstance(resumed, Job) else self._files.part(file, upstream, start, length)
        return self._result(environ, job)

    def _begun(self, environ: Environ, file: RemoteFile, upstream: Upstream, start: int) -> Transfer:
        """The fetch of the file, once its first byte is there."""
        resumed = environ.get(RESUMED)
        if isinstance(resumed, Transfer) and (resumed.error is not None or resumed.can_begin(start)):
            resumed.check()
            return resumed
        transfer = self._files.transfer(file, upstream, start)
        if not transfer.is_ready(0):
            if environ.get(POSTPONES):
                raise Postponed(transfer, FIRST_SECONDS)
            release = self._files.hold_thread()
            wait_for(transfer.when_ready, FIRST_SECONDS)
            release()
        transfer.check()
        return transfer

    def _result(self, environ: Environ, job: Job[bytes]) -> bytes:
        if not job.is_done and environ.get(RESUMED) is not job:
            if environ.get(POSTPONES):
                raise Postponed(job, FIRST_SECONDS)
            self._files.wait(job)
        return job.result()


def handed_over(
    environ: Mapping[str, Any], etag: str, cache_control: str, told: tuple[str, str]
) -> bottle.HTTPResponse:
    """The response that makes a proxy send a file of this disk, which then also handles ranges."""
    validators = [("ETag", etag), ("Cache-Control", cache_control), *unkept(cache_control).items()]
    if is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag):
        # The proxy's own validator is made of time and size, which another file can share.
        return PreparedResponse(b"", validators, status="304 Not Modified")
    headers = [("Content-Type", CONTENT_TYPE), ("X-Content-Type-Options", "nosniff")]
    # Apache would use a length of "0" for all files, nginx sets its own.
    return PreparedResponse(b"", [*headers, *validators, ("Content-Length", "0"), told])


def _response(answer: Answer) -> bottle.HTTPResponse:
    return PreparedResponse(answer.body, answer.headers, status=answer.status)
