"""The read port: what a page may list, what a download may be, and what an outage is."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from pypiserver.backend.backend import Backend
from pypiserver.errors import CatalogUnavailable, Forbidden, NotFound, Unavailable
from pypiserver.index.read import MAX_SIDECAR_BYTES, Repository
from tests.make_archives import make_sdist, make_wheel
from tests.raising import raises

from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", summary="one")
OTHER_BYTES = make_wheel("foo", "1.0", summary="another")[1]
Put = Callable[..., Path]
Serve = Callable[..., Client]
Answer = TypeVar("Answer")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_page_lists_files_by_version_with_the_newest_spelling(
    repository: Repository, backend: Backend, put: Put
) -> None:
    for name, version in (("Foo", "1.10"), ("foo", "1.9"), ("foo", "0.1")):
        put(*make_sdist(name, version))
    put("foo-not.a.version-x.zip", make_sdist("foo", "not.a.version-x", format=".zip")[1])
    backend.refresher.scan()
    project = repository.project("foo")
    assert (project.name, project.display_name) == ("foo", "Foo")
    assert [file.version for file in project.files if file.kind == "sdist"][-3:] == ["0.1", "1.9", "1.10"]
    assert all(file.sha256 for file in project.files)


def when_whole(question: Callable[[], Answer], seconds: float = 20.0) -> Answer:
    until = time.monotonic() + seconds
    while True:
        try:
            return question()
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_bytes_and_digest_are_of_one_file(repository: Repository, put: Put) -> None:
    file, stream = repository.open(WHEEL)
    put(WHEEL, OTHER_BYTES, mtime=1_600_000_060)
    with stream:
        before = stream.read()
    assert file.sha256 == sha256(WHEEL_BYTES)
    assert before in (WHEEL_BYTES, OTHER_BYTES)  # the same inode, written to by hand
    # Who looks while it is written sees no whole file: it is here, and cannot be had.
    file, stream = when_whole(lambda: repository.open(WHEEL))
    with stream:
        assert sha256(stream.read()) == file.sha256 == sha256(OTHER_BYTES)


def test_what_is_kept_of_a_small_file_has_its_digest(repository: Repository, put: Put) -> None:
    def given() -> bytes:
        with repository.remembered(*repository.open(WHEEL)) as stream:
            return stream.read()

    assert [given() for _ in range(2)] == [WHEEL_BYTES] * 2
    known = repository.known_bytes(WHEEL)
    assert known is not None
    assert (known.data, sha256(known.data)) == (WHEEL_BYTES, known.file.sha256)
    # The same inode, written to after it was opened.
    put(WHEEL, OTHER_BYTES, mtime=1_600_000_060)
    when_whole(given)
    file, stream = repository.open(WHEEL)
    put(WHEEL, WHEEL_BYTES, mtime=1_600_000_120)
    with repository.remembered(file, stream) as stream:
        assert stream.read() == WHEEL_BYTES
    assert repository._contents.get(file.sha256) == b""


def test_a_file_that_changed_while_it_was_read_is_not_missing(
    repository: Repository, backend: Backend, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time was set back by whoever copied it, so that does not tell."""
    repository.project("foo")
    monkeypatch.setattr(backend.indexer, "_refresh", lambda: None, raising=False)
    put(WHEEL, OTHER_BYTES, mtime=1_600_000_060)
    backend.refresher.refresh([(0, WHEEL)])
    (pending,) = backend.catalog.pending_of("foo")
    put(WHEEL, WHEEL_BYTES, mtime=1_600_000_120)
    backend.catalog.record([(pending, backend.digester.digest(pending))])
    assert backend.catalog.file(WHEEL) is None
    assert repository.file(WHEEL).sha256 == sha256(WHEEL_BYTES)


def test_a_file_replaced_by_rename_is_served_with_its_own_digest(repository: Repository, root: Path, put: Put) -> None:
    repository.open(WHEEL)[1].close()
    put(".new", OTHER_BYTES).replace(root / WHEEL)
    file, stream = repository.open(WHEEL)
    with stream:
        assert sha256(stream.read()) == file.sha256 == sha256(OTHER_BYTES)


