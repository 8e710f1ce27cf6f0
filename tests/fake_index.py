"""An index on loopback for those who ask one: JSON or HTML pages, logins, faults, and the files themselves.

It is a proxy too: it answers requests in absolute form from its own pages, and connects to any port of loopback.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Answer:
    """An answer as it is; status 0 hangs up instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FakeIndex:
    """What the index has: rows of files by project, answers of its own by path, and the bytes of files by name."""

    rows: dict[str, list[Any]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    only_html: bool = False
    login: str = ""
    before: Callable[[], object] = lambda: None
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    port: int = 0
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def add(self, project: str, *names: str, **extra: Any) -> None:
        """Put files with these names on the page of the project."""
        rows = [{"filename": name, "url": f"../../files/{name}", "hashes": {}, **extra} for name in names]
        self.rows.setdefault(project, []).extend(rows)

    def answer(self, path: str, authorization: str | None) -> Answer:
        self.seen.append((path, authorization))
        self.before()
        if self.login and authorization != "Basic " + base64.b64encode(self.login.encode()).decode():
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="pypi"'})
        if path in self.answers:
            return self.answers[path]
        if path.startswith("/files/"):
            return Answer(200, self.files[path.rpartition("/")[2]])
        project = path.removeprefix("/simple/").rstrip("/")
        if project not in self.rows:
            return Answer(404, b"no such project")
        if self.only_html:
            return Answer(200, as_html(self.rows[project]), {"Content-Type": "text/html; charset=utf-8"})
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": self.rows[project]}
        return Answer(200, json.dumps(page).encode(), {"Content-Type": JSON})


def as_html(rows: list[Any]) -> bytes:
    def anchor(row: Mapping[str, Any]) -> str:
        python = f' data-requires-python="{html.escape(row["requires-python"])}"' if "requires-python" in row else ""
        yanked = ' data-yanked=""' if row.get("yanked") else ""
        return f'<a href="{html.escape(row["url"])}#sha256=0"{python}{yanked}>{html.escape(row["filename"])}</a><br>'

    return f"<!DOCTYPE html><body>{''.join(map(anchor, rows))}</body>".encode()


def copy_bytes(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends or either is gone."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def serving(index: FakeIndex, *, certificate: Path | None = None) -> Iterator[FakeIndex]:
    """Answer on a port of loopback that the system chooses until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path[1:]
            answer = index.answer(f"/{path}", self.headers["Authorization"])
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def do_CONNECT(self) -> None:
            index.seen.append((self.path, self.headers["Proxy-Authorization"]))
            with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as far:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=copy_bytes, args=(far, self.connection))
                back.start()
                copy_bytes(self.connection, far)
                back.join()
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def process_request(self, request: Any, client_address: object) -> None:
            index.connections += 1
            super().process_request(request, client_address)

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that hang up are what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        index.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
