"""Hostile requests to real servers: paths, framing, log lines, secrets (P22, P23, P32, P33, P38, P43)."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.figures import count
from tests.hostile import OPEN, SERVERS, connect, eventually, every_server, serving, upload, wheel
from tests.hostile import ask as asked
from tests.live_server import LiveServer
from tests.unit.wsgi import form

MARKER = "Marker-Passw0rd-7f3a"
SECRET_FILE = "top-secret-content-81c2"
NAME, DATA = wheel("foo")


def raw(url: str, request: bytes, *, seconds: float = 3.0, half_close: bool = False) -> bytes:
    """Everything a server sends back to these bytes; granian takes the end of ours for the end of everything."""
    count("hostile requests to live servers")
    answer = b""
    with connect(url) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while block := connection.recv(65536):
                answer += block
        except OSError:
            pass
    return answer


def get(url: str, target: bytes) -> bytes:
    return raw(url, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVERS)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose surroundings hold what no one may get: outside of the root, hidden in it, behind links."""
    home = tmp_path_factory.mktemp(request.param)
    folder = home / "packages"
    (folder / ".hidden").mkdir(parents=True)
    (folder / "sub").mkdir()
    for path in (
        "secret.txt",
        "packages-other/secret.txt",
        "packages/.hidden/x-1.0.tar.gz",
        "packages/.secret-1.0.tar.gz",
        "x-9.0.tar.gz",
    ):
        (home / path).parent.mkdir(exist_ok=True)
        (home / path).write_text(SECRET_FILE)
    (folder / "linked-1.0.tar.gz").symlink_to(home / "secret.txt")
    (folder / "up").symlink_to(home)
    (folder / ".upload-0123456789abcdef0123456789abcdef.part").write_text(SECRET_FILE)
    (folder / NAME).write_bytes(DATA)
    (folder / "sub" / wheel("bar")[0]).write_bytes(wheel("bar")[1])
    with serving(home, *OPEN, server=request.param, folder=folder) as live:
        yield live


PARTS = ["..", ".", "packages", "packages-other", "secret.txt", "x-9.0.tar.gz", ".hidden", "up",
"linked-1.0.tar.gz", ".secret-1.0.tar.gz",
         "sub", "simple", "", "etc/passwd", "proc/self/environ", "....", "..;", "\\..\\", "C:", "%", "\0",
         NAME]  # fmt: skip


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    """A path that climbs, its characters percent-encoded once, twice or three times."""
    path = (
        "/"
        + draw(st.sampled_from(["packages/", "simple/", "", "pypi/", "+simple/"]))
        + draw(st.sampled_from(["/", "\\", "//"])).join(draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6)))
    )
    written = ""
    for letter in path:
        if letter in "/" and draw(st.integers(0, 3)):
            written += letter
            continue
        times = draw(st.sampled_from((0, 0, 1, 1, 2, 3))) if letter in "./\\%\0;:" else 0
        encoded = f"%{ord(letter):02x}" if times or letter in "\0 " else letter
        for _ in range(times - 1):
            encoded = encoded.replace("%", "%25")
        written += encoded
    return ("/" + written.lstrip("/") if draw(st.booleans()) else "/" + written).encode()


def test_no_path_however_encoded_leads_out(guarded: LiveServer) -> None:
    @settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "120")))
    @given(targets())
    def check(target: bytes) -> None:
        answer = get(guarded.url, target)
        assert SECRET_FILE.encode() not in answer and b"root:" not in answer, target
        head = answer.partition(b"\r\n\r\n")[0]
        assert not re.match(rb"HTTP/1\.1 5", head), (target, head)
        location = re.search(rb"(?im)^location: *(.*?)\r?$", head)
        assert location is None or not re.match(rb"//|\\|https?:|/\\", location[1]), (target, location)

    check()


@pytest.mark.parametrize(
    "target",
    [b"/packages/../secret.txt", b"/packages/%2e%2e/secret.txt", b"/packages/..%2fsecret.txt",
    b"/packages/%252e%252e%252fsecret.txt",
     b"/packages/up/secret.txt", b"/packages/linked-1.0.tar.gz", b"/packages/.secret-1.0.tar.gz",
     b"/packages/.hidden/x-1.0.tar.gz",
     b"/packages//etc/passwd", b"/packages/%2fetc%2fpasswd", b"/packages/sub/../../x-9.0.tar.gz",
     b"/packages/.upload-0123456789abcdef0123456789abcdef.part",
     b"/packages/.secret-1.0.tar.gz.metadata", b"/packages/../packages-other/secret.txt",
     b"/packages/%c0%ae%c0%ae/secret.txt",
     b"/packages/sub%00/../../secret.txt", b"http://x/packages/../secret.txt",
     b"/packages/" + NAME.encode() + b"/../../secret.txt"],
)  # fmt: skip
def test_known_ways_out_lead_nowhere(guarded: LiveServer, target: bytes) -> None:
    answer = get(guarded.url, target)
    assert SECRET_FILE.encode() not in answer
    assert re.match(rb"HTTP/1\.1 (30\d|40\d)", answer), answer[:200]


