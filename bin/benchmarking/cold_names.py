"""What names that no cache knows cost, against asking their index directly: as a resolver does, many at once.

Each round has names of its own, asked for directly and then through a server that keeps pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from dataclasses import replace

from . import targets
from .delayed_index import JSON
from .measures import Figures
from .processes import HOST, Server, fetch, running
from .targets import Corpus

NAMES = 400
PARALLEL = 50
DELAY_MS = 20
FILES = 50
_REQUEST = "GET /simple/{}/ HTTP/1.1\r\nHost: {}\r\nAccept: {}, text/html;q=0.1\r\nAccept-Encoding: gzip\r\n\r\n"


def measure(subject: Corpus, rounds: int) -> Figures:
    """Seconds through us to seconds directly, and the milliseconds of CPU that a name takes of us."""
    empty = replace(subject, folder=subject.scratch / "no packages")
    empty.folder.mkdir(exist_ok=True)
    with _index(subject) as index:
        flags = ("--fallback-mode", "cache", "--cache-folder", str(subject.scratch / "cold"), "--fallback-url")
        ours = targets.ours("granian", *flags, f"http://{HOST}:{index.port}/simple/", is_empty=True)
        with ours.start(empty) as server:
            # The first takes what a process makes once.
            _ask(server, ["first"])
            found = [_round(index, server, number) for number in range(rounds)]
    ratios, cpu = zip(*found, strict=True)
    return {"cold names : directly": statistics.median(ratios), "cold name, CPU ms": statistics.median(cpu)}


def _round(index: Server, server: Server, number: int) -> tuple[float, float]:
    names = [f"cold-{number}-{each}" for each in range(NAMES)]
    # The index makes a page when it is first asked for it.
    _ask(index, names)
    directly = _ask(index, names)
    before = server.cpu_seconds()
    seconds = _ask(server, names)
    return seconds / directly, (server.cpu_seconds() - before) * 1000 / NAMES


def _index(subject: Corpus) -> contextlib.AbstractContextManager[Server]:
    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "benchmarking.delayed_index", str(port), str(DELAY_MS), str(FILES)]

    return running("an index with a delay", command, subject.environ, is_ready=lambda port: bool(fetch(port, "/x/")))


def _ask(server: Server, names: list[str]) -> float:
    """The seconds until all pages are here."""
    began = time.perf_counter()
    asyncio.run(_all(server.port, list(names)))
    return time.perf_counter() - began


async def _all(port: int, names: list[str]) -> None:
    await asyncio.gather(*[_one(port, names) for _ in range(min(PARALLEL, len(names)))])


async def _one(port: int, names: list[str]) -> None:
    """Ask for one name after the other on one connection, while there are any."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 20)
    while names:
        writer.write(_REQUEST.format(names.pop(), f"{HOST}:{port}", JSON).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"a cold name: {head[:80]!r}")
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(None, 1)[0]))
    writer.close()
