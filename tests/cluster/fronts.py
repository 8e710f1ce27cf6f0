"""The configurations of `docs/howto/cluster`, with other ports and folders and nothing else changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import Certificate
from tests.cluster.services import Front, haproxy, nginx
from tests.live_server import REPOSITORY

DOCS = REPOSITORY / "docs" / "howto" / "cluster"
PORTS = (8081, 8082, 8083)
INCLUDE = "# include page-cache.conf;"
TEMPORARY = "".join(
    f"\n  {kind}_temp_path FOLDER/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


def changed(text: str, changes: Sequence[tuple[str, str]]) -> str:
    """The text with each of these replaced; every one must be there."""
    for old, new in changes:
        assert old in text, f"{old!r} is not in the configuration any more"
        text = text.replace(old, new)
    return text


def with_ports(text: str, ports: Sequence[int]) -> str:
    """The text with other replicas."""
    return changed(text, [(f"127.0.0.1:{old}", f"127.0.0.1:{new}") for old, new in zip(PORTS, ports, strict=True)])


@contextmanager
def nginx_front(ports: Sequence[int], *, page_cache: bool = False) -> Iterator[Front]:
    """nginx as documented, in front of replicas at these ports."""

    def configure(folder: Path, port: int) -> str:
        known = [
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("/var/cache/nginx/pypiserver", f"{folder}/cache"),
            ("\nhttp {", "\nhttp {" + TEMPORARY.replace("FOLDER", str(folder))),
            (INCLUDE, f"include {DOCS}/page-cache.conf;" if page_cache else INCLUDE),
        ]
        return changed(with_ports((DOCS / "nginx.conf").read_text(), ports), known)

    with nginx(configure) as front:
        yield front


@contextmanager
def haproxy_front(ports: Sequence[int], *, host: str = "", certificate: Certificate | None = None) -> Iterator[Front]:
    """HAProxy as documented, in front of replicas at these ports.

    With a ``certificate`` it listens at ``host`` on the ports that are written there, and redirects from the one to the
    other, as its comments say.
    """

    def configure(folder: Path, port: int) -> str:
        text, here = with_ports((DOCS / "haproxy.cfg").read_text(), ports), f"bind 127.0.0.1:{port}"
        if certificate is None:
            return changed(text, [("bind :80", here)])
        pem = folder / "pypi.pem"
        pem.write_text(certificate.chain.read_text() + certificate.key.read_text())
        (secure,) = re.findall(r"^#.*\((bind :443 .*)\)\.$", text, re.MULTILINE)
        # The port of loopback is only to tell that HAProxy is ready.
        text = changed(text, [("\n  bind :80\n", f"\n  {here}\n  bind :80\n  {secure}\n")])
        known = [("# http-request redirect", "http-request redirect"), ("/etc/haproxy/pypi.pem", str(pem))]
        return changed(text, [*known, ("bind :", f"bind {host}:")])

    with haproxy(configure) as front:
        yield front


FRONTS: dict[str, Callable[[Sequence[int]], object]] = {"nginx": nginx_front, "haproxy": haproxy_front}
