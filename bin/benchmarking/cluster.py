"""A cluster on loopback, against a server over a folder, in one run: replicas with PostgreSQL and Ceph's S3 gateway.

All parts share this machine, so rates are floors and ratios count; the database writes to its disk as a real one does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import corpus, rows
from .load import load
from .processes import Server, request
from .targets import HERE, JSON
from .uploads import upload

sys.path.insert(0, str(HERE))

from tests.cluster.buckets import ObjectStore, ceph
from tests.cluster.fronts import nginx_front
from tests.cluster.process import free_ports, started
from tests.cluster.replicas import Replica, replica
from tests.cluster.services import Front, PostgreSQL, postgresql

Figures = dict[str, dict[str, float]]
Say = Callable[[str], None]
FILES = 1000
UPLOADS = 60
PAGE = f"/simple/{corpus.PROJECT}/"
FOLDER, ONE, FOLDER_FRONT, THREE = "folder", "replica", "folder behind nginx", "3 replicas behind nginx"

SERVED = (FOLDER, ONE, FOLDER_FRONT, THREE)
BASELINES = {FOLDER: FOLDER, ONE: FOLDER, FOLDER_FRONT: FOLDER_FRONT, THREE: FOLDER_FRONT}


@dataclass(frozen=True)
class Sizes:
    """What is measured: seconds and rounds of each load, objects to index, rows of each catalog to ask.

    ``served`` is what is asked of replicas: ``pages``, ``uploads``.
    """

    seconds: float
    rounds: int
    objects: int
    rows: Sequence[int]
    served: Collection[str]


@dataclass
class Parts:
    """What runs in addition to the replicas."""

    scratch: Path
    store: ObjectStore
    database: PostgreSQL
    say: Say


def run(sizes: Sizes, scratch: Path, say: Say) -> Figures:
    """Every figure, by target."""
    figures: Figures = {}
    with postgresql(fsync=True) as database, ceph() as store:
        parts = Parts(scratch, store, database, say)
        if sizes.served:
            figures.update(served(parts, sizes))
        for number in sizes.rows:
            say(f"a catalog of {number:,} files")
            figures[f"{number:,} files in PostgreSQL"] = asked(parts, number)
        if sizes.objects:
            say(f"{sizes.objects:,} objects")
            figures[f"a bucket of {sizes.objects:,} files"] = indexed(parts, sizes.objects)
    return figures


# -- pages, uploads, what others see -----------------------------------------------------------------------------------


def served(parts: Parts, sizes: Sizes) -> Figures:
    """One server over a folder, one replica and three, with the same packages."""
    folder = corpus.make_corpus(parts.scratch / "packages", FILES)
    bucket, catalog = parts.store.create("bench"), parts.database.create("bench")
    command("copy", str(folder), bucket, environ=parts.store.environ)
    flags = ("--log-stream", "none", "--downloads", "stream", "--storage", bucket, "--catalog", catalog)
    with contextlib.ExitStack() as stack:
        (folder_port, *ports) = free_ports(4)
        alone = replica(parts.scratch / "folder", folder_port, ("--log-stream", "none", folder), {})
        made = [replica(parts.scratch / f"replica-{port}", port, flags, parts.store.environ) for port in ports]
        stack.enter_context(started(alone, *made))
        fronts = [stack.enter_context(nginx_front(each)) for each in ([folder_port] * 3, ports)]
        servers = dict(zip(SERVED, [server(each) for each in (alone, made[0], *fronts)], strict=True))
        servers[FOLDER_FRONT].behind, servers[THREE].behind = [server(alone)], [server(each) for each in made]
        found: Figures = pages(servers, sizes, parts.say) if "pages" in sizes.served else {name: {} for name in SERVED}
        if "uploads" in sizes.served:
            parts.say("uploads")
            for name in (FOLDER, ONE):
                found[name].update(latencies(servers[name]))
            found[THREE].update(seen_by_others([each.port for each in made]))
        for name in (FOLDER, ONE):
            found[name]["memory MB"] = servers[name].memory_mb()
    return found


def server(each: Replica | Front) -> Server:
    """The process as the other measurements know it."""
    assert each.process is not None
    return Server(each.name, each.port, each.process)


def pages(servers: dict[str, Server], sizes: Sizes, say: Say) -> Figures:
    """Pages per second and their CPU time; rounds go from server to server."""
    cases = {"page": {}, "page json": {"Accept": JSON}, "page 304": {"If-None-Match": "?"}}
    samples: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for number in range(sizes.rounds):
        for name, one in servers.items():
            for case, headers in cases.items():
                say(f"round {number + 1} of {sizes.rounds}: {case}, {name}")
                if "If-None-Match" in headers:
                    headers = {"If-None-Match": request(one.port, PAGE)[1]["etag"]}
                done = load(one, PAGE, seconds=sizes.seconds, headers=headers)
                samples.setdefault((name, case), []).append((done.rate, done.p99_ms, done.cpu_us))
    found: Figures = {name: {} for name in servers}
    for (name, case), loads in samples.items():
        for figure, values in zip(("req/s", "p99 ms", "CPU us"), zip(*loads, strict=True), strict=True):
            found[name][f"{case} {figure}"] = statistics.median(values)
    return found


def latencies(one: Server) -> dict[str, float]:
    """Milliseconds of one upload at a time: small wheels, each a new project."""
    times = []
    for number in range(UPLOADS):
        filename, data = corpus.wheel(f"timed_{time.time_ns()}_{number}", "1.0")
        began = time.perf_counter()
        if upload(one.port, "/", filename, data) != 200:
            raise RuntimeError(f"{one.name} refused an upload")
        times.append((time.perf_counter() - began) * 1000)
    return {"upload p50 ms": statistics.median(times), "upload p99 ms": statistics.quantiles(times, n=100)[98]}


def seen_by_others(ports: Sequence[int]) -> dict[str, float]:
    """How many requests to the other replicas it took until they showed what one had acknowledged."""
    requests, times = [], []
    for number in range(UPLOADS):
        project = f"seen-{time.time_ns()}-{number}"
        taker, *others = ports[number % 3 :] + ports[: number % 3]
        if upload(taker, "/", *corpus.wheel(project.replace("-", "_"), "1.0")) != 200:
            raise RuntimeError("an upload was refused")
        for port in others:
            began, count = time.perf_counter(), 1
            while request(port, f"/simple/{project}/")[0] != 200:
                count += 1
            requests.append(count)
            times.append((time.perf_counter() - began) * 1000)
    return {"requests until an upload shows elsewhere": max(requests), "that request, p50 ms": statistics.median(times)}


# -- large catalogs, large buckets -------------------------------------------------------------------------------------


def asked(parts: Parts, number: int) -> dict[str, float]:
    """What questions cost over this many rows, and the memory of a replica that answers from them."""
    from pypiserver.bucket.catalog import BucketCatalog

    name = f"rows-{number}"
    bucket, address = parts.store.create(name), parts.database.create(name)
    catalog = BucketCatalog(address, f"sha256\n{bucket}")
    catalog.note_complete()
    found = {"filled in s": rows.fill(lambda statement: parts.database.sql(statement, name), number)}
    found["database MB"] = int(parts.database.sql(f"SELECT pg_database_size('{name}')")) / 1e6
    found.update(rows.questions(catalog, number))
    catalog.connections.close()
    (port,) = free_ports(1)
    flags = ("--log-stream", "none", "--storage", bucket, "--catalog", address)
    made = replica(parts.scratch / name, port, flags, parts.store.environ)
    with started(made):
        one = server(made)
        for project in rows.names(number):
            request(port, f"/simple/{project}/")
        found["memory MB"] = one.memory_mb()
        began = time.perf_counter()
        body = request(port, "/simple/")[2]
        found["first list of all projects s"] = time.perf_counter() - began
        found["list of all projects MB"] = len(body) / 1e6
        found["memory after the list MB"] = one.memory_mb()
        found["peak memory MB"] = one.memory_mb("VmHWM")
    return found


def indexed(parts: Parts, number: int) -> dict[str, float]:
    """Seconds until a catalog is made of a bucket with this many small wheels, each with its metadata object."""
    bucket, address = parts.store.create("indexed"), parts.database.create("indexed")
    began = time.perf_counter()
    put_wheels(parts.store, "indexed", number)
    found = {"put in s": time.perf_counter() - began}
    began = time.perf_counter()
    said = command("reindex", "--catalog", address, bucket, environ=parts.store.environ)
    found["reindex s"] = time.perf_counter() - began
    parts.say(said.strip().splitlines()[-1] if said.strip() else "")
    count = int(parts.database.sql("SELECT COUNT(*) FROM file WHERE visible = 1 AND sha256 <> ''", "indexed"))
    if count != number:
        raise RuntimeError(f"reindex knows {count} of {number} files")
    found["reindex again s"] = timed(
        lambda: command("reindex", "--catalog", address, bucket, environ=parts.store.environ)
    )
    return found


def put_wheels(store: ObjectStore, bucket: str, number: int) -> None:
    """The objects of this many uploads, put by eight threads."""
    import obstore
    from obstore.store import from_url

    options = {key.lower(): value for key, value in store.environ.items() if key != "AWS_ALLOW_HTTP"}
    to = from_url(f"s3://{bucket}", config=options, client_options={"allow_http": True})

    def put(at: int) -> None:
        filename, data = corpus.wheel(f"indexed_{at // 50:05d}", f"1.{at % 50}")
        digest = hashlib.sha256(data).hexdigest()
        key = f"files/{digest[:2]}/{digest[2:4]}/{digest}/{filename}"
        obstore.put(to, key, data)
        obstore.put(to, f"{key}.metadata", corpus.metadata(f"indexed_{at // 50:05d}", f"1.{at % 50}"))

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(put, range(number)):
            pass


def timed(work: Callable[[], object]) -> float:
    """Seconds of a piece of work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command(*words: str, environ: dict[str, str]) -> str:
    """Run one of our commands to its end; gives what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pypiserver", *words],
        env={**os.environ, **environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pypi-server {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
