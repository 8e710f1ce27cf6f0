"""The image, run in every way that is documented here and in the README of 2.x."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.environments import ensure
from tests.clients.samples import add_wheel
from tests.image.engine import IMAGE, Container, Engine, base_name, container
from tests.live_server import DIRECT, REPOSITORY

OF_THE_IMAGE, OLD_IMAGE, SOMEBODY = 1000, 9898, 12345
# From the README of 2.x.
OF_THE_README = [
    "docker run pypiserver/pypiserver:latest",
    "docker run -p 80:8080 pypiserver/pypiserver:latest",
    "docker run -p 80:8080 -v ~/packages:/data/packages pypiserver/pypiserver:latest",
    "docker run -p 80:8080 -v ~/.htpasswd:/data/.htpasswd pypiserver/pypiserver:latest -P .htpasswd packages",
]


def wait_for(running: Container, path: str = "/simple/") -> bytes:
    """Its answer, once it answers; raises AssertionError with what it printed when it ended."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with DIRECT.open(running.url + path, timeout=10) as answer:
                body: bytes = answer.read()
                return body
        except (OSError, http.client.HTTPException) as error:
            ended = running.inspect(".State.Running") != "true"
            assert not ended and time.monotonic() < deadline, f"{error}\n{running.output}"
            time.sleep(0.05)


LOCKED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


@pytest.mark.parametrize(
    ("options", "arguments", "port"),
    [
        pytest.param([], ["run"], 8080, id="run"),
        pytest.param([], ["run", "-p", "80"], 80, id="run -p 80"),
        pytest.param(["--init"], ["--port=9000", "packages"], 9000, id="another port, below an init"),
        pytest.param([], ["--health-endpoint", "/well"], 8080, id="another health endpoint"),
        pytest.param(["-e", "PORT=9000"], [], 9000, id="PORT"),
        pytest.param(["-e", "PYPISERVER_PORT=9000"], [], 9000, id="PYPISERVER_PORT"),
        pytest.param(["-e", "HOME="], [], 8080, id="no HOME"),
        pytest.param(["-e", "HOME=/github/home", "--user", f"{SOMEBODY}"], [], 8080, id="HOME of a platform"),
        pytest.param([*LOCKED], ["--server", "gunicorn", "--metrics"], 8080, id="locked down, gunicorn"),
        pytest.param([*LOCKED, "--tmpfs", "/tmp"], ["--server", "waitress"], 8080, id="locked down, waitress"),
        pytest.param(["--user", "0"], [], 8080, id="root"),
    ],
)
def test_serves_is_healthy_and_ends_at_once(
    options: list[str], arguments: list[str], port: int, docker: Engine
) -> None:
    with container(docker, options, arguments, port=port) as running:
        wait_for(running)
        assert running.health() == (0, "")
        assert running.stop() == 0
        assert "folder:    /data/packages: 0 files" in running.output
        assert not re.search("ERROR|Traceback|Read-only", running.output), running.output


def test_health_check_of_a_server_that_does_not_answer_tells_where_it_asked(docker: Engine) -> None:
    answer = docker.run("run", "--rm", "--network", "none", IMAGE, "--is-healthy")
    assert answer.returncode == 1
    assert "http://127.0.0.1:8080/health does not answer" in answer.stdout


def documented() -> list[str]:
    """Each `docker run` of our page."""
    text = (REPOSITORY / "docs" / "howto" / "docker.rst").read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    docker run ")]
    return [*lines, *re.findall(r"``(docker run [^`]+)``", text)]


@pytest.mark.parametrize("line", sorted({line.replace(":latest", "") for line in [*OF_THE_README, *documented()]}))
def test_every_documented_command_line_works(line: str, docker: Engine, tmp_path: Path) -> None:
    folder, passwords = tmp_path / "packages", tmp_path / ".htpasswd"
    folder.mkdir()
    folder.chmod(0o777)
    add_wheel(folder, "demo", "1.0")
    passwords.write_text("ada:$2y$05$1vTtWw8hFvNfVkQ2L7mVvO7H3o7cq0eNYl6CBMZ9kh3mZ0uQ2Wy7S\n")
    passwords.chmod(0o644)
    changed = line.replace("~/packages", str(folder)).replace("~/.htpasswd", str(passwords))
    words = shlex.split(changed.replace("$(id -u):$(id -g)", f"{os.getuid()}:{os.getgid()}"))[2:]
    place = next(place for place, word in enumerate(words) if word.partition(":")[0] == IMAGE)
    options, arguments = words[:place], words[place + 1 :]
    if "-it" in options:
        options.remove("-it")
        assert docker.docker("run", "--rm", *options, IMAGE, *arguments) == "0 faults found."
        return
    if "80:8080" in options:
        del options[options.index("80:8080") - 1 : options.index("80:8080") + 1]
    with container(docker, options, arguments) as running:
        page = wait_for(running)
        assert (b"demo" in page) == (str(folder) in changed)
        assert running.health() == (0, "")
        assert running.stop() == 0


