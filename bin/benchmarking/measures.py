"""What is measured: each function takes running servers, or starts its own, and gives figures by name.

A figure is the median of its rounds; rounds go from server to server, so that whatever else the machine does falls on
all of them.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import corpus as corpora
from .load import Failed, Load, load
from .processes import HOST, Server, fetch, request
from .targets import CASES, Corpus, Target, Upload
from .uploads import upload_file, uploads_per_second

Figures = dict[str, float]
Headers = Mapping[str, str]
SLOW_CLIENTS = 4
COPIES = 15
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long: seconds of one load, and rounds of each figure."""

    seconds: float
    rounds: int


def rates(running: Mapping[Target, Server], pace: Pace, say: Say) -> dict[str, Figures]:
    """Requests per second, times and CPU of every case, at 8 connections; of the page also at others."""
    plans = [(name, name, 8, {}) for name in CASES]
    plans += [(f"page c={count}", "page", count, {}) for count in (1, 64, 256)]
    plans.append(("page, no keep-alive", "page", 8, {"Connection": "close"}))
    samples: dict[tuple[str, str], list[Load]] = {}
    for number in range(pace.rounds):
        for figure, case, connections, more in plans:
            for target, server in running.items():
                say(f"round {number + 1} of {pace.rounds}: {figure}, {target.name}")
                with contextlib.suppress(Failed, KeyError, ConnectionError):
                    path, headers = _asked(target, server, case)
                    done = load(
                        server, path, seconds=pace.seconds, connections=connections, headers={**headers, **more}
                    )
                    samples.setdefault((target.name, figure), []).append(done)
    found: dict[str, Figures] = {target.name: {} for target in running}
    for (name, figure), loads in samples.items():
        found[name][f"{figure} req/s"] = statistics.median(each.rate for each in loads)
        found[name][f"{figure} p50 ms"] = statistics.median(each.p50_ms for each in loads)
        found[name][f"{figure} p99 ms"] = statistics.median(each.p99_ms for each in loads)
        # Threads of a pool that grows come in the first seconds.
        found[name][f"{figure} first p99 ms"] = loads[0].p99_ms
        found[name][f"{figure} CPU us"] = statistics.median(each.cpu_us for each in loads)
    for target, server in running.items():
        found[target.name]["memory MB"] = server.memory_mb()
        found[target.name]["peak memory MB"] = server.memory_mb("VmHWM")
    return found


def _asked(target: Target, server: Server, case: str) -> tuple[str, dict[str, str]]:
    """Address and headers of a case; KeyError where the target has no such thing."""
    path, headers = target.paths[case], dict(CASES[case][1])
    if headers.get("If-None-Match") == "?":
        headers["If-None-Match"] = request(server.port, path)[1]["etag"]
    if request(server.port, path, headers=headers)[0] not in (200, 304):
        raise KeyError(path)
    return path, headers


def starts(target: Target, corpus: Corpus, rounds: int) -> Figures:
    """Seconds to the first right /simple/, to the first page and until all is digested, without a catalog and with."""
    cache = corpus.scratch / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    found: Figures = {}
    with target.start(corpus) as server:
        found["cold start s"] = server.seconds
        found["CPU of a cold start s"] = server.cpu_seconds()
        began = time.perf_counter()
        fetch(server.port, f"/simple/{corpora.PROJECT}/")
        found["cold first page s"] = server.seconds + time.perf_counter() - began
        if target.is_ours:
            wait_until_digested(cache)
            found["all digested s"] = server.seconds + time.perf_counter() - began
            found["CPU until digested s"] = server.cpu_seconds()
            found["memory after scan MB"] = server.memory_mb()
            found["peak memory after scan MB"] = server.memory_mb("VmHWM")
    warm = []
    for _ in range(rounds):
        with target.start(corpus) as server:
            warm.append(server.seconds)
    found["warm start s"] = statistics.median(warm)
    return found


