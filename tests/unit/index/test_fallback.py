"""Names that stay ours: after the last file of a project was deleted through us, no other index is asked for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.backend import claims
from pypiserver.folder.claims import FOLDER
from tests.make_archives import make_wheel

from ..commandline import pypi_server
from ..wsgi import Client

URL = "http://index.invalid/simple/"
WHEEL, DATA = make_wheel("acme-tools", "1.0")
NEWER, NEWER_DATA = make_wheel("acme-tools", "2.0")
Serve = Callable[..., Client]
Put = Callable[..., Path]
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(serve: Serve, put: Put) -> Client:
    put(WHEEL, DATA)
    put(NEWER, NEWER_DATA)
    return serve(fallback_url=URL, password_file=".", authenticate=".")


def another(client: Client) -> Client:
    """A client for another thread: one by RSGI has an event loop."""
    return type(client)(client._application)


def delete(client: Client, version: str) -> str:
    body = f":action=remove_pkg&name=acme-tools&version={version}".encode()
    answer = client.post("/", body, **FORM)
    assert answer.status == 200
    return str(answer.body.decode())


def where(client: Client, name: str = "acme-tools") -> tuple[int, str]:
    answer = client.get(f"/simple/{name}/")
    return answer.status, answer.headers.get("location", "")


def test_the_name_of_a_project_that_we_deleted_stays_ours(client: Client, root: Path) -> None:
    assert "unclaim" not in delete(client, "1.0")
    assert not (root / FOLDER).exists()
    assert "pypi-server unclaim acme-tools" in delete(client, "2.0")
    assert where(client) == (404, "")
    assert claims.is_private((root / FOLDER / "acme-tools").read_text())
    assert b"pypi-server unclaim acme-tools" in client.get("/simple/acme-tools/").body
    # In every spelling, and by no link for people.
    assert where(client, "Acme_Tools") == (302, "../acme-tools/")
    assert b"index.invalid" not in client.get("/simple/acme-tools/", HTTP_ACCEPT="text/html").body
    assert where(client, "another") == (302, f"{URL}another/")


def test_an_upload_brings_the_project_back_and_a_claim_is_no_status(client: Client, put: Put, root: Path) -> None:
    delete(client, "1.0")
    delete(client, "2.0")
    put(WHEEL, DATA)
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    for accept in ("application/vnd.pypi.simple.v1+json", "text/html"):
        answer = client.get("/simple/acme-tools/", HTTP_ACCEPT=accept)
        assert (answer.status, b"private" in answer.body) == (200, False)
    for address in ("/projects/", "/project/acme-tools/", "/projects/?show=marked", "/acme-tools/json"):
        assert b"private" not in client.get(address, HTTP_ACCEPT="text/html").body
    assert client.get("/projects/?show=marked", HTTP_ACCEPT="text/html").body.count(b"acme-tools") == 0
    delete(client, "1.0")
    assert where(client) == (404, "")


@pytest.mark.parametrize("flags", [["--yes"], ["--yes", "--purge"]])
def test_delete_claims_the_name_and_unclaim_releases_it(
    client: Client, root: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> tuple[int, str]:
        outcome = pypi_server(capsys, *arguments)
        return outcome.status, outcome.out

    assert where(client)[0] == 200
    assert run("delete", root, "acme-tools", "--all")[0] == 0
    assert not (root / FOLDER).exists()
    assert "pypi-server unclaim acme-tools" in run("delete", root, "acme-tools", "--all", *flags)[1]
    backend = client._application.backend  # type: ignore[attr-defined]
    assert backend.claims.find("acme-tools")
    assert run("unclaim", root) == (0, "acme-tools\n")
    assert run("unclaim", root, "Acme.Tools")[0] == 0
    backend.refresher.scan()
    assert not backend.claims.find("acme-tools")
    assert run("unclaim", root, "--json") == (0, '{\n  "files": []\n}\n')
    assert run("unclaim", root, "acme-tools")[0] == 2


def test_restore_releases_the_name(client: Client, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pypi_server(capsys, "delete", root, "acme-tools", "--all", "--yes")
    assert (root / FOLDER / "acme-tools").exists()
    pypi_server(capsys, "restore", root, "acme-tools")
    assert not (root / FOLDER / "acme-tools").exists()


@pytest.mark.parametrize("text", ["archived\n", "quarantined\nbad", "deprecated", "Private\r\nours\n"])
@pytest.mark.parametrize("name", ["acme-tools", "Acme_Tools"])
def test_a_status_written_by_hand_claims_the_name_too(serve: Serve, root: Path, text: str, name: str) -> None:
    (root / FOLDER).mkdir()
    (root / FOLDER / name).write_text(text)
    assert where(serve(fallback_url=URL)) == (404, "")


def test_the_status_active_claims_nothing(serve: Serve, root: Path) -> None:
    (root / FOLDER).mkdir()
    (root / FOLDER / "acme-tools").write_text("active")
    assert where(serve(fallback_url=URL))[0] == 302


def test_a_status_stays_when_the_last_file_goes(client: Client, root: Path) -> None:
    (root / FOLDER).mkdir()
    (root / FOLDER / "acme-tools").write_text("deprecated\nuse acme-sdk\n")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    delete(client, "1.0")
    delete(client, "2.0")
    assert (root / FOLDER / "acme-tools").read_text() == "deprecated\nuse acme-sdk\n"
    assert where(client) == (404, "")


def test_what_cannot_be_read_is_an_outage(serve: Serve, root: Path) -> None:
    (root / FOLDER / "acme-tools").mkdir(parents=True)
    assert where(serve(fallback_url=URL)) == (503, "")


def test_a_request_during_a_deletion_is_never_redirected(client: Client) -> None:
    stop, seen = threading.Event(), set()

    def ask() -> None:
        ours = another(client)
        while not stop.is_set():
            seen.add(where(ours)[0])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        delete(client, "1.0")
        delete(client, "2.0")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert where(client) == (404, "")
    assert seen <= {200, 404, 503}


def test_two_deletions_at_once_claim_the_name(client: Client) -> None:
    barrier = threading.Barrier(2)

    def run(version: str) -> None:
        ours = another(client)
        barrier.wait()
        delete(ours, version)

    threads = [threading.Thread(target=run, args=(version,)) for version in ("1.0", "2.0")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert where(client) == (404, "")


def test_a_project_that_vanishes_by_hand_is_named_once(
    client: Client, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scanner = client._application.backend.refresher  # type: ignore[attr-defined]
    scanner.scan()
    caplog.set_level(logging.WARNING, "pypiserver")
    for name in (WHEEL, NEWER):
        (root / name).unlink()
    scanner._vanished(["acme-tools"])
    scanner._vanished(["acme-tools"])
    assert [record.getMessage().count("--private acme-tools") for record in caplog.records] == [1]


def test_a_private_or_claimed_name_is_not_named(serve: Serve, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / FOLDER).mkdir()
    (root / FOLDER / "foo").write_text("private")
    scanner = serve(private="acme-*")._application.backend.refresher  # type: ignore[attr-defined]
    caplog.set_level(logging.WARNING, "pypiserver")
    scanner._vanished(["acme-tools", "foo"])
    assert caplog.records == []
    assert serve(disable_fallback=True)._application.backend.refresher._vanished is None  # type: ignore[attr-defined]
