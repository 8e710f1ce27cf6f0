"""What Docker Compose starts: the services of `docker-compose.yml`, and the file that `pypi-server compose` prints.

Only ports of this machine and the socket differ.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.clients.samples import add_wheel
from tests.cluster.traefik import HOST, program
from tests.image.engine import Engine, composed
from tests.image.test_image import OF_THE_IMAGE
from tests.live_server import REPOSITORY
from tests.ports import free_ports

LOGIN = {"Authorization": "Basic " + b64encode(b"ada:sesame").decode()}
PROFILES = ("--profile", "plain", "--profile", "auth", "--profile", "tls")


class Composed:
    """The services of a compose file, which publish these ports at loopback."""

    def __init__(self, docker: Engine, file: Path, http: int, https: int = 0) -> None:
        self._docker = docker
        self.file = file
        self.http, self.https = http, https

    def run(self, *words: str, data: str = "") -> str:
        return composed(self._docker, self.file, {}, *words, data=data)

    def ask(
        self, path: str, *, tls: bool = False, body: bytes | None = None, login: Mapping[str, str] = LOGIN
    ) -> tuple[int, bytes, str]:
        """Status, body and Location."""
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.https, timeout=20, context=ssl._create_unverified_context())
            if tls
            else http.client.HTTPConnection("127.0.0.1", self.http, timeout=20)
        )
        headers = {"Host": HOST} | ({**login, "Content-Type": "multipart/form-data; boundary=x"} if body else {})
        with closing(connection):
            connection.request("POST" if body else "GET", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("Location", "")

    def wait(self, *, tls: bool = False) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.ask("/simple/", tls=tls)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise AssertionError(self.run(*PROFILES, "logs"))


class Project(Composed):
    """The compose file of the repository in a folder of its own, with ./packages and ./auth as documented."""

    def __init__(self, docker: Engine, folder: Path) -> None:
        super().__init__(docker, folder / "docker-compose.yml", *free_ports(2))
        self.folder = folder
        services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))
        published = {"80:8080": f"{self.http}:8080", "80:80": f"{self.http}:80", "443:443": f"{self.https}:443"}
        for service in services["services"].values():
            service["ports"] = [f"127.0.0.1:{published[each]}" for each in service.get("ports", [])]
            service["volumes"] = [
                each.replace("/var/run/docker.sock", str(docker.socket), 1) for each in service["volumes"]
            ]
        self.file.write_text(yaml.safe_dump(services))
        for name in ("packages", "auth"):
            (folder / name).mkdir()
            os.chown(folder / name, OF_THE_IMAGE, OF_THE_IMAGE)


@pytest.fixture
def project(docker: Engine, tmp_path: Path) -> Iterator[Project]:
    made = Project(docker, tmp_path)
    yield made
    made.run(*PROFILES, "down", "--volumes", "--timeout", "3")


def form(wheel: Path) -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="content"; filename="{wheel.name}"\r\n\r\n'
    return head.encode() + wheel.read_bytes() + b"\r\n--x--\r\n"


def test_plain_serves_and_takes_no_upload(project: Project) -> None:
    wheel = add_wheel(project.folder / "packages", "demo", "1.0")
    project.run("up", "--no-build", "--detach", "plain")
    project.wait()
    assert wheel.name.encode() in project.ask("/simple/demo/")[1]
    assert project.ask("/", body=form(wheel))[0] == 403


def test_auth_takes_uploads_of_the_users_in_its_file(project: Project, tmp_path: Path) -> None:
    project.run("run", "--rm", "-T", "auth", "passwd", "/data/auth/.htpasswd", "ada", data="sesame")
    project.run("up", "--no-build", "--detach", "auth")
    project.wait()
    wheel = add_wheel(tmp_path, "demo", "1.0")
    assert project.ask("/", body=form(wheel))[0] == 200
    assert (project.folder / "packages" / wheel.name).stat().st_uid == OF_THE_IMAGE


def test_tls_is_served_by_traefik_that_reads_the_labels(docker: Engine, project: Project, tmp_path: Path) -> None:
    context = tmp_path / "traefik"
    context.mkdir()
    shutil.copy(program(), context / "traefik")
    (context / "Dockerfile").write_text('FROM scratch\nCOPY traefik /traefik\nENTRYPOINT ["/traefik"]\n')
    docker.docker("build", "--tag", "traefik:v3", context)
    project.run("run", "--rm", "-T", "auth", "passwd", "/data/auth/.htpasswd", "ada", data="sesame")
    project.run("up", "--no-build", "--detach", "tls")
    project.wait(tls=True)
    assert project.ask("/simple/")[::2] == (301, f"https://{HOST}/simple/")
    wheel = add_wheel(tmp_path, "demo", "1.0")
    # twine may be given an address with or without a path.
    assert [project.ask(path, tls=True, body=form(wheel))[0] for path in ("/", "/simple", "/legacy/")] == [200] * 3
    page = json.loads(project.ask("/simple/demo/?format=application/vnd.pypi.simple.v1%2Bjson", tls=True)[1])
    assert [file["filename"] for file in page["files"]] == [wheel.name]


class Owner:
    """The user whose folder, passwords and home the printed files name."""

    def __init__(self, docker: Engine, home: Path) -> None:
        self.home = home
        self.packages, self.passwords = home / "packages", home / "auth" / "htpasswd"
        for folder in (self.packages, self.passwords.parent):
            folder.mkdir()
            os.chown(folder, OF_THE_IMAGE, OF_THE_IMAGE)
        self.run("passwd", self.passwords, "ada", data="sesame")
        os.chown(self.passwords, OF_THE_IMAGE, OF_THE_IMAGE)
        (self.port,) = free_ports(1)
        self.composed = Composed(docker, home / "compose.yml", self.port)

    def run(self, *words: str | Path, data: str = "") -> str:
        """What `pypi-server` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "pypiserver", *words],
            cwd=REPOSITORY,
            env=os.environ | {"HOME": str(self.home)},
            input=data,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def start(self, *words: str | Path) -> Composed:
        """Start what is printed for these words, and wait until it answers."""
        printed = self.run("compose", *words)
        # That port of this machine may be in use.
        self.composed.file.write_text(printed.replace('"8080:8080"', f'"127.0.0.1:{self.port}:8080"'))
        self.composed.run("up", "--no-build", "--detach")
        self.composed.wait()
        return self.composed


