"""A hostile upstream on loopback: an index with real files, whose every answer a test can spoil while it runs.

::

    with upstream() as up:
        file = up.add_wheel("raven", "1.0")                    # at PyPI's form of address, with all that PyPI says
        up.spoil("/packages/*", cut_after=100, times=1)        # the next one breaks off
        with up.held("/simple/raven/") as gate: ...            # answered when the block ends, or gate.set()
        up.stop(); up.start()                                  # down, and up again at the same port
        assert up.count("/simple/raven/") == 1

``upstream(files=other)`` serves the files from a second origin; ``pytorch()`` has the shapes of PyTorch's index.
"""

from __future__ import annotations

import fnmatch
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from . import fake_answers as answers
from .certificates import Certificate
from .fake_answers import Reply, Spoiled
from .fake_pages import HTML, JSON, TEXT, UPLOADED, FakeFile, FakeProject, html_names, html_page, json_names, json_page
from .make_archives import core_metadata, make_sdist, make_wheel


class Seen(NamedTuple):
    """A request that came: names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    at: float


@dataclass
class FakeUpstream:
    """An index. Change any field at any time; it counts from the next request on."""

    simple: str = "/simple/"
    projects: dict[str, FakeProject] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    only_html: bool = False
    base: str = ""
    missing: int = 404
    login: str = ""
    serial: int = 0
    api_version: str = "1.4"
    cache_control: str = "max-age=600, public"
    validators: bool = True
    ranges: bool = True
    coding: str = ""
    modified: datetime = UPLOADED
    file_host: FakeUpstream | None = None
    certificate: Certificate | None = None
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    busy: int = 0
    peak: int = 0
    port: int = 0
    _spoiled: list[tuple[str, Spoiled]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: Any = None

    @property
    def origin(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address of its simple page."""
        return self.origin + self.simple

    # What it has.

    def project(self, name: str) -> FakeProject:
        return self.projects.setdefault(name, FakeProject(name))

    def add_wheel(
        self, name: str, version: str, *, requires_python: str | None = None, size: int = 0, **options: Any
    ) -> FakeFile:
        """An installable wheel, padded to about ``size`` bytes that do not compress, with its metadata next to it."""
        make = {key: options.pop(key) for key in ("requires_dist", "summary", "tag") if key in options}
        pad = {f"{name.replace('-', '_')}_data.bin": noise(size)} if size else None
        filename, data = make_wheel(name, version, requires_python=requires_python, extra_members=pad, **make)
        made = {key: value for key, value in make.items() if key != "tag"}
        options.setdefault("metadata", core_metadata(name, version, requires_python=requires_python, **made))
        return self.add(name, filename, data, requires_python=requires_python, **options)

    def add_sdist(self, name: str, version: str, **options: Any) -> FakeFile:
        filename, data = make_sdist(name, version)
        return self.add(name, filename, data, **options)

    def add(
        self, project: str, filename: str, data: bytes, *, path: str = "", relative: bool = False, **fields: Any
    ) -> FakeFile:
        """Put a file on the page of the project; ``path`` is where it is, by default in PyPI's form."""
        host = self.file_host or self
        digest = hashlib.blake2b(filename.encode() + data[:4096], digest_size=32).hexdigest()
        path = path or f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"
        url = quote(path) if relative and host is self else host.origin + quote(path)
        sha256 = fields.pop("claimed", None)
        file = FakeFile(filename, data, path, url, **{"size": len(data), **fields})
        file.claimed = file.sha256 if sha256 is None else sha256
        host.served[path] = data
        if file.metadata is not None:
            host.served[path + ".metadata"] = file.metadata
        if file.provenance is not None:
            place = f"/integrity/{project}/{filename}/provenance"
            self.served[place] = file.provenance
            file.provenance_url = file.provenance_url or self.origin + place
        self.project(project).files.append(file)
        return file

    def page_path(self, project: str) -> str:
        return f"{self.simple}{project}/"

    # What it does wrong.

    def spoil(self, pattern: str = "*", **what: Any) -> Spoiled:
        """Spoil the responses to paths that match; see Spoiled for what can be done. The newest pattern counts."""
        spoiled = Spoiled(**what)
        with self._lock:
            self._spoiled.insert(0, (pattern, spoiled))
        return spoiled

    def heal(self) -> None:
        """Right responses from now on; those that wait are answered."""
        with self._lock:
            spoiled, self._spoiled = self._spoiled, []
        for _, each in spoiled:
            each.gate.set()

    @contextmanager
    def held(self, pattern: str = "*", *, after: int = 0) -> Iterator[threading.Event]:
        """Requests for these paths wait, after that many bytes of the body, until the block ends or the gate is set."""
        spoiled = self.spoil(pattern, wait_after=after) if after else self.spoil(pattern, silent=True)
        try:
            yield spoiled.gate
        finally:
            spoiled.gate.set()
            with self._lock:
                self._spoiled = [each for each in self._spoiled if each[1] is not spoiled]

    # What it saw.

    def count(self, pattern: str = "*", method: str = "*") -> int:
        """How many requests came for these paths."""
        with self._lock:
            return sum(fnmatch.fnmatchcase(each.path, pattern) and method in ("*", each.method) for each in self.seen)

    def forget(self) -> None:
        """Count from 0 again."""
        with self._lock:
            self.seen.clear()
            self.connections = self.sent = self.peak = 0

    def wait_for(self, pattern: str = "*", count: int = 1, seconds: float = 30.0) -> None:
        """Until that many requests for these paths came."""
        deadline = time.monotonic() + seconds
        while self.count(pattern) < count:
            assert time.monotonic() < deadline, f"only {self.count(pattern)} requests for {pattern} came"
            time.sleep(0.002)

    # How it runs.

    def start(self) -> None:
        """Answer; after :meth:`stop` at the port of before."""
        assert self._server is None
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        self._server.begin()

    def stop(self) -> None:
        """Be down: connections are refused, those that are open end."""
        server, self._server = self._server, None
        if server:
            for _, each in self._spoiled:
                each.gate.set()
            server.end()

    def reply(self, request: Seen) -> Reply:
        """The right response."""
        headers = request.headers
        if self.login and headers.get("authorization") != answers.basic(self.login):
            return Reply(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="fake"'})
        path = request.path.partition("?")[0]
        found = self._page(path, headers.get("accept", "*/*"))
        if found is None and (data := self.served.get(unquote(path))) is not None:
            found = Reply(200, data, {"Content-Type": "application/octet-stream"})
            if self.ranges:
                found.headers["Accept-Ranges"] = "bytes"
        if found is None:
            return Reply(self.missing, b"not here", {"Content-Type": "text/plain"})
        return answers.conditional(found, headers, self)

    def _page(self, path: str, accept: str) -> Reply | None:
        if not path.startswith(self.simple):
            return None
        name = path.removeprefix(self.simple)
        is_json = not self.only_html and JSON in accept
        content_type = JSON if is_json else HTML if HTML in accept and not self.only_html else TEXT
        headers = {"Cache-Control": self.cache_control} if self.cache_control else {}
        if self.serial:
            headers["X-PyPI-Last-Serial"] = str(self.serial)
        if not name:
            body = json_names(self.projects, serial=self.serial) if is_json else html_names(self.projects)
        elif not name.endswith("/") or (project := self.projects.get(name[:-1])) is None:
            return None
        elif project.page:
            content_type, body = project.page
        elif is_json:
            body = json_page(project, api_version=self.api_version, serial=self.serial)
        else:
            body = html_page(project, base=self.base, api_version="" if self.missing == 403 else self.api_version)
        coded = answers.coded(body, self.coding)
        return Reply(200, coded, {"Content-Type": content_type, **headers, "Vary": "Accept"}, self.coding)

    def spoiled(self, path: str) -> Spoiled:
        with self._lock:
            for pattern, each in self._spoiled:
                if fnmatch.fnmatchcase(path, pattern) and each.counts():
                    return each
        return Spoiled()


class _Handler(BaseHTTPRequestHandler):
    """One connection: the requests on it, one after the other."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes: else the second waits 40 ms for the client to confirm the first.
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def answer(self) -> None:
        up = self.server.up
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Seen(self.command, self.path, headers, time.monotonic())
        with up._lock:
            up.seen.append(request)
            up.busy += 1
            up.peak = max(up.peak, up.busy)
        try:
            spoiled = up.spoiled(request.path)
            writer = answers.Writer(self.wfile, self.connection, spoiled, self.server.ending)
            reply = answers.spoil(up.reply(request), spoiled)
            self.close_connection = not writer.write(reply, is_head=request.method == "HEAD") or self.close_connection
            up.sent += writer.sent
        finally:
            with up._lock:
                up.busy -= 1

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 - the names are those of the base

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, up: FakeUpstream) -> None:
        super().__init__(("127.0.0.1", up.port), _Handler)
        self.up = up
        self.ending = threading.Event()
        self._open: set[socket.socket] = set()
        if up.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(up.certificate.chain, up.certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.ending.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        for each in list(self._open):
            answers.hang_up(each)

    def process_request(self, request: Any, client_address: object) -> None:
        self.up.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests are about."""


@contextmanager
def upstream(
    *, files: FakeUpstream | None = None, certificate: Certificate | None = None, **fields: Any
) -> Iterator[FakeUpstream]:
    """An index until the block ends; ``files`` is the second origin, which serves its files."""
    up = FakeUpstream(file_host=files, certificate=certificate, **fields)
    up.start()
    with ExitStack() as stack:
        stack.callback(up.stop)
        yield up


@contextmanager
def pytorch(*, files: FakeUpstream | None = None) -> Iterator[FakeUpstream]:
    """An index of PyTorch's shape: HTML without sizes and times, 403 for what is missing, ``%2B`` in names."""
    with upstream(files=files, simple="/whl/cu130/", only_html=True, missing=403, cache_control="no-cache") as up:
        yield up


def add_pytorch_wheel(up: FakeUpstream, name: str, version: str, **options: Any) -> FakeFile:
    """A wheel as it is there: ``/whl/cu130/torch-2.9.0%2Bcu130-py3-none-any.whl``, by a relative link."""
    filename = make_wheel(name, version)[0]
    path = f"{up.simple}{filename}"
    return up.add_wheel(name, version, path=path, relative=True, uploaded=None, **options)


def noise(size: int) -> bytes:
    """Bytes that no compression makes smaller, the same each time."""
    return hashlib.shake_128(b"noise").digest(size)
