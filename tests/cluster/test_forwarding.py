"""What gets through real proxies, configured as printed and documented, of a client's own forwarding headers.

A stranger's header that arrives may be taken for the proxy's. So each is sent in every spelling, once and twice, alone
and as a list, and what the server would get is looked at as bytes: whichever server that is cannot matter then.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pypiserver.__main__ import main
from tests.clients.fronts import documented, documented_apache
from tests.cluster.fronts import haproxy_front, nginx_front
from tests.cluster.services import Front, apache, nginx
from tests.cluster.traefik import traefik_front

NAMES = ("X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded")
EVIL = "evil.example/simple/demo"
SERVER = """
events {}
http {
  client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
  access_log off;
  BLOCK
}
"""


class Echo:
    """A server that says Ok to everything, and keeps the head of the last request that is no health check."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.last = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                head += more
            if b"/health" not in head.partition(b"\r\n")[0]:
                self.last = head
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOk")

    def close(self) -> None:
        self._listening.close()

    def seen(self) -> list[tuple[str, str]]:
        """(name, value) of what arrived; names as a server that knows no difference of - and _ and of case has them."""
        lines = self.last.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":")[::2] for line in lines if ":" in line]
        return [(name.lower().replace("_", "-"), value.strip()) for name, value in pairs]


def spellings(name: str) -> list[str]:
    made = {name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "_").lower()}
    made |= {name.replace("-", "_", 1), name.lower().replace("-", "_", 1).upper()}
    made |= {"-".join(name.rsplit("-", 1)[:1]) + "_" + name.rsplit("-", 1)[-1]} if "-" in name else set()
    return sorted(made)


def connected(port: int, scheme: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    if scheme == "http":
        return connection
    # Else each request waits 40 ms for the other side to confirm the handshake.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A certificate that the proxy made itself.
    return ssl._create_unverified_context().wrap_socket(connection, server_hostname="pypi.example")


def sent(port: int, path: str, *headers: str, scheme: str = "http") -> bytes:
    with connected(port, scheme) as connection:
        lines = [f"GET {path} HTTP/1.1", "Host: pypi.example", "Connection: close", *headers]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer


@contextmanager
def block_of_nginx(block: str) -> Iterator[tuple[Front, Echo]]:
    echo = Echo()

    def configure(folder: Path, port: int) -> str:
        whole = SERVER.replace("BLOCK", block).replace("FOLDER", str(folder)).replace("/var/cache", f"{folder}")
        whole = re.sub(r"listen +80;", f"listen 127.0.0.1:{port};", whole).replace(
            "127.0.0.1:8080", f"127.0.0.1:{echo.port}"
        )
        (folder / "nginx-pypiserver").mkdir()
        (folder / "nginx").mkdir()
        return whole

    with nginx(configure) as front:
        yield front, echo
    echo.close()


def check(port: int, path: str, echo: Echo, scheme: str = "http") -> None:
    """No header of a client's in any spelling arrives as if the proxy had set it."""
    for name in NAMES:
        for spelling in spellings(name):
            for value in (EVIL, f"{EVIL}, {EVIL}", f"for=6.6.6.6;host={EVIL};proto=https"):
                for times in (1, 2):
                    echo.last = b""
                    answer = sent(port, path, *[f"{spelling}: {value}"] * times, scheme=scheme)
                    assert answer.startswith(b"HTTP/1.1 200"), (spelling, answer)
                    assert_clean(echo.seen(), f"{times} times {spelling}: {value}", scheme)


def assert_clean(seen: Sequence[tuple[str, str]], what: str, scheme: str = "http") -> None:
    values: dict[str, list[str]] = {}
    for name, value in seen:
        values.setdefault(name, []).append(value)
    assert values, what
    for name in ("x-forwarded-host", "x-forwarded-prefix", "forwarded"):
        assert "evil" not in ",".join(values.get(name, [])), (what, values)
    assert values["x-forwarded-proto"] == [scheme], (what, values)
    # A client may invent what stands before its own address, which is the last.
    assert len(values["x-forwarded-for"]) == 1, (what, values)
    assert values["x-forwarded-for"][0].rpartition(",")[2].strip() == "127.0.0.1", (what, values)


@pytest.mark.parametrize("flags", [(), ("--server-base-url", "http://pypi.example/pypi/")], ids=["root", "prefix"])
def test_nginx_as_printed(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nginx", *flags, "-i", "127.0.0.1", "-p", "8080", "/srv/packages"]) == 0
    prefix = "/pypi" if flags else ""
    # What is kept would not be asked for.
    block = re.sub(r"\n *proxy_cache\w* (?!/).*?;", "", capsys.readouterr().out)
    with block_of_nginx(block) as (front, echo):
        for path in ("/", "/simple/demo/", "/packages/demo-1.0.tar.gz"):
            check(front.port, prefix + path, echo)


@pytest.mark.parametrize("name", documented())
def test_nginx_as_documented(name: str) -> None:
    block, prefix = documented()[name]
    # What is kept would not be asked for.
    block = re.sub(r"\n *proxy_cache\w* (?!/).*?;", "", block)
    with block_of_nginx(block) as (front, echo):
        for path in ("/", "/simple/demo/", "/packages/demo-1.0.tar.gz"):
            check(front.port, prefix + path, echo)


@pytest.mark.parametrize("of_cluster", [nginx_front, haproxy_front], ids=["nginx", "haproxy"])
def test_the_front_of_a_cluster(of_cluster: Callable[[Sequence[int]], AbstractContextManager[Front]]) -> None:
    # Of as many as there are replicas, any one may be asked.
    made = [Echo() for _ in range(3)]
    heads: list[Echo] = made
    with of_cluster([each.port for each in made]) as front:
        for name in NAMES:
            for spelling in spellings(name):
                for each in heads:
                    each.last = b""
                assert sent(front.port, "/simple/demo/", *[f"{spelling}: {EVIL}"] * 2).startswith(b"HTTP/1.1 200")
                (asked,) = [each for each in heads if each.last]
                assert_clean(asked.seen(), spelling)
    for each in made:
        each.close()


def test_apache_as_documented() -> None:
    block = documented_apache()
    echo = Echo()
    with apache(lambda folder, port: block.replace("127.0.0.1:8080", f"127.0.0.1:{echo.port}")) as front:
        check(front.port, "/pypi/simple/demo/", echo)
    echo.close()


def test_traefik_as_shipped() -> None:
    echo = Echo()
    with traefik_front(echo.port) as front:
        for path in ("/", "/simple/demo/", "/packages/demo-1.0.tar.gz"):
            check(front.port, path, echo, "https")
    echo.close()
