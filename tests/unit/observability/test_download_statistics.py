"""Download statistics: what counts, and that it is kept."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pypiserver import request_info
from pypiserver.__main__ import main
from pypiserver.catalog import Catalog
from pypiserver.errors import ConfigError
from pypiserver.observability.download_statistics import Counts, Downloads, client_of
from pypiserver.observability.request_events import RequestEvent
from tests.make_archives import make_wheel
from tests.raising import raises

from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0")
NEWER, NEWER_BYTES = make_wheel("foo_bar", "2.0")
DAY = 86_400
NOW = 1_700_000_000.0
Put = Callable[..., Path]
Serve = Callable[..., Client]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "downloads.sqlite"


def exchange(project: str = "foo", version: str = "1.0", *, agent: str = "pip/26.0", when: float = NOW) -> RequestEvent:
    return RequestEvent(when, 0.1, "GET", 200, 5, download=(project, version, 5), agent=agent)


def test_whole_downloads_count(serve: Serve, put: Put, file: Path) -> None:
    put(WHEEL, WHEEL_BYTES)
    put(NEWER, NEWER_BYTES)
    client = serve(stats=file)
    pip = {"HTTP_USER_AGENT": 'pip/26.0 {"python": "3.13"}'}
    for _ in range(3):
        client.get(f"/packages/{WHEEL}", **pip)
    etag = client.get(f"/packages/{NEWER}", HTTP_USER_AGENT="uv/0.9").headers["etag"]
    client.request("HEAD", f"/packages/{WHEEL}", **pip)
    client.get(f"/packages/{WHEEL}.metadata", **pip)
    client.get(f"/packages/{WHEEL}", HTTP_RANGE="bytes=10-20", **pip)
    client.get(f"/packages/{NEWER}", HTTP_IF_NONE_MATCH=etag, **pip)
    client.get("/packages/missing-1.0.zip", **pip)
    application: Any = client._application
    application.observers.flush()
    expected = Counts("foo-bar", 4, 4, {"1.0": 3, "2.0": 1}, {"pip": 3, "uv": 1})
    assert application.repository.downloads("foo-bar") == expected
    assert application.repository.downloads("nothing") == Counts("nothing", 0, 0, {}, {})


def shown(client: Client, path: str) -> str:
    page = client.get(path, HTTP_ACCEPT="text/html,*/*;q=0.8").text.partition("<h2>Downloads</h2>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", page.partition("</dl>")[0]).split())


def test_the_pages_of_a_project_show_its_downloads(serve: Serve, put: Put, file: Path) -> None:
    put(WHEEL, WHEEL_BYTES)
    put(NEWER, NEWER_BYTES)
    client = serve(stats=file)
    assert shown(client, "/project/foo-bar/") == "Total 0 Last 30 days 0 Version 2.0 0"
    counted = Downloads(file, clock=lambda: NOW)
    counted.observe([exchange("foo-bar") for _ in range(1234)] + [exchange("foo-bar", "2.0", agent="uv/0.9")])
    counted.close()
    whole = "Total 1,235 Last 30 days 0 Version {} By client pip 1,234, uv 1"
    assert shown(client, "/project/foo-bar/") == whole.format("2.0 1")
    assert shown(client, "/project/foo-bar/1.0/") == whole.format("1.0 1,234")
    file.write_bytes(b"no database at all" * 100)
    for beside in file.parent.glob("downloads.sqlite-*"):
        beside.unlink()
    assert client.get("/project/foo-bar/", HTTP_ACCEPT="text/html").status == 200
    assert shown(client, "/project/foo-bar/") == shown(serve(), "/project/foo-bar/") == ""


@pytest.mark.parametrize(
    "table", ["notes (text TEXT)", "downloads (day TEXT, project TEXT)", "meta (name TEXT PRIMARY KEY, value TEXT)"]
)
def test_a_database_of_another_program_is_refused_and_stays(table: str, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE {table}")
    before = file.read_bytes()
    for make in (True, False):
        downloads = Downloads(file, makes=make)
        for use in (downloads.check, downloads.projects):
            with raises(ConfigError, kind="foreign", setting="stats", value=file):
                use()
        downloads.observe([exchange()])
        downloads.close()
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == {file.name: before}


@pytest.mark.parametrize("makes", [True, False])
def test_a_path_that_is_no_file_of_a_folder_is_a_sentence(makes: bool, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / ("long" * 100), tmp_path / "file" / "downloads.sqlite"):
        with raises(ConfigError, kind="unwritable", setting="stats", value=path) as caught:
            Downloads(path).check(makes=makes)
        assert "Errno" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_catalog_is_no_statistics(file: Path) -> None:
    catalog = Catalog(file, "roots")
    catalog.serial()
    with raises(ConfigError, kind="foreign", setting="stats", value=file):
        Downloads(file).check()
    assert catalog.counts() == (0, 0)
    catalog.close()


def test_no_one_counts_unless_asked_to(serve: Serve, tmp_path: Path) -> None:
    application: Any = serve()._application
    assert application.repository.downloads("foo") is None
    assert list(tmp_path.rglob("*downloads*")) == []


def test_counts_are_added_up_and_recent_ones_told_apart(file: Path) -> None:
    for _ in range(2):
        counted = Downloads(file, clock=lambda: NOW)
        counted.observe([exchange(), exchange(when=NOW - 40 * DAY), exchange("bar")])
        counted.close()
    assert Downloads(file, clock=lambda: NOW).projects() == [("foo", 4, 2), ("bar", 2, 2)]
    assert Downloads(file, clock=lambda: NOW).counts("foo").recent == 2


def test_neither_address_nor_user_is_recorded(file: Path) -> None:
    counted = Downloads(file)
    asked = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/packages/secret",
        "REMOTE_ADDR": "192.0.2.7",
        request_info.USER: "alice",
    }
    counted.observe([counted.note({**asked, request_info.DOWNLOAD: ("foo", "1.0", 5)}, 1_000, 5)])
    counted.close()
    stored = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert b"foo" in stored
    assert not any(word in stored for word in (b"192.0.2.7", b"alice", b"secret"))


def test_many_processes_may_count(file: Path) -> None:
    def count(_: int) -> None:
        counted = Downloads(file)
        for _ in range(20):
            counted.observe([exchange()])
        counted.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert Downloads(file).counts("foo").total == 80


def test_what_cannot_be_written_is_kept_and_said_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    counted = Downloads(file)
    file.mkdir()
    counted.observe([exchange()])
    counted.observe([exchange()])
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert f"Downloads cannot be counted in {file}" in record.getMessage()
    file.rmdir()
    counted.observe([exchange()])
    counted.close()
    assert Downloads(file).counts("foo").total == 3


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        ('pip/26.0 {"cpu": "x86_64"}', "pip"), ("uv/0.9.1", "uv"), ("poetry/2.2 CPython/3.13", "poetry"),
        ("python-requests/2.32", "python-requests"), ("Mozilla/5.0 (X11)", "browser"), ("evil-agent-1/2", "other"),
        ("", "other"), ("\x00pip", "other"),
    ],
)  # fmt: skip
def test_clients_are_few(agent: str, client: str) -> None:
    assert client_of(agent) == client


def test_stats_are_shown(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Downloads(file)
    counted.observe([exchange("foo", "2.0", when=NOW), exchange(when=NOW), exchange("foo", when=NOW, agent="uv/1")])
    counted.close()
    monkeypatch.setenv("PYPISERVER_STATS", str(file))
    assert main(["stats"]) == 0
    assert capsys.readouterr().out.split() == ["3", "0", "foo"]
    assert main(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"projects": [{"project": "foo", "total": 3, "recent": 0}]}
    assert main(["stats", "Foo"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "foo: 3 downloads, 0 in the last 30 days",
        "         2  version 1.0",
        "         1  version 2.0",
        "         2  client pip",
        "         1  client uv",
    ]
    assert main(["stats", "foo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"] == {"1.0": 2, "2.0": 1}


def test_where_nothing_was_counted_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats"]) == 2
    assert "give the file of the server with --stats FILE" in capsys.readouterr().err
    assert main(["stats", "--stats", str(file)]) == 2
    assert f"There are no statistics at {file}" in capsys.readouterr().err
    assert not file.exists()


def test_a_file_that_cannot_be_used_is_said_at_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stats").write_bytes(b"no database at all, but long enough to be one" * 100)
    assert main(["-p", "0", "--stats", str(tmp_path / "stats"), str(tmp_path)]) == 2
    assert "cannot be written (file is not a database)" in capsys.readouterr().err
