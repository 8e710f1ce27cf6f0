"""No upload is lost on its way: through each proxy that is printed or documented it is stored, or the client fails.

An upload that is answered with 301, 302 or 303 becomes a GET without a body, and the page that comes then is taken for
a success. nginx redirects so where an address lacks a slash at its end, and where http leads to https.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.certificates import Certificate, make_certificate
from tests.clients.fronts import (
    apache_of,
    documented,
    documented_apache,
    documented_apache_https,
    documented_https,
    nginx_of,
    printed_nginx,
)
from tests.clients.harness import PASSWORD, GetClient, Serve, basic, server_environ
from tests.clients.samples import add_project, add_wheel
from tests.clients.uploaders import FOLLOWING, built, stored
from tests.cluster.fronts import haproxy_front, nginx_front
from tests.live_server import REPOSITORY, pypi_server, running
from tests.ports import free_port

WHEEL = "newcomer-1.0-py2.py3-none-any.whl"
BASE = ("--server-base-url", "http://127.0.0.1/pypi/")


@dataclass(frozen=True, slots=True)
class Way:
    """An address at which the server can be reached, without a slash at its end."""

    url: str
    certificate: Certificate | None = None


Open = Callable[..., Any]


@contextmanager
def direct(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
    yield Way(serve(*flags).url)


@contextmanager
def direct_below(
    serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...], base: tuple[str, ...] = BASE
) -> Iterator[Way]:
    # The address it prints is the one it is told, so its port must be known.
    port = free_port()
    command = pypi_server(*flags, *base, "-p", str(port), packages)
    address = f"http://127.0.0.1:{port}"
    with running(command, environ=server_environ(folder / "server"), cwd=folder, address=address):
        yield Way(f"{address}/pypi")


def printed(prefix: str) -> Open:
    @contextmanager
    def way(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
        with printed_nginx(packages, folder, *flags, prefix=prefix) as (front, _):
            yield Way(front.url + prefix)

    return way


TOLD = {"prefix": BASE, "X-Forwarded-Prefix": ("--forwarded-headers", "proto,for,prefix")}


def as_documented(name: str) -> Open:
    @contextmanager
    def way(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
        block, prefix = documented()[name]
        told = TOLD.get(name, ())
        if told == BASE:
            with direct_below(serve, packages, folder, flags) as inner, nginx_of(block, inner.url) as front:
                yield Way(front.url + prefix)
        else:
            with nginx_of(block, serve(*flags, *told).url) as front:
                yield Way(front.url + prefix)

    return way


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy for https is to listen, and what it is in front of."""

    packages: Path
    folder: Path
    flags: tuple[str | Path, ...]
    host: str
    certificate: Certificate
    prefix: str
    server: Callable[[], AbstractContextManager[Way]]


def as_printed(place: Place) -> AbstractContextManager[Any]:
    told = {"prefix": place.prefix, "host": place.host, "certificate": place.certificate}
    return printed_nginx(place.packages, place.folder, *place.flags, **told)


@contextmanager
def nginx_https(place: Place) -> Iterator[None]:
    block = documented_https(place.prefix)
    with place.server() as inner, nginx_of(block, inner.url, host=place.host, certificate=place.certificate):
        yield


@contextmanager
def haproxy_https(place: Place) -> Iterator[None]:
    with place.server() as inner:
        port = urlsplit(inner.url).port
        assert port is not None
        with haproxy_front([port, port, port], host=place.host, certificate=place.certificate):
            yield


@contextmanager
def apache_https(place: Place) -> Iterator[None]:
    block = documented_apache_https(place.prefix, place.certificate)
    with place.server() as inner, apache_of(block, inner.url, host=place.host):
        yield


