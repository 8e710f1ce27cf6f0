"""Traefik with the flags and labels of `docker-compose.yml`, in front of a server on loopback.

What is left out is what reaches for Docker and for Let's Encrypt; tests/image has Traefik read the labels from Docker.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from tests.clients.environments import MissingPythonError, ensure
from tests.cluster.process import own_folder, started
from tests.cluster.services import Front
from tests.live_server import REPOSITORY
from tests.ports import free_ports

HOST = "pypi.example"
_LISTS = {"entrypoints", "middlewares"}
_ELSEWHERE = ("--providers.docker", "--certificatesresolvers.")


def program() -> str:
    """The path of Traefik itself."""
    try:
        return str(ensure("traefik") / "traefik")
    except MissingPythonError as missing:
        pytest.skip(str(missing))


def shipped() -> dict[str, Any]:
    """The services of the compose file."""
    text = (REPOSITORY / "docker-compose.yml").read_text("utf-8").replace("${PYPI_HOST:-pypi.example}", HOST)
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def from_labels(labels: list[str], port: int) -> dict[str, Any]:
    """What the labels say, as a file of Traefik says it; the service is at this port of loopback."""
    said: dict[str, Any] = {}
    for label in labels:
        name, _, value = label.partition("=")
        words = name.split(".")
        if words[1] != "http" or words[-1] == "certresolver":
            continue
        if words[-2:] == ["server", "port"]:
            words, value = [*words[:-2], "servers"], [{"url": f"http://127.0.0.1:{port}"}]  # type: ignore[assignment]
        table = said
        for word in words[1:-1]:
            table = table.setdefault(word, {})
        table[words[-1]] = value.split(",") if words[-1] in _LISTS else value
    (router,), (service,) = said["http"]["routers"].values(), said["http"]["services"]
    # What Docker's labels may leave out.
    router |= {"tls": {}, "service": service}
    return said


def routes(port: int) -> bool:
    """Whether Traefik has read all of it; before that it cuts connections, and then says 404."""
    # The certificate is one that Traefik made itself.
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/health", headers={"Host": HOST})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def traefik_front(server: int) -> Iterator[Front]:
    """Traefik as shipped, with a certificate of its own at `port`; only ports differ."""
    services, (http, https) = shipped(), free_ports(2)
    flags = [flag for flag in services["traefik"]["command"] if not flag.startswith(_ELSEWHERE)]
    ports = {"--entrypoints.http.address=:80": http, "--entrypoints.https.address=:443": https}
    assert set(ports) <= set(flags)
    flags = [f"{flag.rpartition(':')[0]}127.0.0.1:{ports[flag]}" if flag in ports else flag for flag in flags]
    with own_folder("traefik") as folder:
        dynamic = folder / "dynamic.yml"
        dynamic.write_text(yaml.safe_dump(from_labels(services["tls"]["labels"], server)))
        words = [program(), *flags, f"--providers.file.filename={dynamic}", "--global.checknewversion=false"]
        front = Front("traefik", words, folder, lambda: routes(https), port=https)
        with started(front):
            yield front
