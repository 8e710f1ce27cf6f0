"""The container's entry point, run natively: as root, as another user, over a folder no one can write."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.clients.samples import add_wheel
from tests.live_server import DIRECT, REPOSITORY, LiveServer, Opener, running
from tests.make_archives import make_wheel

ENTRY_POINT = REPOSITORY / "bin" / "docker-entrypoint"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
SOMEBODY = 12345

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.name != "posix", reason="the image is Linux, and its entry point a shell script"),
]


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What is /data in the image: the working folder and home, open to everyone, with packages in it."""
    data = tmp_path / "data"
    (data / "packages").mkdir(parents=True)
    for folder in (data, data / "packages"):
        folder.chmod(0o777)
    return data


@pytest.fixture
def environ(tmp_path: Path, data: Path) -> dict[str, str]:
    """The image's environment; `pypi-server` and `python` are the ones under test."""
    programs, temporary = tmp_path / "programs", tmp_path / "tmp"
    write_program(programs / "pypi-server", f'#!/bin/sh\nexec {sys.executable} -m pypiserver "$@"\n')
    write_program(programs / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    temporary.mkdir()
    temporary.chmod(0o1777)
    return {
        "HOME": str(data),
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "TMPDIR": str(temporary),
    }


@pytest.fixture
def stub(environ: dict[str, str]) -> dict[str, str]:
    """The same with a server that only says how it was started: process id, folder, catalog, arguments."""
    text = '#!/bin/sh\nprintf "%s\\n" "$$" "$PWD" "${PYPISERVER_CATALOG:-none}" "$@"\n'
    write_program(Path(environ["PATH"].partition(":")[0]) / "pypi-server", text)
    return environ


def started(environ: dict[str, str], data: Path, *arguments: str) -> tuple[int, list[str]]:
    """The process id of the entry point, and what the stub in its place says."""
    process = subprocess.Popen([ENTRY_POINT, *arguments], env=environ, cwd=data, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return process.pid, output.splitlines()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="none"),
        pytest.param(["-P", ".htpasswd", "packages"], id="as the README has them"),
        pytest.param(["--help"], id="help is the server's"),
        pytest.param(["passwd", "a file", "*", "$HOME", ""], id="nothing is expanded or lost"),
    ],
)
def test_arguments_are_handed_to_the_server_that_takes_its_place(
    arguments: list[str], stub: dict[str, str], data: Path
) -> None:
    pid, (server_pid, folder, _, *received) = started(stub, data, *arguments)
    assert (int(server_pid), folder, received) == (pid, str(data), arguments)


def test_catalog_is_in_a_private_folder_for_temporary_files(stub: dict[str, str], data: Path) -> None:
    folder = Path(stub["TMPDIR"], f"pypiserver-{os.getuid()}")
    _, (_, _, catalog) = started(stub, data)
    assert catalog == str(folder / "catalog.sqlite")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_catalog_is_in_shared_memory_where_nothing_else_can_be_written(stub: dict[str, str], data: Path) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("this system has no /dev/shm")
    stub["TMPDIR"] = "/proc/self"  # a folder in which not even root can make another
    folder = Path(f"/dev/shm/pypiserver-{os.getuid()}")
    was_there = folder.exists()
    try:
        _, (_, _, catalog) = started(stub, data)
        assert catalog == str(folder / "catalog.sqlite")
    finally:
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)


def test_catalog_of_the_user_is_kept(stub: dict[str, str], data: Path) -> None:
    stub["PYPISERVER_CATALOG"] = "/volume/catalog.sqlite"
    _, (_, _, catalog) = started(stub, data)
    assert catalog == "/volume/catalog.sqlite"
    assert list(Path(stub["TMPDIR"]).iterdir()) == []


def test_no_catalog_is_chosen_where_a_file_says_which(stub: dict[str, str], data: Path) -> None:
    stub["PYPISERVER_CATALOG_FILE"] = "/run/secrets/catalog"
    _, (_, _, catalog) = started(stub, data)
    assert catalog == "none"


