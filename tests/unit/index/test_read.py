"""The read port: what a page may list, what a download may be, and what an outage is."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pypiserver.backend.backend import Backend
from pypiserver.catalog import schema
from pypiserver.errors import CatalogUnavailable, Forbidden, NotFound, Unavailable
from pypiserver.factory import Application
from pypiserver.folder.partial_files import Missing
from pypiserver.index.read import MAX_SIDECAR_BYTES, Repository
from tests.make_archives import make_sdist, make_wheel
from tests.raising import raises

from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", summary="one")
OTHER_BYTES = make_wheel("foo", "1.0", summary="another")[1]
Put = Callable[..., Path]
Serve = Callable[..., Client]
Answer = TypeVar("Answer")


@pytest.fixture(params=["file", "postgresql"])
def application(serve: Serve, put: Put, request: pytest.FixtureRequest) -> Application:
    put(WHEEL, WHEEL_BYTES)
    settings = {"catalog": request.getfixturevalue("database")} if request.param == "postgresql" else {}
    application: Application = serve(**settings)._application
    return application


@pytest.fixture
def repository(application: Application) -> Repository:
    return application.repository


@pytest.fixture
def backend(application: Application) -> Backend:
    return application.backend


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


@pytest.mark.parametrize("answers", [True, False], ids=["an empty answer", "not found"])
def test_what_an_empty_catalog_says_while_it_is_filled_is_asked_again(
    serve: Serve, put: Put, tmp_path: Path, answers: bool
) -> None:
    """A question can begin before the catalog is deleted, and be answered by the one that takes its place."""
    put(WHEEL, WHEEL_BYTES)
    place = tmp_path / "catalog.sqlite"
    backend: Backend = serve(catalog=place)._application.backend  # type: ignore[attr-defined]
    asked = []

    def question() -> list[str]:
        asked.append(backend.catalog.connections.generation)
        if len(asked) > 1:
            return [name for name, _, _ in backend.catalog.projects()]
        backend.catalog.serial()
        place.unlink()
        until = time.monotonic() + 60
        while backend.catalog.connections.generation == asked[0] and time.monotonic() < until:
            time.sleep(0.01)
        if answers:
            return []
        raise NotFound("There is no project 'foo' here.")

    assert backend.queries.query(question) == ["foo"] and len(asked) == 2


def test_a_project_without_a_file_is_no_project(repository: Repository) -> None:
    for name in ("bar", "", "foo/bar"):
        with pytest.raises(NotFound):
            repository.project(name)


def test_a_project_whose_files_are_all_damaged_is_here_and_an_outage(
    serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("bar-1.0.zip", b"damaged")
    monkeypatch.setattr("pypiserver.index.read.WRITING_SECONDS", -1.0)
    client = serve()  # with a fallback: it must not be asked for what is here
    for path in ("/simple/bar/", "/bar/json"):
        answer = client.get(path)
        assert (answer.status, answer.headers.get("location")) == (503, None)
    answer = client.get("/packages/bar-1.0.zip")
    assert (answer.status, "retry-after" in answer.headers) == (503, False)
    assert "it is not a complete zip archive" in answer.text


def test_a_file_that_could_not_be_read_is_here_and_an_outage(
    repository: Repository, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike one whose bytes are damaged: what failed passes."""
    monkeypatch.setattr("pypiserver.index.read.WRITING_SECONDS", -1.0)
    assert repository.file(WHEEL).sha256
    with backend.catalog.connections.transaction() as connection:
        connection.execute("UPDATE file SET fault = 'it cannot be read', fault_kind = 'unreadable', visible = 0", {})
        connection.execute(schema.NEXT_SERIAL, {})
    backend.catalog.settle()
    with raises(Unavailable, kind="unreadable", filename=WHEEL, is_passing=True):
        repository.file(WHEEL)
    with pytest.raises(Unavailable):
        repository.project("foo")


