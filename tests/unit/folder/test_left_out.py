"""Folders of odd names, folders that are left out, and mounts below a root: nothing in them is looked for elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from pypiserver.errors import Unavailable
from pypiserver.folder.root_guard import RootGuard
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel

from ..wsgi import Client

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
    backend = client._application.backend  # type: ignore[attr-defined]
    assert (client.get("/simple/foo/").status, client.get("/simple/bar/").status) == (200, 302)
    hide(root)
    backend.refresher.scan()
    for path in ("/simple/bar/", "/packages/bar-1.0.zip", "/bar/json", "/simple/bar/?format=json"):
        answer = client.get(path)
        assert (answer.status, answer.headers.get("location")) == (503, None), path
        assert b"cannot be read" in answer.body or b"503" in answer.body
    assert client.get("/simple/foo/").status == client.get("/simple/").status == 200
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    backend.refresher.scan()
    assert client.get("/simple/bar/").status == 302


def test_a_mount_below_a_root_that_became_an_empty_folder_is_an_outage(root: Path) -> None:
    (root / "disk").mkdir()
    folders = Folders([root])
    roots, mounted = RootGuard(folders), {(0, "disk"): (77, 1)}
    roots.refuse_unmounted(mounted, lambda *_: True)
    assert roots.have_changed()
    for _ in range(2):
        with pytest.raises(Unavailable, match="was a mount"):
            roots.refuse_unmounted({}, lambda *_: True)
    with pytest.raises(Unavailable, match="replaced"):
        roots.refuse_others({(0, "disk/foo-1.0.zip")}, {})
    roots.refuse_others({(0, "disk-2/foo-1.0.zip")}, {})
    roots.refuse_unmounted(mounted, lambda *_: True)
    # It had no files, or there are others now.
    roots.refuse_unmounted({}, lambda *_: False)
    roots.refuse_unmounted(mounted, lambda *_: True)
    (root / "disk" / NAME).write_bytes(BYTES)
    roots.refuse_unmounted({}, lambda *_: True)
    assert not roots.have_changed()
