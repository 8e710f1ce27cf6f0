"""A rights file behind the proxies as shipped: what one user gets is never given to another, whatever the proxy keeps.

Requests of users take turns on a few connections, which proxies share between clients.
"""

from __future__ import annotations

import base64
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import set_password
from tests.clients.samples import add_wheel
from tests.cluster.fronts import DOCS, changed, haproxy_front, nginx_front, with_ports
from tests.cluster.services import Front, haproxy
from tests.cluster.traefik import HOST, traefik_front
from tests.live_server import REPOSITORY, pypi_server, running

KEEPING = """
cache pages
  total-max-size 64
  max-age 3600

backend replicas
  http-request cache-use pages
  http-response cache-store pages
"""
PATHS = ("/simple/", "/simple/demo/", "/packages/FILE", "/projects/", "/pypi/demo/json")


@contextmanager
def keeping_haproxy(ports: Sequence[int]) -> Iterator[Front]:
    """HAProxy as documented, with a cache of its own in front of the replicas."""

    def configure(folder: Path, port: int) -> str:
        known = [("bind :80", f"bind 127.0.0.1:{port}"), ("\nbackend replicas\n", KEEPING)]
        return changed(with_ports((DOCS / "haproxy.cfg").read_text(), ports), known)

    with haproxy(configure) as front:
        yield front


@contextmanager
def keeping_nginx(ports: Sequence[int]) -> Iterator[Front]:
    with nginx_front(ports, page_cache=True) as front:
        yield front


@contextmanager
def shipped_traefik(ports: Sequence[int]) -> Iterator[Front]:
    with traefik_front(ports[0]) as front:
        yield front


FRONTS: dict[str, Callable[[Sequence[int]], AbstractContextManager[Front]]] = {
    "haproxy": haproxy_front,
    "haproxy with a cache": keeping_haproxy,
    "nginx with a cache": keeping_nginx,
    "traefik": shipped_traefik,
}


def asked(front: Front, path: str, user: str = "") -> tuple[int, bytes, str]:
    """Status, body and Cache-Control, as a client of that name gets them."""
    is_secure = front.name == "traefik"
    url = f"{'https' if is_secure else 'http'}://127.0.0.1:{front.port}{path}"
    request = urllib.request.Request(url, headers={"Accept": "text/html", **({"Host": HOST} if is_secure else {})})
    if user:
        login = base64.b64encode(f"{user}:sesame".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    # The certificate is one that Traefik made itself.
    context = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), context)
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers["Cache-Control"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Cache-Control"]


@pytest.mark.parametrize("kind", FRONTS)
def test_what_needs_a_login_is_never_shared(kind: str, tmp_path: Path) -> None:
    packages, passwords, rights = tmp_path / "packages", tmp_path / "htpasswd", tmp_path / "rights"
    packages.mkdir()
    for name in ("demo", "open"):
        add_wheel(packages, name, "1.0")
    file = next(packages.glob("demo*")).name
    for user in ("ada", "bob"):
        set_password(passwords, user, "sesame")
    rights.write_text("ada read demo\neveryone read open\nbob read other\n")
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = pypi_server("-P", passwords, "--rights", rights, "--disable-fallback", packages)
    with running(command, environ=environ, cwd=tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        with FRONTS[kind]([port] * 3) as front:
            for path in [each.replace("FILE", file) for each in PATHS * 3]:
                status, body, control = asked(front, path, "ada")
                assert (status, b"demo" in body) == (200, True), path
                assert "private" in control or "no-store" in control, path
                for user, refusal in (("bob", 404), ("", 401)):
                    status, body, _ = asked(front, path, user)
                    is_list = path in ("/simple/", "/projects/")
                    assert status == (200 if is_list else refusal), (path, user)
                    assert not is_list or b"demo" not in body
            # A change counts behind the proxy at the next request, too.
            rights.write_text("bob read demo\n")
            assert [asked(front, "/simple/demo/", user)[0] for user in ("ada", "bob", "")] == [404, 200, 401]