def test_a_file_that_becomes_visible_while_it_is_asked_for_is_found(
    repository: Repository, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.index.read.WRITING_SECONDS", -1.0)
    look, looks = backend.catalog.file, [0]

    def late(filename: str) -> object:
        looks[0] += 1
        return look(filename) if looks[0] > 1 else None

    monkeypatch.setattr(backend.catalog, "file", late)
    assert repository.file(WHEEL).sha256


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


def test_a_file_that_keeps_changing_is_an_outage(repository: Repository, backend: Backend, put: Put) -> None:
    real, times = backend.storage.open, iter(range(100))

    def changing(root: int, path: str) -> Any:
        put(path, OTHER_BYTES, mtime=1_600_000_100 + next(times))
        return real(root, path)

    repository.project("foo")
    backend.storage.open = changing  # type: ignore[method-assign]
    with pytest.raises((Unavailable, NotFound)):
        for _ in range(3):
            repository.open(WHEEL)[1].close()


def test_a_file_that_was_removed_is_an_outage_first_as_it_may_come_back_and_then_missing(
    repository: Repository, backend: Backend, root: Path, put: Put
) -> None:
    now = 1000.0
    backend.refresher.missing = Missing(lambda: now)  # type: ignore[attr-defined]
    other, other_bytes = make_wheel("foo", "1.1")
    for is_last in (False, True):
        put(WHEEL, WHEEL_BYTES)
        backend.refresher.scan()  # type: ignore[attr-defined]
        repository.open(WHEEL)[1].close()
        (root / WHEEL).unlink()
        for _ in range(2):
            with pytest.raises(Unavailable):
                repository.open(WHEEL)
        if is_last:
            with pytest.raises(Unavailable):
                repository.project("foo")
        put(other, other_bytes)
        backend.refresher.scan()  # type: ignore[attr-defined]
        assert [file.filename for file in repository.project("foo").files] == [other]
        for _ in range(3):
            # The watch looks, too, and may have noticed only now that it is missing.
            now += 2.1
            backend.refresher.scan()  # type: ignore[attr-defined]
        with pytest.raises(NotFound):
            repository.open(WHEEL)
        assert [file.filename for file in repository.project("foo").files] == [other]
        (root / other).unlink()
        for _ in range(4):
            # As above.
            backend.refresher.scan()  # type: ignore[attr-defined]
            now += 2.1
        with pytest.raises(NotFound):
            repository.project("foo")


@pytest.mark.parametrize("path", [f"sub/{WHEEL}", f"../packages/{WHEEL}", f"/{WHEEL}", f"./{WHEEL}", "", "foo"])
def test_only_the_path_of_a_row_is_served(repository: Repository, path: str) -> None:
    with pytest.raises(NotFound):
        repository.open(path)


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


def test_what_stands_beside_a_file_is_served_within_reason(
    repository: Repository, backend: Backend, root: Path, put: Put
) -> None:
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


def test_a_damaged_catalog_is_replaced_and_one_that_goes_on_failing_is_an_outage(
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


@pytest.mark.parametrize("by", ["truncated and written", "moved over", "written with a pause"])
def test_while_a_file_is_replaced_by_hand_nothing_of_it_is_missing(by: str, serve: Serve, put: Put) -> None:
    """Half of it is there: page, file and metadata are 503, so that nobody looks for it elsewhere."""
    path = put(WHEEL, WHEEL_BYTES)
    client = serve(fallback=True)
    asked = ("/simple/foo/", f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata")
    assert [client.get(each).status for each in asked] == [200] * 3
    half = path.with_name(".half") if by == "moved over" else path
    half.write_bytes(OTHER_BYTES[:100])
    half.replace(path)
    if by == "written with a pause":
        # It counts as settled, and is read; its bytes end too early.
        os.utime(path, (time.time() - 2, time.time() - 2))
    client._application.backend.refresher.refresh([(0, WHEEL)])  # type: ignore[attr-defined]
    answers = [client.get(each) for each in asked]
    assert [answer.status for answer in answers] == [503] * 3
    assert all("retry-after" in map(str.lower, answer.headers) for answer in answers)
    path.write_bytes(OTHER_BYTES)
    os.utime(path, (time.time() - 60, time.time() - 60))
    client._application.backend.refresher.refresh([(0, WHEEL)])  # type: ignore[attr-defined]
    assert [client.get(each).status for each in asked] == [200] * 3


def test_a_file_that_is_removed_and_copied_by_hand_is_503_in_between(serve: Serve, put: Put) -> None:
    path = put(WHEEL, WHEEL_BYTES)
    client = serve(fallback=True)
    asked = ("/simple/foo/", "/foo/json", f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata")
    assert [client.get(each).status for each in asked] == [200] * 4
    path.unlink()
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    answers = [client.get(each) for each in asked]
    assert [answer.status for answer in answers] == [503] * 4
    assert all("retry-after" in map(str.lower, answer.headers) for answer in answers)
    put(WHEEL, OTHER_BYTES)
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    assert [client.get(each).status for each in asked] == [200] * 4
    assert client.get(asked[2]).body == OTHER_BYTES


def test_a_file_that_the_server_removes_is_missing_at_once(serve: Serve, put: Put) -> None:
    """Also where a scan has seen it vanish before the server told the catalog."""
    path = put(WHEEL, WHEEL_BYTES)
    client = serve(fallback=True)
    assert client.get("/simple/foo/").status == 200
    application = client._application
    repository, backend = application.repository, application.backend  # type: ignore[attr-defined]
    file = repository.file(WHEEL)
    path.unlink()
    backend.refresher.scan()
    assert client.get("/simple/foo/").status == 503
    backend.writer.refresh(file)
    assert client.get("/simple/foo/").status == 302
    assert client.get(f"/packages/{WHEEL}").status == 404


@pytest.mark.parametrize("when", ["before the first scan", "later"])
def test_what_is_being_copied_is_looked_for_nowhere_else(when: str, serve: Serve, put: Put) -> None:
    path = put(WHEEL, WHEEL_BYTES)
    path.unlink()
    if when == "before the first scan":
        path.write_bytes(WHEEL_BYTES[:100])
    client = serve(fallback=True)
    if when == "later":
        assert client.get("/simple/foo/").status == 302
        path.write_bytes(WHEEL_BYTES[:100])
        client._application.backend.refresher.refresh([(0, WHEEL)])  # type: ignore[attr-defined]
    assert [client.get(each).status for each in ("/simple/foo/", f"/packages/{WHEEL}")] == [503, 503]
    assert b"foo" not in client.get("/simple/").body
    path.write_bytes(WHEEL_BYTES)
    client._application.backend.refresher.refresh([(0, WHEEL)])  # type: ignore[attr-defined]
    assert client.get("/simple/foo/").status == 200
