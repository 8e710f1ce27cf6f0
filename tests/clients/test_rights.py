"""A rights file, by real clients and servers: what may be seen is installed, what may not does not exist.

USER may upload what the file says; the other users have the same password.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import USER, GetClient, installed
from tests.clients.samples import add_project
from tests.clients.uploaders import TWINE, UV, said
from tests.hostile import ask, connect, every_server, serving, upload_request
from tests.live_server import LiveServer
from tests.make_archives import make_wheel

# pip 9 takes the password from the address as it is written there.
PASSWORD = "word"
LOGIN = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
RIGHTS = f"""
group staff: ada
{USER}  upload     acme-sdk
@staff  read       acme-* open
partner read       open
"""


@pytest.fixture
def rights(tmp_path: Path) -> Path:
    path = tmp_path / "rights"
    path.write_text(RIGHTS)
    return path


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    stored = "{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    path = tmp_path / "htpasswd"
    path.write_text("".join(f"{user}:{stored}\n" for user in (USER, "ada", "partner")))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in ("acme-sdk", "open"):
        filename, content = make_wheel(name, "1.0")
        (folder / filename).write_bytes(content)
    return folder


@pytest.fixture(params=["granian", "waitress", "gunicorn"])
def live(
    request: pytest.FixtureRequest, tmp_path: Path, passwords: Path, rights: Path, folder: Path
) -> Iterator[LiveServer]:
    flags = ("-P", passwords, "--rights", rights, "--disable-fallback")
    with serving(tmp_path, *flags, server=request.param, folder=folder) as live:
        yield live


def address(live: LiveServer, user: str) -> str:
    return live.url.replace("://", f"://{user}:{PASSWORD}@", 1) + "/simple/"


@pytest.mark.parametrize("name", ["pip", "pip9", "uv"])
def test_clients_install_what_their_user_may_read(live: LiveServer, name: str, client: GetClient) -> None:
    chosen = client(name)
    target = chosen.home / "target"
    for user, project, is_there in (
        ("ada", "acme-sdk", True),
        ("partner", "open", True),
        ("partner", "acme-sdk", False),
    ):
        done = chosen.run(
            *chosen.installer, "--index-url", address(live, user), "--target", target / user, project, status=None
        )
        assert (done.returncode == 0) is is_there, done.stdout
        assert (project in installed(target / user)) is is_there


@pytest.mark.parametrize("name", ["twine", "uv"])
def test_clients_upload_what_their_user_may(
    live: LiveServer, name: str, client: GetClient, tmp_path: Path, folder: Path
) -> None:
    before = set(folder.iterdir())
    for project, is_allowed in (("acme-sdk", True), ("acme-other", False)):
        home = add_project(tmp_path / project, project, "2.0")
        login = ("-u", USER, "-p", PASSWORD)
        files = sorted((home / "dist").iterdir())
        command = (
            (*TWINE, "--repository-url", f"{live.url}/", *login, *files)
            if name == "twine"
            else (*UV, "--publish-url", f"{live.url}/", *login, *files)
        )
        status, output = said(client(name), home, *command)
        assert (status == 0) is is_allowed, output
        assert not is_allowed or set(folder.iterdir()) > before
        assert "403" in output or is_allowed
    assert not [path for path in folder.iterdir() if "other" in path.name]


@every_server
def test_a_large_upload_is_refused_before_it_is_kept(
    tmp_path: Path, passwords: Path, rights: Path, folder: Path, server: str
) -> None:
    """No byte of it is in the folder while it is sent."""
    head, body = upload_request("acme_other-2.0-py3-none-any.whl", b"PK" + b"x" * (8 << 20), **LOGIN)
    flags = ("-P", passwords, "--rights", rights, "--disable-fallback")
    with serving(tmp_path, *flags, server=server, folder=folder) as live, connect(live.url) as connection:
        connection.sendall(head + body[: 1 << 20])
        held = sum(path.stat().st_blocks for path in folder.iterdir() if path.name.startswith("."))
        assert held == 0
        connection.sendall(body[1 << 20 :])
        assert b" 403 " in connection.recv(100)
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == sorted(
        make_wheel(name, "1.0")[0] for name in ("acme-sdk", "open")
    )


def test_a_change_under_load_counts_from_the_next_request(live: LiveServer, rights: Path) -> None:
    """Requests that begin after the file was replaced are decided by it, in every thread."""
    over = threading.Event()
    states = {True: f"{USER} read open\n", False: f"{USER} upload open\n"}
    wrong: list[tuple[int, ...]] = []

    def load() -> None:
        while not over.is_set():
            status = ask(live.url, "/simple/open/", **LOGIN).status
            if status not in (200, 404):
                wrong.append((status,))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(30):
            is_visible = turn % 2 == 0
            new = rights.with_suffix(".new")
            new.write_text(states[is_visible])
            new.replace(rights)
            for _ in range(3):
                status = ask(live.url, "/simple/open/", **LOGIN).status
                assert status == (200 if is_visible else 404), turn
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_hidden_and_absent_are_equal_bytes_on_the_wire(live: LiveServer, folder: Path) -> None:
    filename, content = make_wheel("zeta-one", "1.0")
    (folder / filename).write_bytes(content)
    raw = []
    for name in ("zeta-one", "zeta-two"):
        answers = []
        for path in (f"/simple/{name}/", f"/{name}/json", f"/packages/{filename.replace('zeta_one', name)}"):
            with connect(live.url) as connection:
                fields = {"Host": "x", "Connection": "close", **LOGIN}
                head = "\r\n".join([f"GET {path} HTTP/1.1", *(f"{key}: {value}" for key, value in fields.items())])
                connection.sendall(f"{head}\r\n\r\n".encode())
                data = b""
                while block := connection.recv(65536):
                    data += block
            kept = [
                line for line in data.replace(name.encode(), b"NAME").split(b"\r\n") if b"date:" not in line.lower()
            ]
            answers.append(hashlib.sha256(b"\r\n".join(kept)).hexdigest())
        raw.append(answers)
    assert raw[0] == raw[1]
