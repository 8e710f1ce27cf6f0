"""What clients do and show when a release of another index is withheld, and when an exception lets it in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.clients.harness import GetClient, installed, server_environ
from tests.fake_pages import FakeFile
from tests.fake_upstream import upstream
from tests.hostile import eventually
from tests.live_server import pypi_server, running


@dataclass
class Withholding:
    """A server that withholds ``young`` for a week, and every file of ``condor``."""

    url: str
    young: FakeFile
    allow: Path
    up_url: str

    @property
    def index(self) -> str:
        return f"{self.url}/simple/"


@pytest.fixture
def withholding(stack: ExitStack, packages: Path, tmp_path: Path) -> Iterator[Withholding]:
    now = datetime.now(timezone.utc)
    up = stack.enter_context(upstream())
    up.add_wheel("raven", "1.0", uploaded=now - timedelta(days=40))
    young = up.add_wheel("raven", "2.0", uploaded=now - timedelta(days=1))
    up.add_wheel("condor", "1.0", uploaded=now - timedelta(days=40))
    (tmp_path / "deny.txt").write_text("condor # malware\n")
    (tmp_path / "allow.txt").write_text("")
    options = ("--fallback-mode", "cache", "--fallback-url", up.url, "--cache-folder", tmp_path / "cache")
    rules = ("--min-age", "7d", "--allow", tmp_path / "allow.txt", "--deny-projects", tmp_path / "deny.txt")
    command = pypi_server(*options, *rules, packages)
    with running(command, environ=server_environ(tmp_path / "server"), cwd=tmp_path) as server:
        yield Withholding(server.url, young, tmp_path / "allow.txt", up.url)


@pytest.mark.parametrize("name", ["pip", "pip9", "uv"])
def test_the_newest_release_that_is_old_enough_is_installed(
    name: str, client: GetClient, withholding: Withholding, tmp_path: Path
) -> None:
    tool = client(name)

    def install(folder: str, *wanted: str, status: int | None = 0) -> str:
        words = ("--no-deps", "--target", tmp_path / folder, "--index-url", withholding.index, *wanted)
        return tool.run(*tool.installer, *words, status=status).stdout

    install("first", "raven")
    assert installed(tmp_path / "first") == {"raven": "1.0"}
    for refused in ("raven==2.0", "condor"):
        install("none", refused, status=None)
        assert installed(tmp_path / "none") == {}
    withholding.allow.write_text("raven==2.0  until 2999-12-31  # CVE\n")

    tries = itertools.count()

    def installs_the_young_one() -> bool:
        # pip and uv keep pages for some minutes unless they are told not to.
        fresh = ("--refresh",) if name == "uv" else ("--no-cache-dir",)
        # What is in a folder already satisfies uv.
        second = f"second-{next(tries)}"
        install(second, *fresh, "raven", status=None)
        return installed(tmp_path / second).get("raven") == "2.0"

    eventually(installs_the_young_one)


def test_uv_shows_the_sentence_for_a_file_that_a_lock_names(
    client: GetClient, withholding: Withholding, tmp_path: Path
) -> None:
    uv = client("uv")
    address = f"{withholding.url}{withholding.young.path}"
    words = ("--no-deps", "--target", tmp_path / "site", f"raven @ {address}")
    said = " ".join(uv.run(*uv.installer, *words, status=None).stdout.split())
    assert "raven 2.0 was released" in said
    assert "pypi-server proxy allow raven==2.0" in said
    assert installed(tmp_path / "site") == {}


def test_a_lock_of_the_other_index_fails_by_name_and_passes_with_an_exception(
    client: GetClient, withholding: Withholding, tmp_path: Path
) -> None:
    """Hashes and the path of each file are those of the other index: only the host differs."""
    uv = client("uv")
    project = tmp_path / "project"
    project.mkdir()
    lines = ["[project]", 'name = "own"', 'version = "0"', 'requires-python = ">=3.10"', 'dependencies = ["raven"]']
    (project / "pyproject.toml").write_text("\n".join(lines) + "\n")
    uv.run("uv", "lock", "--python", uv.python, "--default-index", withholding.up_url, cwd=project)
    lock = (project / "uv.lock").read_text()
    assert 'version = "2.0"' in lock
    origin = withholding.up_url.partition("/simple/")[0]
    (project / "uv.lock").write_text(lock.replace(origin, withholding.url))
    sync = ("uv", "sync", "--frozen", "--no-install-project", "--python", uv.python)
    failed = uv.run(*sync, cwd=project, status=None)
    assert failed.returncode != 0
    assert "rule min-age" in " ".join(failed.stdout.split())
    withholding.allow.write_text("raven==2.0  until 2999-12-31  # CVE\n")
    eventually(lambda: uv.run(*sync, cwd=project, status=None).returncode == 0)