@contextmanager
def container(
    environ: dict[str, str], data: Path, user: int, *arguments: str, opener: Opener = DIRECT
) -> Iterator[LiveServer]:
    """The entry point serving as `user`, on loopback and a port of the system's choosing."""
    command: list[str | Path] = [ENTRY_POINT, "--disable-fallback", "-i", "127.0.0.1", "-p", "0", *arguments]
    if user != os.getuid():
        # Reading everything stays allowed, since the Python under test may lie in a home that is closed to others;
        # writing where the user may not does not.
        read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *read, "--", *command]
    with running(command, environ=environ, cwd=data, opener=opener) as server:
        yield server


@pytest.fixture(params=["this user", "another user"])
def user(request: pytest.FixtureRequest) -> int:
    if request.param == "this user":
        return os.getuid()
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can run the entry point as another user, with setpriv")
    return SOMEBODY


def upload(url: str, wheel: Path) -> int:
    """Post a wheel as a client does; the status of the answer."""
    head = f'--x\r\nContent-Disposition: form-data; name="content"; filename="{wheel.name}"\r\n\r\n'
    body = head.encode() + wheel.read_bytes() + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        with DIRECT.open(urllib.request.Request(f"{url}/", body, headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_uid, path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def test_serves_uploads_and_ends_at_sigterm(user: int, environ: dict[str, str], data: Path, tmp_path: Path) -> None:
    add_wheel(data / "packages", "demo", "1.0")
    before = owners(data)
    wheel = add_wheel(tmp_path, "demo", "1.1")
    with container(environ, data, user, "-P", ".", "-a", ".") as server:
        assert upload(server.url, wheel) == 200
        with DIRECT.open(f"{server.url}/packages/{wheel.name}") as answer:
            assert answer.read() == wheel.read_bytes()
        assert server.stop() in (0, -15), server.output
    assert {path: owners(data)[path] for path in before} == before
    assert (data / "packages" / wheel.name).stat().st_uid == user


def test_folder_that_cannot_be_written_is_served_and_refuses_uploads(
    environ: dict[str, str], data: Path, tmp_path: Path
) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can run the entry point as another user, with setpriv")
    present = add_wheel(data / "packages", "demo", "1.0")
    for folder in (data, data / "packages"):
        folder.chmod(0o555)
    before = owners(data)
    with container(environ, data, SOMEBODY, "-P", ".", "-a", ".") as server:
        with DIRECT.open(f"{server.url}/packages/{present.name}") as answer:
            assert answer.read() == present.read_bytes()
        assert upload(server.url, add_wheel(tmp_path, "demo", "1.1")) == 403
    assert owners(data) == before


OLD_IMAGE = 9898


def test_volume_of_an_older_image_is_used_by_its_user_and_named_to_others(
    environ: dict[str, str], data: Path, tmp_path: Path
) -> None:
    """The images of 1.x and 2.x ran as user 9898, whose folder no one else may write."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can run the entry point as another user, with setpriv")
    wheel = add_wheel(tmp_path, "demo", "1.0")
    os.chown(data / "packages", OLD_IMAGE, OLD_IMAGE)
    (data / "packages").chmod(0o755)
    hint = f"which belongs to {OLD_IMAGE}:{OLD_IMAGE}"
    with container(environ, data, SOMEBODY, "-P", ".", "-a", ".") as server:
        assert upload(server.url, wheel) == 403
        server.stop()
    assert f"user {SOMEBODY} may not read and write {data}/packages, {hint}" in server.output
    assert f"docker run --user {OLD_IMAGE}:{OLD_IMAGE}" in server.output
    assert f"It belongs to user {OLD_IMAGE}, and the server runs as user {SOMEBODY}" in server.output
    with container(environ, data, OLD_IMAGE, "-P", ".", "-a", ".") as server:
        assert upload(server.url, wheel) == 200
        server.stop()
    assert hint not in server.output
    assert owners(data / "packages")[str(data / "packages" / wheel.name)][0] == OLD_IMAGE


def test_folder_mounted_to_be_read_only_is_no_reason_for_a_hint(environ: dict[str, str], data: Path) -> None:
    (data / "packages").chmod(0o555)
    with container(environ, data, os.getuid()) as server:
        server.stop()
    assert "docker-entrypoint" not in server.output


@pytest.mark.parametrize("command", [["run"], []])
def test_gunicorn_serves(command: list[str], environ: dict[str, str], data: Path, tmp_path: Path) -> None:
    arguments = [*command, "--server", "gunicorn", "-P", ".", "-a", ".", "packages"]
    with running([ENTRY_POINT, *arguments, "-i", "127.0.0.1", "-p", "0"], environ=environ, cwd=data) as server:
        wheel = add_wheel(tmp_path, "demo", "1.0")
        assert upload(server.url, wheel) == 200
        assert server.stop() == 0
    assert "server:    gunicorn\n" in server.output
    assert [path.name for path in data.iterdir()] == ["packages"]


def test_place_for_temporary_files_is_found_where_the_usual_one_cannot_be_written(
    stub: dict[str, str], data: Path
) -> None:
    write_program(
        Path(stub["PATH"].partition(":")[0]) / "pypi-server",
        '#!/bin/sh\nprintf "%s\\n" "$$" "$TMPDIR" "$PYPISERVER_CATALOG"\n',
    )
    assert started(stub, data)[1][1] == stub["TMPDIR"]
    stub |= {"TMPDIR": "/nowhere", "PYPISERVER_CATALOG": "/volume/c.sqlite"}
    folder = Path(f"/dev/shm/pypiserver-{os.getuid()}")
    was_there = folder.exists()
    try:
        assert started(stub, data)[1][1:] == [str(folder), "/volume/c.sqlite"]
    finally:
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({}, "none"),
        ({"PORT": "9000"}, "9000"),
        ({"PORT": "9000", "PYPISERVER_PORT": "9001"}, "9001"),
        ({"PORT": "9000", "PYPISERVER_PORT": ""}, "9000"),
        ({"PYPISERVER_PORT": "tcp://10.3.2.1:8080"}, "none"),
        ({"PORT": "9000", "PYPISERVER_PORT": "tcp://10.3.2.1:8080"}, "9000"),
        ({"PORT": "9000", "PYPISERVER_PORT_FILE": "/run/secrets/port"}, "none"),
    ],
)
def test_port_of_the_platform_is_taken(given: dict[str, str], port: str, stub: dict[str, str], data: Path) -> None:
    write_program(
        Path(stub["PATH"].partition(":")[0]) / "pypi-server",
        '#!/bin/sh\nprintf "%s\\n" "$$" "${PYPISERVER_PORT:-none}"\n',
    )
    assert started(stub | given, data)[1][1] == port


# What is usually written to can be read only, as in a container started with --read-only; $1 is the folder of
# the packages.
READ_ONLY = """
set -e
for folder in /tmp /var/tmp; do mount --bind $folder $folder; done
mount --bind "$1" "$1"
for folder in /tmp /var/tmp; do mount -o remount,bind,ro $folder; done
shift
exec "$@"
"""


@pytest.mark.parametrize("server", ["granian", "waitress", "gunicorn"])
def test_every_server_works_where_nothing_else_can_be_written(
    server: str, environ: dict[str, str], data: Path, tmp_path: Path
) -> None:
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(data / "packages")]
    if os.getuid() != 0 or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can mount here, with unshare")
    # Larger than what waitress keeps in memory.
    wheel, data_bytes = make_wheel("demo", "1.0", extra_members={"demo.bin": os.urandom(1 << 20)})
    path = tmp_path / wheel
    path.write_bytes(data_bytes)
    del environ["TMPDIR"]
    read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    who = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", *read, "--"]
    flags = ["--server", server, "--disable-fallback", "-i", "127.0.0.1", "-p", "0", "-P", ".", "-a", "."]
    folder = Path(f"/dev/shm/pypiserver-{SOMEBODY}")
    try:
        with running([*command, *who, ENTRY_POINT, *flags, "--metrics"], environ=environ, cwd=data) as live:
            assert upload(live.url, path) == 200
            assert live.stop() in (0, -15)
        assert "Traceback" not in live.output
        assert "ERROR" not in live.output
        assert "catalog:   /dev/shm/" in live.output
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert (data / "packages" / wheel).read_bytes() == data_bytes


def is_healthy(environ: dict[str, str], data: Path, port: int, variable: str = "PYPISERVER_PORT") -> int:
    environment = environ | {variable: str(port)}
    done = subprocess.run([ENTRY_POINT, "healthcheck"], env=environment, cwd=data, capture_output=True, check=False)
    return done.returncode


def test_health_check_follows_the_server(environ: dict[str, str], data: Path) -> None:
    with container(environ, data, os.getuid()) as server:
        for variable in ("PYPISERVER_PORT", "PORT"):
            assert is_healthy(environ, data, int(server.url.rpartition(":")[2]), variable) == 0
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        assert is_healthy(environ, data, nobody_listens.getsockname()[1]) == 1


def test_health_check_of_a_server_with_a_certificate(environ: dict[str, str], data: Path) -> None:
    certificate = make_certificate(data)
    environ |= {"PYPISERVER_CERTIFICATE": str(certificate.chain), "PYPISERVER_KEY": str(certificate.key)}
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=certificate.context))
    with container(environ, data, os.getuid(), opener=opener) as server:
        assert is_healthy(environ, data, int(server.url.rpartition(":")[2])) == 0


@pytest.mark.parametrize(
    ("more", "arguments", "kept"),
    [
        ({}, (), "cache"),
        ({"PYPISERVER_CATALOG": "/volume/catalog.sqlite"}, (), "cache"),
        ({"PYPISERVER_CACHE_FOLDER": "/elsewhere"}, (), "/elsewhere"),
        ({"PYPISERVER_CATALOG": "postgresql://user@db/catalog"}, (), "none"),
        ({}, ("--catalog", "postgres://user@db/catalog"), "none"),
        ({"PYPISERVER_CATALOG_FILE": "/run/secrets/catalog"}, (), "none"),
        ({"PYPISERVER_CACHE_FOLDER": "/own", "PYPISERVER_CATALOG": "postgresql://user@db/catalog"}, (), "/own"),
    ],
)
def test_a_cache_is_in_its_volume_unless_servers_share_one(
    environ: dict[str, str], data: Path, more: dict[str, str], arguments: tuple[str, ...], kept: str
) -> None:
    (data / "cache").mkdir()
    text = '#!/bin/sh\necho "${PYPISERVER_CACHE_FOLDER:-none}"\n'
    write_program(Path(environ["PATH"].partition(":")[0]) / "pypi-server", text)
    told = subprocess.run([ENTRY_POINT, *arguments], env=environ | more, cwd=data, capture_output=True, text=True)
    assert told.stdout.strip() == (str(data / kept) if kept == "cache" else kept)


def test_image_is_what_the_tests_above_assume() -> None:
    lines = [line.strip() for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    said = dict(line.split(maxsplit=1) for line in lines if line.split(maxsplit=1)[1:])
    assert json.loads(said["ENTRYPOINT"]) == ["docker-entrypoint"]
    assert json.loads(said["CMD"]) == ["docker-entrypoint", "healthcheck"]
    assert (said["WORKDIR"], said["EXPOSE"], said["USER"]) == ("/data", "8080", "1000:1000")
    assert "HOME=/data" in DOCKERFILE
    assert said["VOLUME"] == "/data/packages /data/cache"
    # What a volume is made with must be there, and open to every user, before it is declared.
    assert DOCKERFILE.index("chmod 777 /data /data/packages /data/cache") < DOCKERFILE.index("VOLUME")
    (extras,) = re.findall(r"/source\[([\w,]+)\]", DOCKERFILE)
    assert extras.split(",") == ["web", "metrics", "objectstore", "postgres", "gunicorn"]
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert set(extras.split(",")) <= set(setup["options.extras_require"])
    assert "chown" not in DOCKERFILE + ENTRY_POINT.read_text()
