"""What is in the folders: names of all kinds, folders that are left out, and whether anything came or went."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.make_archives import make_wheel

from ..wsgi import Client
from .scanned_folders import SDIST, SDIST_BYTES, WHEEL, WHEEL_BYTES, World

NAME, BYTES = make_wheel("foo", "1.0")
Put = Callable[..., Path]
Serve = Callable[..., Client]

ODD_FOLDERS = {
    "ideographic space": "a\u3000b",
    "joiner": "a\u200db",
    "non-joiner": "a\u200cb",
    "soft hyphen": "a\u00adb",
    "right to left": "a\u200fb",
    "backslash": "a\\b",
    "accent": "caf\u00e9",
}


@pytest.mark.parametrize("name", ODD_FOLDERS.values(), ids=ODD_FOLDERS)
@pytest.mark.skipif(sys.platform == "win32", reason="names of another kind")
def test_what_is_in_a_folder_of_an_odd_name_is_served(name: str, put: Put, serve: Serve) -> None:
    put(f"{name}/{name}/{NAME}", BYTES)
    client = serve()
    answer = client.get("/simple/foo/?format=application/vnd.pypi.simple.v1%2Bjson")
    (file,) = json.loads(answer.body)["files"]
    assert file["hashes"]["sha256"] == hashlib.sha256(BYTES).hexdigest()
    assert client.get(unquote(file["url"]).removeprefix("../..")).body == BYTES


def by_a_path_that_is_too_long(root: Path) -> None:
    folder = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=folder)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)


def by_a_name_that_is_no_text(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).mkdir()


def by_a_line_end_in_its_name(root: Path) -> None:
    (root / "deep").mkdir()
    (root / "deep" / "line\nend").mkdir()


@pytest.mark.parametrize(
    "hide",
    [by_a_path_that_is_too_long, by_a_name_that_is_no_text, by_a_line_end_in_its_name],
    ids=lambda hide: hide.__name__,
)
@pytest.mark.skipif(sys.platform == "win32", reason="names of another kind")
def test_while_a_folder_is_left_out_what_is_not_known_is_not_looked_for_elsewhere(
    hide: Callable[[Path], None], root: Path, put: Put, serve: Serve
) -> None:
    put(NAME, BYTES)
    client = serve()
    assert (client.get("/simple/foo/").status, client.get("/simple/bar/").status) == (200, 302)
    hide(root)
    scan_until(client, "/simple/bar/", 503)
    for path in ("/simple/bar/", "/packages/bar-1.0.zip", "/bar/json", "/simple/bar/?format=json"):
        answer = client.get(path)
        assert (answer.status, answer.headers.get("location")) == (503, None), path
        assert b"cannot be read" in answer.body or b"503" in answer.body
    assert client.get("/simple/foo/").status == client.get("/simple/").status == 200
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    scan_until(client, "/simple/bar/", 302)


def scan_until(client: Client, path: str, status: int) -> None:
    """Let the thread that scans do so now, and no other one: what a scan saw before may be written after ours."""
    indexer, deadline = client._application.backend.indexer, time.monotonic() + 30  # type: ignore[attr-defined]
    while client.get(path).status != status:
        assert time.monotonic() < deadline
        indexer._next_scan = 0.0
        indexer._wake.set()
        time.sleep(0.005)


def _add(world: World) -> None:
    world.put(f"deep/{SDIST}", SDIST_BYTES)


def _remove(world: World) -> None:
    (world.roots[0] / "deep" / WHEEL).unlink()


def _move(world: World) -> None:
    (world.roots[0] / "deep").rename(world.roots[0] / "deeper")


def _lose(world: World) -> None:
    world.roots[1].rmdir()


@pytest.mark.parametrize("change", [_add, _remove, _move, _lose])
def test_folders_tell_whether_anything_came_or_went(world: World, change: Callable[[World], None]) -> None:
    world.put(f"deep/{WHEEL}", WHEEL_BYTES)
    assert not world.sync.is_current()
    for folder in (*world.roots, world.roots[0] / "deep"):
        # Long ago, as a fast machine does all of this within one time that the file system tells apart.
        os.utime(folder, (1_600_000_000, 1_600_000_000))
    world.now = time.time() + 60
    world.sync.scan()
    assert world.sync.is_current()
    change(world)
    assert not world.sync.is_current()


def test_folders_do_not_tell_of_a_file_changed_in_place_and_a_scan_does(world: World) -> None:
    wheel = world.put(WHEEL, WHEEL_BYTES)
    world.now = time.time() + 60
    world.sync.scan()
    wheel.write_bytes(WHEEL_BYTES + b"more")
    assert world.sync.is_current()
    world.sync.scan()
    assert [file.size for file in world.catalog.files_of("foo")] == [len(WHEEL_BYTES) + 4]


def test_a_folder_that_has_just_changed_is_not_trusted(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.now = world.roots[0].stat().st_mtime
    world.sync.scan()
    assert not world.sync.is_current()
