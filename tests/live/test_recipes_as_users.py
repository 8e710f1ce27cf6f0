"""What ``pypi-server systemd`` and ``nginx`` print, run as printed by two users: the server's and nginx's own.

Needs root, to become them, so it is skipped elsewhere with that reason.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pypiserver.__main__ import main
from tests.certificates import make_certificate
from tests.live_server import LiveServer, running
from tests.ports import free_ports
from tests.unit.cli.commands.test_deploy import LARGE, LARGE_BYTES, NGINX, get
from tests.unit.wsgi import form

from .test_live_log import wait_until

SERVER_ID = 61_001


PORT, TLS_PORT, PLAIN_PORT = free_ports(3)


def _missing() -> str:
    if os.getuid() != 0:
        return "only root can become two other users"
    if NGINX is None or shutil.which("setpriv") is None:
        return "no nginx or setpriv here"
    return "" if any(each.pw_name == "www-data" for each in pwd.getpwall()) else "there is no user www-data"


pytestmark = [pytest.mark.live, pytest.mark.skipif(bool(_missing()), reason=_missing())]


class Place(NamedTuple):
    folder: Path
    packages: Path


@pytest.fixture
def place() -> Iterator[Place]:
    """A folder that everyone may enter, as pytest's own may only root; the packages belong to the server's user."""
    with tempfile.TemporaryDirectory(prefix="pypiserver-recipes-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        packages = folder / "packages"
        packages.mkdir()
        for each in (packages, folder / "cache", folder / "nginx"):
            each.mkdir(exist_ok=True)
            os.chown(each, *((SERVER_ID, SERVER_ID) if each.name != "nginx" else (0, 0)))
        yield Place(folder, packages)


def printed(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out


@contextlib.contextmanager
def as_the_unit_says(unit: str, place: Place) -> Iterator[LiveServer]:
    """The command of the unit, as its user, with its umask and its variables."""
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    (mask,) = re.findall(r"^UMask=(.*)$", unit, re.MULTILINE)
    # The one liberty: its user may read a Python below /root, as root's own environments are in tests.
    become = ["setpriv", f"--reuid={SERVER_ID}", f"--regid={SERVER_ID}", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    words = [*become, "sh", "-c", f'umask {mask}; exec "$@"', "sh", *shlex.split(command)]
    environ = {"PATH": os.environ["PATH"], "PYPISERVER_CATALOG": str(place.folder / "cache" / "catalog.sqlite")}
    address = f"http://127.0.0.1:{PORT}"
    with running(words, environ=environ, cwd=place.folder, address=address) as live:
        yield live


@contextlib.contextmanager
def nginx_as_www_data(block: str, folder: Path) -> Iterator[None]:
    """nginx as on Debian: its workers are www-data, and its own site is the default server of port 80."""
    kinds = ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
    temporary = "".join(f"{each}_temp_path {folder}/{each};\n" for each in kinds)
    site = f"server {{ listen 127.0.0.1:{PLAIN_PORT} default_server; return 404; }}\n"
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr warn;\nuser www-data;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{site}{block}}}\n"
    )
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and "[warn]" not in checked.stderr, checked.stderr
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


def put(url: str, context: ssl.SSLContext | None = None) -> None:
    body, kind = form({":action": "file_upload"}, LARGE, LARGE_BYTES)
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("base", ["http", "https"])
def test_an_uploaded_file_is_sent_by_nginx_as_its_own_user(
    base: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = make_certificate(place.folder / "nginx")
    outer = TLS_PORT if base == "https" else PLAIN_PORT
    flags = ["-p", str(PORT), "-P", ".", "-a", ".", "--server-base-url", f"{base}://localhost:{outer}/"]
    block = printed(capsys, "nginx", *flags, place.packages)
    (command,) = re.findall(r"^#   pypi-server (.*)$", block, re.MULTILINE)
    unit = printed(capsys, "systemd", *shlex.split(command))
    # What is Debian's own is put below the test's folder; all else is as printed.
    block = block.replace("/var/cache/nginx-pypiserver", f"{place.folder}/nginx/pages")
    block = block.replace("/etc/ssl/private/localhost.key", str(certificate.key))
    block = block.replace("/etc/ssl/localhost.crt", str(certificate.chain)).replace("listen ", "listen 127.0.0.1:")
    with as_the_unit_says(unit, place), nginx_as_www_data(block, place.folder / "nginx"):
        url = f"{base}://localhost:{outer}"
        context = certificate.context if base == "https" else None
        wait_until(lambda: listens(outer))
        put(f"{url}/", context)
        with urllib.request.urlopen(f"{url}/packages/{LARGE}", timeout=30, context=context) as answer:
            assert answer.read() == LARGE_BYTES
        # Not the server sent it, and its user's other files stay its own.
        assert get(f"http://127.0.0.1:{PORT}/packages/{LARGE}") == b""
        assert (place.packages / LARGE).stat().st_uid == SERVER_ID


def test_without_nginx_what_is_uploaded_is_for_the_servers_group_alone(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = printed(capsys, "systemd", "-p", str(PORT), "-i", "127.0.0.1", "-P", ".", "-a", ".", place.packages)
    with as_the_unit_says(unit, place) as live:
        put(f"{live.url}/")
    assert (place.packages / LARGE).stat().st_mode & 0o777 == 0o640


def test_a_folder_of_nginxs_group_keeps_others_out(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The other way that the unit names: umask 0027, and a folder whose files get the group of nginx."""
    www = pwd.getpwnam("www-data")
    os.chown(place.packages, SERVER_ID, www.pw_gid)
    place.packages.chmod(0o2750)
    flags = ["-p", str(PORT), "-i", "127.0.0.1", "-P", ".", "-a", ".", "--accel", "nginx", str(place.packages)]
    unit = printed(capsys, "systemd", *flags)
    assert "chmod 2750" in unit
    with as_the_unit_says(unit.replace("UMask=0022", "UMask=0027"), place) as live:
        put(f"{live.url}/")
    status = (place.packages / LARGE).stat()
    assert (status.st_gid, status.st_mode & 0o777) == (www.pw_gid, 0o640)
