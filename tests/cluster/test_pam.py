"""The accounts of the machine: the recipe and the plug-in for PAM that the documentation shows, by a real service."""

from __future__ import annotations

import base64
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.plug_ins import install
from tests.cluster.process import own_folder, refuse
from tests.live_server import DIRECT, pypi_server, running
from tests.ports import free_ports

SERVICES = Path("/etc/pam.d")
# PAM asks a program, so that no account of this machine is needed: user and password come as PAM hands them over.
SCRIPT = """#!/bin/sh
password=$(tr -d '\\000')
[ "$PAM_USER:$password" = "ada:open sesame" ]
"""
# As Debian's own: who is right skips the refusal.
ASKS = """
auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {script}
auth requisite pam_deny.so
auth required pam_permit.so
account required pam_permit.so
"""
FAILS = """
auth required pam_exec.so quiet {script}-that-is-missing
account required pam_permit.so
"""
RECIPE = """
import sys
import pam, pypiserver
from pypiserver import bottle

def is_right(user, password):
    return pam.authenticate(user, password, service=sys.argv[1])

application = pypiserver.app(root=sys.argv[2], auther=is_right, authenticate="list")
bottle.run(app=application, host="127.0.0.1", port=int(sys.argv[3]), server="waitress")
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with own_folder("pam") as folder:
        yield folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[str]:
    """The name of a PAM service that asks the script; the one with -fails at its end cannot."""
    if os.getuid() != 0:
        refuse("only root can make a PAM service")
    script, name = folder / "check", f"pypiserver-test-{os.getpid()}"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    files = {SERVICES / name: ASKS, SERVICES / f"{name}-fails": FAILS}
    try:
        for file, text in files.items():
            file.write_text(text.format(script=script))
        yield name
    finally:
        for file in files:
            file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def environ(folder: Path) -> dict[str, str]:
    return install("authentication.rst", "machine-login", folder)


def status(url: str, credentials: str) -> int:
    header = base64.b64encode(credentials.encode()).decode()
    request = urllib.request.Request(f"{url}/simple/", headers={"Authorization": f"Basic {header}"})
    try:
        with DIRECT.open(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


def assert_logins(url: str) -> None:
    for credentials, expected in (
        ("ada:open sesame", 200),
        ("ada:wrong", 401),
        ("ada:", 401),
        ("nobody:open sesame", 401),
        ("ada:öffne dich", 401),
    ):
        assert status(url, credentials) == expected, credentials


def test_the_plug_in(service: str, environ: dict[str, str], tmp_path: Path) -> None:
    command = pypi_server("--auth", f"pam:{service}", "-a", "list", "--disable-fallback", tmp_path)
    with running(command, environ=environ, cwd=tmp_path) as server:
        assert_logins(server.url)


def test_the_recipe(service: str, environ: dict[str, str], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", RECIPE, service, tmp_path, str(port)]
    with running(command, environ=environ, cwd=tmp_path, address=f"http://127.0.0.1:{port}") as server:
        assert_logins(server.url)


def test_a_service_that_fails_is_no_wrong_password(service: str, environ: dict[str, str], tmp_path: Path) -> None:
    command = pypi_server("--auth", f"pam:{service}-fails", "-a", "list", "--disable-fallback", tmp_path)
    with running(command, environ=environ, cwd=tmp_path) as server:
        assert status(server.url, "ada:open sesame") == 503
    assert "OSError: PAM" in server.output and "sesame" not in server.output