def wait_until_digested(cache: Path) -> None:
    """Return when no file of any catalog in the cache folder waits to be read."""
    for catalog in cache.glob("pypiserver/*/catalog.sqlite"):
        connection = sqlite3.connect(catalog)
        try:
            while connection.execute("SELECT 1 FROM file WHERE sha256 = '' AND fault = '' LIMIT 1").fetchone():
                time.sleep(0.1)
        finally:
            connection.close()


def uploads(server: Server, to: Upload, pace: Pace) -> Figures:
    """Uploads per second of new small wheels, each waiting for its answer."""
    figures = {}
    for label, at_once in (("uploads/s", 1), ("uploads/s, 8 at once", 8)):
        done = [uploads_per_second(server, to, seconds=pace.seconds, at_once=at_once) for _ in range(pace.rounds)]
        figures[label] = statistics.median(done)
    return figures


def large_upload(server: Server, to: Upload, file: Path) -> Figures:
    """Seconds, CPU and peak memory of uploading one large file; raises RuntimeError when it is refused."""
    used, began = server.cpu_seconds(), time.perf_counter()
    status = upload_file(server.port, to.path, file, login=to.login)
    seconds = time.perf_counter() - began
    if status not in (200, 201):
        raise RuntimeError(f"{server.name} refuses an upload of {file.stat().st_size} bytes with {status}")
    label = f"upload of {file.stat().st_size >> 20} MB"
    return {
        f"{label} s": seconds,
        f"{label} CPU s": server.cpu_seconds() - used,
        f"peak memory of an {label} MB": server.memory_mb("VmHWM"),
    }


def copy_to_listed(server: Server, folder: Path) -> Figures:
    """Seconds from the end of copying a file into the folder until its project's page is there."""
    times = []
    for number in range(COPIES):
        name, data = corpora.wheel(f"copied_{time.time_ns()}_{number}", "1.0")
        path = f"/simple/{name.split('-')[0].replace('_', '-')}/"
        (folder / name).write_bytes(data)
        began = time.perf_counter()
        while request(server.port, path)[0] != 200:
            time.sleep(0.005)
        times.append(time.perf_counter() - began)
        (folder / name).unlink()
    return {"copy to listed, median s": statistics.median(times), "copy to listed, longest s": max(times)}


def large_files(running: Mapping[Target, Server], corpus: Corpus, rounds: int) -> dict[str, Figures]:
    """MB/s and CPU seconds per GB of one download at a time, by curl."""
    found: dict[str, Figures] = {target.name: {} for target in running}
    for path in sorted(corpus.folder.glob("large_*")):
        samples: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for target, server in running.items():
                samples.setdefault(target.name, []).append(_download(server, path))
        for name, seen in samples.items():
            speeds, costs = zip(*seen, strict=True)
            size = f"{path.stat().st_size >> 20} MB file"
            found[name][f"{size} MB/s"] = statistics.median(speeds)
            found[name][f"{size} CPU s/GB"] = statistics.median(costs)
    return found


def _download(server: Server, path: Path) -> tuple[float, float]:
    """MB/s and CPU seconds per GB; raises RuntimeError when bytes are missing."""
    size, before = path.stat().st_size, server.cpu_seconds()
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{size_download} %{speed_download}"]
    url = f"http://{HOST}:{server.port}/packages/{path.name}"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout.split()
    if int(done[0]) != size:
        raise RuntimeError(f"{server.name} sends {done[0]} of {size} bytes of {path.name}")
    return float(done[1]) / 1e6, (server.cpu_seconds() - before) / size * 1e9


def disturbed(server: Server, corpus: Corpus, large: Path, pace: Pace) -> Figures:
    """The 99th percentile of a page's time: alone, while everything is scanned again, and during slow downloads.

    Also the seconds of one scan that finds nothing new, and a page of 2,000 files of which one is replaced five times a
    second. ``large`` is what is downloaded.
    """
    path = f"/simple/{corpora.PROJECT}/"
    wait_until_digested(corpus.scratch / "cache")

    def p99(disturbance: contextlib.AbstractContextManager[None]) -> float:
        with disturbance:
            loads = [load(server, path, seconds=pace.seconds) for _ in range(pace.rounds)]
        return statistics.median(each.p99_ms for each in loads)

    return {
        "page p99 ms, alone": p99(contextlib.nullcontext()),
        "page p99 ms, while scanned": p99(_scanned_again(corpus)),
        "page p99 ms, 4 slow downloads": p99(_slow_downloads(server, large)),
        "scan of unchanged files s": statistics.median(_scan_seconds(corpus) for _ in range(pace.rounds)),
        **_changing(server, corpus, pace),
    }


