"""Every limit is a setting with a default, and a clear 4xx says which one it was (P30, P35)."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.access.authentication import Authenticator
from pypiserver.access.htpasswd_file import set_password
from pypiserver.access.password_file import HtpasswdFile
from pypiserver.errors import Unavailable
from pypiserver.settings.config import SETTINGS, make_config
from pypiserver.web.http.multipart import Limits
from tests.hostile import OPEN, ask, connect, every_server, serving, upload, visible, wheel
from tests.make_archives import make_wheel
from tests.unit.access.credentials import basic
from tests.unit.wsgi import Client, form

Serve = Callable[..., Client]
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")

# setting -> its default.
LIMITS = {
    "max_upload_size": 4 << 30,
    "max_form_size": 16 << 20,
    "max_header_size": 65_536,
    "max_search_size": 1 << 20,
    "max_connections": 1500,
    "max_uploads": 80,
    "stall_timeout": 60,
    "max_logins": None,
    "max_fetches": 32,
}


def test_every_limit_is_a_setting_with_a_default() -> None:
    config = make_config(roots="x")
    assert {name: getattr(config, name) for name in LIMITS} == LIMITS
    assert {name for name in SETTINGS if name.startswith("max_") or name.endswith("timeout")} == set(LIMITS)


def test_an_upload_that_is_too_large_says_so(serve: Serve, root: Path) -> None:
    answer = serve(max_upload_size=1000).upload(WHEEL, WHEEL_BYTES + b"x" * 1000)
    assert answer.status == 413 and "1000 bytes" in answer.text
    assert list(root.iterdir()) == []


def test_a_form_that_is_too_large_says_so(serve: Serve, root: Path) -> None:
    answer = serve(max_form_size="1K").upload(WHEEL, WHEEL_BYTES, fields={"attestations": "x" * 2000})
    assert answer.status == 413 and "field" in answer.text
    assert list(root.iterdir()) == []


def test_a_search_that_is_too_large_says_so(serve: Serve) -> None:
    assert serve(max_search_size="1K").post("/RPC2", b"<" * 2000, CONTENT_TYPE="text/xml").status == 413


def test_a_form_of_too_many_parts_or_too_large_a_part_header_says_so(serve: Serve) -> None:
    client = serve()
    body, kind = form({f"f{number}": "" for number in range(Limits().parts + 1)})
    assert client.post("/", body, CONTENT_TYPE=kind).status == 413
    body, kind = form({"x" * 20_000: ""})
    assert client.post("/", body, CONTENT_TYPE=kind).status == 413


@every_server
def test_a_header_that_is_too_large_is_refused_and_nothing_else(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, "--max-header-size", "16K", server=server) as live:
        assert ask(live.url, "/health", X="y" * 4000).status == 200
        with connect(live.url) as connection:
            connection.settimeout(10)
            answer = b""
            try:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n")
                answer = connection.recv(4096)
            except OSError:
                pass  # closed while we were still sending
        assert answer == b"" or answer.split()[1][:1] == b"4", answer
        assert ask(live.url, "/health").status == 200


@pytest.mark.parametrize("server", ["granian", "waitress"])
def test_connections_beyond_the_limit_wait_and_harm_no_one(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, "--max-connections", "20", "--stall-timeout", "3", server=server) as live:
        crowd = [connect(live.url) for _ in range(40)]
        try:
            time.sleep(0.5)
            # The silent ones are ended after a while, at the latest; then it is everyone else's turn.
            assert ask(live.url, "/health", timeout=30).status == 200
        finally:
            for connection in crowd:
                connection.close()


def test_who_finds_no_place_for_an_upload_is_told_to_try_again(tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, "--max-uploads", "1") as live:
        with connect(live.url) as connection:
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: 99\r\n\r\n--b"
            )
            time.sleep(0.5)
            reply = upload(live.url, *wheel("foo"))
            assert reply.status == 503 and "retry-after" in reply.headers
            assert b"Too many uploads" in reply.body
            assert ask(live.url, "/simple/").status == 200
            connection.shutdown(socket.SHUT_RDWR)
        time.sleep(0.5)
        assert upload(live.url, *wheel("foo")).status == 200
    assert visible(tmp_path / "packages") == ["foo-1.0-py3-none-any.whl"]


def test_slow_checks_of_passwords_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "htpasswd"
    set_password(path, "ada", "right")
    auther = HtpasswdFile(path, slow_checks=2)
    running, most = [], []
    fits = threading.Event()

    def slow(entry: object, password: str) -> bool:
        running.append(password)
        most.append(len(running))
        fits.wait(5)
        running.pop()
        return False

    monkeypatch.setattr("pypiserver.access.password_file.fits", slow)
    threads = [threading.Thread(target=auther, args=("ada", f"wrong{number}")) for number in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(running) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert max(most) == 2
    fits.set()
    for thread in threads:
        thread.join()


# 200 connections that send a wrong login as fast as they get answers, until standard input ends.
FLOOD = """
import socket, sys, threading

WRONG = b"GET /simple/ HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Basic YWRhOndyb25n\\r\\n\\r\\n"

def flood(connection):
    answers = connection.makefile("rb")
    while True:
        connection.sendall(WRONG)
        # All of it, so that no second request is sent behind the first.
        length = 0
        while (line := answers.readline()) not in (b"\\r\\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
        answers.read(length)

for _ in range(200):
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
    threading.Thread(target=flood, args=(connection,), daemon=True).start()
print("begun", flush=True)
sys.stdin.read()
"""


@every_server
def test_a_flood_of_wrong_logins_delays_no_one_else(server: str, tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    set_password(passwords, "ada", "right")
    right = {"Authorization": "Basic YWRhOnJpZ2h0"}
    flags = ("-P", passwords, "-a", "list", "--disable-fallback")
    with serving(tmp_path, *flags, server=server) as live:
        assert ask(live.url, "/simple/", **right).status == 200
        # In a process of its own: 200 threads in this one would delay its own requests.
        command = [sys.executable, "-c", FLOOD, live.url.rpartition(":")[2]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flood:
            assert flood.stdin is not None and flood.stdout is not None
            assert flood.stdout.readline() == b"begun\n"
            for _ in range(4):
                for path in ("/health", "/simple/"):
                    reply = ask(live.url, path, **right)
                    assert reply.status == 200 and reply.seconds < 5, (path, reply)
            assert flood.poll() is None
            flood.stdin.close()


def test_too_many_slow_checks_are_told_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "htpasswd"
    set_password(path, "ada", "right")
    auther = HtpasswdFile(path, slow_checks=1)
    monkeypatch.setattr("pypiserver.access.password_file.WAIT_SECONDS", 0.05)
    assert auther._slow.acquire()
    with pytest.raises(Unavailable, match="Too many passwords"):
        auther("ada", "wrong")


def test_a_right_login_that_was_seen_before_waits_for_no_wrong_ones(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    set_password(path, "ada", "right")
    file = HtpasswdFile(path, slow_checks=1)
    authenticator, right = Authenticator(file), basic("ada:right")
    assert authenticator.identify(right).name == "ada"
    assert file._slow.acquire()
    began = time.monotonic()
    assert authenticator.identify(right).name == "ada"
    assert time.monotonic() - began < 0.5
