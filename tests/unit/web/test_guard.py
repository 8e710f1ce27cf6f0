"""What strangers are told of an outage: that there is one, and neither where nor why. The log says that."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pypiserver
from pypiserver import errors
from pypiserver.backend.os_calls import refusal
from tests.make_archives import make_wheel

from ..faults import Faults
from ..wsgi import Client

Serve = Callable[..., Client]
FOO, FOO_BYTES = make_wheel("foo", "1.0")
BAR, BAR_BYTES = make_wheel("bar", "1.0")
ADDRESSES = (
    "/", "/simple/", "/simple/foo/", "/simple/unknown/", "/packages/", f"/packages/{FOO}", f"/packages/{FOO}.metadata",
    "/pypi/foo/json", "/foo/json", "/projects/", "/project/foo/", "/project/foo/1.0/", "/health", "/health/live",
    "/health/ready", "/nothing/of/this",
)  # fmt: skip
SEARCH = (
    b"<methodCall><methodName>search</methodName><params><param><value><struct/></value></param></params></methodCall>"
)


def everything(client: Client) -> str:
    """All that an anonymous client is told at every address: status lines, headers and bodies."""
    answers = [client.get(path) for path in ADDRESSES]
    answers.append(client.post("/RPC2", SEARCH, CONTENT_TYPE="text/xml"))
    answers.append(client.upload(BAR, BAR_BYTES))
    return "\n".join(f"{each.status} {each.reason}\n{each.headers}\n{each.body!r}" for each in answers)


def assert_general(said: str, *secrets: object) -> None:
    """At least one answer was a failure, and none of them has one of the ``secrets`` in it."""
    assert any(f"\n{status} " in f"\n{said}" for status in (500, 503, 507, 403)), said
    for secret in (*secrets, "scanner", "follower", "postgres", "sqlite", "Traceback", "Errno"):
        assert str(secret) not in said


def test_a_folder_that_is_gone(serve: Serve, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / FOO).write_bytes(FOO_BYTES)
    client = serve()
    assert client.get("/simple/foo/").status == 200
    root.rename(tmp_path / "elsewhere")
    assert_general(everything(client), root, tmp_path)
    assert str(root) in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", ["open", "write", "fsync"])
def test_a_disk_that_takes_nothing(
    serve: Serve, root: Path, caplog: pytest.LogCaptureFixture, name: str, number: int
) -> None:
    caplog.set_level(logging.INFO)
    client = serve()
    folders: Any = client._application.backend.storage  # type: ignore[attr-defined]
    folders._operations = Faults(name, number).operations
    answer = client.upload(FOO, FOO_BYTES)
    assert answer.status >= 400
    assert str(root) not in f"{answer.reason} {answer.text}" and "nothing was stored" in answer.text
    assert str(root) in caplog.text and os.strerror(number) in caplog.text


def test_something_that_has_the_name_already() -> None:
    error = refusal(IsADirectoryError(errno.EISDIR, "Is a directory"), Path("/srv/secret"))
    assert (error.status, "/srv/secret" in str(error), "secret" in error.public) == (409, True, False)


def test_a_catalog_that_fails(serve: Serve, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / FOO).write_bytes(FOO_BYTES)
    client = serve(stale_for=0)
    assert client.get("/simple/foo/").status == 200
    catalog: Any = client._application.backend.catalog  # type: ignore[attr-defined]
    place = catalog.connections.place()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError(f"disk I/O error in {place}")

    monkeypatch.setattr(type(catalog), "serial", fail)
    assert_general(everything(client), place, root, "disk I/O error")


def test_a_database_that_is_down(tmp_path: Path, root: Path) -> None:
    pytest.importorskip("psycopg")
    (root / FOO).write_bytes(FOO_BYTES)
    address = "postgresql://secretuser:secretword@127.0.0.1:9/secretname?connect_timeout=1"
    try:
        application = pypiserver.app(roots=[root], password_file=".", authenticate=".", catalog=address, stale_for=0)
    except errors.PypiServerError:
        pytest.skip("no application without its database")
    application.backend.indexer._ready.set()  # type: ignore[attr-defined]
    try:
        said = everything(Client(application))
    finally:
        application.close()  # type: ignore[attr-defined]
    assert_general(said, "127.0.0.1:9", "secretuser", "secretword", "secretname", root)


def test_a_password_file_that_cannot_be_read(serve: Serve, tmp_path: Path) -> None:
    passwords = tmp_path / "secret-htpasswd"
    passwords.mkdir()
    client = serve(password_file=passwords, authenticate="update,download,list")
    said = [client.get(path, HTTP_AUTHORIZATION="Basic YTpi") for path in ADDRESSES]
    assert {each.status for each in said} > {503}
    assert all("secret-htpasswd" not in f"{each.reason} {each.text}" for each in said)


@pytest.mark.parametrize(
    "kind", [errors.Unavailable, errors.CatalogUnavailable, errors.StorageFull, errors.ConfigError]
)
def test_a_failure_of_the_server_is_told_in_general(kind: type[errors.PypiServerError]) -> None:
    """Where the place that raises it says nothing about clients."""
    error = kind("The folder /srv/secret cannot be read.")
    assert "/srv/secret" in str(error) and "/srv/secret" not in error.public
    assert kind("Said.", public=True).public == "Said." and kind("Said.", public="Else.").public == "Else."


def test_the_log_says_what_clients_are_not_told(serve: Serve, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = serve()
    with caplog.at_level(logging.ERROR):
        shutil.rmtree(root)
        assert client.get("/health").status == 503
    assert f"The folder {root} cannot be read" in caplog.text
