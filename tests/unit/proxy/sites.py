"""A cache with its files over a folder, and an upstream in memory whose answers a test writes."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bottle
from packaging.utils import NormalizedName

from pypiserver.deferred import Waits
from pypiserver.errors import NotFound, PypiServerError
from pypiserver.folder.cache_store import FolderCache
from pypiserver.model import ACTIVE
from pypiserver.proxy.file_fetch import Fetching
from pypiserver.proxy.files import ProxyFiles
from pypiserver.proxy.values import Judged, Offered
from pypiserver.upstream.values import RemoteFile, RemotePage, Upstream
from pypiserver.web.api.files import SIDECARS
from pypiserver.web.api.proxied_files import ProxiedFiles
from pypiserver.web.html.pages import Frame
from pypiserver.web.http.dispatch import Dispatch
from pypiserver.web.http.responses import failure

UPSTREAM = Upstream("pypi", "http://index.test/simple/")
UPLOADED_NS = 1_700_000_000_000_000_000


@dataclass
class Headers(dict[str, str]):
    """Looked up in lower case."""


@dataclass
class FakeResponse:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    blocks: Callable[[], Iterator[bytes]] = lambda: iter(())

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        return self.blocks()


class FakeClient:
    """Responds as ``answer`` says: to the URL and the headers of a request."""

    def __init__(self, answer: Callable[[str, Mapping[str, str]], FakeResponse]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    @contextlib.contextmanager
    def get(
        self, upstream: Upstream, url: str, *, headers: Mapping[str, str], read_seconds: float
    ) -> Iterator[FakeResponse]:
        self.asked.append((url, dict(headers)))
        yield self.answer(url, headers)


def whole(data: bytes, block: int = 65_536, **headers: str) -> FakeResponse:
    """The right response, in blocks."""
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    return FakeResponse(200, {"content-length": str(len(data)), **headers}, lambda: iter(blocks))


def remote(filename: str, data: bytes, **fields: Any) -> RemoteFile:
    """A file as PyPI's page has it."""
    given = {
        "version": "1.0",
        "kind": "sdist",
        "size": len(data),
        "hashes": (("sha256", hashlib.sha256(data).hexdigest()),),
        "uploaded_ns": UPLOADED_NS,
        **fields,
    }
    project = NormalizedName(filename.partition("-")[0].replace("_", "-"))
    url = f"http://files.test/{filename}"
    return RemoteFile(
        filename=filename, project=project, upstream="pypi", url=url, path=f"@pypi/{project}/{filename}", **given
    )


class Site:
    """``/packages/`` over a cache in a folder."""

    def __init__(self, folder: Path, answer: Callable[[str, Mapping[str, str]], FakeResponse], **shared: Any) -> None:
        self.client = FakeClient(answer)
        self.store = FolderCache(folder)
        self.store.prepare(0.0)
        self.shared = Fetching(self.client, self.store, **shared)
        self.files = ProxyFiles(self.shared)
        self.pages: dict[str, RemoteFile] = {}
        self.proxied = ProxiedFiles(self.find, self.files, cache_control="max-age=0")

    def add(self, file: RemoteFile) -> RemoteFile:
        self.pages[file.path] = file
        return file

    def find(self, path: str, waiting: object, serial: int | None = None) -> tuple[RemoteFile, Offered]:
        file = self.pages.get(path)
        if file is None:
            raise NotFound("no such file")
        page = RemotePage(file.project, "pypi", "http://index.test/")
        return file, Offered(page, UPSTREAM, Judged((), (), ACTIVE), "mark")

    def application(self) -> Callable[..., Any]:
        """A WSGI application."""
        app = Dispatch(lambda error: error, Frame())

        def answer(path: str) -> bottle.HTTPResponse:
            try:
                for suffix in SIDECARS:
                    if path.endswith(suffix):
                        return self.proxied.companion(path.removesuffix(suffix), suffix)
                return self.proxied.download(path)
            except PypiServerError as error:
                return failure(error)

        def wait(path: str) -> bottle.HTTPResponse:
            raise Waits

        answer.at_once = wait  # type: ignore[attr-defined]
        app.route("/packages/<path:path>", "GET", answer)
        return app  # type: ignore[no-any-return]


def run_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What work gives for each number, in threads at once."""
    found: list[Any] = [None] * count

    def run(number: int) -> None:
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
