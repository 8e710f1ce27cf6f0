"""``pypi-server systemd``, ``nginx`` and ``compose``: what they print can be used as it is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pypiserver import cli
from pypiserver.__main__ import main
from tests.live_server import DIRECT, answers, pypi_server, running
from tests.make_archives import make_wheel

from .test_live_log import wait_until
from .test_reload import status

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
FLAGS = [
    "-p", "81", "-i", "127.0.0.1", "-a", "update,list", "-P", "/etc/pypi/htpasswd", "--disable-fallback", "-vv",
    "--overwrite", "--private", "acme-*", "--hash-algo", "off", "--audit-log", "/var/log/a $x 50%/b.jsonl",
    "--max-upload-size", "1G", "--trusted-proxy", "10.0.0.0/8", "--access-log", "off", "--metrics-address", "9090",
]  # fmt: skip


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    return capsys.readouterr().out


def config_of(argv: list[str]) -> object:
    command = cli.parse(argv, {})
    assert isinstance(command, cli.Run)
    return command.config


def test_the_unit_starts_the_server_with_these_settings(capsys: pytest.CaptureFixture[str]) -> None:
    unit = printed(capsys, "systemd", *FLAGS, "/srv/pack ages")
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    words = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(command)]
    start = next(at for at, word in enumerate(words) if word.startswith("--"))
    assert Path(words[0]).is_absolute()
    assert config_of(words[start:]) == config_of([*FLAGS, "/srv/pack ages"])
    assert 'ReadWritePaths="/srv/pack ages"\nReadWritePaths="/var/log/a $x 50%%"\n' in unit
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in unit
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit


def test_what_was_not_given_is_left_to_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    unit = printed(capsys, "systemd", "/srv/packages")
    assert re.search(r"^ExecStart=\S+( -m pypiserver)? /srv/packages$", unit, re.MULTILINE)
    assert "AmbientCapabilities" not in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_no_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    unit = tmp_path / "pypiserver.service"
    unit.write_text(printed(capsys, "systemd", *FLAGS, "/srv/packages"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "pypiserver.service" in line]
    assert said == [] or all("Unknown user" in line or "not executable" in line for line in said), done.stderr


def test_the_compose_file_means_these_settings(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "compose", *FLAGS, "/srv/a", "/srv/b")
    service = yaml.safe_load(text.replace("$$", "$"))["services"]["pypiserver"]
    assert service["ports"] == ["127.0.0.1:81:8080"]
    assert service["volumes"] == [
        "/srv/a:/data/packages",
        "/srv/b:/data/packages2",
        "/var/log/a $x 50%:/data/audit_log",
        "/etc/pypi:/data/password_file:ro",
    ]
    inside = [*FLAGS[4:], "packages", "packages2"]
    inside[inside.index("/etc/pypi/htpasswd")] = "/data/password_file/htpasswd"
    inside[inside.index("/var/log/a $x 50%/b.jsonl")] = "/data/audit_log/b.jsonl"
    assert config_of(service["command"]) == config_of(inside)


@pytest.mark.live
@pytest.mark.skipif(NGINX is None, reason="no nginx here")
@pytest.mark.parametrize("prefix", ["", "/pypi"])
def test_pip_installs_through_the_nginx_that_is_printed(
    prefix: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / WHEEL).write_bytes(WHEEL_BYTES)
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with running(pypi_server("--disable-fallback", root), environ=environ, cwd=tmp_path) as live:
        port = live.url.rpartition(":")[2]
        block = printed(capsys, "nginx", "-p", port, "--server-base-url", f"http://127.0.0.1{prefix}/", str(root))
        with socket.create_server(("127.0.0.1", 0)) as free:
            outer = str(free.getsockname()[1])
        block = block.replace("listen 80;", f"listen 127.0.0.1:{outer};")
        temporary = "".join(
            f"{each}_temp_path {tmp_path}/{each};\n" for each in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
        )
        user = "user root;\n" if hasattr(os, "getuid") and os.getuid() == 0 else ""
        (tmp_path / "nginx.conf").write_text(
            f"daemon off;\npid {tmp_path}/pid;\nerror_log stderr warn;\n{user}events {{}}\n"
            f"http {{\naccess_log off;\n{temporary}{block}}}\n"
        )
        command = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0 and "[warn]" not in checked.stderr, checked.stderr
        url = f"http://127.0.0.1:{outer}{prefix}"
        process = subprocess.Popen(command)
        try:
            wait_until(lambda: answers(f"{url}/health"))
            pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "--no-deps",
                   "--no-cache-dir", "-d", str(tmp_path / "got"), "--index-url", f"{url}/simple/", "foo"]  # fmt: skip
            subprocess.run(pip, check=True, capture_output=True, timeout=120)
            with DIRECT.open(f"{url}/", timeout=20) as answer:
                assert f"{url}/simple/" in answer.read().decode()
            live.url = url
            assert status(live, "/simple/Foo/") == 302
        finally:
            process.terminate()
            process.wait(20)
    assert (tmp_path / "got" / WHEEL).read_bytes() == WHEEL_BYTES


def test_an_address_that_nginx_would_misread_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nginx", "--server-base-url", "http://h/;evil{}"]) == 2
    assert "characters that nginx would misread" in capsys.readouterr().err
