"""The servers we run: the address they take, the banner, how they end, and what they refuse."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import pytest

from pypiserver.__main__ import main
from pypiserver.errors import ConfigError
from pypiserver.server import contract, run
from pypiserver.server.slow_clients import LEAST_BYTES, SlowConnectionReaper
from pypiserver.settings.config import TELLS_NAMES_APART, make_config
from tests.certificates import make_certificate
from tests.live_server import DIRECT, LiveServer, Opener, pypi_server, running
from tests.make_archives import make_wheel
from tests.raising import raises
from tests.unit.wsgi import form

pytestmark = pytest.mark.live

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
HARDENED = ["granian", "waitress"]
every_hardened = pytest.mark.parametrize("server", HARDENED)
OPEN = ("-P", ".", "-a", ".")


@contextlib.contextmanager
def serving(tmp_path: Path, *arguments: str | Path, opener: Opener = DIRECT) -> Iterator[LiveServer]:
    packages = tmp_path / "packages"
    packages.mkdir(exist_ok=True)
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = pypi_server("--disable-fallback", *arguments, packages)
    with running(command, environ=environ, cwd=tmp_path, opener=opener) as server:
        yield server


def connected(server: LiveServer) -> socket.socket:
    netloc = urlsplit(server.url)
    return socket.create_connection((netloc.hostname or "", netloc.port or 0), timeout=20)


def asked(server: LiveServer, request: bytes) -> bytes:
    """Everything the server sends back until it closes the connection, or is silent for a while."""
    answer = b""
    with connected(server) as connection:
        connection.sendall(request)
        connection.settimeout(1.0)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while block := connection.recv(65536):
                answer += block
    return answer


def upload_request(content: bytes = WHEEL_BYTES) -> tuple[bytes, bytes]:
    body, kind = form({":action": "file_upload"}, WHEEL, content)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode(), body


@every_hardened
def test_banner_says_where_what_and_who(server: str, tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / WHEEL).write_bytes(WHEEL_BYTES)
    with serving(tmp_path, "--server", server) as live:
        said = live.output
    # On a busy machine waitress says that a request waits for a thread.
    assert "WARNING" not in said.replace("waitress.queue|WARNING", "")
    assert f"pypiserver is serving at {live.url}/\n" in said
    assert f"index:     {live.url}/simple/\n" in said
    assert f"folder:    {tmp_path / 'packages'}: 1 file\n" in said
    assert "uploads:   refused to everyone (" in said
    assert f"server:    {server}\n" in said
    assert "catalog:   " in said


@every_hardened
def test_banner_counts_damaged_files(server: str, tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / WHEEL).write_bytes(WHEEL_BYTES)
    for name in ("bar-1.0.zip", "bar-1.1.tar.gz"):
        (tmp_path / "packages" / name).write_bytes(b"no archive")
        os.utime(tmp_path / "packages" / name, (1_600_000_000, 1_600_000_000))
    with serving(tmp_path, "--server", server) as live:
        said = live.output
    assert f"damaged:   2 files are not served: pypi-server check {tmp_path / 'packages'}\n" in said
    assert said.count("Skipped bar-1.0.zip") == 1


@every_hardened
def test_banner_and_log_name_the_port_that_the_base_url_does_not_tell(server: str, tmp_path: Path) -> None:
    base = ("--server-base-url", "https://pkgs.example/")
    (tmp_path / "packages").mkdir()
    command = pypi_server("--disable-fallback", "--server", server, "-i", "127.0.0.1", "-p", "0", *base, "packages")
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(list(map(str, command)), cwd=tmp_path, env=environ, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while (said := (tmp_path / "log").read_text()).count("listens on") < 2 and time.monotonic() < deadline:
            assert process.poll() is None, said
            time.sleep(0.05)
        (port,) = re.findall(
            r"^  index:     https://pkgs\.example/simple/ \(listens on 127\.0\.0\.1:(\d+)\)$", said, re.M
        )
        assert f" is serving at https://pkgs.example, and listens on 127.0.0.1:{port} (" in said
        socket.create_connection(("127.0.0.1", int(port)), timeout=20).close()
    finally:
        process.terminate()
        process.wait(60)


@every_hardened
def test_what_is_skipped_is_said_once(server: str, tmp_path: Path) -> None:
    """The command line looks through the folder before the worker does."""
    (tmp_path / "packages").mkdir()
    for name in ("some_wheel.whl", "README.txt"):
        (tmp_path / "packages" / name).write_bytes(b"")
    (tmp_path / "first").mkdir()
    for folder in ("first", "packages"):
        (tmp_path / folder / WHEEL).write_bytes(WHEEL_BYTES)
    with serving(tmp_path, "--server", server, tmp_path / "first") as live:
        assert asked(live, b"GET /simple/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + 10
        while not ("some_wheel.whl" in live.output and WHEEL in live.output) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert live.output.count("Skipped some_wheel.whl") == 1
    assert "README.txt" not in live.output
    first = tmp_path / "first"
    shadowed = f"Skipped {WHEEL} in {tmp_path / 'packages'}: a file of this name comes first: {WHEEL} in {first}\n"
    assert live.output.count(shadowed) == 1


def test_auto_is_a_server_that_can_tell_headers_apart_where_one_says_our_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert make_config(forwarded_headers="host", server="gunicorn").believes_address
    assert contract.Options(tells_names_apart=True).name == ("granian" if contract.IS_ON_LOOP else "waitress")
    monkeypatch.setattr(contract, "IS_ON_LOOP", False)
    monkeypatch.setattr("pypiserver.settings.config.TELLS_NAMES_APART", ("waitress", "gunicorn"))
    assert contract.Options(tells_names_apart=True).name == "waitress"
    with raises(ConfigError, kind="contradiction", setting="forwarded_headers"):
        make_config(forwarded_headers="proto,prefix", server="granian")


def test_auto_is_granian_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contract.Options().name == "granian"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert contract.Options().name == "waitress"


def test_port_in_use_is_said_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["-i", "127.0.0.1", "-p", port, str(tmp_path)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert f"127.0.0.1:{port} is in use by another program" in err
    assert "-p" in err


def test_two_granians_never_share_a_port(tmp_path: Path) -> None:
    """Its workers bind with SO_REUSEPORT, by which a second server could take half of the first one's requests."""
    with (
        serving(tmp_path, "--server", "granian") as live,
        raises(ConfigError, kind="unusable", setting="port"),
        contract.reserved("127.0.0.1", urlsplit(live.url).port or 0),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "kind", "setting"), [("192.0.2.1", "unusable", "host"), ("no such host", "unknown", "host")]
)
def test_address_that_cannot_be_used(host: str, kind: str, setting: str) -> None:
    with raises(ConfigError, kind=kind, setting=setting), contract.reserved(host, 0):
        pass