def https(front: Callable[[Place], AbstractContextManager[Any]], scheme: str, prefix: str = "") -> Open:
    """On the ports that are written there, so that the redirect leads where it does in the field."""

    @contextmanager
    def way(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
        number = random.SystemRandom()
        host = f"127.{number.randrange(1, 255)}.{number.randrange(1, 255)}.{number.randrange(2, 255)}"
        try:
            for port in (80, 443):
                socket.create_server((host, port)).close()
        except OSError as error:
            pytest.skip(f"ports 80 and 443 cannot be used here: {error}")
        certificate = make_certificate(folder, host)

        def server() -> AbstractContextManager[Way]:
            if not prefix:
                return direct(serve, packages, folder, flags)
            return direct_below(serve, packages, folder, flags, ("--server-base-url", f"https://{host}{prefix}/"))

        with front(Place(packages, folder, flags, host, certificate, prefix, server)):
            yield Way(f"{scheme}://{host}{prefix}", certificate)

    return way


@contextmanager
def of_cluster(
    front: Callable[..., Any], serve: Serve, flags: tuple[str | Path, ...], **options: bool
) -> Iterator[Way]:
    port = urlsplit(serve(*flags).url).port
    with front([port, port, port], **options) as proxy:
        yield Way(proxy.url)


@contextmanager
def below_haproxy(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
    with direct_below(serve, packages, folder, flags) as inner:
        port = urlsplit(inner.url).port
        assert port is not None
        with haproxy_front([port, port, port]) as proxy:
            yield Way(f"{proxy.url}/pypi")


@contextmanager
def below_apache(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
    with direct_below(serve, packages, folder, flags) as inner, apache_of(documented_apache(), inner.url) as front:
        yield Way(f"{front.url}/pypi")


@contextmanager
def at_apache(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
    with apache_of(documented_apache(""), serve(*flags).url) as front:
        yield Way(front.url)


HTTPS = {
    "printed nginx": as_printed,
    "documented nginx": nginx_https,
    "HAProxy": haproxy_https,
    "Apache": apache_https,
}
WAYS: dict[str, Open] = {
    "granian": direct,
    "granian, prefix": direct_below,
    "printed nginx": printed(""),
    "printed nginx, prefix": printed("/pypi"),
    "printed nginx, other prefix": printed("/a/index"),
    **{f"documented nginx, {name}": as_documented(name) for name in documented()},
    "nginx of a cluster": lambda serve, packages, folder, flags: of_cluster(nginx_front, serve, flags, page_cache=True),
    "HAProxy": lambda serve, packages, folder, flags: of_cluster(haproxy_front, serve, flags),
    "HAProxy, prefix": below_haproxy,
    "Apache": at_apache,
    "Apache, prefix": below_apache,
    **{
        f"{name}{below}, {how}": https(front, scheme, prefix)
        for name, front in HTTPS.items()
        for below, prefix in (("", ""), (", prefix", "/pypi"))
        for how, scheme in (("https", "https"), ("http to https", "http"))
    },
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_every_upload_is_stored_or_fails(
    way: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    with WAYS[way](serve, packages, tmp_path, ("-P", password_file)) as there:
        for name, (tool_name, upload) in FOLLOWING.items():
            tool = client(tool_name)
            if there.certificate is not None:
                tool = replace(tool, trusted=there.certificate.authority)
            for at, ending in enumerate(("/", "", "/simple")):
                project = add_project(tmp_path / name / str(at), "newcomer", "1.0")
                status, output = upload(tool, project, there.url + ending, PASSWORD)
                is_stored = stored(packages) == built(project)
                assert is_stored is (status == 0), (name, there.url + ending, output)
                # Only a redirect to another scheme may be too much for one of them.
                assert is_stored or way.endswith("to https"), (name, there.url + ending, output)
                for path in packages.iterdir():
                    path.unlink()


ADDRESSES = ("", "/", "/simple", "/simple/", "/pypi", "/pypi/", "/legacy", "/legacy/", "/packages", "/packages/",
             "/projects", "/project/newcomer", "/newcomer", "/RPC2", "/simple/newcomer")  # fmt: skip


@every_way
def test_no_address_turns_a_post_into_a_get(
    way: str, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    data = add_wheel(tmp_path, "newcomer", "1.0").read_bytes()
    body = b'--b\r\nContent-Disposition: form-data; name="content"; filename="%b"\r\n\r\n%b\r\n--b--\r\n' % (
        WHEEL.encode(),
        data,
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": basic()}
    with WAYS[way](serve, packages, tmp_path, ("-P", password_file)) as there:
        parts = urlsplit(there.url)
        assert parts.hostname is not None
        for address in ADDRESSES:
            path = f"{parts.path}{address}" or "/"
            connection = (
                http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
                if parts.scheme == "http"
                else http.client.HTTPSConnection(
                    parts.hostname, timeout=60, context=there.certificate and there.certificate.context
                )
            )
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            status, leads_to = answer.status, answer.headers["Location"]
            connection.close()
            is_stored = stored(packages) == {WHEEL: data}
            assert (status == 200) is is_stored, (address, status)
            assert is_stored or status == 308 or 400 <= status < 500, (address, status)
            if way.endswith("to https"):
                assert (status, leads_to) == (308, f"https://{parts.hostname}{path}"), address
            for each in packages.iterdir():
                each.unlink()


def test_traefik_leads_uploads_to_https_as_uploads() -> None:
    """Its redirection of an entry point is 308 for a POST, and 307 when it is not permanent; nothing else redirects."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))["services"]
    flags = [each for each in services["traefik"]["command"] if "redirect" in each]
    assert {re.sub(r".*redirections\.", "", each) for each in flags} == {
        "entrypoint.to=https",
        "entrypoint.scheme=https",
    }
    assert not [each for each in services["tls"]["labels"] if re.search("redirect|stripprefix", each, re.IGNORECASE)]
