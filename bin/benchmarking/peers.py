"""Other package indexes, each installed from the package index into an environment of its own when it is first started.

They are measured with what they serve after they were given the same files in the way they want them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from .corpus import FILE, PROJECT
from .processes import HOST, Server, fetch, request, running
from .targets import HERE, Corpus, Target, Unusable, Upload, _lists_all
from .uploads import upload

PASSWORD = "long-enough-p4ss"


def peers() -> list[Target]:
    """Other servers from the package index; each is installed when it is first started."""
    only = {"page": f"/simple/{PROJECT}/", "index": "/simple/", "page 2000 files": "/simple/many/"}
    base = "nginx static"
    return [
        Target("published pypiserver", _published, base, {**only, "file": f"/packages/{FILE}"}, upload=Upload()),
        Target("simple-repository-server", _simple_repository, base, {"page": only["page"]}),
        Target("pypiron", _pypiron, base, {"page": only["page"], "index": only["index"]},
               upload=Upload("/legacy/", ("u", PASSWORD))),
        Target("devpi-server", _devpi, base, {"page": f"/root/bench/+simple/{PROJECT}"}, upload=Upload("/root/bench/")),
        Target("peryx", _peryx, base, {"page": f"/hosted/simple/{PROJECT}/", "index": "/hosted/simple/"}),
    ]  # fmt: skip


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
        free = ("-P", ".", "-a", ".")
        return [str(python), "-I", "-m", "pypiserver", "run", "-p", str(port), "-i", HOST, *free, str(corpus.folder)]

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

    return running(
        "simple-repository-server",
        command,
        _peer_environ(corpus),
        is_ready=lambda port: bool(fetch(port, f"/simple/{PROJECT}/")),
    )


@contextlib.contextmanager
def _pypiron(corpus: Corpus) -> Iterator[Server]:
    program = environment("pypiron", "pypiron") / "pypiron"

    def command(port: int) -> Sequence[str]:
        return [str(program), "serve", "--data-dir", str(corpus.scratch / "pypiron"), "--bind-addr", f"{HOST}:{port}",
                "--uploader-user", "u", "--uploader-pass", PASSWORD, "--wait-on-upload"]  # fmt: skip

    with running(
        "pypiron", command, _peer_environ(corpus), is_ready=lambda port: request(port, "/simple/")[0] in (200, 404)
    ) as server:
        _upload_project(server, corpus, "/legacy/", ("u", PASSWORD))
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

    with running("devpi-server", command, environ, is_ready=lambda port: request(port, "/+status")[0] == 200) as server:
        status, _, body = request(
            server.port, "/+login", method="POST", headers={"Content-Type": "application/json"},
            body=json.dumps({"user": "root", "password": "p"}).encode(),
        )  # fmt: skip
        if status != 200:
            raise Unusable("devpi-server accepts no login")
        password = json.loads(body)["result"]["password"]
        index = json.dumps({"bases": [], "volatile": True, "acl_upload": [":ANONYMOUS:"]}).encode()
        headers = {"Content-Type": "application/json", **_x_devpi("root", password)}
        request(server.port, "/root/bench", method="PUT", headers=headers, body=index)
        _upload_project(server, corpus, "/root/bench/", None)
        yield server


def _x_devpi(user: str, password: str) -> dict[str, str]:
    return {"X-Devpi-Auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _upload_project(server: Server, corpus: Corpus, path: str, login: tuple[str, str] | None) -> None:
    for file in sorted(corpus.folder.glob("project_0-*")):
        status = upload(server.port, path, file.name, file.read_bytes(), login=login)
        if status not in (200, 201, 409):
            raise Unusable(f"{server.name} refuses an upload with {status}")


@contextlib.contextmanager
def _peryx(corpus: Corpus) -> Iterator[Server]:
    program = environment("peryx", "peryx") / "peryx"
    data, some = str(corpus.scratch / "peryx"), corpus.scratch / "peryx-files"
    some.mkdir(exist_ok=True)
    for file in corpus.folder.glob("project_0-*"):
        shutil.copy(file, some)
    for words in (["init"], ["import-dir", "hosted", str(some)]):
        if subprocess.run([program, *words, "--data-dir", data], capture_output=True, check=False).returncode:
            raise Unusable("peryx cannot take the files")

    def command(port: int) -> Sequence[str]:
        return [str(program), "serve", "--host", HOST, "--port", str(port), "--data-dir", data, "--offline",
                "--log-level", "warn"]  # fmt: skip

    with running(
        "peryx", command, _peer_environ(corpus), is_ready=lambda port: bool(fetch(port, f"/hosted/simple/{PROJECT}/"))
    ) as server:
        yield server
