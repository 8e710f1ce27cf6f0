"""Responses of the hostile upstream: codings, conditions, ranges, and everything that can be wrong with a response."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import gzip
import hashlib
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol

REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified"}


@dataclass
class Reply:
    """A response; ``coding`` is that of the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    coding: str = ""


@dataclass
class Spoiled:
    """What is wrong with a response; the fields can be combined, and are off by default.

    ``times`` is how many requests it holds for, ``every`` lets it hold for each n-th only (flapping). ``status``,
    ``body``, ``location`` and ``headers`` (None removes one) replace those of the right response.

    Bodies: ``cut_after`` ends the connection after that many bytes (``reset``: with an RST), ``corrupt_at`` flips the
    byte there, ``pad`` appends bytes, ``length`` is what Content-Length says in place of the truth (None: there is none
    and the connection ends the body), ``chunked`` sends it in chunks of this size without a length. ``coding`` is a
    coding it is really sent in, ``claims_coding`` one that is only said.

    Time: ``silent`` never answers, ``wait_after`` stops after that many bytes of the body, both until ``gate`` is set;
    ``bytes_per_second`` drips, ``head_bytes_per_second`` the head. ``hang_up`` ends the connection without a word.
    ``raw`` is sent in place of everything, ``raw_forever`` again and again after it until the client leaves.
    """

    times: int | None = None
    every: int = 1
    status: int = 0
    body: bytes | None = None
    location: str = ""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    cut_after: int | None = None
    reset: bool = False
    corrupt_at: int | None = None
    pad: bytes = b""
    length: int | None = -1
    chunked: int = 0
    coding: str = ""
    claims_coding: str = ""
    silent: bool = False
    wait_after: int | None = None
    bytes_per_second: int = 0
    head_bytes_per_second: int = 0
    hang_up: bool = False
    raw: bytes | None = None
    raw_forever: bytes = b""
    gate: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def counts(self) -> bool:
        """Whether it holds for this request; the caller has the lock."""
        self.asked += 1
        if self.asked % self.every:
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Settings(Protocol):
    """What :func:`conditional` needs to know of the index."""

    validators: bool
    ranges: bool
    modified: datetime


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def coded(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.compress(body, 1, mtime=0)
    return zlib.compress(body) if coding == "deflate" else body


def conditional(reply: Reply, headers: Mapping[str, str], settings: Settings) -> Reply:
    """The response with validators; 304 if the client has it, 206 or 416 if it asks for a part of a file."""
    if settings.validators:
        etag = f'"{_digest(reply.body)}"'
        modified = email.utils.format_datetime(settings.modified, usegmt=True)
        reply.headers.update({"ETag": etag, "Last-Modified": modified})
        known = headers.get("if-none-match")
        if known == etag or (known is None and headers.get("if-modified-since") == modified):
            kept = {name: reply.headers[name] for name in ("ETag", "Cache-Control") if name in reply.headers}
            return Reply(304, b"", kept)
        if headers.get("if-range", etag) not in (etag, modified):
            return reply
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if not settings.ranges or wanted is None or "Accept-Ranges" not in reply.headers:
        return reply
    total = len(reply.body)
    first, last = wanted[1], wanted[2]
    start = int(first) if first else max(total - int(last or 0), 0)
    end = min(int(last), total - 1) if first and last else total - 1
    if start > end:
        return Reply(416, b"", {"Content-Range": f"bytes */{total}"})
    part = Reply(206, reply.body[start : end + 1], dict(reply.headers))
    part.headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return part


def _digest(body: bytes) -> str:
    """Of a large body only its length and its ends count, so that a test does not wait for it."""
    data = body if len(body) < 1 << 20 else b"%d" % len(body) + body[: 1 << 16] + body[-1 << 16 :]
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def spoil(reply: Reply, spoiled: Spoiled) -> Reply:
    """The response as the client gets it, but for how it is sent."""
    if spoiled.location:
        reply = Reply(spoiled.status or 302, b"elsewhere", {"Location": spoiled.location})
    elif spoiled.status:
        reply = Reply(spoiled.status, b"no", {"Content-Type": "text/plain"})
    if spoiled.body is not None:
        reply.body = spoiled.body
    if spoiled.corrupt_at is not None:
        at = spoiled.corrupt_at % len(reply.body)
        reply.body = reply.body[:at] + bytes([reply.body[at] ^ 0xFF]) + reply.body[at + 1 :]
    if spoiled.pad:
        reply.body += spoiled.pad
    if spoiled.coding:
        reply.body, reply.coding = coded(reply.body, spoiled.coding), spoiled.coding
    for name, value in spoiled.headers.items():
        reply.headers = {key: kept for key, kept in reply.headers.items() if key.lower() != name.lower()}
        if value is not None:
            reply.headers[name] = value
    reply.coding = spoiled.claims_coding or reply.coding
    return reply


class Writer:
    """Sends one response the way it is spoiled."""

    def __init__(self, stream: BinaryIO, connection: socket.socket, spoiled: Spoiled, ending: threading.Event) -> None:
        self._stream, self._connection, self._spoiled, self._ending = stream, connection, spoiled, ending
        self.sent = 0

    def write(self, reply: Reply, *, is_head: bool) -> bool:
        """Whether the connection can be used again."""
        spoiled = self._spoiled
        if spoiled.silent:
            self._wait()
        if spoiled.hang_up or self._ending.is_set():
            hang_up(self._connection, reset=spoiled.reset)
            return False
        if spoiled.raw is not None or spoiled.raw_forever:
            self._raw()
            return False
        for piece in self._pieces_of_head(reply):
            self._stream.write(piece)
        if is_head or reply.status in (204, 304):
            return True
        try:
            is_whole = self._body(reply.body)
        finally:
            self._stream.flush()
        if not is_whole:
            hang_up(self._connection, reset=spoiled.reset)
        says_truth = spoiled.length == -1 or spoiled.length == len(reply.body)
        return is_whole and (says_truth or bool(spoiled.chunked))

    def _pieces_of_head(self, reply: Reply) -> Iterator[bytes]:
        head, rate = self._head(reply), self._spoiled.head_bytes_per_second
        for at in range(0, len(head) if rate else 0):
            yield head[at : at + 1]
            self._ending.wait(1 / rate)
        if not rate:
            yield head

    def _head(self, reply: Reply) -> bytes:
        headers = dict(reply.headers)
        if self._spoiled.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif self._spoiled.length is None:
            headers["Connection"] = "close"
        elif reply.status not in (204, 304):
            length = self._spoiled.length
            headers.setdefault("Content-Length", str(len(reply.body) if length == -1 else length))
        if reply.coding:
            headers["Content-Encoding"] = reply.coding
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Whatever')}\r\n{lines}\r\n".encode("latin-1")

    def _body(self, body: bytes) -> bool:
        """Send it; whether all of it was sent."""
        spoiled, view = self._spoiled, memoryview(body)
        end = len(view) if spoiled.cut_after is None else min(spoiled.cut_after, len(view))
        rate = spoiled.bytes_per_second
        step = max(rate // 20, 1) if rate else spoiled.chunked or 1 << 18
        at = 0
        while at < end:
            if spoiled.wait_after is not None and at <= spoiled.wait_after < min(at + step, end):
                self._piece(view[at : spoiled.wait_after])
                at = spoiled.wait_after
                self._stream.flush()
                self._wait()
            piece = view[at : min(at + step, end)]
            self._piece(piece)
            at += len(piece)
            if rate:
                self._stream.flush()
                if self._ending.wait(len(piece) / rate):
                    return False
        if spoiled.cut_after is None and spoiled.chunked:
            self._stream.write(b"0\r\n\r\n")
        return spoiled.cut_after is None

    def _piece(self, piece: memoryview) -> None:
        if self._spoiled.chunked and piece:
            self._stream.write(b"%x\r\n" % len(piece))
        self._stream.write(piece)
        if self._spoiled.chunked and piece:
            self._stream.write(b"\r\n")
        self.sent += len(piece)

    def _raw(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(self._spoiled.raw or b"")
            while self._spoiled.raw_forever and not self._ending.is_set():
                self._stream.write(self._spoiled.raw_forever)
                self.sent += len(self._spoiled.raw_forever)
        hang_up(self._connection)

    def _wait(self) -> None:
        while not self._spoiled.gate.wait(0.05) and not self._ending.is_set():
            pass


def hang_up(connection: socket.socket, *, reset: bool = False) -> None:
    with contextlib.suppress(OSError):
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            connection.shutdown(socket.SHUT_RDWR)
