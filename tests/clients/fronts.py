"""The proxies that are printed and documented, with other ports and folders and nothing else changed."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pypiserver.__main__ import main
from tests.certificates import Certificate
from tests.clients.harness import server_environ
from tests.cluster.services import Front, apache, nginx
from tests.live_server import REPOSITORY, LiveServer, pypi_server, running
from tests.ports import free_ports

PAGE = REPOSITORY / "docs" / "howto" / "reverse-proxy.rst"
WHOLE = """
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
BLOCK
}
"""
PASS_ON = "      location / {\n        proxy_pass        http://pypi;\n      }\n"


def blocks(title: str) -> list[str]:
    """The literal blocks of one section of the page, as they are indented there."""
    text = PAGE.read_text("utf-8")
    section = re.split(r"\n[^\n]+\n[=-]{3,}\n", text.partition(f"\n{title}\n")[2])[0]
    found = re.findall(r"^(?:(?:    .*)?\n)+", section, re.MULTILINE)
    return [block.strip("\n") + "\n" for block in found if block.strip()]


def documented_root() -> str:
    """The configuration at the root of a host."""
    (block,) = [each for each in blocks("nginx") if "upstream" in each]
    assert PASS_ON in block
    return block


def documented_prefix(way: str = "") -> str:
    """The one below /pypi/, with the prefix told by a header where ``way`` names it."""
    locations, host, prefix = [each for each in blocks("Below a prefix") if "pypi-server" not in each]
    block = documented_root().replace(PASS_ON, locations)
    for header, line in (("X-Forwarded-Host", host), ("X-Forwarded-Prefix", prefix)):
        if way == header:
            block = re.sub(rf" *proxy_set_header +{header} .*;\n", line, block)
    return re.sub(r" *proxy_set_header +Host .*;\n", "", block) if way == "X-Forwarded-Host" else block


def documented_https(prefix: str = "") -> str:
    """Port 443, and port 80 that leads there; below /pypi/ with that prefix."""
    (block,) = [each for each in blocks("HTTPS") if "upstream" in each]
    assert PASS_ON in block
    locations = next(each for each in blocks("Below a prefix") if "location /pypi/" in each)
    return block.replace(PASS_ON, locations) if prefix else block


def documented_cache() -> str:
    """The one at the root, with files and pages kept by nginx."""
    zone, files = blocks("Caching")
    (pages,) = blocks("Pages from nginx")
    return zone + documented_root().replace(PASS_ON, PASS_ON + files + pages)


def documented_accel(packages: Path) -> str:
    """The one at the root, with files that nginx sends itself."""
    (inside,) = blocks("Files sent by nginx itself")
    return documented_root().replace(PASS_ON, PASS_ON + inside.replace("/srv/packages", str(packages)))


def documented() -> dict[str, tuple[str, str]]:
    """(configuration, prefix) of each nginx on the page, by what it is about."""
    return {
        "root": (documented_root(), ""),
        "prefix": (documented_prefix(), "/pypi"),
        "X-Forwarded-Host": (documented_prefix("X-Forwarded-Host"), "/pypi"),
        "X-Forwarded-Prefix": (documented_prefix("X-Forwarded-Prefix"), "/pypi"),
        "cache": (documented_cache(), ""),
    }


def documented_apache(prefix: str = "/pypi") -> str:
    """Apache below /pypi/, or without a prefix at the root of a host."""
    block = next(each for each in blocks("Apache") if "<Location" in each)
    if prefix:
        return block
    told = r"without a prefix it\s+is\s+``(<Location .+?>)``\s+and\s+``ProxyPass (.+?)``"
    ((location, onward),) = re.findall(told, PAGE.read_text("utf-8"))
    return re.sub(r'(ProxyPass +)"\S+"', rf"\g<1>{onward}", re.sub("<Location .*>", location, block))


def documented_apache_https(prefix: str, certificate: Certificate) -> str:
    """Apache on port 443, and port 80 with the line that leads there, at a host called pypi.example."""
    (redirect,) = re.findall(r"Lead from http to https with ``(Redirect .*)``", PAGE.read_text("utf-8"))
    return f"""
Listen pypi.example:80
Listen pypi.example:443
<VirtualHost pypi.example:80>
    {redirect}
</VirtualHost>
<VirtualHost pypi.example:443>
    SSLEngine on
    SSLCertificateFile "{certificate.chain}"
    SSLCertificateKeyFile "{certificate.key}"
{documented_apache(prefix)}
</VirtualHost>
"""


def printed(*arguments: str | Path) -> str:
    """What `pypi-server nginx` prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["nginx", *map(str, arguments)]) == 0
    return said.getvalue()


@contextmanager
def nginx_of(
    block: str, upstream: str, *, host: str = "127.0.0.1", certificate: Certificate | None = None
) -> Iterator[Front]:
    """nginx with what is in its ``http``, in front of the server at ``upstream``.

    With a ``certificate`` it listens on the ports that are written there, so that redirects lead where they should.
    """

    def configure(folder: Path, port: int) -> str:
        text = re.sub(r"\b127\.0\.0\.1:8080\b", urlsplit(upstream).netloc, block)
        for kept in set(re.findall(r"/var/cache/[\w/-]+", text)):
            text = text.replace(kept, f"{folder}/{kept.rpartition('/')[2]}")
        if certificate is not None:
            text = re.sub(r"(ssl_certificate +).*;", rf"\g<1>{certificate.chain};", text)
            text = re.sub(r"(ssl_certificate_key +).*;", rf"\g<1>{certificate.key};", text)
            text = re.sub(r"\blisten( +)(80|443)\b", rf"listen\g<1>{host}:\g<2>", text)
            # Only to tell that nginx is ready.
            text += f"server {{ listen 127.0.0.1:{port}; }}\n"
        else:
            text = re.sub(r"\blisten( +)80\b", rf"listen\g<1>127.0.0.1:{port}", text)
        return WHOLE.replace("BLOCK", text).replace("FOLDER", str(folder))

    with nginx(configure) as front:
        yield front


@contextmanager
def apache_of(block: str, upstream: str, *, host: str = "pypi.example") -> Iterator[Front]:
    """Apache with this in its configuration, in front of the server at ``upstream``; ``host`` is its own name."""
    told = textwrap.dedent(block).replace("127.0.0.1:8080", urlsplit(upstream).netloc).replace("pypi.example", host)
    with apache(lambda folder, port: told) as front:
        yield front


@contextmanager
def printed_nginx(
    packages: Path,
    folder: Path,
    *flags: str | Path,
    prefix: str = "",
    host: str = "127.0.0.1",
    certificate: Certificate | None = None,
) -> Iterator[tuple[Front, LiveServer]]:
    """nginx as it is printed for these flags, below a prefix or not, and the server as it is told to be started.

    With a ``certificate`` it is printed for https.
    """
    (port,) = free_ports(1)
    told = (*flags, "--disable-fallback", "-p", str(port), "-i", "127.0.0.1")
    if certificate is not None:
        told = (*told, "--server-base-url", f"https://{host}{prefix}/")
    elif prefix:
        # The port that nginx gets here is not known yet.
        told = (*told, "--server-base-url", f"{prefix}/")
    command = pypi_server("--accel", "nginx", *told, packages)
    environ, address = server_environ(folder / "server"), f"http://127.0.0.1:{port}"
    with (
        running(command, environ=environ, cwd=folder, address=address) as server,
        nginx_of(printed(*told, packages), server.url, host=host, certificate=certificate) as front,
    ):
        yield front, server
