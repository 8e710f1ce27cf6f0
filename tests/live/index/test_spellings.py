"""Of two spellings of one file that are uploaded together exactly one is stored."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import pypiserver
from tests.make_archives import make_sdist, make_wheel
from tests.unit.wsgi import Client

pytestmark = pytest.mark.live
ROUNDS = 8
STORAGES = ("folder", "two folders", "bucket")


def servers(kind: str, tmp_path: Path) -> list[Client]:
    """Two servers over one storage, as two processes would have it."""
    settings: dict[str, object] = {"password_file": ".", "authenticate": ".", "catalog": tmp_path / "catalog.sqlite"}
    if kind == "bucket":
        settings["storage"] = f"file://{tmp_path}/bucket"
    else:
        folders = [tmp_path / name for name in ("one", "two")[: 2 if kind == "two folders" else 1]]
        for folder in folders:
            folder.mkdir()
        settings["roots"] = folders
    return [Client(pypiserver.app(**settings)) for _ in range(2)]


def race(clients: list[Client], uploads: list[tuple[str, bytes]]) -> list[int]:
    """Upload them all at one moment; gives the statuses."""
    begin = threading.Barrier(len(uploads))
    statuses = [0] * len(uploads)

    def upload(number: int) -> None:
        begin.wait()
        statuses[number] = clients[number % len(clients)].upload(*uploads[number]).status

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(len(uploads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


@pytest.mark.parametrize("kind", STORAGES)
def test_of_two_spellings_uploaded_together_one_is_stored(kind: str, tmp_path: Path) -> None:
    clients = servers(kind, tmp_path)
    try:
        for number in range(ROUNDS):
            uploads = [make_wheel(name, f"{number}.0") for name in ("foo_bar", "Foo_Bar", "foo.bar", "FOO.bar")]
            assert sorted(race(clients, uploads)) == [200, 409, 409, 409], number
            sdists = [make_sdist(name, f"{number}.0") for name in ("foo-bar", "foo_bar")]
            assert sorted(race(clients, sdists)) == [200, 409], number
    finally:
        for client in clients:
            client._application.close()  # type: ignore[attr-defined]