def test_a_quarantined_project_lists_and_serves_nothing(repository: Repository, backend: Backend, put: Put) -> None:
    put(f"{WHEEL}.asc", b"sig")
    put(".status/Foo", b"quarantined\nreason")
    backend.refresher.scan()
    project = repository.project("foo")
    assert (project.files, project.versions) == ((), ())
    assert (project.status.status, project.status.reason) == ("quarantined", "reason")
    for ask in (repository.file, repository.open, lambda path: repository.sidecar(path, ".asc")):
        with raises(Forbidden, kind="quarantined", filename=WHEEL, project="foo"):
            ask(WHEEL)


def test_a_sidecar_is_served_within_reason(repository: Repository, backend: Backend, root: Path, put: Put) -> None:
    with pytest.raises(NotFound):
        repository.sidecar(WHEEL, ".asc")
    put(f"{WHEEL}.asc", b"sig")
    backend.refresher.scan()
    assert repository.sidecar(WHEEL, ".asc")[1] == b"sig"
    os.truncate(root / f"{WHEEL}.asc", MAX_SIDECAR_BYTES + 1)
    with pytest.raises(NotFound):
        repository.sidecar(WHEEL, ".asc")
    (root / f"{WHEEL}.asc").unlink()
    with pytest.raises(NotFound):
        repository.sidecar(WHEEL, ".asc")


@pytest.mark.parametrize("words", ["disk I/O error", "database is locked", "database or disk is full"])
def test_a_catalog_that_has_to_be_waited_for_is_an_outage_and_not_replaced(
    repository: Repository, backend: Backend, words: str
) -> None:
    repository.project("foo")
    generation = backend.catalog.connections.generation

    def failing() -> int:
        raise sqlite3.OperationalError(words)

    with pytest.raises(CatalogUnavailable, match=words):
        backend.queries.query(failing)
    assert [file.filename for file in repository.project("foo").files] == [WHEEL]
    assert backend.catalog.connections.generation == generation


def test_a_damaged_catalog_is_replaced_and_one_that_continues_failing_is_an_outage(
    repository: Repository, backend: Backend
) -> None:
    error = sqlite3.DatabaseError("malformed")
    repository.project("foo")
    failures = [error]

    def question() -> int:
        if failures:
            raise failures.pop()
        return backend.catalog.serial()

    assert backend.queries.query(question) > 0
    assert [file.filename for file in repository.project("foo").files] == [WHEEL]

    def failing() -> int:
        raise error

    with pytest.raises(Unavailable, match="malformed"):
        backend.queries.query(failing)


@pytest.mark.parametrize(
    "mtime", [-315_619_200, 0, 16_725_225_600, 253_402_300_799], ids=["1960", "1970", "2500", "9999"]
)
def test_a_file_of_any_time_is_listed_and_sent(serve: Serve, put: Put, mtime: int) -> None:
    put(WHEEL, WHEEL_BYTES, mtime=mtime)
    put(*make_wheel("bar", "1.0"))
    client = serve()
    for path in ("/simple/foo/", "/simple/bar/", "/packages/", "/foo/json", f"/packages/{WHEEL}", "/simple/"):
        for accept in ("text/html", "application/vnd.pypi.simple.v1+json"):
            if mtime > 4e9 and "foo" in path:
                # Ahead of our clock, a file counts as growing until it was watched for a second or is a whole zip.
                client._application.backend.refresher.scan()  # type: ignore[attr-defined]
            assert client.get(path, HTTP_ACCEPT=accept).status == 200, path


def test_the_newest_final_release_speaks_for_a_project(repository: Repository, backend: Backend, put: Put) -> None:
    for version in ("1.9", "1.10", "1.11", "2.0rc1"):
        put(*make_wheel("foo", version, summary=version))
    put(f"{make_wheel('foo', '1.11')[0]}.yanked", b"leaks")
    put(*make_wheel("bar", "1.0a1", summary="early"))
    backend.refresher.scan()
    for project in ("foo", "bar"):
        repository.project(project)
    assert repository.summaries() == [("bar", "1.0a1", "early"), ("foo", "1.10", "1.10")]
    assert repository.totals() == (2, 6) and len(list(repository.paths())) == 6
    assert [each[:2] for each in repository.projects()] == [("bar", "bar"), ("foo", "foo")]
