"""The servers that are compared: ours and bare bottle under each WSGI server, nginx, and peers from the package index.

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
import venv
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
_FRONT = """
    location / { proxy_pass http://pypi; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache kept; }
    location /simple/ { proxy_pass http://pypi; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache kept; proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s; proxy_cache_revalidate on;
      proxy_cache_use_stale updating; proxy_cache_lock on; }
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


@dataclass(frozen=True, slots=True)
class Corpus:
    """A folder to serve, and a folder for what a target needs besides."""

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


def ours(server: str, *flags: str) -> Target:
    """Our application under a server, with the settings we recommend."""

    def start(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
        def command(port: int) -> Sequence[str]:
            common = ("-p", str(port), "-i", HOST, "--log-stream", "none", "--server", server)
            return [sys.executable, "-m", "pypiserver", *common, *flags, str(corpus.folder)]

        return running(f"pypiserver ({server})", command, corpus.environ, is_ready=_lists_all)

    return Target(f"pypiserver ({server})", start, f"bare bottle ({server})", is_ours=True)


def bare(server: str) -> Target:
    """A bottle application that returns the same bytes under the same server; needs :func:`copy_answers` first."""

    def start(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
        def command(port: int) -> Sequence[str]:
            return [sys.executable, "-m", "benchmarking.bare", server, str(port), str(corpus.scratch / "answers")]

        return running(f"bare bottle ({server})", command, corpus.environ, is_ready=_answers)

    return Target(f"bare bottle ({server})", start, f"bare bottle ({server})")


def nginx() -> Target:
    """nginx with the same bytes as files; needs :func:`copy_answers` first."""
    paths = {name: path for name, (path, _) in CASES.items() if name != "page json"}
    return Target("nginx static", lambda corpus: _nginx(corpus, _STATIC, 0, _answers), "nginx static", paths)


def behind_nginx() -> Target:
    """Ours behind nginx that keeps pages and files, as the documentation recommends."""

    @contextlib.contextmanager
    def start(corpus: Corpus) -> Iterator[Server]:
        with ours("granian").start(corpus) as upstream, _nginx(corpus, _FRONT, upstream.port, _lists_all) as front:
            yield front

    return Target("pypiserver behind nginx", start, "nginx static", is_ours=True)


def _nginx(
    corpus: Corpus, locations: str, upstream: int, is_ready: Callable[[int], bool]
) -> contextlib.AbstractContextManager[Server]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Unusable("nginx is not installed")
    folder = corpus.scratch / f"nginx-{'front' if upstream else 'static'}"
    folder.mkdir(exist_ok=True)
    place = corpus.scratch if not upstream else folder

    def command(port: int) -> Sequence[str]:
        user = "user root;" if os.getuid() == 0 else ""
        filled = string.Template(locations).safe_substitute(folder=place)
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


# -- peers -----------------------------------------------------------------------------------------------------------


def peers() -> list[Target]:
    """Other servers from the package index; each is installed when it is first started."""
    only = {"page": f"/simple/{PROJECT}/", "index": "/simple/", "page 2000 files": "/simple/many/"}
    return [
        Target("published pypiserver", _published, "nginx static", {**only, "file": f"/packages/{FILE}"}),
        Target("simple-repository-server", _simple_repository, "nginx static", {"page": only["page"]}),
        Target("pypiron", _pypiron, "nginx static", {"page": only["page"], "index": only["index"]}),
        Target("devpi-server", _devpi, "nginx static", {"page": f"/root/bench/+simple/{PROJECT}"}),
    ]


def environment(name: str, *requirements: str) -> Path:
    """The programs of an environment with these packages, made once; raises Unusable."""
    home = HERE / ".cache" / "bench" / name
    done = home / "described-by"
    if not (done.exists() and done.read_text() == repr(requirements)):
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        command = [home / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check", "install", *requirements]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise Unusable(f"{name} cannot be installed from the package index")
        done.write_text(repr(requirements))
    return home / "bin"


def _peer_environ(corpus: Corpus) -> dict[str, str]:
    return {**os.environ, "HOME": str(corpus.scratch), "PYTHONPATH": ""}


def _published(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
    # bcrypt 5 keeps it from starting; setuptools brings the pkg_resources it imports.
    wanted = ("pypiserver[passlib,cache]", "waitress", "bcrypt<5", "setuptools<81")
    python = environment("published", *wanted) / "python"

    def command(port: int) -> Sequence[str]:
        # Alone it knows no waitress; with it installed, that is what it takes by itself.
        return [str(python), "-I", "-m", "pypiserver", "run", "-p", str(port), "-i", HOST, str(corpus.folder)]

    return running("published pypiserver", command, _peer_environ(corpus), is_ready=_lists_all)


def _simple_repository(corpus: Corpus) -> contextlib.AbstractContextManager[Server]:
    program = environment("simple-repository-server", "simple-repository-server") / "simple-repository-server"
    # It wants a folder for each project.
    tree = corpus.scratch / "tree" / PROJECT
    tree.mkdir(parents=True, exist_ok=True)
    for file in corpus.folder.glob("project_0-*"):
        if not (tree / file.name).exists():
            (tree / file.name).hardlink_to(file)

    def command(port: int) -> Sequence[str]:
        return [str(program), "--host", HOST, "--port", str(port), str(tree.parent)]

    is_ready: Callable[[int], bool] = lambda port: bool(fetch(port, f"/simple/{PROJECT}/"))  # noqa: E731
    return running("simple-repository-server", command, _peer_environ(corpus), is_ready=is_ready)


@contextlib.contextmanager
def _pypiron(corpus: Corpus) -> Iterator[Server]:
    program = environment("pypiron", "pypiron") / "pypiron"

    def command(port: int) -> Sequence[str]:
        return [str(program), "serve", "--data-dir", str(corpus.scratch / "pypiron"), "--bind-addr", f"{HOST}:{port}",
                "--uploader-user", "u", "--uploader-pass", "long-enough-p4ss", "--wait-on-upload"]  # fmt: skip

    up: Callable[[int], bool] = lambda port: request(port, "/simple/")[0] in (200, 404)  # noqa: E731
    with running("pypiron", command, _peer_environ(corpus), is_ready=up) as server:
        _upload_project(server, corpus, "/legacy/", ("u", "long-enough-p4ss"))
        yield server


@contextlib.contextmanager
def _devpi(corpus: Corpus) -> Iterator[Server]:
    programs = environment("devpi-server", "devpi-server")
    data = str(corpus.scratch / "devpi")
    environ = _peer_environ(corpus)
    made = subprocess.run(
        [programs / "devpi-init", "--serverdir", data, "--no-root-pypi", "--root-passwd", "p"],
        env=environ, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode and "already" not in made.stderr.decode():
        raise Unusable("devpi-server cannot make its folder")

    def command(port: int) -> Sequence[str]:
        return [str(programs / "devpi-server"), "--serverdir", data, "--host", HOST, "--port", str(port)]

    up: Callable[[int], bool] = lambda port: request(port, "/+status")[0] == 200  # noqa: E731
    with running("devpi-server", command, environ, is_ready=up) as server:
        status, _, body = request(
            server.port, "/+login", method="POST", headers={"Content-Type": "application/json"},
            body=json.dumps({"user": "root", "password": "p"}).encode(),
        )  # fmt: skip
        if status != 200:
            raise Unusable("devpi-server lets nobody log in")
        password = json.loads(body)["result"]["password"]
        index = json.dumps({"bases": [], "volatile": True, "acl_upload": [":ANONYMOUS:"]}).encode()
        headers = {"Content-Type": "application/json", **_x_devpi("root", password)}
        request(server.port, "/root/bench", method="PUT", headers=headers, body=index)
        _upload_project(server, corpus, "/root/bench/", None)
        yield server


def _x_devpi(user: str, password: str) -> dict[str, str]:
    import base64

    return {"X-Devpi-Auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _upload_project(server: Server, corpus: Corpus, path: str, login: tuple[str, str] | None) -> None:
    from .uploads import upload

    for file in sorted(corpus.folder.glob("project_0-*")):
        status = upload(server.port, path, file.name, file.read_bytes(), login=login)
        if status not in (200, 201, 409):
            raise Unusable(f"{server.name} refuses an upload with {status}")


def usable(target: Target, corpus: Corpus, stack: contextlib.ExitStack) -> Server:
    """Start a target; raises Unusable with the reason when that is not possible."""
    try:
        server: Server = stack.enter_context(target.start(corpus))
    except (OSError, RuntimeError, http.client.HTTPException, subprocess.SubprocessError) as error:
        raise Unusable(str(error)) from error
    return server