@pytest.fixture
def owner(docker: Engine, tmp_path: Path) -> Iterator[Owner]:
    made = Owner(docker, tmp_path)
    yield made
    if made.composed.file.exists():
        made.composed.run("down", "--volumes", "--timeout", "3")


@pytest.mark.parametrize(
    ("flags", "statuses"),
    [
        # Statuses of an upload without a login, and with one.
        pytest.param([], (403, 403), id="no flags"),
        pytest.param(["-p", "PORT"], (403, 403), id="a port"),
        pytest.param(["-P", "PASSWORDS"], (401, 200), id="a password file"),
        pytest.param(["-i", "127.0.0.1", "-p", "PORT", "-P", "PASSWORDS", "PACKAGES"], (401, 200), id="all of them"),
        pytest.param(["-P", ".", "-a", "."], (200, 200), id="uploads by everybody"),
    ],
)
def test_the_printed_file_serves_and_takes_uploads(
    flags: list[str], statuses: tuple[int, int], owner: Owner, tmp_path: Path
) -> None:
    add_wheel(owner.packages, "demo", "1.0")
    meant = {"PORT": str(owner.port), "PASSWORDS": str(owner.passwords), "PACKAGES": str(owner.packages)}
    started = owner.start(*[meant.get(flag, flag) for flag in flags])
    assert b"demo-1.0" in started.ask("/simple/demo/")[1]
    wheel = add_wheel(tmp_path, "demo", "2.0")
    assert (started.ask("/", body=form(wheel), login={})[0], started.ask("/", body=form(wheel))[0]) == statuses
    stored = owner.packages / wheel.name
    assert stored.exists() == (200 in statuses)
    if 200 in statuses:
        assert stored.stat().st_uid == OF_THE_IMAGE
        assert wheel.name.encode() in started.ask("/simple/demo/")[1]
    started.run("stop")
    assert "Traceback" not in started.run("logs")
    with pytest.raises(OSError):
        started.ask("/simple/")
