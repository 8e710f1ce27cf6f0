"""``pypi-server systemd``, ``nginx`` and ``compose``: what they print can be used as it is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from pypiserver.__main__ import main
from pypiserver.cli import parser
from pypiserver.cli.commands.run import Run
from tests.live_server import DIRECT, REPOSITORY
from tests.make_archives import make_wheel

LARGE, LARGE_BYTES = make_wheel("large", "1.0", extra_members={"big.bin": os.urandom(70_000)})
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
    command = parser.parse(argv, {})
    assert isinstance(command, Run)
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
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in unit


@pytest.mark.parametrize("kind", ["systemd", "compose"])
def test_a_catalog_in_a_database_is_no_file(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    text = printed(capsys, kind, "--catalog", "postgresql://pypi@db.example/pypi", "/srv/packages")
    assert text.count("postgresql:") == text.count("postgresql://pypi@db.example/pypi") == 1


def test_what_was_not_given_is_left_to_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    unit = printed(capsys, "systemd", "/srv/packages")
    assert re.search(r"^ExecStart=\S+( -m pypiserver)? /srv/packages$", unit, re.MULTILINE)
    assert "AmbientCapabilities" not in unit


def test_the_unit_is_as_strict_as_the_one_in_the_documentation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A program below /home or /tmp could not be started with all of it.
    monkeypatch.setattr(sys, "prefix", "/opt/pypiserver")
    monkeypatch.setattr(sys, "executable", "/opt/pypiserver/bin/python")
    written = (REPOSITORY / "docs" / "howto" / "pypiserver.service").read_text("utf-8")
    wanted = {line for line in written.splitlines() if re.match(r"[A-Z]", line)}
    unit = printed(capsys, "systemd", "-P", "/var/lib/pypiserver/htpasswd", "/srv/packages").splitlines()
    assert {line.partition("=")[0] for line in wanted - set(unit)} == {"ExecStart"}
    assert "TimeoutStopSec=75" in printed(capsys, "systemd", "--drain-seconds", "45", "/srv/packages")


@pytest.mark.parametrize("kind", ["systemd", "nginx"])
def test_what_a_configuration_file_says_stays_there(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('roots = ["/srv/packages"]\nport = 9000\nhost = "127.0.0.1"')
    text = printed(capsys, kind, "--config", str(file), "--disable-fallback")
    (command,) = re.findall(r"^(?:ExecStart=|#   )(.*)$", text, re.MULTILINE)[-1:]
    words = shlex.split(command)
    flags = ["--accel", "nginx", "-i", "127.0.0.1"] if kind == "nginx" else []
    assert words[-3:] == ["--config", str(file), "--disable-fallback"]
    assert config_of(words[next(at for at, word in enumerate(words) if word.startswith("-")) :]) == config_of(
        [*flags, "--config", str(file), "--disable-fallback"]
    )
    assert "9000" in text if kind == "nginx" else "ReadWritePaths=/srv/packages" in text


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
        "/etc/pypi/htpasswd:/data/password_file/htpasswd:ro",
    ]
    inside = [*FLAGS[4:], "packages", "packages2"]
    inside[inside.index("/etc/pypi/htpasswd")] = "/data/password_file/htpasswd"
    inside[inside.index("/var/log/a $x 50%/b.jsonl")] = "/data/audit_log/b.jsonl"
    assert config_of(service["command"]) == config_of(inside)


@pytest.mark.parametrize("flag", ["--catalog", "--stats", "--audit-log", "--log-file"])
@pytest.mark.parametrize("folder", ["~", "/home/ada", "/var/log", "/srv", "/"])
def test_no_container_gets_a_home_or_a_folder_of_the_system(
    flag: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.path.join(os.path.expanduser(folder), "file")
    assert main(["compose", flag, path, "/srv/packages"]) == 2
    assert f"{flag}: the container would get all of" in capsys.readouterr().err


def test_a_password_file_in_a_home_is_mounted_alone(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "compose", "-P", "~/htpasswd.txt", "/srv/packages")
    service = yaml.safe_load(text.replace("$$", "$"))["services"]["pypiserver"]
    home = os.path.expanduser("~/htpasswd.txt")
    assert service["volumes"] == ["/srv/packages:/data/packages", f"{home}:/data/password_file/htpasswd.txt:ro"]
    assert service["image"] == "pypiserver/pypiserver:latest"


def test_every_page_calls_the_image_by_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    pages = [REPOSITORY / "README.rst", REPOSITORY / "Dockerfile", REPOSITORY / "docs" / "howto" / "docker.rst"]
    for page in pages:
        for line in page.read_text("utf-8").splitlines():
            if re.search(r"docker (run|build) ", line):
                assert "pypiserver/pypiserver" in line or line.endswith("\\"), (page, line)


@pytest.mark.parametrize(
    ("url", "listening", "redirects"),
    [
        ("http://pypi.example/", "    listen 80;\n", False),
        ("http://pypi.example:8081/", "    listen 8081;\n", False),
        ("https://pypi.example/pypi/", "    listen 443 ssl;\n", True),
        ("https://pypi.example:8443/", "    listen 8443 ssl;\n", False),
    ],
)
def test_nginx_listens_where_clients_ask(
    url: str, listening: str, redirects: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    block = printed(capsys, "nginx", "--server-base-url", url, "/srv/packages")
    assert listening in block and "default_server" not in block
    assert ("return 308 https://$host$request_uri;" in block) is redirects
    assert ("ssl_certificate /etc/ssl/pypi.example.crt;" in block) is url.startswith("https")


def test_the_compose_file_for_a_bucket_hands_credentials_on(capsys: pytest.CaptureFixture[str]) -> None:
    service = yaml.safe_load(printed(capsys, "compose", "--storage", "s3://bucket/a"))["services"]["pypiserver"]
    assert "volumes" not in service, "compose takes no empty list"
    assert service["environment"][:2] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    assert config_of(service["command"]) == config_of(["--storage", "s3://bucket/a"])


def get(url: str, **headers: str) -> bytes:
    with DIRECT.open(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize(
    ("given", "name", "prefix"),
    [
        ("/team/pypi/", "pypi.example", "/team/pypi"),
        ("https://pypi.corp.example/team/pypi/", "pypi.corp.example", "/team/pypi"),
        ("/", "pypi.example", ""),
    ],
)
def test_nginx_serves_below_the_path_that_is_given(
    given: str, name: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    block = printed(capsys, "nginx", "--server-base-url", given, "/srv/packages")
    assert f"server_name {name};" in block
    assert re.findall(r"location (/\S*)", block)[:3] == [f"{prefix}{each}" for each in ("/", "/simple/", "/packages/")]


@pytest.mark.parametrize("flags", [("-a", "update,download", "-P", "htpasswd"), ("--stats", "counts.sqlite")])
def test_files_that_need_a_password_or_are_counted_are_not_kept(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    assert "location /packages/ {" in printed(capsys, "nginx", "/srv/packages")
    assert "location /packages/ {" not in printed(capsys, "nginx", *flags, "/srv/packages")


def test_pages_that_need_a_password_are_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert "proxy_cache" in printed(capsys, "nginx", "-a", "update,download", "-P", "htpasswd", "/srv/packages")
    protected = printed(capsys, "nginx", "-a", "update,list", "-P", "htpasswd", "/srv/packages")
    assert "proxy_cache" not in protected and 'alias "/srv/packages/";' in protected


def test_the_server_that_nginx_needs_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    block = printed(capsys, "nginx", "-p", "81", "--accel-location", "/inside", "--disable-fallback", "/srv/pack ages")
    (command,) = re.findall(r"^#   pypi-server (.*)$", block, re.MULTILINE)
    flags = ["-i", "127.0.0.1", "--accel", "nginx", "-p", "81", "--accel-location", "/inside", "--disable-fallback"]
    assert config_of(shlex.split(command)) == config_of([*flags, "/srv/pack ages"])
    assert 'location "/inside/srv/pack ages/" {' in block


@pytest.mark.parametrize("folder", ["/srv/$x", "/srv/a\nb"])
def test_a_folder_that_nginx_would_misread_is_refused(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nginx", folder]) == 2
    assert "characters in its path that nginx would misread" in capsys.readouterr().err


def test_an_address_that_nginx_would_misread_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nginx", "--server-base-url", "http://h/;evil{}"]) == 2
    assert "characters that nginx would misread" in capsys.readouterr().err


# -- other indexes ----------------------------------------------------------------------------------------------------

CACHE = ("--fallback-mode", "cache", "--fallback-url", "https://pypi.example/simple/", "--cache-folder", "/srv/kept")


def test_every_file_has_the_folder_of_the_cache(capsys: pytest.CaptureFixture[str]) -> None:
    rules = ("--deny-projects", "/etc/pypi/deny")
    unit = printed(capsys, "systemd", *CACHE, *rules, "/srv/packages")
    assert re.search(r"^ReadWritePaths=.*/srv/kept", unit, re.MULTILINE)
    assert "/protected/srv/kept/" in printed(capsys, "nginx", *CACHE, "/srv/packages")
    assert "/protected/srv/kept" not in printed(capsys, "nginx", "--cache-folder", "/srv/kept", "/srv/packages")
    service = yaml.safe_load(printed(capsys, "compose", *CACHE, *rules, "/srv/packages"))["services"]["pypiserver"]
    assert {"/srv/kept:/data/cache", "/etc/pypi/deny:/data/deny_projects/deny:ro"} <= set(service["volumes"])
    words = service["command"]
    assert words[words.index("--cache-folder") + 1] == "/data/cache"


def test_tables_of_indexes_stay_in_their_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    table = '[[upstream]]\nname = "a"\nurl = "https://a.example/simple/"\n'
    file.write_text(f'roots = ["/srv/packages"]\nfallback_mode = "cache"\n{table}')
    assert f"--config {file}" in printed(capsys, "systemd", "--config", str(file))
    assert main(["compose", "--config", str(file)]) == 2
