"""Clients that wait for ``100 Continue`` hear a refusal before they send anything (RFC 9110 section 10.1.1)."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import set_password
from tests.hostile import SERVERS, connect, eventually, serving, upload_request, wheel
from tests.live_server import LiveServer

USER, PASSWORD = "ada", "right-b3c1"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MIB = 1 << 20
WAITS = {"Expect": "100-continue"}
LIMIT = 100 * MIB


@pytest.fixture(scope="module", params=SERVERS)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp(request.param)
    set_password(home / "htpasswd", USER, PASSWORD)
    limits = ("--max-upload-size", "100M", "--stall-timeout", "5")
    with serving(home, "--disable-fallback", "-P", home / "htpasswd", *limits, server=request.param) as server:
        yield server


def login(password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()}


def received(connection: socket.socket, *, until: bytes = b"") -> bytes:
    """What comes until ``until`` is in it, the end, or the time is up, which fails."""
    answer = b""
    while not until or until not in answer:
        block = connection.recv(65536)
        if not block:
            break
        answer += block
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"^HTTP/1\.[01] ([0-9]{3})", answer, re.MULTILINE)]


def comparable(answer: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers but those about time and connection, body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    named = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
    return line, {name: named[name] for name in named if name not in (b"date", b"connection", b"server")}, body


REFUSED = {
    "wrong password": ("/", login("wrong"), 50 * MIB, 401),
    "no password": ("/", {}, 50 * MIB, 401),
    "too large": ("/", login(), LIMIT + 1, 413),
    "no number": ("/", login(), -1, 400),
    "another site": ("/", {**login(), "Sec-Fetch-Site": "cross-site"}, 50 * MIB, 403),
    "no such address": ("/nowhere/at/all", login(), 50 * MIB, 404),
    "wrong method": ("/projects/", login(), 50 * MIB, 405),
    "no form": ("/", {**login(), "Content-Type": "text/plain"}, 50 * MIB, 400),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_waits_is_refused_before_sending_anything(live: LiveServer, case: str) -> None:
    path, fields, length, status = REFUSED[case]
    told = {"Content-Length": str(length) if length >= 0 else "1x"}
    head, _ = upload_request(*wheel("foo"), path=path, **{**WAITS, **fields, **told})
    with connect(live.url) as connection:
        connection.sendall(head)
        answer = received(connection)
    # The connection ended, so nothing of the body can be taken for a request.
    assert statuses(answer) == [status]


def test_the_refusal_is_the_one_that_others_get(live: LiveServer) -> None:
    answers = []
    for expects in (WAITS, {}):
        head, body = upload_request(*wheel("foo"), Connection="close", **expects, **login("wrong"))
        with connect(live.url) as connection:
            connection.sendall(head if expects else head + body)
            answers.append(comparable(received(connection)))
    assert answers[0] == answers[1] and answers[0][2]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_who_may_upload_is_asked_for_the_body_and_the_connection_continues(live: LiveServer, is_chunked: bool) -> None:
    name, data = wheel("chunked" if is_chunked else "plain")
    head, body = upload_request(name, data, **WAITS, **login())
    if is_chunked:
        head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with connect(live.url) as connection:
        connection.sendall(head)
        assert received(connection, until=CONTINUE) == CONTINUE
        connection.sendall(body)
        answer = received(connection, until=b"\r\n\r\n")
        assert statuses(answer) == [200]
        # Another one that waits, on the same connection, and is refused.
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = received(connection, until=b"Ok\n")
        assert statuses(answer[answer.index(b"HTTP/1.1 200") :])[-1:] == [200]
        head, _ = upload_request(*wheel("foo"), **WAITS, **login("wrong"))
        connection.sendall(head)
        assert statuses(received(connection)) == [401]


def test_who_does_not_wait_after_all_reads_the_answer(live: LiveServer) -> None:
    """As curl does, which sends after a second."""
    head, _ = upload_request(*wheel("foo"), **{**WAITS, **login("wrong"), "Content-Length": str(8 * MIB)})
    with connect(live.url) as connection:
        connection.sendall(head)
        answer = received(connection, until=b"\r\n\r\n")
        assert statuses(answer) == [401]
        with contextlib.suppress(ConnectionError):
            connection.sendall(bytes(8 * MIB))


def test_an_old_client_cannot_wait(live: LiveServer) -> None:
    """HTTP/1.0 knows no 100: what it expects is ignored (RFC 9110 section 10.1.1)."""
    head, body = upload_request(*wheel("old"), **WAITS, **login())
    with connect(live.url) as connection:
        connection.sendall(head.replace(b"HTTP/1.1", b"HTTP/1.0") + body)
        answer = received(connection)
    assert statuses(answer) == [200]
    head, body = upload_request(*wheel("old"), **WAITS, **login("wrong"))
    with connect(live.url) as connection:
        connection.sendall(head.replace(b"HTTP/1.1", b"HTTP/1.0") + body)
        answer = received(connection)
    assert statuses(answer) == [401]


def test_without_a_body_there_is_nothing_to_wait_for(live: LiveServer) -> None:
    with connect(live.url) as connection:
        for length in ("", "Content-Length: 0\r\n"):
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{length}\r\n".encode())
            answer = received(connection, until=b"Ok\n")
            assert statuses(answer)[-1] == 200 and answer.count(b"Ok\n") == 1


def test_a_pipeline_is_answered_in_order(live: LiveServer) -> None:
    name, data = wheel("pipelined")
    first = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    head, body = upload_request(name, data, **WAITS, **login())
    with connect(live.url) as connection:
        connection.sendall(first + head)
        answer = received(connection, until=CONTINUE)
        assert statuses(answer) == [200, 100]
        connection.sendall(body + first.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert statuses(received(connection)) == [200, 200]
    # Who sends all at once is answered all.
    head, body = upload_request(name, data, **WAITS, **login("wrong"))
    with connect(live.url) as connection:
        connection.sendall(first + head + body + first.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answered = statuses(received(connection))
    assert [each for each in answered if each != 100] in ([200, 401, 200], [200, 401])


def test_each_request_is_one_line_of_the_log(tmp_path: Path) -> None:
    set_password(tmp_path / "htpasswd", USER, PASSWORD)
    with serving(tmp_path, "--disable-fallback", "-P", tmp_path / "htpasswd", "-v", server="waitress") as live:
        for password in ("wrong", PASSWORD):
            head, body = upload_request(*wheel("logged"), **WAITS, **login(password))
            with connect(live.url) as connection:
                connection.sendall(head)
                if received(connection, until=b"\r\n\r\n") == CONTINUE:
                    connection.sendall(body)
                    assert statuses(received(connection, until=b"\r\n\r\n")) == [200]
        eventually(lambda: live.output.count('"POST /" ') >= 2)
    assert sorted(re.findall(r'"POST /" (\d+)', live.output)) == ["200", "401"]
    assert live.output.count("<LocalRequest: POST") in (0, 2)