def test_nothing_hidden_or_linked_elsewhere_is_listed(guarded: LiveServer) -> None:
    for path in ("/simple/", "/packages/"):
        body = asked(guarded.url, path).body
        assert NAME.encode() in body or b"foo" in body
        for word in (b"secret", b"linked", b".hidden", b"upload-0123", b"x-9.0"):
            assert word not in body


# -- framing ---------------------------------------------------------------------------------------------------------

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
FRAMINGS = {
    "length and coding": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "coding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 0\r\n",
    "list of lengths": b"Content-Length: 4, 0\r\n",
    "signed length": b"Content-Length: +4\r\n",
    "hex length": b"Content-Length: 0x4\r\n",
    "negative length": b"Content-Length: -4\r\n",
    "length with a blank in front of the colon": b"Content-Length : 4\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "coding with a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\n",
    "bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "nul": b"X: \0\r\nContent-Length: 4\r\n",
    "underscore": b"Content_Length: 4\r\n",
    "huge length": b"Content-Length: " + b"9" * 40 + b"\r\n",
}


@every_server
def test_a_request_whose_framing_is_doubtful_gets_one_answer_at_most(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, server=server) as live:
        for name, framing in FRAMINGS.items():
            for body in (b"0\r\n\r\n" + SMUGGLED, b"4\r\nabcd\r\n0\r\n\r\n" + SMUGGLED, SMUGGLED):
                request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n" + framing + b"\r\n" + body
                answers = raw(live.url, request, seconds=0.7, half_close=server != "granian")
                # A second answer is that to what was hidden in the first request's body; a body of no length has none.
                statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
                doubtful = name not in ("underscore",)
                assert len(statuses) <= (1 if doubtful and body is not SMUGGLED else 2), (name, body, answers)
                assert not [status for status in statuses if status.startswith(b"5") and status != b"501"], (
                    name,
                    statuses,
                )
        assert asked(live.url, "/health").status == 200


@every_server
def test_mutated_requests_harm_no_one(server: str, tmp_path: Path) -> None:
    chance = random.Random(server)
    body, kind = form({":action": "file_upload"}, NAME, DATA)
    seeds = [
        b"GET /simple/foo/ HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
    ]
    with serving(tmp_path, *OPEN, server=server) as live:
        for _ in range(int(os.environ.get("FUZZ_EXAMPLES", "150"))):
            data = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(1, 8)):
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(3)] = chance.choice(
                    (b"\0", b"\r\n", b"\n", b":", b" ", b"%", b"\xff", b"\x1b[2J", b"/" * 50)
                )
            answer = raw(live.url, bytes(data), seconds=0.3, half_close=server != "granian")
            status = re.match(rb"HTTP/1\.\d (\d+)", answer)
            assert status is None or status[1][:1] != b"5" or status[1] in (b"501", b"503", b"505"), bytes(data)[:300]
        assert asked(live.url, "/health").status == 200
        assert "Traceback" not in live.output


# -- log lines -------------------------------------------------------------------------------------------------------


@every_server
def test_no_request_writes_a_line_of_the_log_or_moves_the_cursor(server: str, tmp_path: Path) -> None:
    forged = "2026-01-01 00:00:00,000|pypiserver|ERROR|1|FORGED"
    escaped = "".join(f"%{byte:02x}" for byte in f"\r\n{forged}\x1b[2J\x1b]0;x\x07\u2028{forged}\x85{forged}".encode())
    log = tmp_path / "server.log"
    with serving(
        tmp_path, *OPEN, "-vv", "--log-file", log, "--log-req-frmt", "%s", "--log-err-frmt", "%s", server=server
    ) as live:
        for target in (
            f"/simple/{escaped}/",
            f"/packages/{escaped}",
            f"/?x={escaped}",
            f"/{escaped}",
            f"/pypi/{escaped}/json",
        ):
            get(live.url, target.encode())
        for field in (b"User-Agent", b"Referer", b"X-Forwarded-For", b"Authorization", b"Accept", b"Cookie"):
            value = b"\x1b[2J\x7f\xc2\x85" + forged.encode() + b"\t\x0b\x0c"
            head = b"GET /simple/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            raw(live.url, head + field + b": " + value + b"\r\n\r\n")
        upload(live.url, f"foo\n{forged}\x1b[2J-1.0.zip", DATA)
        for number, name in enumerate(("name", "version", ":action", "sha256_digest", "filetype")):
            body, kind = form({":action": "file_upload", name: f"x\r\n{forged}\x1b[2J{number}"}, NAME, DATA)
            asked(live.url, "/", method="POST", body=body, Content_Type=kind)
        (tmp_path / "packages" / "bad\x1b[2J\nname-1.0.zip").write_bytes(b"x")
        eventually(lambda: "Skipped" in log.read_text())
    text = log.read_text() + live.output
    assert "FORGED" in text  # it was logged, as part of a line
    assert not [line for line in text.splitlines() if line.startswith((forged, "    " + forged))]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029]", text)


