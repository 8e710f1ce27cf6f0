"""An index that answers each request after a delay: pages in JSON of any project, with as many files as it is told.

Run as ``python -m benchmarking.delayed_index PORT MILLISECONDS FILES``. A page is made when it is first asked for.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import sys

from .processes import HOST

JSON = "application/vnd.pypi.simple.v1+json"
DAYS = 28


def page(name: str, files: int) -> bytes:
    """The page of a project: half of its files are wheels, and no two hashes are the same."""
    rows, versions = [], []
    for number in range(files):
        version = f"{1 + number // 20}.{number // 2 % 10}"
        ending = "-py3-none-any.whl" if number % 2 else ".tar.gz"
        filename = f"{name.replace('-', '_')}-{version}{ending}"
        place, own, metadata = (hashlib.sha256(f"{kind}{filename}".encode()).hexdigest() for kind in "pfm")
        about = {"sha256": metadata} if number % 2 else False
        versions.append(version)
        rows.append(
            {
                "core-metadata": about,
                "data-dist-info-metadata": about,
                "filename": filename,
                "hashes": {"sha256": own},
                "requires-python": ">=3.9",
                "size": 10_000 + number,
                "upload-time": f"2024-05-{1 + number % DAYS:02}T10:11:12.{number:06}Z",
                "url": f"https://files.example/packages/{place[:2]}/{place[2:4]}/{place[4:]}/{filename}",
                "yanked": False,
            }
        )
    meta = {"_last-serial": 1, "api-version": "1.4"}
    listed = list(dict.fromkeys(versions))
    return json.dumps({"meta": meta, "name": name, "files": rows, "versions": listed}).encode()


class Index(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay: float, files: int, made: dict[tuple[str, bool], bytes]) -> None:
        self.made = made
        self._delay = delay
        self._files = files
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            name = head.split(b" ", 2)[1].decode().strip("/").rpartition("/")[2]
            asyncio.get_running_loop().call_later(self._delay, self._answer, name, b"gzip" in head)

    def _answer(self, name: str, is_coded: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        answer = self.made.get((name, is_coded))
        if answer is None:
            body = page(name, self._files)
            body = gzip.compress(body) if is_coded else body
            coding = "Content-Encoding: gzip\r\n" if is_coded else ""
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n{coding}Content-Length: {len(body)}\r\n\r\n"
            answer = self.made[name, is_coded] = head.encode() + body
        self._transport.write(answer)


async def serve(port: int, delay: float, files: int) -> None:
    """Until the process is ended."""
    made: dict[tuple[str, bool], bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Index(delay, files, made), HOST, port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]) / 1000, int(sys.argv[3])))