@every_hardened
def test_sigterm_lets_an_upload_finish(server: str, tmp_path: Path) -> None:
    head, body = upload_request()
    with serving(tmp_path, "--server", server, *OPEN) as live, connected(live) as idle, connected(live) as upload:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"Ok\n"):
            answer += idle.recv(4096)
        upload.sendall(head + body[:100])
        time.sleep(0.3)
        live.process.send_signal(signal.SIGTERM)
        assert idle.recv(4096) == b""
        with pytest.raises(OSError):
            while True:
                connected(live).close()
                time.sleep(0.05)
        upload.sendall(body[100:])
        assert upload.recv(4096).startswith(b"HTTP/1.1 200")
        assert live.process.wait(20) == 0
    assert (tmp_path / "packages" / WHEEL).read_bytes() == WHEEL_BYTES


SMUGGLED = b"GET /health?smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
FRAMINGS = {
    "length and coding": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 45\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "signed length": b"Content-Length: +0\r\n\r\n",
    "blank before the colon": b"Content-Length : 0\r\n\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two hosts": b"Host: y\r\n\r\n",
}


@pytest.fixture(scope="module", params=HARDENED)
def hardened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(tmp_path_factory.mktemp(request.param), "--server", request.param, *OPEN) as live:
        yield live


@pytest.mark.parametrize("rest", FRAMINGS.values(), ids=FRAMINGS)
def test_request_that_can_be_read_in_two_ways_is_answered_once(hardened: LiveServer, rest: bytes) -> None:
    method = b"GET / HTTP/1.1" if rest.startswith(b"Host") else b"POST /simple/ HTTP/1.1"
    answer = asked(hardened, method + b"\r\nHost: x\r\n" + rest + SMUGGLED)
    statuses = re.findall(rb"^HTTP/1\.[01] ([0-9])", answer, re.MULTILINE)
    assert statuses[:1] in ([b"4"], [b"5"])
    assert len(statuses) == 1 or rest.startswith(b"Host")


