"""nginx and HAProxy, configured as documented, in front of three replicas that fail, drain and start again."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cluster.drill import assert_nothing_is_lost, drilled
from tests.cluster.fronts import FRONTS, nginx_front
from tests.cluster.process import accepts
from tests.cluster.replicas import Replica, replicas
from tests.cluster.services import Front
from tests.hostile import ask, eventually, listed, sha256, upload, wheel

every_front = pytest.mark.parametrize("kind", list(FRONTS))


@contextmanager
def cluster(kind: str, home: Path, *arguments: str | Path) -> Iterator[tuple[Front, list[Replica]]]:
    """Three replicas that share a folder and a catalog, and a proxy in front of them."""
    packages = home / "packages"
    packages.mkdir()
    shared = ("--catalog", home / "catalog.sqlite", *arguments, packages)
    with ExitStack() as stack:
        made = stack.enter_context(replicas(home, *shared))
        front = stack.enter_context(FRONTS[kind]([each.port for each in made]))  # type: ignore[arg-type]
        yield front, made


@every_front
def test_no_client_fails_while_replicas_die_and_come_back(kind: str, tmp_path: Path) -> None:
    with cluster(kind, tmp_path) as (front, (first, *others)):
        with drilled(front.url) as drill:
            time.sleep(1)
            first.kill()
            time.sleep(2)
            first.start()
            time.sleep(1)
        seen = drill.seen
        print(f"kill -9 behind {kind}: {seen}")
        assert seen.given_up == []
        # An upload that was with the killed replica may fail, once; it was not acknowledged.
        assert sum(count for what, count in seen.failures.items() if what.startswith("POST")) <= 1
        assert_nothing_is_lost(seen, [each.url for each in (first, *others)])


@every_front
def test_no_request_fails_while_every_replica_is_restarted(kind: str, tmp_path: Path) -> None:
    with cluster(kind, tmp_path, "--drain-seconds", "3") as (front, made):
        with drilled(front.url) as drill:
            time.sleep(1)
            for each in made:
                each.restart()
                time.sleep(1)
        seen = drill.seen
        print(f"restart of all behind {kind}: {seen}")
        assert (seen.failures, seen.given_up) == ({}, [])
        assert_nothing_is_lost(seen, [each.url for each in made])


def test_haproxy_sends_nothing_to_a_replica_that_drains(tmp_path: Path) -> None:
    with cluster("haproxy", tmp_path, "--drain-seconds", "600") as (front, (first, *_)):
        first.signal(signal.SIGTERM)
        eventually(lambda: ask(first.url, "/health/ready").status == 503)
        # Two checks, one a second, and it is out; then it may be asked in vain for as long as it likes.
        eventually(lambda: "replicas/one is DOWN" in front.output, seconds=30)
        asked = first.output.count('"GET /simple/')
        assert {ask(front.url, "/simple/").status for _ in range(30)} == {200}
        assert first.output.count('"GET /simple/') == asked
        first.signal(signal.SIGTERM)
        assert first.process is not None and first.process.wait(60) == 0
        assert {ask(front.url, "/simple/").status for _ in range(30)} == {200}


@every_front
def test_a_large_upload_passes(kind: str, tmp_path: Path) -> None:
    name, data = wheel("large", filler=30_000_000)
    with cluster(kind, tmp_path) as (front, made):
        assert upload(front.url, name, data, timeout=120).status == 200
        for each in made:
            assert listed(each.url, "large") == {name: sha256(data)}


class Silent:
    """A replica that is ready, and dies at work: it reads a request and hangs up without a word."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.methods: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                method, _, rest = connection.recv(100_000).partition(b" ")
                if rest.startswith(b"/health/ready"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                elif method:
                    self.methods.append(method.decode())

    def close(self) -> None:
        self._listening.close()


@every_front
def test_an_upload_that_reached_a_replica_is_not_repeated(kind: str) -> None:
    silent = [Silent() for _ in range(3)]
    name, data = wheel("once")
    try:
        with FRONTS[kind]([each.port for each in silent]) as front:  # type: ignore[attr-defined]
            assert upload(front.url, name, data).status == 502
            seen = [method for each in silent for method in each.methods]
            assert seen == ["POST"]
            assert ask(front.url, "/simple/").status == 502
            seen = [method for each in silent for method in each.methods]
            assert seen.count("POST") == 1 and seen.count("GET") > 1
    finally:
        for each in silent:
            each.close()


@every_front
def test_an_upload_that_finds_a_replica_gone_goes_to_the_next(kind: str, tmp_path: Path) -> None:
    with cluster(kind, tmp_path) as (front, (first, second, third)):
        for each in (first, second):
            each.kill()
            eventually(lambda port=each.port: not accepts(port))
        for number in range(6):
            name, data = wheel("next", f"1.{number}")
            assert upload(front.url, name, data).status == 200
            assert listed(third.url, "next")[name] == sha256(data)


def test_pages_kept_by_nginx_are_asked_for_again(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    with ExitStack() as stack:
        made = stack.enter_context(replicas(tmp_path, "--catalog", tmp_path / "catalog.sqlite", packages))
        front = stack.enter_context(nginx_front([each.port for each in made], page_cache=True))
        for number in range(3):
            name, data = wheel("kept", f"1.{number}")
            assert upload(front.url, name, data).status == 200
            # A page of before may be given for a second.
            eventually(lambda name=name: name in listed(front.url, "kept"), seconds=10)
        assert_kept(front)


def assert_kept(front: Front) -> None:
    """What is kept is given, and what came with a password is not."""
    path = "/simple/kept/"
    eventually(lambda: ask(front.url, path).headers["x-cache"] == "HIT")
    # After its second it is asked for again, and has not changed.
    eventually(lambda: ask(front.url, path).headers["x-cache"] in ("REVALIDATED", "EXPIRED", "STALE"))
    assert ask(front.url, path, Authorization="Basic YTpi").headers["x-cache"] == "BYPASS"
