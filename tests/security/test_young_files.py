"""No byte of a withheld file of another index comes out, at any address: cold, kept, restarted, with the index down."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

import pypiserver
from tests import young_oracle as oracle
from tests.fake_upstream import upstream
from tests.figures import count as counted
from tests.hostile import SERVERS, eventually, serving
from tests.make_archives import make_wheel
from tests.rights_oracle import Reply, Send
from tests.unit.test_rights_oracle import ODD_METHODS
from tests.unit.wsgi import Client
from tests.young_oracle import World

# One in this many of all requests is sent to each real server.
EVERY = 97
# What lets everything out that only time withholds, for the proof that the oracle sees it.
ALL = "* always # everything\n"


@pytest.fixture
def world() -> Iterator[World]:
    with upstream() as up, upstream(simple="/index/") as second:
        yield oracle.world(up, second)


@contextmanager
def application(made: World, folder: Path, **more: Any) -> Iterator[Send]:
    """An application in this process, asked as a server would ask it."""
    keywords = {**oracle.settings(made, folder), **more}
    app: Any = pypiserver.app(roots=[folder / "packages"], catalog=folder / "catalog.sqlite", **keywords)
    client = Client(app)

    def send(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        path, _, query = target.partition("?")
        decoded = unquote_to_bytes(path).decode("utf-8", "replace")
        fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        if (kind := fields.pop("HTTP_CONTENT_TYPE", None)) is not None:
            fields["CONTENT_TYPE"] = kind
        counted("requests of the oracle of young files in a process")
        answer = client.request(method, decoded + (f"?{query}" if query else ""), body, RAW_URI=target, **fields)
        return Reply(f"{answer.status} {answer.reason}", tuple(sorted(answer.headers.items())), answer.body)

    try:
        app.survey()
        yield send
    finally:
        app.close()


def keep_all(made: World, folder: Path) -> None:
    """Have every file kept that only time withholds, and those of lists, by a server with other rules."""
    more = {"min_age": None, "allow": None, "deny_projects": None}
    with application(made, folder, **more) as send:
        for held in (*made.held, *made.given):
            for suffix in oracle.SUFFIXES[:4]:
                reply = send("GET", f"/packages/{held.path}{suffix}", {})
                assert (held.rule == "quarantined") is reply.status.startswith("403"), (held.path, suffix, reply)
                assert suffix or held.rule == "quarantined" or reply.body == held.file.data


@ODD_METHODS
def test_no_byte_comes_out_of_a_process_cold_kept_and_down(world: World, tmp_path: Path) -> None:
    with application(world, tmp_path) as send:
        sent, found = oracle.leaks(send, world, every=11)
        assert (found, oracle.unrefused(send, world)) == ([], [])
        assert sent > 5000
        for held in world.given:
            assert send("GET", f"/packages/{held.path}", {}).body == held.file.data
    keep_all(world, tmp_path)
    kept = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert {held.file.filename for held in world.held if held.rule != "quarantined"} <= kept
    with application(world, tmp_path) as send:
        assert (oracle.leaks(send, world, every=13)[1], oracle.unrefused(send, world)) == ([], [])
    world.up.stop()
    world.second.stop()
    with application(world, tmp_path) as send:
        assert (oracle.leaks(send, world, every=17, first=1)[1], oracle.unrefused(send, world)) == ([], [])
        for held in world.given:
            assert send("GET", f"/packages/{held.path}", {}).body == held.file.data
    with application(world, tmp_path, offline=True) as send:
        assert (oracle.leaks(send, world, every=19, first=2)[1], oracle.unrefused(send, world)) == ([], [])


def test_the_oracle_sees_what_comes_out(world: World, tmp_path: Path) -> None:
    (tmp_path / "allow.txt").write_text(ALL)
    with application(world, tmp_path) as send:
        sent, found = oracle.leaks(send, world, every=9)
        assert len(found) > sent / 200
        # No exception helps what is denied or in quarantine.
        assert oracle.unrefused(send, world, only=lambda held: held.rule != "min-age") == []
        for held in world.held:
            assert oracle.unrefused(send, world, only=lambda each, held=held: each == held) or held.rule != "min-age"


def test_a_change_of_a_list_takes_back_what_was_given_out(world: World, tmp_path: Path) -> None:
    (tmp_path / "allow.txt").write_text(ALL)
    with application(world, tmp_path) as send:
        held = next(each for each in world.held if each.rule == "min-age")
        target = f"/packages/{held.path}"
        assert send("GET", target, {}).body == held.file.data
        for text, status in (("# none\n", "403"), (ALL, "200"), ("", "403")):
            (tmp_path / "allow.txt").write_text(text)
            began = time.monotonic()
            eventually(lambda status=status: send("GET", target, {}).status.startswith(status))  # type: ignore[misc]
            # The file is looked at a few times in a second.
            assert time.monotonic() - began < 10
        (tmp_path / "deny.txt").unlink()
        eventually(lambda: send("GET", target, {}).status.startswith("503"))


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Send, Path]]:
    """A real server, by its address, with every file in its cache."""
    folder = tmp_path_factory.mktemp(request.param)
    with upstream() as up, upstream(simple="/index/") as second:
        world = oracle.world(up, second)
        keep_all(world, folder)
        with live(world, folder, request.param) as send:
            yield world, send, folder


@contextmanager
def live(world: World, tmp_path: Path, name: str) -> Iterator[Send]:
    """A server of this name."""
    options = oracle.settings(world, tmp_path)
    tables = options.pop("upstream")
    lines = ["[[upstream]]", *(f"{key} = {value!r}".replace("'", '"') for key, value in tables[0].items())]
    (tmp_path / "pypiserver.toml").write_text("\n".join(lines) + "\n")
    flags = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    with serving(tmp_path, "--config", tmp_path / "pypiserver.toml", *flags, server=name) as server:

        def send(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
            counted("requests of the oracle of young files to live servers")
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
            try:
                connection.request(method, target, body=body or None, headers={"Connection": "close", **headers})
                answer = connection.getresponse()
                told = tuple((name.lower(), value) for name, value in answer.getheaders())
                return Reply(f"{answer.status} {answer.reason}", told, answer.read())
            finally:
                connection.close()

        yield send


def test_no_byte_comes_out_of_a_server(server: tuple[World, Send, Path]) -> None:
    world, send, _ = server
    sent, found = oracle.leaks(send, world, every=EVERY)
    assert found == []
    assert sent > 500
    assert oracle.unrefused(send, world) == []
    for held in world.given:
        assert send("GET", f"/packages/{held.path}", {}).body == held.file.data


def test_a_file_comes_out_when_it_is_old_enough_and_not_before(server: tuple[World, Send, Path]) -> None:
    """On the page and at its address, for clients that ask all the time."""
    world, send, _ = server
    filename, data = make_wheel("plover", "1.0")
    due = datetime.now(timezone.utc) + timedelta(seconds=4)
    file = world.up.add("plover", filename, data, uploaded=due - timedelta(days=7))
    target = file.path
    seen: list[tuple[float, bool, bool]] = []
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    while not seen or (not all(seen[-1][1:]) and seen[-1][0] < 60):
        before = time.time() - due.timestamp()
        listed = json.loads(send("GET", "/simple/plover/", accept).body)["files"]
        page = [each["filename"] for each in listed] == [filename]
        got = send("GET", target, {}).body == data
        after = time.time() - due.timestamp()
        assert after >= 0 or not (page or got), (before, after)
        seen.append((after, page, got))
        time.sleep(0.05)
    assert all(seen[-1][1:])
    assert seen[0][0] < 0
