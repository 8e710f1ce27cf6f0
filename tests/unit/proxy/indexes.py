"""Other indexes in memory for tests, with a clock that only tests move."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import NormalizedName

from pypiserver.access.patterns import Patterns
from pypiserver.backend.cache_store import GrowingFile, KeptEntry, KeptFile, Key
from pypiserver.distributions.filename import as_filed
from pypiserver.errors import Unavailable
from pypiserver.model import ProjectStatus
from pypiserver.proxy.pages import Pages
from pypiserver.proxy.source import Source
from pypiserver.proxy.upstreams import Names, Upstreams
from pypiserver.upstream.client import Unreachable, UpstreamError
from pypiserver.upstream.values import ALL, RemoteFile, RemotePage, Upstream

START = 1_800_000_000.0


class Clock:
    """A monotonic clock, and the time of day: ``clock.now()``."""

    def __init__(self) -> None:
        self.passed = 100.0

    def __call__(self) -> float:
        return self.passed

    def now(self) -> float:
        return START + self.passed

    def pass_by(self, seconds: float) -> None:
        self.passed += seconds


class MemoryStore:
    """Kept pages and files in memory; ``is_full`` is whether nothing more can be kept."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.files: dict[Key, bytes] = {}
        self.writes = 0
        self.is_full = False

    def page(self, upstream: str, project: str) -> bytes | None:
        return self.kept.get((upstream, project))

    def put_page(self, upstream: str, project: str, data: bytes) -> None:
        if self.is_full:
            raise Unavailable("full")
        self.writes += 1
        self.kept[upstream, project] = data

    def pages(self) -> Iterator[tuple[str, str]]:
        return iter(list(self.kept))

    def open(self, key: Key) -> KeptFile | None:
        data = self.files.get(key)
        return None if data is None else KeptFile(io.BytesIO(data), len(data), 0)

    def begin(self, key: Key, size: int | None) -> GrowingFile:
        raise NotImplementedError

    def sidecar(self, key: Key, suffix: str) -> bytes | None:
        return None

    def put_sidecar(self, key: Key, suffix: str, data: bytes) -> None:
        raise NotImplementedError

    def remove(self, key: Key) -> int:
        return len(self.files.pop(key, b""))

    def entries(self) -> Iterator[KeptEntry]:
        return iter(())

    def note_use(self, key: Key) -> None:
        pass

    def sole_fetcher(self, key: Key) -> nullcontext[bool]:
        return nullcontext(True)

    def close(self) -> None:
        pass


@dataclass
class Answer:
    """A response of an index in memory."""

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes = b""

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        yield self.body


@dataclass
class Index:
    """An index: its projects with their files, and what is wrong with it now.

    ``trouble`` is '', ``down``, ``timeout``, a status, or ``nonsense``.
    """

    name: str = "up"
    projects: dict[str, list[str]] = field(default_factory=dict)
    trouble: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: str = "active"
    patterns: Patterns = ALL
    has_validators: bool = True
    asked: list[str] = field(default_factory=list)
    # Whether it had the project, by name, when it last answered without a failure.
    said: dict[str, bool] = field(default_factory=dict)
    conditional: int = 0
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)

    @property
    def upstream(self) -> Upstream:
        return Upstream(self.name, f"https://{self.name}.example/simple/", self.patterns)

    @contextmanager
    def get(self, upstream: Upstream, url: str, *, headers: Mapping[str, str], read_seconds: float) -> Iterator[Answer]:
        name = urlsplit(url).path.rstrip("/").rpartition("/")[2]
        self.asked.append(name)
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.trouble in ("down", "timeout"):
            raise Unreachable("no", kind="timeout" if self.trouble == "timeout" else "unreachable")
        if self.trouble.isdigit():
            yield Answer(int(self.trouble), self.headers, url)
            return
        files = self.projects.get(name)
        if self.trouble != "nonsense":
            self.said[name] = files is not None
        elif files is None:
            files = []
        if files is None:
            yield Answer(404, {}, url)
            return
        body = b"?" if self.trouble == "nonsense" else json.dumps([self.status, *files]).encode()
        etag = f'"{hash(tuple(files)) & 0xFFFF}{self.status}"'
        if self.has_validators and headers.get("If-None-Match") == etag and body != b"?":
            self.conditional += 1
            yield Answer(304, self.headers, url)
            return
        yield Answer(200, {**self.headers, **({"ETag": etag} if self.has_validators else {})}, url, body)


class Net:
    """A client that reaches these indexes."""

    def __init__(self, *indexes: Index) -> None:
        self.indexes = {index.name: index for index in indexes}

    def get(self, upstream: Upstream, url: str, *, headers: Mapping[str, str], read_seconds: float) -> Any:
        return self.indexes[upstream.name].get(upstream, url, headers=headers, read_seconds=read_seconds)


def parse(
    content_type: str,
    data: bytes,
    *,
    url: str,
    project: NormalizedName,
    upstream: Upstream,
    now_ns: int,
    headers: Mapping[str, str],
) -> RemotePage:
    """The pages of these indexes: a list of a status and names of files."""
    try:
        status, *names = json.loads(data)
    except ValueError as error:
        raise UpstreamError("It sent nonsense.", kind="page") from error
    files = tuple(remote(name, project, upstream.name, first_seen_ns=now_ns) for name in names)
    age = headers.get("cache-control", "").removeprefix("max-age=")
    return RemotePage(
        project,
        upstream.name,
        url,
        files,
        tuple(dict.fromkeys(file.version for file in files)),
        ProjectStatus(status),
        etag=headers.get("etag", ""),
        max_age=int(age) if age else None,
    )


def remote(name: str, project: NormalizedName, upstream: str, **values: Any) -> RemoteFile:
    parts = as_filed(name, project)
    given: dict[str, Any] = {
        "url": f"https://files.example/{name}",
        "path": f"@{upstream}/{project}/{name}",
        "size": 1000,
        "hashes": (("sha256", "0" * 64),),
        "uploaded_ns": int(START * 1e9),
        **values,
    }
    return RemoteFile(name, project, parts.version, parts.kind, upstream, **given)


@dataclass
class World:
    """Pages over some indexes; ``again()`` is the same after a restart."""

    indexes: tuple[Index, ...]
    clock: Clock = field(default_factory=Clock)
    store: MemoryStore = field(default_factory=MemoryStore)
    settings: dict[str, Any] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    places: int = 8

    def pages(self) -> Pages:
        net = Net(*self.indexes)
        sources = [
            Source(each.upstream, net, parse, places=self.places, clock=self.clock, now=self.clock.now)
            for each in self.indexes
        ]
        settings = {"patience": 20.0, **self.settings}
        return Pages(Upstreams(sources, self.names), self.store, clock=self.clock, now=self.clock.now, **settings)
