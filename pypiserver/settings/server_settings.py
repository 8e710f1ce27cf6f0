"""The settings of the web server: name, default, flag, parser, unit and help text of each.

**Invariants:** those of :mod:`config`, whose table has these rows.
"""

# ruff: noqa: RUF009 - row() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import address_parsers, parsers, path_parsers
from .setting import setting

# The servers with runners of our own, then bottle's adapters (bottle.server_names of 0.13).
SERVER_NAMES = (
    "auto", "granian", "waitress", "aiohttp", "bjoern", "cgi", "cheroot", "cherrypy", "diesel", "eventlet", "fapws3",
    "flup", "gae", "gevent", "gunicorn", "meinheld", "paste", "tornado", "twisted", "uvloop", "wsgiref",
)

row = partial(setting, group="Server")


@dataclass(frozen=True)
class ServerSettings:
    """Addresses, processes, limits of requests and connections, proxies, health and metrics."""

    host: str = row(
        "0.0.0.0", parse=address_parsers.host, flags=("-i", "--interface", "-H", "--host"), metavar="HOST",  # noqa: S104
        aliases=("interface",), help="Listen on this address; 0.0.0.0 is every IPv4 interface.",
    )
    port: int = row(
        8080, parse=parsers.whole_number(0, 65535), flags=("-p", "--port"), metavar="PORT",
        help="Listen on this port; 0 picks a free one.",
    )
    server: str = row(
        "auto", parse=parsers.one_of(SERVER_NAMES, "server"), flags=("--server",), metavar="METHOD",
        choices=SERVER_NAMES, aliases=("server_method",),
        help="Run this web server; auto is granian, or waitress if granian is not installed.",
    )
    workers: int = row(
        1, parse=parsers.whole_number(1, 1024), flags=("--workers",), metavar="N",
        help="Serve with this many processes, if the web server can.",
    )
    threads: int | None = row(
        None, parse=parsers.whole_number_or_auto, flags=("--threads",), metavar="N", default_text="auto",
        help="Answer at most this many requests at once in each process; under granian on Linux, of those that wait "
        "for a disk, a database or a password's check.",
    )
    max_connections: int = row(
        1500, parse=parsers.whole_number(1, 1_000_000), flags=("--max-connections",), metavar="N",
        help="Keep at most this many connections open in each process.",
    )
    max_uploads: int = row(
        80, parse=parsers.whole_number(1, 100_000), flags=("--max-uploads",), metavar="N",
        help="Receive at most this many uploads at once in each process; answer others with 503 and Retry-After. Where "
        "a thread answers each request (all servers but granian on Linux), at most half of --threads.",
    )
    max_header_size: int = row(
        1 << 16, parse=parsers.size, flags=("--max-header-size",), metavar="SIZE", unit="bytes",
        default_text="64K", help="Refuse requests with larger headers; at least 8K.",
    )
    max_search_size: int = row(
        1 << 20, parse=parsers.size, flags=("--max-search-size",), metavar="SIZE", unit="bytes",
        default_text="1M", help="Refuse larger XML-RPC search requests.",
    )
    stall_timeout: int = row(
        60, parse=parsers.whole_number(1, 86_400), flags=("--stall-timeout",), metavar="SECONDS", unit="seconds",
        help="Close connections that transfer almost no data for this many seconds.",
    )
    drain_seconds: int = row(
        0, parse=parsers.whole_number(0, 86_400), flags=("--drain-seconds",), metavar="N", unit="seconds",
        help="After SIGTERM, report not ready and keep serving for this many seconds before shutting down.",
    )
    pid_file: Path | None = row(
        None, parse=path_parsers.path, flags=("--pid-file",), metavar="FILE",
        help="Write the server's process id to this file while it runs.",
    )
    certificate: Path | None = row(
        None, parse=path_parsers.path, flags=("--certificate",), metavar="FILE",
        help="Serve HTTPS with this certificate chain (PEM); needs --key.",
    )
    key: Path | None = row(
        None, parse=path_parsers.path, flags=("--key",), metavar="FILE",
        help="The private key of --certificate (PEM).",
    )
    server_base_url: str | None = row(
        None, parse=address_parsers.base_address, flags=("--server-base-url",), metavar="URL",
        help="The URL clients use, if the request does not show it, or only its path: /PREFIX/. The server answers "
        "requests with and without that path prefix.",
    )
    trusted_proxy: tuple[address_parsers.Network, ...] = row(
        address_parsers.networks("127.0.0.0/8,::1/128"), parse=address_parsers.networks,
        flags=("--trusted-proxy",), metavar="ADDRESS", action="repeat", default_text="loopback",
        aliases=("trusted_proxies",), split=parsers.words,
        help="Trust forwarding headers from these addresses or networks; may be repeated; 'none' trusts no proxy.",
    )
    forwarded_headers: tuple[str, ...] = row(
        ("proto", "for"), parse=address_parsers.forwarding_headers, flags=("--forwarded-headers",), metavar="NAMES",
        choices=address_parsers.FORWARDING, default_text="proto,for", split=parsers.words,
        help="Trust these headers of trusted proxies, separated by commas: proto, for, host, prefix (of "
        "X-Forwarded), forwarded (RFC 7239), or none. Name only headers that your proxy sets on every request.",
    )
    health_endpoint: str = row(
        "/health", parse=address_parsers.url_path, flags=("--health-endpoint",), metavar="PATH",
        help="Answer health checks at this path, and at PATH/live and PATH/ready.",
    )
    metrics: bool = row(
        False, parse=parsers.boolean, flags=("--metrics",), action="switch",
        help="Serve Prometheus metrics at /metrics to users who may list; needs pypiserver[metrics].",
    )
    metrics_address: tuple[str, int] | None = row(
        None, parse=address_parsers.address, flags=("--metrics-address",), metavar="HOST:PORT",
        help="Serve the metrics at this address instead, without a login.",
    )
