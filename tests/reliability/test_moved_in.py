"""What was just moved in is never looked for elsewhere, also in a large tree, whichever worker is asked (P46)."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fake_upstream import upstream
from tests.figures import count
from tests.hostile import ask, eventually, serving
from tests.make_archives import make_wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no journal of names is kept elsewhere")
FOLDERS, FILES = 200, 10
MOVES = int(os.environ.get("MOVED_IN", "60"))
ASKERS = 4


def renamed(old: Path, folder: Path) -> None:
    old.rename(folder / old.name)


def in_a_new_folder(old: Path, folder: Path) -> None:
    (folder / "new" / "er").mkdir(parents=True, exist_ok=True)
    old.rename(folder / "new" / "er" / old.name)


def linked(old: Path, folder: Path) -> None:
    os.link(old, folder / old.name)


def copied(old: Path, folder: Path) -> None:
    shutil.copy2(old, folder / old.name)


def with_its_tree(old: Path, folder: Path) -> None:
    tree = old.parent / f"tree-{old.name}" / "deep"
    tree.mkdir(parents=True)
    old.rename(tree / old.name)
    shutil.copytree(tree.parent, folder / tree.parent.name)


def with_its_folder(old: Path, folder: Path) -> None:
    tree = old.parent / f"moved-{old.name}"
    tree.mkdir()
    old.rename(tree / old.name)
    tree.rename(folder / tree.name)


WAYS: list[Callable[[Path, Path], None]] = [renamed, in_a_new_folder, linked, copied, with_its_tree, with_its_folder]


@pytest.mark.parametrize(
    ("server", "workers"), [("granian", "1"), ("granian", "4"), ("gunicorn", "4"), ("waitress", "1")]
)
def test_what_is_moved_into_a_large_tree_is_never_sent_elsewhere(server: str, workers: str, tmp_path: Path) -> None:
    chosen = random.Random(f"{server}{workers}")
    packages, outside = tmp_path / "packages", tmp_path / "outside"
    outside.mkdir()
    folders = []
    for number in range(FOLDERS):
        folder = packages / f"a{number % 7}" / f"b{number % 31}" / f"c{number}"
        folder.mkdir(parents=True)
        folders.append(folder)
        for file in range(FILES):
            (folder / f"old{number}_{file}-1.0.tar.gz").write_bytes(b"x")
    answers: Counter[int] = Counter()
    flags = ("-P", ".", "-a", ".", "--fallback-url", "https://pypi.example/simple/", "--workers", workers)
    with serving(tmp_path, *flags, server=server) as live, ThreadPoolExecutor(ASKERS) as pool:
        assert ask(live.url, "/simple/nowhere/").status in (302, 303, 307)
        for number in range(MOVES):
            name, data = make_wheel(f"new{number}", "1.0")
            (outside / name).write_bytes(data)
            way, folder = chosen.choice(WAYS), chosen.choice(folders)
            way(outside / name, folder)
            paths = [f"/simple/new{number}/", f"/pypi/new{number}/json"] * (ASKERS // 2)
            told = [reply.status for reply in pool.map(lambda path: ask(live.url, path), paths)]
            answers.update(told)
            assert set(told) <= {200, 503}, (way.__name__, told)
            count("names moved into a large tree and asked for at once")
        for number in range(MOVES):
            eventually(lambda number=number: ask(live.url, f"/simple/new{number}/").status == 200)
        assert ask(live.url, "/simple/nowhere/").status in (302, 303, 307)
    print(dict(answers))


@pytest.mark.parametrize(
    ("server", "workers", "folders"),
    [("granian", "1", 0), ("granian", "1", 30), ("granian", "4", FOLDERS), ("gunicorn", "4", 0), ("waitress", "1", 0)],
)
def test_what_is_moved_in_is_never_taken_from_another_index(
    server: str, workers: str, folders: int, tmp_path: Path
) -> None:
    """A server that was asked before remembers that the name is not here: only while nothing appears."""
    packages, outside = tmp_path / "packages", tmp_path / "outside"
    outside.mkdir()
    for number in range(folders):
        (packages / f"a{number % 7}" / f"c{number}").mkdir(parents=True)
    with upstream() as up:
        theirs = [up.add_wheel(f"new{number}", "9.0") for number in range(MOVES // 2)]
        flags = ("-P", ".", "-a", ".", "--fallback-mode", "cache", "--fallback-url", up.url, "--workers", workers)
        with serving(tmp_path, *flags, "--cache-folder", tmp_path / "kept", server=server) as live:
            for number, file in enumerate(theirs):
                pages = [f"/simple/new{number}/", f"/project/new{number}/"]
                path = file.url.removeprefix(up.origin)
                assert all(b"9.0" in ask(live.url, page).body for page in pages for _ in range(2 * int(workers)))
                assert ask(live.url, path).status == 200
                name, data = make_wheel(f"new{number}", "9.0" if number % 2 else "1.0", summary="ours")
                (outside / name).write_bytes(data)
                (outside / name).rename(packages / name)
                ours = hashlib.sha256(data).hexdigest().encode()
                for _ in range(ASKERS):
                    for page, sign in zip(pages, (ours, b"ours"), strict=True):
                        reply = ask(live.url, page)
                        assert reply.status == 503 or sign in reply.body, page
                    reply = ask(live.url, path)
                    assert reply.status in (404, 503) or reply.body == data, path
                count("names moved in that another index has too")
