"""10,000 projects with 100,000 files: how long until the index is there, and what it takes (P41)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import OPEN, ask, listed, serving
from tests.make_archives import make_sdist
from tests.reliability.test_leaks import held

PROJECTS = 10_000
VERSIONS = 10
MEBIBYTE = 1 << 20
OLD = 1_600_000_000


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Path]:
    """Each project's files are one file with ten names, which makes them in seconds."""
    folder = tmp_path / "packages"
    _, data = make_sdist("project", "1.0", format=".zip")
    for project in range(PROJECTS):
        home = folder / f"{project % 100:02}"
        home.mkdir(parents=True, exist_ok=True)
        first = home / f"project_{project}-0.zip"
        first.write_bytes(data)
        os.utime(first, (OLD, OLD))
        for version in range(1, VERSIONS):
            os.link(first, home / f"project_{project}-{version}.zip")
    yield folder
    shutil.rmtree(folder)


def test_a_hundred_thousand_files_are_listed_in_time_and_memory(tmp_path: Path, packages: Path) -> None:
    began = time.monotonic()
    with serving(tmp_path, *OPEN, folder=packages) as live:
        reply = ask(live.url, "/simple/")
        cold = time.monotonic() - began
        assert reply.status == 200 and reply.body.count(b"<a ") == PROJECTS
        warm = min(ask(live.url, "/simple/").seconds for _ in range(5))
        assert len(listed(live.url, "project-4711")) == VERSIONS
        taken = held(live)["bytes"]
    assert (cold < 10, warm < 0.3, taken < 300 * MEBIBYTE) == (True, True, True), (cold, warm, taken)