# -- secrets ---------------------------------------------------------------------------------------------------------


@every_server
def test_a_password_appears_nowhere(server: str, tmp_path: Path) -> None:
    """In no log however detailed, no answer, no file, no title or environment of a process."""
    passwords, log = tmp_path / "htpasswd", tmp_path / "server.log"
    from pypiserver.access.htpasswd_file import set_password

    set_password(passwords, "ada", MARKER)
    encoded = base64.b64encode(f"ada:{MARKER}".encode()).decode()
    bodies = []
    flags = (
        "-P",
        passwords,
        "-a",
        "update,list,download",
        "-vvv",
        "--log-file",
        log,
        "--log-req-frmt",
        "%s",
        "--log-res-frmt",
        "%s",
    )
    with serving(tmp_path, *flags, "--log-err-frmt", "%s", "--disable-fallback", server=server) as live:
        right = {"Authorization": f"Basic {encoded}"}
        bodies.append(upload(live.url, NAME, DATA, **right).body)
        for path in ("/", "/simple/", "/simple/foo/", f"/packages/{NAME}", "/nowhere/at/all", "/packages/none-1.0.zip"):
            bodies.append(asked(live.url, path, **right).body)
        for wrong in (
            f"Basic {encoded}x",
            f"Bearer {MARKER}",
            f"Basic {base64.b64encode(f'bob:{MARKER}'.encode()).decode()}",
            f"Basic {MARKER}",
            MARKER,
        ):
            reply = asked(live.url, "/simple/", Authorization=wrong)
            assert reply.status == 401
            bodies.append(reply.body)
        bodies.append(upload(live.url, "bad name", DATA, **right).body)
        body, kind = form({":action": "nonsense", "password": MARKER, "pypi_token": MARKER})
        bodies.append(asked(live.url, "/", method="POST", body=body, Content_Type=kind, **right).body)
        asked(live.url, f"/simple/?password={MARKER}", **right)
        asked(
            live.url,
            "/simple/",
            Cookie=f"session={MARKER}",
            X_Api_Key=MARKER,
            Proxy_Authorization=f"Basic {encoded}",
            **right,
        )
        for pid in children_of(live.process.pid):
            # One that renders may end meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                bodies += [Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ", "comm")]
    bodies += [live.output.encode()]
    bodies += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (MARKER.encode(), encoded.encode(), encoded.rstrip("=").encode()[:-2]):
        assert not [body[max(0, body.find(secret) - 200) :][:300] for body in bodies if secret in body]


def children_of(pid: int) -> list[int]:
    """A process and what it started."""
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent in found:
            found.append(int(path.parent.name))
    return found


@every_server
def test_no_field_of_an_upload_but_the_file_name_shows_anywhere(server: str, tmp_path: Path) -> None:
    fields = (
        "author",
        "summary",
        "description",
        "home_page",
        "keywords",
        "license",
        "maintainer",
        "comment",
        "pyversion",
        "filetype",
        "metadata_version",
        "classifiers",
    )
    body, kind = form({":action": "file_upload", **{field: f"taint-{field}" for field in fields}}, NAME, DATA)
    log = tmp_path / "server.log"
    with serving(tmp_path, *OPEN, "-vv", "--log-file", log, server=server) as live:
        assert asked(live.url, "/", method="POST", body=body, Content_Type=kind).status == 200
        shown = [
            asked(live.url, path).body
            for path in ("/", "/simple/", "/simple/foo/", "/packages/", "/pypi/foo/json", f"/packages/{NAME}.metadata")
        ]
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [data for data in (*shown, *kept, live.output.encode()) if b"taint-" in data]