def _changing(server: Server, corpus: Corpus, pace: Pace) -> Figures:
    file = next(corpus.folder.rglob("many-1.0.0-*.whl"), None)
    if file is None:
        return {}
    with _repeated(lambda: _replace(file), 0.2):
        loads = [load(server, "/simple/many/", seconds=pace.seconds) for _ in range(pace.rounds)]
    return {
        "changing page of 2000 req/s": statistics.median(each.rate for each in loads),
        "changing page of 2000 p99 ms": statistics.median(each.p99_ms for each in loads),
    }


def _replace(file: Path) -> None:
    """Put a copy in the place of the file, at once."""
    copy = file.with_name(".copy")
    shutil.copyfile(file, copy)
    copy.replace(file)


def _scan_seconds(corpus: Corpus) -> float:
    """How long a scan takes that is made because a folder came; the scanner says so in its lock file."""
    locks = list((corpus.scratch / "cache").glob("pypiserver/*/catalog.sqlite.lock"))
    began = time.time()
    _flip(corpus.folder / "comes-and-goes")
    while time.time() < began + 60:
        for word, *numbers in (lock.read_text().split() or [""] for lock in locks):
            if word == "ready" and float(numbers[0]) > began:
                return float(numbers[1])
        time.sleep(0.05)
    raise RuntimeError("nothing was scanned for a minute")


@contextlib.contextmanager
def _scanned_again(corpus: Corpus) -> Iterator[None]:
    """A folder that comes or goes makes the server look at everything again."""
    with _repeated(lambda: _flip(corpus.folder / "comes-and-goes"), 0.2):
        yield


def _flip(folder: Path) -> None:
    if folder.exists():
        folder.rmdir()
    else:
        folder.mkdir()


@contextlib.contextmanager
def _repeated(action: Callable[[], None], pause: float) -> Iterator[None]:
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(pause):
            action()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@contextlib.contextmanager
def _slow_downloads(server: Server, large: Path) -> Iterator[None]:
    """Clients that take 2 MB/s each of a large file."""
    url = f"http://{HOST}:{server.port}/packages/{large.name}"
    command = ["curl", "-s", "-o", "/dev/null", "--limit-rate", "2M", url]
    clients = [subprocess.Popen(command) for _ in range(SLOW_CLIENTS)]
    try:
        yield
    finally:
        for client in clients:
            client.terminate()
            client.wait()


LOGIN = "Basic dXNlcjpzZWNyZXQ="  # user:secret


def pairs(
    plain: Server,
    other: Server,
    pace: Pace,
    plainly: Headers,
    otherwise: Headers,
    *,
    paths: tuple[str, str] = (f"/simple/{corpora.PROJECT}/",) * 2,
) -> list[tuple[Load, Load]]:
    """Loads on a page, or on the path of each, in turns, from one server and then the other, with headers of each."""
    # The first right password takes bcrypt's tenth of a second.
    fetch(other.port, paths[1], dict(otherwise))
    return [
        (
            load(plain, paths[0], seconds=pace.seconds, headers=plainly),
            load(other, paths[1], seconds=pace.seconds, headers=otherwise),
        )
        for _ in range(pace.rounds)
    ]


def compared(loads: Sequence[tuple[Load, Load]], label: str, what: str = "page") -> Figures:
    """A page from a server that does more (a login, an access log), as parts of one that does not."""
    return {
        f"{what} with {label} req/s": statistics.median(other.rate for _, other in loads),
        f"with {label} : without": statistics.median(other.rate / plain.rate for plain, other in loads),
        f"with {label} : without, by CPU": statistics.median(plain.cpu_us / other.cpu_us for plain, other in loads),
    }
