"""A project or a file is not here only when that is certain; what changes, or is damaged, is an outage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.backend import Backend
from pypiserver.catalog import statements
from pypiserver.errors import NotFound, Unavailable
from pypiserver.folder.partial_files import Missing
from pypiserver.index.read import Repository
from tests.make_archives import make_wheel
from tests.raising import raises

from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", summary="one")
OTHER_BYTES = make_wheel("foo", "1.0", summary="another")[1]
Put = Callable[..., Path]
Serve = Callable[..., Client]


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
        raise NotFound("No foo.")

    assert backend.queries.query(question) == ["foo"] and len(asked) == 2


def test_a_project_without_a_file_is_no_project(repository: Repository) -> None:
    for name in ("bar", "", "foo/bar"):
        with pytest.raises(NotFound):
            repository.project(name)


def test_a_project_whose_files_are_all_damaged_is_here_and_an_outage(
    serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("bar-1.0.zip", b"damaged")
    monkeypatch.setattr("pypiserver.index.lookup.WRITING_SECONDS", -1.0)
    client = serve()  # with a fallback: it must not be asked for what is here
    for path in ("/simple/bar/", "/bar/json"):
        answer = client.get(path)
        assert (answer.status, answer.headers.get("location")) == (503, None)
    answer = client.get("/packages/bar-1.0.zip")
    assert (answer.status, "retry-after" in answer.headers, "bar-1.0.zip" in answer.text) == (503, False, True)


def test_a_file_that_could_not_be_read_is_here_and_an_outage(
    repository: Repository, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike one whose bytes are damaged: what failed passes."""
    monkeypatch.setattr("pypiserver.index.lookup.WRITING_SECONDS", -1.0)
    assert repository.file(WHEEL).sha256
    with backend.catalog.connections.transaction() as connection:
        connection.execute("UPDATE file SET fault = 'unreadable now', fault_kind = 'unreadable', visible = 0", {})
        connection.execute(statements.NEXT_SERIAL, {})
    backend.catalog.settle()
    with raises(Unavailable, kind="unreadable", filename=WHEEL, is_passing=True):
        repository.file(WHEEL)
    with pytest.raises(Unavailable):
        repository.project("foo")


def test_a_file_that_becomes_visible_while_it_is_asked_for_is_found(
    repository: Repository, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.index.lookup.WRITING_SECONDS", -1.0)
    look, looks = backend.catalog.file, [0]

    def late(filename: str) -> object:
        looks[0] += 1
        return look(filename) if looks[0] > 1 else None

    monkeypatch.setattr(backend.catalog, "file", late)
    assert repository.file(WHEEL).sha256


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


def test_a_damaged_file_says_what_is_wrong_from_the_start(repository: Repository, backend: Backend, put: Put) -> None:
    path = put("foo-2.0-py3-none-any.whl", WHEEL_BYTES[:-30])
    os.utime(path)
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            repository.file(path.name)
        assert path.name in refused.value.public
        backend.refresher.scan()


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


@pytest.mark.parametrize("by", ["truncated and written", "moved over", "written with a pause"])
def test_while_a_file_is_replaced_by_hand_nothing_of_it_is_missing(by: str, serve: Serve, put: Put) -> None:
    """Half of it is there: page, file and metadata are 503, so that no one looks for it elsewhere."""
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
