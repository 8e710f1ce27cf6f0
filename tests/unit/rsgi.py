"""Ask an application through the adapter for RSGI, with a protocol that does what granian's does."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pypiserver.server.rsgi import Adapter

from .wsgi import Answer, Client

# What only a WSGI server can say.
OF_WSGI = ("SCRIPT_NAME", "wsgi.", "pypiserver.", "SERVER_", "REQUEST_URI", "RAW_URI", "PATH_INFO")


class Headers:
    """Headers as they came, names in lower case; values that are not printable ASCII are not shown."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = [(name.lower(), value) for name, value in pairs]

    def items(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self._pairs if value.isascii() and value.isprintable()]

    def get(self, name: str, default: str = "") -> str:
        return dict(self.items()).get(name, default)

    def keys(self) -> list[str]:
        return list(dict(self._pairs))

    def __len__(self) -> int:
        return len(self.keys())


@dataclass
class Scope:
    """A request's head."""

    method: str = "GET"
    path: str = "/"
    query_string: str = ""
    headers: Headers = field(default_factory=lambda: Headers([]))
    http_version: str = "1.1"
    server: str = "127.0.0.1:80"
    client: str = "127.0.0.1:50000"
    scheme: str = "http"
    authority: str | None = None
    proto: str = "http"


class Protocol:
    """One request's body, and its answer: ``blocks`` may have an error in it, which granian gives as an empty block."""

    def __init__(self, blocks: Sequence[bytes] = (), *, is_cut: bool = False) -> None:
        self._blocks = [block for block in blocks if block] + ([b""] if is_cut else []) + [b""]
        self.asked = 0
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.disconnected = asyncio.Event()

    def __aiter__(self) -> Protocol:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        if not self._blocks:
            raise StopAsyncIteration
        self.asked += 1
        block = self._blocks.pop(0)

        async def give() -> bytes:
            await asyncio.sleep(0)
            return block

        return give()

    async def client_disconnect(self) -> None:
        await self.disconnected.wait()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if not self.status:
            self.status, self.headers, self.body = status, headers, body

    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        self.response_bytes(status, headers, body.encode())

    def response_file_range(self, status: int, headers: list[Any], file: str, start: int, end: int) -> None:
        with Path(file).open("rb") as stream:
            stream.seek(start)
            self.response_bytes(status, headers, stream.read(end - start))

    def response_file(self, status: int, headers: list[tuple[str, str]], file: str) -> None:
        self.status, self.headers = status, headers
        reading = os.open(file, os.O_RDONLY)

        def read() -> None:
            with open(reading, "rb") as stream:
                self.body = stream.read()

        self._reader = threading.Thread(target=read)
        self._reader.start()

    def finish(self) -> None:
        """Wait for a body that comes through a pipe."""
        if hasattr(self, "_reader"):
            self._reader.join(10)


class RsgiClient(Client):
    """A client of an application under RSGI; what only WSGI can say is asked by WSGI."""

    def __init__(self, application: Callable[..., Any], **headers: str) -> None:
        super().__init__(application, **headers)
        self._status = ""
        self._adapter = Adapter(self._noted, threads=4)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        told = {**self._headers, **headers}
        if any(key.startswith(OF_WSGI) for key in told):
            return super().request(method, path, body, **headers)
        address, _, query = path.partition("?")
        pairs = [(_name(key), value) for key, value in told.items() if key.startswith(("HTTP_", "CONTENT_"))]
        if "CONTENT_LENGTH" not in told and (body or method == "POST"):
            pairs.append(("content-length", str(len(body))))
        if "HTTP_HOST" not in told:
            pairs.append(("host", "127.0.0.1"))
        client = f"{told.get('REMOTE_ADDR', '127.0.0.1')}:50000"
        scope = Scope(method, address, query, Headers(pairs), client=client)
        pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
        length = next((int(value) for name, value in pairs if name == "content-length" and value.isdigit()), None)
        protocol = asyncio.run(self._ask(scope, pieces, is_cut=length is not None and length > len(body)))
        given = {name.lower(): value for name, value in protocol.headers}
        assert self._status.startswith(str(protocol.status))
        return Answer(protocol.status, self._status[4:], given, protocol.body)

    def _noted(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The application; granian sends no reason phrase, which other tests look at."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            self._status = status
            return start_response(status, headers, exc_info)

        return self._application(environ, start)

    async def _ask(self, scope: Scope, pieces: list[bytes], *, is_cut: bool) -> Protocol:
        protocol = Protocol(pieces, is_cut=is_cut)
        await self._adapter.__rsgi__(scope, protocol)
        protocol.finish()
        protocol.disconnected.set()
        await asyncio.sleep(0)
        return protocol


def _name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").lower()
