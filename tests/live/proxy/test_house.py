"""Real servers over another index: workers, a restart, new settings at SIGHUP, and passwords that appear nowhere."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fake_upstream import FakeUpstream, upstream
from tests.live_server import DIRECT, LiveServer, pypi_server, running

from ..test_live_log import WITH_WORKERS, wait_until

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")]
SERVERS = [*WITH_WORKERS, "waitress"]
PASSWORD = "geheimnis-7"
SETTINGS = """
roots = ["packages"]
fallback_mode = "cache"
fallback_url = "{last}"
cache_folder = "cache"
log_file = "log"
verbosity = 2
private = ["acme-*"]
[[upstream]]
name = "near"
url = "{first}"
projects = ["fern*"]
"""


def write(folder: Path, first: str, last: str) -> None:
    (folder / "pypiserver.toml").write_text(SETTINGS.format(first=first, last=last))


@contextmanager
def serving(folder: Path, server: str) -> Iterator[LiveServer]:
    (folder / "packages").mkdir(exist_ok=True)
    environ = {**os.environ, "XDG_CACHE_HOME": str(folder / "own"), "PYPISERVER_UPSTREAM_NEAR_USER": "ada"}
    environ["PYPISERVER_UPSTREAM_NEAR_PASSWORD"] = PASSWORD
    command = pypi_server("--server", server, "--workers", "2" if server != "waitress" else "1")
    with running(command, environ=environ, cwd=folder) as live:
        yield live


def got(live: LiveServer, path: str) -> tuple[int, bytes]:
    try:
        with DIRECT.open(f"{live.url}{path}", timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def indexes() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with upstream() as first, upstream() as last:
        first.login = f"ada:{PASSWORD}"
        first.add_wheel("fern", "1.0")
        last.add_wheel("fern", "9.9")
        last.add_wheel("moss", "1.0")
        last.add_wheel("acme-vault", "1.0")
        yield first, last


@pytest.mark.parametrize("server", SERVERS)
def test_workers_share_a_cache_which_outlives_them_and_the_indexes(
    server: str, tmp_path: Path, indexes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    first, last = indexes
    write(tmp_path, first.url, last.url)
    paths = [first.projects["fern"].files[0].path, last.projects["moss"].files[0].path]
    with serving(tmp_path, server) as live:
        for _ in range(8):
            # Connections of their own, so that both workers get some.
            assert [got(live, f"/simple/{name}/")[0] for name in ("fern", "moss", "acme-vault")] == [200, 200, 404]
            assert [got(live, path)[0] for path in paths] == [200, 200]
    for up, path in zip((first, last), paths, strict=True):
        assert up.count(path) == 1
    assert (last.count("/simple/fern/"), last.count("/simple/acme-vault/")) == (0, 0)
    assert first.count("/simple/moss/") == 0
    first.stop()
    last.stop()
    with serving(tmp_path, server) as live:
        assert [got(live, f"/simple/{name}/")[0] for name in ("fern", "moss")] == [200, 200]
        assert [got(live, path)[0] for path in paths] == [200, 200]
        # Never "not found" because an index is down.
        assert got(live, "/simple/ivy/")[0] == 503
        assert got(live, "/health")[0] == 200


@pytest.mark.parametrize("server", SERVERS)
def test_a_reload_counts_for_other_indexes(
    server: str, tmp_path: Path, indexes: tuple[FakeUpstream, FakeUpstream]
) -> None:
    first, last = indexes
    write(tmp_path, first.url, last.url)
    with serving(tmp_path, server) as live, upstream() as new:
        new.add_wheel("ivy", "1.0")
        assert got(live, "/simple/ivy/")[0] == 404
        write(tmp_path, first.url, new.url)
        os.kill(live.process.pid, signal.SIGHUP)
        wait_until(lambda: all(got(live, "/simple/ivy/")[0] == 200 for _ in range(6)))
        assert got(live, "/simple/fern/")[0] == 200
        # A file of rules that is missing changes nothing.
        with (tmp_path / "pypiserver.toml").open("r+") as file:
            text = file.read()
            file.seek(0)
            file.write('deny_projects = "missing"\n' + text)
        os.kill(live.process.pid, signal.SIGHUP)
        wait_until(lambda: "Nothing was reloaded" in (tmp_path / "log").read_text())
        assert got(live, "/simple/ivy/")[0] == 200


def test_a_password_of_an_index_appears_nowhere(tmp_path: Path, indexes: tuple[FakeUpstream, FakeUpstream]) -> None:
    first, last = indexes
    login = f"http://bob:{PASSWORD}@127.0.0.1"
    write(tmp_path, first.url, last.url.replace("http://127.0.0.1", login))
    (tmp_path / "packages").mkdir()
    with serving(tmp_path, "granian") as live:
        said = [got(live, path) for path in ("/simple/fern/", "/simple/moss/", "/simple/none/", "/", "/project/moss/")]
        said += [got(live, up.projects[name].files[0].path) for up, name in ((first, "fern"), (last, "moss"))]
        first.login = "ada:another"
        said += [got(live, "/simple/fern-two/")]
        first.stop()
        last.stop()
        said += [got(live, path) for path in ("/simple/fern-three/", "/simple/ivy/", "/packages/@near/fern/fern-3.zip")]
        assert [status for status, _ in said[:2]] == [200, 200]
        assert PASSWORD.encode() not in b"".join(body for _, body in said)
    assert first.seen and any("authorization" in each.headers for each in first.seen)
    told = live.output
    assert PASSWORD not in told
    for path in (*(tmp_path / "cache").rglob("*"), tmp_path / "log", *(tmp_path / "own").rglob("*")):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path
