"""What clients do and show when a release of another index is withheld, and when an exception lets it in."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.clients.harness import Client, GetClient, installed, server_environ
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
def options() -> tuple[str, ...]:
    """Further options of the server."""
    return ()


@pytest.fixture
def withholding(stack: ExitStack, packages: Path, tmp_path: Path, options: tuple[str, ...]) -> Iterator[Withholding]:
    now = datetime.now(timezone.utc)
    up = stack.enter_context(upstream())
    up.add_wheel("raven", "1.0", uploaded=now - timedelta(days=40))
    young = up.add_wheel("raven", "2.0", uploaded=now - timedelta(days=1))
    up.add_wheel("condor", "1.0", uploaded=now - timedelta(days=40))
    (tmp_path / "deny.txt").write_text("condor # malware\n")
    (tmp_path / "allow.txt").write_text("")
    cache = ("--fallback-mode", "cache", "--fallback-url", up.url, "--cache-folder", tmp_path / "cache")
    rules = ("--min-age", "7d", "--allow", tmp_path / "allow.txt", "--deny-projects", tmp_path / "deny.txt")
    command = pypi_server(*cache, *rules, *options, packages)
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


def shown(tool: Client, withholding: Withholding, folder: Path) -> str:
    """What a client shows that shall install the young file from its address, which it does not."""
    address = f"{withholding.url}{withholding.young.path}"
    words = ("--no-deps", "--target", folder, f"raven @ {address}")
    said = " ".join(tool.run(*tool.installer, *words, status=None).stdout.split())
    assert installed(folder) == {}
    return said


def test_uv_shows_the_sentence_for_a_file_that_a_lock_names(
    client: GetClient, withholding: Withholding, tmp_path: Path
) -> None:
    said = shown(client("uv"), withholding, tmp_path / "site")
    assert "raven 2.0 was released" in said
    assert "pypi-server proxy allow raven==2.0" in said


@pytest.mark.parametrize("options", [("--server", "waitress")], ids=["waitress"])
@pytest.mark.parametrize("name", ["pip", "pip20"])
def test_pip_shows_the_status_line(name: str, client: GetClient, withholding: Withholding, tmp_path: Path) -> None:
    """pip reads no body; where the server sends a status line of its own, the reason is in it."""
    said = shown(client(name), withholding, tmp_path / "site")
    assert "raven 2.0 was released" in said
    assert "rule min-age" in said


def test_pip_shows_the_address_where_the_status_line_is_short(
    client: GetClient, withholding: Withholding, tmp_path: Path
) -> None:
    assert "403" in (said := shown(client("pip"), withholding, tmp_path / "site"))
    # Its page says the rest.
    assert withholding.young.path in said


def test_curl_shows_a_problem(withholding: Withholding) -> None:
    address = f"{withholding.url}{withholding.young.path}"
    for flags in ([], ["-r", "0-9"], ["-H", "Accept:"]):
        said = subprocess.run(["curl", "-s", *flags, address], capture_output=True, check=True).stdout
        problem = json.loads(said)
        assert (problem["rule"], problem["status"]) == ("min-age", 403)
        assert problem["detail"].startswith("raven 2.0 was released")
        assert problem["until"].endswith("Z")


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
