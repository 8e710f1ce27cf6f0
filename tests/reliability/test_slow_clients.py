"""Clients that are silent, slow or stuck leave the server to all others (P13, P34, P35)."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.server.contract import GRACE_SECONDS
from tests.figures import count
from tests.hostile import (
    OPEN,
    ask,
    connect,
    eventually,
    every_server,
    serving,
    upload,
    upload_request,
    visible,
    wheel,
)
from tests.live_server import LiveServer

PROMISED_SECONDS = 5.0
BIG, BIG_BYTES = wheel("big", filler=24_000_000)


def is_well(url: str) -> None:
    """Others get the index, a page, a file and an upload through, each within the promised time."""
    for path in ("/simple/", "/simple/small/", "/packages/small-1.0-py3-none-any.whl", "/health"):
        reply = ask(url, path)
        assert reply.status == 200 and reply.seconds < PROMISED_SECONDS, (path, reply.status, reply.seconds)


@contextlib.contextmanager
def crowd(live: LiveServer, *, silent: int = 0, half: int = 0, deaf: int = 0, refused: bool = False) -> Iterator[None]:
    """Hold connections open: silent ones, uploads of which half is sent, and downloads that no one reads."""
    with contextlib.ExitStack() as stack:
        for _ in range(silent):
            stack.enter_context(connect(live.url))
        for number in range(half):
            head, body = upload_request(
                *wheel("half", f"1.{number}"), **({"Authorization": "Basic bad"} if refused else {})
            )
            connection = stack.enter_context(connect(live.url))
            connection.sendall(head + body[: len(body) // 2])
        for _ in range(deaf):
            connection = stack.enter_context(connect(live.url, receive_bytes=4096))
            connection.sendall(f"GET /packages/{BIG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(1.0)
        yield
        count("connections held, others served", silent + half + deaf)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / BIG).write_bytes(BIG_BYTES)
    name, data = wheel("small")
    (folder / name).write_bytes(data)
    return folder


@every_server
def test_silent_half_and_deaf_clients_together_delay_no_one_else(server: str, tmp_path: Path, packages: Path) -> None:
    with serving(tmp_path, *OPEN, server=server) as live:
        is_well(live.url)
        with crowd(live, silent=200, half=60, deaf=40):
            is_well(live.url)
            assert upload(live.url, *wheel("another")).status == 200
        eventually(lambda: ask(live.url, "/simple/").status == 200)
        assert not [name for name in visible(packages) if name.startswith("half")]


@every_server
def test_more_deaf_readers_than_there_are_threads_are_ended_when_others_wait(
    server: str, tmp_path: Path, packages: Path
) -> None:
    with serving(tmp_path, *OPEN, server=server) as live, crowd(live, deaf=200):
        # The first one of all others waits until the crowd has had its five seconds; those after it do not.
        assert ask(live.url, "/simple/").seconds < 4 * PROMISED_SECONDS
        is_well(live.url)


@every_server
def test_more_stalled_uploads_than_there_are_threads_delay_no_one_else(
    server: str, tmp_path: Path, packages: Path
) -> None:
    with serving(tmp_path, *OPEN, server=server) as live:
        with crowd(live, half=170):
            is_well(live.url)
        # With the stalled ones gone, there is room for uploads again.
        eventually(lambda: upload(live.url, *wheel("another")).status == 200)


@every_server
def test_strangers_whose_uploads_stall_keep_out_no_one_who_may_upload(
    server: str, tmp_path: Path, packages: Path
) -> None:
    """A refused upload is read to its end out of politeness; that must not cost the places of others."""
    passwords = tmp_path / "htpasswd"
    passwords.write_text("ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")  # "password"
    with (
        serving(tmp_path, "-P", passwords, "-a", "update", "--disable-fallback", server=server) as live,
        crowd(live, half=170, refused=True),
    ):
        is_well(live.url)
        assert upload(live.url, *wheel("another"), Authorization="Basic YWRhOnBhc3N3b3Jk").status == 200
    assert "another-1.0-py3-none-any.whl" in visible(packages)


@every_server
def test_sigterm_with_a_stalled_upload_ends_in_time_and_leaves_nothing(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, server=server) as live, crowd(live, half=1):
        began = time.monotonic()
        live.process.send_signal(signal.SIGTERM)
        live.process.wait(4 * GRACE_SECONDS)
        assert time.monotonic() - began < 2 * GRACE_SECONDS + 2
    assert visible(tmp_path / "packages") == []


def test_a_trickling_upload_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, "--stall-timeout", "2") as live:
        head, body = upload_request(*wheel("trickle"))
        with connect(live.url) as connection, pytest.raises(OSError):
            connection.sendall(head + body[:10])
            for byte in body[10:300]:
                time.sleep(0.1)
                connection.sendall(bytes([byte]))
    assert visible(tmp_path / "packages") == []
