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
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.certificates import Certificate, make_certificate
from tests.clients.fronts import apache_of, documented, documented_apache, documented_https, nginx_of, printed_nginx
from tests.clients.harness import PASSWORD, GetClient, Serve, basic, server_environ
from tests.clients.samples import add_project, add_wheel
from tests.clients.uploaders import FOLLOWING, built, stored
from tests.cluster.fronts import haproxy_front, nginx_front
from tests.live_server import REPOSITORY, pypi_server, running

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
def direct_below(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
    # The address it prints is the one it is told, so its port must be known.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = pypi_server(*flags, *BASE, "-p", str(port), packages)
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


def https(scheme: str) -> Open:
    """On the ports that are written there, so that the redirect leads where it does in the field."""

    @contextmanager
    def way(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
        number = random.SystemRandom()
        host = f"127.{number.randrange(1, 255)}.{number.randrange(1, 255)}.{number.randrange(2, 255)}"
        try:
            socket.create_server((host, 80)).close()
        except OSError as error:
            pytest.skip(f"ports 80 and 443 cannot be used here: {error}")
        certificate = make_certificate(folder, host)
        with nginx_of(documented_https(), serve(*flags).url, host=host, certificate=certificate):
            yield Way(f"{scheme}://{host}", certificate)

    return way


@contextmanager
def of_cluster(
    front: Callable[..., Any], serve: Serve, flags: tuple[str | Path, ...], **options: bool
) -> Iterator[Way]:
    port = urlsplit(serve(*flags).url).port
    with front([port, port, port], **options) as proxy:
        yield Way(proxy.url)


@contextmanager
def below_apache(serve: Serve, packages: Path, folder: Path, flags: tuple[str | Path, ...]) -> Iterator[Way]:
    with direct_below(serve, packages, folder, flags) as inner, apache_of(documented_apache(), inner.url) as front:
        yield Way(f"{front.url}/pypi")


WAYS: dict[str, Open] = {
    "granian": direct,
    "granian, prefix": direct_below,
    "printed nginx": printed(""),
    "printed nginx, prefix": printed("/pypi"),
    "printed nginx, other prefix": printed("/a/index"),
    **{f"documented nginx, {name}": as_documented(name) for name in documented()},
    "documented nginx, http to https": https("http"),
    "documented nginx, https": https("https"),
    "nginx of a cluster": lambda serve, packages, folder, flags: of_cluster(nginx_front, serve, flags, page_cache=True),
    "HAProxy": lambda serve, packages, folder, flags: of_cluster(haproxy_front, serve, flags),
    "Apache": below_apache,
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
            connection = (
                http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
                if parts.scheme == "http"
                else http.client.HTTPSConnection(
                    parts.hostname, timeout=60, context=there.certificate and there.certificate.context
                )
            )
            connection.request("POST", f"{parts.path}{address}" or "/", body, headers)
            status = connection.getresponse().status
            connection.close()
            is_stored = stored(packages) == {WHEEL: data}
            assert (status == 200) is is_stored, (address, status)
            assert is_stored or status == 308 or 400 <= status < 500, (address, status)
            for path in packages.iterdir():
                path.unlink()


def test_traefik_leads_uploads_to_https_as_uploads() -> None:
    """Its redirection of an entry point is 308 for a POST, and 307 when it is not permanent; nothing else redirects."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))["services"]
    flags = [each for each in services["traefik"]["command"] if "redirect" in each]
    assert {re.sub(r".*redirections\.", "", each) for each in flags} == {
        "entrypoint.to=https",
        "entrypoint.scheme=https",
    }
    assert not [each for each in services["tls"]["labels"] if re.search("redirect|stripprefix", each, re.IGNORECASE)]
