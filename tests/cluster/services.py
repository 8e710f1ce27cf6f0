"""Real PostgreSQL and proxies on loopback, for as long as a block lasts; the object stores are in `buckets`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.process import Service, accepts, dropped, other_user, own_folder, program, started
from tests.ports import free_ports

NGINX_PACKAGE, HAPROXY_PACKAGE, APACHE_PACKAGE = "nginx-light", "haproxy", "apache2"


def _newest_postgresql() -> str:
    """The folder of Debian's newest server, whose programs are not on PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(versions, key=lambda path: int(path.parts[-3].partition(".")[0]))[-1:]
    return str(newest[0].parent) if newest else ""


@dataclass
class PostgreSQL(Service):
    """A database server with one superuser, asked for no password; `user` is whom its processes belong to."""

    port: int = 0
    user: str = ""

    def url(self, database: str = "postgres") -> str:
        """The address of a database, as `--catalog` takes it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database; returns its address."""
        self.sql(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement; returns the rows, a line each, with | between the values."""
        psql = program("psql", "postgresql-client", also_in=_newest_postgresql())
        command = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout.strip()


@contextmanager
def postgresql(*, fsync: bool = False) -> Iterator[PostgreSQL]:
    """A database server of its own, without any data; with `fsync` it writes as a real one does."""
    programs = _newest_postgresql()
    initdb = program("initdb", "postgresql", also_in=programs)
    postgres = program("postgres", "postgresql", also_in=programs)
    user = other_user()
    with own_folder("postgresql", user) as folder:
        data, (port,) = folder / "data", free_ports(1)
        options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        make = dropped([initdb, "-D", data, *options], user)
        subprocess.run([str(word) for word in make], check=True, capture_output=True, cwd=folder, timeout=120)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if fsync else "off",
            "max_connections": "200",
        }
        chosen = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = dropped([postgres, "-D", data, "-p", str(port), *chosen], user)
        isready = program("pg_isready", "postgresql-client", also_in=programs)
        # SIGINT ends the connections that clients hold; SIGTERM would wait for the clients.
        stop = signal.SIGINT
        server = PostgreSQL(
            "postgresql", command, folder, _ready(isready, port), stop_signal=stop, port=port, user=user
        )
        with started(server):
            yield server


def _ready(isready: str, port: int) -> Callable[[], bool]:
    command = [isready, "-q", "-h", "127.0.0.1", "-p", str(port)]
    return lambda: subprocess.run(command, check=False).returncode == 0


@dataclass
class Front(Service):
    """A proxy in front of replicas; `url` has no slash at its end."""

    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def nginx(configure: Callable[[Path, int], str]) -> Iterator[Front]:
    """nginx with the configuration that `configure(folder, port)` returns; what it writes lies in that folder."""
    command = program("nginx", NGINX_PACKAGE)
    with own_folder("nginx") as folder:
        (port,) = free_ports(1)
        configuration = folder / "nginx.conf"
        configuration.write_text(configure(folder, port))
        words = [command, "-p", folder, "-e", "stderr", "-c", configuration, "-g", _foreground(folder)]
        # SIGQUIT is the end that lets running requests finish.
        front = Front("nginx", words, folder, lambda: accepts(port), stop_signal=signal.SIGQUIT, port=port)
        with started(front):
            yield front


def _foreground(folder: Path) -> str:
    """What is nginx's own business on this machine, and not the configuration's."""
    as_root = " user root;" if os.getuid() == 0 else ""
    return f"daemon off; pid {folder}/nginx.pid;{as_root}"


@contextmanager
def haproxy(configure: Callable[[Path, int], str]) -> Iterator[Front]:
    """HAProxy with the configuration that `configure(folder, port)` returns."""
    command = program("haproxy", HAPROXY_PACKAGE)
    with own_folder("haproxy") as folder:
        (port,) = free_ports(1)
        configuration = folder / "haproxy.cfg"
        configuration.write_text(configure(folder, port))
        # SIGUSR1 is the end that lets running requests finish; without a master process it is this one that gets it.
        words = [command, "-db", "-f", configuration]
        front = Front("haproxy", words, folder, lambda: accepts(port), stop_signal=signal.SIGUSR1, port=port)
        with started(front):
            yield front


_APACHE = """
ServerRoot "{folder}"
PidFile "{folder}/pid"
ErrorLog "/dev/stderr"
ServerName localhost
Listen 127.0.0.1:{port}
{user}
{modules}
"""
# Those of the proxy and of https, and dir and alias, which Debian loads and which redirect too.
_MODULES = ("mpm_event", "authz_core", "dir", "alias", "headers", "ssl", "proxy", "proxy_http")


@contextmanager
def apache(configure: Callable[[Path, int], str]) -> Iterator[Front]:
    """Apache with what `configure(folder, port)` returns, and the modules that a proxy needs."""
    command = program("apache2", APACHE_PACKAGE)
    modules = Path("/usr/lib/apache2/modules")
    loaded = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _MODULES)
    with own_folder("apache") as folder:
        (port,) = free_ports(1)
        user = "User www-data\nGroup www-data" if os.getuid() == 0 else ""
        configuration = folder / "apache.conf"
        whole = _APACHE.format(folder=folder, port=port, user=user, modules=loaded) + configure(folder, port)
        configuration.write_text(whole)
        words = [command, "-X", "-f", configuration]
        front = Front("apache", words, folder, lambda: accepts(port), stop_signal=signal.SIGTERM, port=port)
        with started(front):
            yield front
