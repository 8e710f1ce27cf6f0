"""The servers that are compared: ours and bare bottle under each WSGI server, and nginx; peers.py has the others.

A target starts on a folder and a port; a peer that cannot be installed or filled is left out, with a sentence why.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .corpus import FILE, PROJECT
from .processes import HOST, Server, fetch, request, running

HERE = Path(__file__).resolve().parents[2]
SERVERS = ("granian", "waitress", "gunicorn")
JSON = "application/vnd.pypi.simple.v1+json"
# What is asked for, by the name of the figure: address, headers. The bare application and nginx have copies of it.
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "index": ("/simple/", {}),
    "page": (f"/simple/{PROJECT}/", {}),
    "page json": (f"/simple/{PROJECT}/", {"Accept": JSON}),
    "page 2000 files": ("/simple/many/", {}),
    "page 304": (f"/simple/{PROJECT}/", {"If-None-Match": "?"}),
    "metadata": (f"/packages/{FILE}.metadata", {}),
    "file": (f"/packages/{FILE}", {}),
}
# Headers of a request that gets a line in an access log, and of one that gets none; see logged.py.
LOGGED, UNLOGGED = {"X-Log": "yes"}, {"X-Log": "no"}
_NGINX = string.Template("""
daemon off; pid $folder/nginx.pid; error_log stderr crit; worker_processes 2; $user
events {}
http {
  access_log off; sendfile on; client_body_temp_path $folder/t1;
  proxy_temp_path $folder/t2; fastcgi_temp_path $folder/t3;
  uwsgi_temp_path $folder/t4; scgi_temp_path $folder/t5; keepalive_requests 1000000000; types {} default_type text/html;
  proxy_cache_path $folder/cache levels=1:2 keys_zone=kept:10m max_size=1g use_temp_path=off;
  upstream pypi { server 127.0.0.1:$upstream; keepalive 16; }
  server { listen 127.0.0.1:$port; $locations }
}
""")
_STATIC = "root $folder/static; index index.html;"
# What `pypi-server nginx` prints, with the cache in the scratch folder.
_FRONT = """
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location / { proxy_pass http://pypi; }
    location /simple/ { proxy_cache_lock on; $kept }
    location /packages/ { $kept }
    location /protected$packages/ { internal; alias $packages/; sendfile on; }
"""
_KEPT = """
      proxy_pass http://pypi; proxy_cache kept; proxy_cache_key $scheme$http_host$request_uri;
      proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s; proxy_cache_revalidate on;
      open_file_cache max=10000;
"""


class Unusable(Exception):  # noqa: N818 - a sentence for the reader, not a bug
    """Why a target is left out."""


@dataclass(frozen=True, eq=False)
class Target:
    """A server to measure: how to start it, what it is compared with, and where it has what is asked for.

    ``paths`` differ from those of ours where a peer has other addresses; a case without a path is not measured.
    """

    name: str
    start: Callable[[Corpus], contextlib.AbstractContextManager[Server]]
    baseline: str = ""
    paths: dict[str, str] = field(default_factory=lambda: {name: path for name, (path, _) in CASES.items()})
    is_ours: bool = False
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """Where a server takes uploads, and the user and password it wants with them."""

    path: str = "/"
    login: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """A folder to serve, and a folder for what else a target needs."""

    folder: Path
    scratch: Path
    number: int

    @property
    def environ(self) -> dict[str, str]:
        """The environment of our own processes; the catalog is in the scratch folder."""
        return {
            **os.environ,
            "XDG_CACHE_HOME": str(self.scratch / "cache"),
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "bin")]),
        }


def ours(server: str, *flags: str, is_empty: bool = False) -> Target:
    """Our application under a server, with the settings we recommend; ``is_empty``: its folder has no packages."""

    def start(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
        def command(port: int) -> Sequence[str]:
            common = ("-p", str(port), "-i", HOST, "--log-stream", "none", "--server", server)
            return [sys.executable, "-m", "pypiserver", *common, *flags, str(corpus.folder)]

        is_ready = _answers if is_empty else _lists_all
        return running(f"pypiserver ({server})", command, corpus.environ, is_ready=is_ready)

    limit = "bare rsgi" if server == "granian" and sys.platform == "linux" else f"bare bottle ({server})"
    return Target(f"pypiserver ({server})", start, limit, is_ours=True, upload=Upload())


def bare(server: str) -> Target:
    """A bottle application that returns the same bytes under the same server; needs :func:`copy_answers` first."""

    def start(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
        def command(port: int) -> Sequence[str]:
            return [sys.executable, "-m", "benchmarking.bare", server, str(port), str(corpus.scratch / "answers")]

        return running(f"bare bottle ({server})", command, corpus.environ, is_ready=_answers)

    return Target(f"bare bottle ({server})", start, f"bare bottle ({server})")


def bare_rsgi() -> Target:
    """The same bytes by granian's own interface, from its event loop; needs :func:`copy_answers` first."""

    def start(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
        def command(port: int) -> Sequence[str]:
            where = ("--host", HOST, "--port", str(port), "--no-ws", "--http", "1", "--log-level", "error")
            return [
                sys.executable,
                "-m",
                "granian",
                "--interface",
                "rsgi",
                *where,
                "benchmarking.bare_rsgi:application",
            ]

        environ = {**corpus.environ, "BARE_ANSWERS": str(corpus.scratch / "answers")}
        return running("bare rsgi", command, environ, is_ready=_answers)

    return Target("bare rsgi", start, "bare rsgi")


def logged() -> Target:
    """Ours with an access log for those requests that ask for it, in :mod:`benchmarking.logged`."""

    def start(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
        def command(port: int) -> Sequence[str]:
            log = corpus.scratch / "access.log"
            return [sys.executable, "-m", "benchmarking.logged", str(port), str(corpus.folder), str(log)]

        return running("pypiserver (granian, with a log)", command, corpus.environ, is_ready=_lists_all)

    return Target("pypiserver (granian, with a log)", start)


def nginx() -> Target:
    """nginx with the same bytes as files; needs :func:`copy_answers` first."""
    paths = {name: path for name, (path, _) in CASES.items() if name != "page json"}
    return Target("nginx static", lambda corpus: _nginx(corpus, _STATIC, 0, _answers), "nginx static", paths)


def behind_nginx() -> Target:
    """Ours behind nginx that keeps pages and small files, and sends large ones itself, as we recommend it."""

    @contextlib.contextmanager
    def start(corpus: Corpus) -> Iterator[Server]:
        upstream = ours("granian", "--accel", "nginx")
        with upstream.start(corpus) as server, _nginx(corpus, _FRONT, server.port, _lists_all) as nginx:
            nginx.behind = [server]
            yield nginx

    return Target("pypiserver behind nginx", start, "nginx static", is_ours=True)


def _nginx(
    corpus: Corpus, locations: str, upstream: int, is_ready: Callable[[int], bool]
) -> contextlib.AbstractContextManager[Server]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Unusable("nginx is not installed")
    folder = corpus.scratch / f"nginx-{upstream or 'static'}"
    folder.mkdir(exist_ok=True)
    place = corpus.scratch if not upstream else folder

    def command(port: int) -> Sequence[str]:
        user = "user root;" if os.getuid() == 0 else ""
        filled = string.Template(locations).safe_substitute(folder=place, packages=corpus.folder, kept=_KEPT)
        text = _NGINX.substitute(folder=folder, port=port, upstream=upstream or 9, locations=filled, user=user)
        (folder / "nginx.conf").write_text(text)
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]

    return running("nginx", command, dict(os.environ), is_ready=is_ready)


def copy_answers(server: Server, corpus: Corpus) -> None:
    """Keep what our server answers, for the bare application and for nginx."""
    answers, static = corpus.scratch / "answers", corpus.scratch / "static"
    answers.mkdir(exist_ok=True)
    rows = []
    for name, (path, headers) in CASES.items():
        asked = {key: value for key, value in headers.items() if value != "?"}
        status, found, body = request(server.port, path, headers=asked)
        if status != 200 or name == "page 304":
            continue
        kept = {key: value for key, value in found.items() if key not in ("date", "server", "connection")}
        file = answers / name.replace(" ", "-")
        file.write_bytes(body)
        rows.append(
            {
                "path": path,
                "accept": headers.get("Accept", ""),
                "file": str(file),
                "headers": kept,
                "open": name == "file",
            }
        )
        if not headers:
            copy = static / path.strip("/") / ("index.html" if path.endswith("/") else "")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(body)
    (answers / "table.json").write_text(json.dumps(rows))


def _lists_all(port: int) -> bool:
    status, _, body = request(port, "/simple/")
    return status == 401 or f"{PROJECT}/".encode() in body


def _answers(port: int) -> bool:
    return bool(fetch(port, "/simple/"))


def usable(target: Target, corpus: Corpus, stack: contextlib.ExitStack) -> Server:
    """Start a target; raises Unusable with the reason when that is not possible."""
    try:
        server: Server = stack.enter_context(target.start(corpus))
    except (OSError, RuntimeError, http.client.HTTPException, subprocess.SubprocessError) as error:
        raise Unusable(str(error)) from error
    return server
