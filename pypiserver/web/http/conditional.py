"""How an open file becomes a response: preconditions, one range, validators, and a body of bounded memory.

**Invariants** (RFC 9110 sections 13 and 14): preconditions are evaluated in the order of section 13.2.2; a range that
is invalid or not supported is ignored, never refused; HEAD is answered like GET, without the body; a file is never
content-encoded. The file is closed exactly once, whatever happens. A file that becomes shorter while it is sent must
break the connection: a short body may never look like a whole one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timezone
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Any, BinaryIO

from ...errors import Unavailable
from .file_body import Blocks, FileSection, WholeFile
from .responses import unkept

# A body of up to this many bytes is read at once: one list of bytes costs less than an iterator, and the file is closed
# before the response starts.
SMALL_BYTES = 65_536

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')
# No file has this many bytes, but RFC 9110 allows any number of digits; converting thousands of them is wasted work.
_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,40})-([0-9]{0,40})[ \t]*", re.IGNORECASE | re.ASCII)

Header = tuple[str, str]
# Called with the first byte and the number of bytes that will be read, so that remote storage can request them at once.
Expect = Callable[[int, int], None]
# Returns these bytes in blocks, from the first byte, and of this number.
Section = Callable[[int, int], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response for any WSGI layer: ``status`` as in ``200 OK``, and a body that has ``close()`` if it holds a file.

    Where the server has a ``wsgi.file_wrapper``, a large body is a file object (it has ``read``) to pass to the
    wrapper; bottle does so with every body that has ``read``. Without a wrapper the body is an iterator of blocks.
    """

    status: str
    headers: list[Header]
    body: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class _File:
    """The selected representation with its validators; ``modified`` is in whole seconds since the epoch (UTC)."""

    stream: BinaryIO
    size: int
    etag: str
    modified: int | None
    headers: Sequence[Header]
    expect: Expect | None
    blocks: Section | None = None


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether the client's ``If-None-Match`` names ``etag``: a list, ``*`` or weak tags (RFC 9110 section 13.1.2).

    Text that is not a list of entity tags matches nothing, so the client gets the whole response.
    """
    if if_none_match is None:
        return False
    if if_none_match == etag or if_none_match.strip() == "*":
        return True
    wanted = etag.removeprefix("W/")
    return any(tag == wanted for _, tag in _ENTITY_TAG.findall(if_none_match))


def send_file(
    environ: Mapping[str, Any],
    file: BinaryIO,
    *,
    size: int,
    etag: str,
    mtime_ns: int | None,
    content_type: str,
    cache_control: str,
    headers: Sequence[Header] = (),
    expect: Expect | None = None,
    blocks: Section | None = None,
    clock: Callable[[], float] = time.time,
) -> Answer:
    """The response to a GET or HEAD of ``file``, which is closed here or by the body's ``close()``.

    ``size`` is in bytes, ``mtime_ns`` in nanoseconds since the epoch (None: not known), ``etag`` is strong and quoted;
    ``expect`` is called with what will be read, before the response starts. The bytes come from ``blocks`` where it is
    given. Raises Unavailable when a small file is shorter than
    ``size``; reading a larger file that became shorter raises OSError.
    """
    try:
        now = int(clock())
        modified = None if mtime_ns is None else min(mtime_ns // 1_000_000_000, now)
        date = None if modified is None else _http_date(modified)
        validators = [("ETag", etag), ("Cache-Control", cache_control), *unkept(cache_control).items()]
        if date is not None:
            validators.append(("Last-Modified", date))
        selected = _File(
            file, size, etag, modified if date is not None else None, [*validators, *headers], expect, blocks
        )
        answer = _answer(environ, selected, content_type, now)
    except BaseException:
        file.close()
        raise
    return replace(answer, body=[]) if environ.get("REQUEST_METHOD") == "HEAD" else answer


def _answer(environ: Mapping[str, Any], file: _File, content_type: str, now: int) -> Answer:
    failed = _failed_precondition(environ, file)
    if failed is not None:
        file.stream.close()
        return failed
    is_head = environ.get("REQUEST_METHOD") == "HEAD"
    start, length, status = 0, file.size, "200 OK"
    headers = [("Content-Type", content_type), ("Accept-Ranges", "bytes"), ("X-Content-Type-Options", "nosniff")]
    headers += file.headers
    # Range is defined for GET only (section 14.2); a client would join a range of an older state to the wrong bytes.
    if not is_head and "HTTP_RANGE" in environ and _range_applies(environ.get("HTTP_IF_RANGE"), file, now):
        section = _wanted_section(environ["HTTP_RANGE"], file.size)
        if section == UNSATISFIABLE:
            file.stream.close()
            content_range = ("Content-Range", f"bytes */{file.size}")
            return _refusal("416 Range Not Satisfiable", [("ETag", file.etag), content_range])
        if section is not None:
            start, length = section
            status = "206 Partial Content"
            headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{file.size}"))
    headers.append(("Content-Length", str(length)))
    if is_head:
        file.stream.close()
        return Answer(status, headers, [])
    return Answer(status, headers, _body(environ, file, start, length))


def _failed_precondition(environ: Mapping[str, Any], file: _File) -> Answer | None:
    """The 304 or 412 that ends the request, in the order of RFC 9110 section 13.2.2; None when all hold."""
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None:
        if not _matches_strongly(if_match, file.etag):
            return _refusal("412 Precondition Failed", [("ETag", file.etag)])
    else:
        unmodified_since = _parse_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
        if unmodified_since is not None and file.modified is not None and file.modified > unmodified_since:
            return _refusal("412 Precondition Failed", [("ETag", file.etag)])
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        is_known = is_not_modified(if_none_match, file.etag)
    else:
        since = _parse_date(environ.get("HTTP_IF_MODIFIED_SINCE"))
        is_known = since is not None and file.modified is not None and file.modified <= since
    if not is_known:
        return None
    kept = [(name, value) for name, value in file.headers if not name.lower().startswith("content-")]
    return Answer("304 Not Modified", kept, [])


def _matches_strongly(if_match: str, etag: str) -> bool:
    """``If-Match``: strong comparison, in which a weak tag equals nothing (RFC 9110 sections 8.8.3.2, 13.1.1)."""
    if if_match.strip() == "*":
        return True
    return any(not weak and tag == etag for weak, tag in _ENTITY_TAG.findall(if_match))


def _range_applies(if_range: str | None, file: _File, now: int) -> bool:
    """``If-Range``: a strong tag, or exactly the date we send where it is a strong validator (section 13.1.5)."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == file.etag
    # A file that changed in this second may change again in it (section 8.8.2.2).
    return file.modified is not None and file.modified < now and _parse_date(if_range) == file.modified