def test_what_real_clients_upload_is_kept_in_a_volume_of_the_first_user(docker: Engine, tmp_path: Path) -> None:
    wheel = add_wheel(tmp_path, "demo", "1.0")
    everybody = ["-P", ".", "-a", "."]
    docker.docker("volume", "create", "kept")
    volume = ["-v", "kept:/data/packages"]
    with container(docker, volume, everybody) as running:
        wait_for(running)
        twine = [
            ensure("twine") / "twine",
            "upload",
            "--non-interactive",
            "--disable-progress-bar",
            "-u",
            "x",
            "-p",
            "x",
        ]
        subprocess.run([*twine, "--repository-url", running.url, wheel], check=True, capture_output=True, timeout=60)
    with container(docker, [*volume, *LOCKED]) as running:
        wait_for(running)
        address = ["--index-url", f"{running.url}/simple/", "--trusted-host", str(urlsplit(running.url).hostname)]
        pip = [ensure("pip") / "pip", "--isolated", "download", "--no-cache-dir", "--no-deps", "-d", tmp_path / "got"]
        subprocess.run([*pip, *address, "demo"], check=True, capture_output=True, timeout=60)
    assert (tmp_path / "got" / wheel.name).read_bytes() == wheel.read_bytes()
    listed = docker.docker("run", "--rm", *volume, "--entrypoint", "stat", IMAGE, "-c", "%u", f"packages/{wheel.name}")
    assert listed == str(OF_THE_IMAGE)


def upload(url: str, wheel: Path) -> int:
    """Post a wheel as a client does; the status of the answer."""
    head = f'--x\r\nContent-Disposition: form-data; name="content"; filename="{wheel.name}"\r\n\r\n'
    body = head.encode() + wheel.read_bytes() + b"\r\n--x--\r\n"
    request = urllib.request.Request(url, body, {"Content-Type": "multipart/form-data; boundary=x"})
    try:
        with DIRECT.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("owner", [0, OLD_IMAGE])
def test_a_folder_of_another_user_takes_uploads_from_that_one(owner: int, docker: Engine, tmp_path: Path) -> None:
    folder, wheel = tmp_path / "packages", add_wheel(tmp_path, "demo", "1.0")
    folder.mkdir(mode=0o755)
    os.chown(folder, owner, owner)
    mounted, everybody = ["-v", f"{folder}:/data/packages"], ["-P", ".", "-a", "."]
    with container(docker, mounted, everybody) as running:
        wait_for(running)
        assert upload(running.url, wheel) == 403
        assert f"docker run --user {owner}:{owner}" in running.output
    with container(docker, [*mounted, "--user", f"{owner}:{owner}"], everybody) as running:
        wait_for(running)
        assert upload(running.url, wheel) == 200
    assert (folder / wheel.name).stat().st_uid == owner


def test_a_password_file_that_only_another_user_may_read_is_told(docker: Engine, tmp_path: Path) -> None:
    file = tmp_path / ".htpasswd"
    file.write_text("ada:x\n")
    file.chmod(0o600)
    mounted = ["-v", f"{file}:/data/.htpasswd"]
    done = docker.run("run", "--rm", *mounted, IMAGE, "-P", ".htpasswd", "packages")
    assert done.returncode == 2
    assert f"It belongs to user {os.getuid()}, and the server runs as user {OF_THE_IMAGE}" in done.stdout


def test_the_image_adds_little_to_its_base(docker: Engine) -> None:
    sizes = [int(docker.docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (IMAGE, base_name())]
    assert (sizes[0] - sizes[1]) / 1e6 < 110