@pytest.mark.parametrize(
    "path", [b"/metr%ffics", b"/simple/%00", b"/simple/foo/%0a", b"/simple%0d%0a/", b"/%c1%b3imple/"]
)
def test_an_address_that_would_have_to_be_mended_is_refused_by_every_server(hardened: LiveServer, path: bytes) -> None:
    answer = asked(hardened, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"400"


def test_slashes_in_front_lead_past_no_rule_about_health(hardened: LiveServer) -> None:
    around = (b"//health", b"///health/ready", b"/%2fhealth", b"/%2F%2fhealth/live", b"http://a//health", b"/./health")
    for path, status in (*((path, b"404") for path in around), (b"/health/live", b"200"), (b"/health?x=a//b", b"200")):
        answer = asked(hardened, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.split(b" ", 2)[1] == status


SPELLED = [f"X{first}Forwarded{second}{name}" for name in ("Host", "Prefix") for first in "-_" for second in "-_"]


@pytest.mark.parametrize("name", [*SPELLED, *map(str.lower, SPELLED), "Forwarded"])
def test_no_server_believes_what_is_not_named(hardened: LiveServer, name: str) -> None:
    value = (
        "host=evil.example" if name == "Forwarded" else "/evil" if name.lower().endswith("prefix") else "evil.example"
    )
    lines = [f"{name}: {value}".encode()] * 2
    answer = asked(
        hardened, b"\r\n".join([b"GET / HTTP/1.1", b"Host: a.example", b"Connection: close", *lines, b"", b""])
    )
    assert b"http://a.example/simple/" in answer and b"evil" not in answer


@pytest.mark.parametrize("server", TELLS_NAMES_APART)
def test_an_underscore_makes_another_header(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--server", server, "--forwarded-headers", "host,prefix", *OPEN) as live:
        for name in SPELLED:
            real = ["X-Forwarded-Host: real.example", "X-Forwarded-Prefix: /real"]
            evil = [] if "_" not in name else [f"{name}: {'/evil' if name.endswith('Prefix') else 'evil.example'}"]
            for lines in (real + evil, evil + real):
                head = "\r\n".join(["GET / HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""])
                answer = asked(live, head.encode())
                assert b"http://real.example/real/simple/" in answer and b"evil" not in answer


@pytest.mark.parametrize("server", TELLS_NAMES_APART)
def test_an_underscore_makes_another_header_also_of_scheme_and_client(server: str, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serving(tmp_path, "--server", server, "--log-file", str(log), *OPEN) as live:
        for name in SPELLED:
            spelled = name.rpartition("Host")[0] or name.rpartition("Prefix")[0]
            real = ["X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"]
            evil = [f"{spelled}Proto: http", f"{spelled}For: 198.51.100.9"] if "_" in name else []
            for lines in (real + evil, evil + real):
                head = "\r\n".join(["GET / HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""])
                assert b"https://a/simple/" in asked(live, head.encode())
    text = log.read_text()
    assert "192.0.2.1" in text
    assert "198.51.100.9" not in text


def test_slashes_too_many_in_front_mean_the_same_with_every_server(hardened: LiveServer) -> None:
    for target in (b"//simple/", b"///simple/"):
        answer = asked(hardened, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
    answer = asked(hardened, b"GET //evil.example HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"\r\nlocation: simple/evil.example/\r\n" in answer.lower()


def test_header_without_end_is_refused(hardened: LiveServer) -> None:
    answer = asked(hardened, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 300_000 + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 431", b"HTTP/1.0 431")) or answer == b""


def test_others_are_answered_while_many_hold_connections(hardened: LiveServer) -> None:
    head, body = upload_request()
    with contextlib.ExitStack() as stack:
        for start in [b""] * 200 + [b"GET / HTTP/1.1\r\nHos"] * 60 + [head + body[:10]] * 60:
            connection = stack.enter_context(connected(hardened))
            connection.sendall(start)
        began = time.monotonic()
        answer = asked(hardened, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 5


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_connection_on_which_too_little_moves_is_ended() -> None:
    seconds = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        stalled = SlowConnectionReaper(port, 60, crowd=1, clock=lambda: seconds[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listening.accept()
            with accepted:
                assert stalled.look() == 0
                for _ in range(5):
                    seconds[0] += 40
                    client.sendall(b"x" * LEAST_BYTES)
                    accepted.recv(LEAST_BYTES, socket.MSG_WAITALL)
                    assert stalled.look() == 0
                for _ in range(2):
                    # A client that trickles is as much in the way as one that is silent.
                    seconds[0] += 40
                    client.sendall(b"x")
                    ended = stalled.look()
                assert ended == 1
                client.settimeout(10)
                assert client.recv(1) == b""
        # The socket that listens is not one that stalls.
        socket.create_connection(("127.0.0.1", port)).close()


def fill(connection: socket.socket) -> None:
    """Send until nothing more fits for a while: the kernel may take more once it has moved what it has."""
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        try:
            connection.send(bytes(1 << 16))
            deadline = time.monotonic() + 0.3
        except BlockingIOError:
            time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
@pytest.mark.parametrize(("readers", "ended"), [(2, 0), (3, 3)], ids=["few", "a crowd"])
def test_readers_that_do_not_read_are_hurried_when_they_are_a_crowd(readers: int, ended: int) -> None:
    seconds = [0.0]
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.getsockname()[1]
        stalled = SlowConnectionReaper(port, 60, crowd=2, clock=lambda: seconds[0])
        for number in range(readers + 1):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            accepted = stack.enter_context(listening.accept()[0])
            accepted.setblocking(False)
            # The first one has nothing to read, and is in no one's way.
            if number:
                fill(accepted)
        for each in (0.0, 2.0, 4.0, 5.0):
            seconds[0] = each
            found = stalled.look()
        assert found == ended


def test_worker_ends_with_its_parent(tmp_path: Path) -> None:
    with serving(tmp_path, "--server", "granian") as live:
        live.process.kill()
        live.process.wait()
        deadline = time.monotonic() + 15
        with pytest.raises(OSError):
            while time.monotonic() < deadline:
                connected(live).close()
                time.sleep(0.1)


def test_https_with_two_workers(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=certificate.context))
    flags = ("--workers", "2", "--certificate", certificate.chain, "--key", certificate.key)
    with serving(tmp_path, *flags, opener=opener) as live:
        assert live.url.startswith("https://")
        with opener.open(f"{live.url}/simple/", timeout=20) as answer:
            assert answer.status == 200


def test_https_where_the_server_cannot(tmp_path: Path) -> None:
    options = contract.Options(server="waitress", port=0, certificate=tmp_path, key=tmp_path)
    with raises(ConfigError, kind="contradiction", setting="server", value="waitress"):
        run.run(lambda: lambda environ, start: [], options, on_ready=lambda server, port: None)


def test_server_that_is_not_installed_is_said_in_one_sentence() -> None:
    options = contract.Options(server="bjoern", port=0)
    with raises(ConfigError, kind="not-installed", setting="server", value="bjoern"):
        run.run(lambda: lambda environ, start: [], options, on_ready=lambda server, port: None)


def test_any_adapter_of_bottle_serves_and_says_it_is_not_hardened(tmp_path: Path) -> None:
    with serving(tmp_path, "--server", "wsgiref") as live:
        assert asked(live, b"GET /health HTTP/1.0\r\n\r\n").endswith(b"Ok\n")
        assert "wsgiref (works, but is not hardened" in live.output
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(20) == 0


def test_ready_is_told_once_something_accepts() -> None:
    told = threading.Event()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        contract.tell_when_it_accepts("127.0.0.1", contract.port_of(bound), told.set)
        assert not told.wait(0.1)
        bound.listen()
        assert told.wait(10)


@pytest.mark.parametrize("name", ["diesel", "fapws3", "cherrypy", "gevent", "eventlet", "paste", "bjoern"])
def test_a_server_that_cannot_be_used_is_one_sentence(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, name, None)
    root = tmp_path / "packages"  # next to the cache: what is in it would be told to be no packages
    root.mkdir()
    assert main(["-i", "127.0.0.1", "-p", "0", "--server", name, str(root)]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"pypi-server: The server {name} cannot be used")


SEES_IMPORT = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "granian._granian":
            print("told:", os.environ.get("_RJEM_MALLOC_CONF"), flush=True)

sys.meta_path.insert(0, Finder())
from pypiserver.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="granian has another allocator there")
@pytest.mark.parametrize(("own", "told"), [(None, "narenas:1"), ("no_such_option:1", "no_such_option:1")])
def test_granians_allocator_is_told_before_it_is_loaded(own: str | None, told: str, tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    environ |= {"XDG_CACHE_HOME": str(tmp_path), **({"_RJEM_MALLOC_CONF": own} if own else {})}
    command = [sys.executable, "-c", SEES_IMPORT, *pypi_server("--server", "granian", tmp_path / "packages")[3:]]
    with running(command, environ=environ, cwd=tmp_path) as live:
        said = live.output
    assert f"told: {told}\n" in said
    # The allocator complains of what it does not know: so it reads this, and knows what we say.
    assert ("Invalid conf pair" in said) == (own is not None)


def test_a_server_of_green_threads_comes_before_bottle() -> None:
    """bottle keeps the request in a threading.local, which they must have replaced before."""
    code = "import sys, pypiserver.__main__, pypiserver.server.run; sys.exit('bottle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
