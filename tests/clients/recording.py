"""A reverse proxy on loopback that writes down what a client asked: method, path, headers, status of the answer.

It passes everything on unchanged, the Host header included, so that a client behind it does what it does without it.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are lower-case. `coding` is the Content-Encoding of the answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int
    coding: str = ""

    @property
    def kind(self) -> str:
        """What was asked for: a page, a piece of metadata, a file, or a file's head or part."""
        if self.path.startswith("/packages/"):
            if self.path.endswith(".metadata"):
                return "metadata"
            if "range" in self.headers:
                return "range"
            return "head" if self.method == "HEAD" else "file"
        return "page" if self.method == "GET" else self.method


@dataclass
class Recorder:
    """The proxy while it runs: its address, and what passed through it so far.

    After `cut` bytes of the next file that is longer, the connection breaks.
    """

    url: str
    cut: int | None = None
    requests: list[Request] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return dict(Counter(request.kind for request in self.requests))

    def files(self) -> list[str]:
        """Names of the files that were downloaded, as often as they were."""
        return sorted(request.path.rpartition("/")[2] for request in self.requests if request.kind == "file")


class Handler(BaseHTTPRequestHandler):
    """Passes one connection's requests on to the server named by the proxy."""

    protocol_version = "HTTP/1.1"
    server: RecordingServer

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                upstream.putheader(name, value)
        upstream.endheaders(body or None)
        with upstream.getresponse() as answer:
            content = answer.read()
        upstream.close()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.recorder.requests.append(
            Request(self.command, self.path, headers, answer.status, answer.getheader("Content-Encoding", ""))
        )
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length and answer.status not in (204, 304):
            self.send_header("Content-Length", length)
        self.end_headers()
        cut, recorder = self.server.recorder.cut, self.server.recorder
        if cut is not None and recorder.requests[-1].kind == "file" and len(content) > cut:
            recorder.cut = None
            content, self.close_connection = content[:cut], True
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = pass_on  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the recorder is the log."""


class RecordingServer(ThreadingHTTPServer):
    """Listens on a port of the system's choosing."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = urlsplit(upstream).netloc
        self.recorder = Recorder(f"http://127.0.0.1:{self.server_address[1]}")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is no fault of the test's."""


@contextmanager
def recording(upstream: str) -> Iterator[Recorder]:
    """Record what is asked of the server at `upstream` through the recorder's own address."""
    with RecordingServer(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.recorder
        finally:
            server.shutdown()
            thread.join()
