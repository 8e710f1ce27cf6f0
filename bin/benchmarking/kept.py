"""Other indexes: what they cost where none is asked, kept pages and files against our own, and cold files for many.

Every figure is a ratio, or a difference, to a server or a request of the same run.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

from . import corpus, first_bytes, measures
from .measures import Figures, Pace
from .processes import HOST, Server, fetch
from .targets import Corpus, ours

CLIENTS = 50
# Bytes of the files that are compared, by what they are called.
SIZES = {"10 kB": 10_000, "1 MB": 1 << 20}
CACHE = ("--fallback-mode", "cache", "--cache-folder")
SETTLE_SECONDS = 1.0


def off(subject: Corpus, pace: Pace) -> Figures:
    """A page of a server that is told to ask no other index, against one that is told nothing."""
    told = ours("granian", "--fallback-mode", "redirect")
    with ours("granian").start(subject) as plain, told.start(subject) as server:
        return measures.compared(measures.pairs(plain, server, pace, {}, {}), "--fallback-mode redirect")


def kept(subject: Corpus, pace: Pace) -> Figures:
    """Our own pages where other indexes are asked; kept pages and files against our own."""
    files = {"a small file": corpus.FILE, **{f"{each}": _add(subject, size) for each, size in SIZES.items()}}
    figures: Figures = {}
    with ours("granian").start(subject) as plain:
        index = f"http://{HOST}:{plain.port}/simple/"
        asking = ours("granian", *CACHE, str(subject.scratch / "own"), "--fallback-url", index)
        with asking.start(subject) as server:
            figures |= measures.compared(measures.pairs(plain, server, pace, {}, {}), "other indexes")
        with _keeping(subject, "kept", index) as server:
            figures |= measures.compared(measures.pairs(plain, server, pace, {}, {}), "a kept page")
            for label, name in files.items():
                project = name.partition("-")[0].replace("_", "-")
                paths = f"/packages/{name}", f"/packages/@127-0-0-1-{plain.port}/{project}/{name}"
                _keep(server, paths[1])
                loads = measures.pairs(plain, server, pace, {}, {}, paths=paths)
                figures |= measures.compared(loads, f"a kept file, {label}", "file")
    return figures


def cold(subject: Corpus, megabytes: int, rounds: int) -> Figures:
    """When the first byte of a cold file reaches one client, and fifty that ask at once, after a direct request's.

    Also how often the index was asked, the files in the cache, and by how much the memory of the process grew.
    """
    late: dict[int, list[float]] = {1: [], CLIENTS: []}
    asked, cache = [], subject.scratch / "cold"
    with (
        first_bytes.index(megabytes, 2 * rounds, subject.environ) as index,
        _keeping(subject, cache.name, index.url) as server,
    ):
        fetch(server.port, f"/simple/{first_bytes.PROJECT}/")
        before = server.memory_mb()
        for number, path in enumerate(index.files):
            count = (1, CLIENTS)[number % 2]
            direct = first_bytes.ask(index.port, path, index.sha256, 1)[0]
            known = index.asked(path)
            late[count].append(first_bytes.ask(server.port, path, index.sha256, count)[-1] - direct)
            asked.append(index.asked(path) - known)
        grown = server.memory_mb("VmHWM") - before
        time.sleep(SETTLE_SECONDS)
    files = [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size >> 20 == megabytes]
    label = f"of a cold file of {megabytes} MB"
    return {
        f"first byte {label}, after a direct request's, ms": statistics.median(late[1]),
        f"last of {CLIENTS} first bytes {label}, after a direct request's, ms": statistics.median(late[CLIENTS]),
        f"requests {label} to its index": max(asked),
        f"copies {label} on disk": len(files) / len(index.files),
        f"memory growth by {CLIENTS} clients {label} MB": grown,
    }


@contextlib.contextmanager
def _keeping(subject: Corpus, folder: str, index: str) -> Iterator[Server]:
    """A server without packages of its own that keeps those of an index."""
    empty = replace(subject, folder=subject.scratch / "empty")
    empty.folder.mkdir(exist_ok=True)
    flags = (*CACHE, str(subject.scratch / folder), "--fallback-url", index)
    with ours("granian", *flags, is_empty=True).start(empty) as server:
        yield server


def _keep(server: Server, path: str) -> None:
    """Return once the file is kept: it gets its name a moment after its last byte was sent."""
    fetch(server.port, path)
    time.sleep(SETTLE_SECONDS)


def _add(subject: Corpus, size: int) -> str:
    """A wheel of about this many bytes, which do not compress; gives its name."""
    name, data = corpus.wheel(f"kept_{size}", "1.0", filler=size)
    path, old = subject.folder / name, time.time() - corpus.AGE_SECONDS
    path.write_bytes(data)
    os.utime(path, (old, old))
    return name