UNSATISFIABLE = (-1, -1)


def _wanted_section(header: str, size: int) -> tuple[int, int] | None:
    """The (start, length) of the one range requested; None for a header to ignore (RFC 9110 section 14.1)."""
    match = _ONE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last or size == 0:
            return None
        # A suffix longer than the file means the whole file; Poetry requests the last 10,000 bytes of every wheel.
        length = min(int(last), size)
        return (size - length, length) if length else UNSATISFIABLE
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return UNSATISFIABLE
    return start, (min(int(last), size - 1) if last else size - 1) - start + 1


def _body(environ: Mapping[str, Any], file: _File, start: int, length: int) -> Iterable[bytes]:
    if file.blocks is not None:
        file.stream.close()
        return file.blocks(start, length)
    if file.expect is not None:
        file.expect(start, length)
    if start:
        file.stream.seek(start)
    if length <= SMALL_BYTES:
        data = file.stream.read(length) if length else b""
        file.stream.close()
        if len(data) != length:
            raise Unavailable("The file became shorter while it was read; try again.", public=True)
        return [data]
    if "wsgi.file_wrapper" not in environ:
        return Blocks(file.stream, start, length)
    if length == file.size and _has_descriptor(file.stream):
        return WholeFile(file.stream, start, length)
    return FileSection(file.stream, start, length)


def _has_descriptor(file: BinaryIO) -> bool:
    try:
        file.fileno()
    except OSError:  # io.UnsupportedOperation is a subclass
        return False
    return True


def _refusal(status: str, headers: list[Header]) -> Answer:
    """A short response that no cache may store, whatever ``Cache-Control`` the file has."""
    body = f"{status[4:]}.\n".encode()
    headers += [("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8")]
    return Answer(status, [*headers, ("Content-Length", str(len(body)))], [body])


@lru_cache(maxsize=4096)
def _http_date(seconds: int) -> str | None:
    """An IMF-fixdate (RFC 9110 section 5.6.7), or None for a time it cannot express."""
    try:
        return formatdate(seconds, usegmt=True)
    except (OverflowError, OSError, ValueError):
        return None


def _parse_date(text: str | None) -> int | None:
    """Seconds since the epoch of an HTTP date in any of its three forms; None for anything else."""
    if not text or len(text) > 64:
        return None
    try:
        date = parsedate_to_datetime(text)
        # The asctime() form names no time zone; every HTTP date is UTC.
        return int((date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp())
    except (TypeError, ValueError, IndexError, OverflowError, OSError):
        return None
