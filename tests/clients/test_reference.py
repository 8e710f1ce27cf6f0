"""The examples of the documentation of 1.x and 2.x, as they are there; other tests have those that clients share."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from tests.clients.harness import (
    PASSWORD,
    USER,
    GetClient,
    Serve,
    get,
    installed,
    listed,
    server_environ,
    wait_until_listed,
)
from tests.clients.samples import SHELF, add_project, add_wheel, fill
from tests.clients.uploaders import built, stored
from tests.live_server import DIRECT, LiveServer, running
from tests.ports import free_port


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of the one who follows the instructions: `pypi-server` is on PATH and in the folder."""
    home = tmp_path / "home"
    (home / "packages").mkdir(parents=True)
    program = home / "pypi-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pypiserver "$@"\n')
    program.chmod(0o755)
    return home


def environ_of(home: Path) -> dict[str, str]:
    environ = server_environ(home)
    return environ | {"PATH": f"{home}:{environ['PATH']}"}


def started(stack: ExitStack, home: Path, command: list[str | Path], port: int, path: str = "/") -> LiveServer:
    address = f"http://127.0.0.1:{port}"
    server = running(command, environ=environ_of(home), cwd=home, address=address, path=path)
    return stack.enter_context(server)


def posted(url: str, wheel: Path, user: str = USER, password: str = PASSWORD) -> int:
    """The status of an upload with curl."""
    form = ("-F", ":action=file_upload", "-F", f"content=@{wheel}")
    command = ["curl", "-sS", "-o", os.devnull, "-w", "%{http_code}", "-u", f"{user}:{password}", *form, url]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


LINES = {
    "quickstart": "pypi-server -p $port ~/packages &",
    "with passwords": "./pypi-server -p $port -P htpasswd.txt ~/packages &",
    "systemd": "pypi-server -p $port -a update,download --log-file $home/pypiserver.log -P $home/htpasswd.txt "
    "$home/packages &",
    "supervisor": "pypi-server -p $port -P $home/htpasswd.txt $home/packages &",
    "the image": "pypi-server -p $port -P htpasswd.txt packages &",
    "a root by flag": "pypi-server -p $port -r ~/packages &",
    "everything open": "pypi-server -p $port -P . -a . ~/packages &",
    "2.x": "pypi-server -v run -p $port -a update -P htpasswd.txt ~/packages &",
    "2.x behind options": "pypi-server --log-stream stdout --hash-algo md5 run -p $port -P htpasswd.txt ~/packages &",
    "2.4 below a path": "pypi-server run -p $port --server-base-url / -P htpasswd.txt ~/packages &",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_for_the_shell(line: str, home: Path, stack: ExitStack, tmp_path: Path) -> None:
    program = shutil.which("htpasswd")
    if program is None:
        pytest.skip("Apache's htpasswd is not installed")
    subprocess.run([program, "-sbc", home / "htpasswd.txt", USER, PASSWORD], check=True, capture_output=True)
    port = free_port()
    command = Template(line).substitute(port=port, home=home)
    server = started(stack, home, ["sh", "-c", f"{command}\ntrap 'kill $!; wait $!' TERM\nwait $!"], port)
    wheel = add_wheel(tmp_path if "-P" in line else home / "packages", "demo", "1.0")
    if "-P" in line:
        assert posted(server.url, wheel) == 200
    assert (home / "packages" / wheel.name).read_bytes() == wheel.read_bytes()
    wait_until_listed(server.url, "demo", wheel.name)
    if "-P ." not in line:
        assert posted(server.url, add_wheel(tmp_path, "demo", "2.0"), password="wrong") in (401, 403)


@pytest.mark.parametrize("name", ["pip", "pip9"])
def test_pip_is_told_by_its_file_or_a_variable(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    (tmp_path / "nothing").mkdir()
    server, empty, pip = serve(), serve(folder=tmp_path / "nothing"), client(name)
    (tmp_path / "pip.conf").write_text(f"[global]\nextra-index-url = {server.url}/simple/\n")
    for at, told in enumerate(
        ({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}, {"PIP_EXTRA_INDEX_URL": f"{server.url}/simple/"})
    ):
        # An index that has nothing stands for PyPI, which tests do not ask.
        pip.run(*pip.installer, "--index-url", f"{empty.url}/simple/", "--target", tmp_path / str(at), "demo", **told)
        assert installed(tmp_path / str(at)) == SHELF


def test_easy_install_is_told_by_its_file(client: GetClient, serve: Serve, packages: Path, tmp_path: Path) -> None:
    fill(packages)
    (packages / "eggs").mkdir()
    easy_install = client("pip9")
    easy_install.home.mkdir(exist_ok=True)
    (easy_install.home / ".pydistutils.cfg").write_text(f"[easy_install]\nindex_url = {serve().url}/simple/\n")
    site = tmp_path / "site"
    site.mkdir()
    words = ("--always-unzip", "--install-dir", site, "--script-dir", site, "demo-helper")
    easy_install.run("easy_install", *words, PYTHONPATH=str(site))
    assert installed(site) == {"demo-helper": "1.5"}


def test_twine_signs_and_uploads(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    server, twine = serve("-P", password_file), client("twine3")
    twine.home.mkdir(exist_ok=True)
    (twine.home / ".pypirc").write_text(
        f"[distutils]\nindex-servers =\n  local\n\n[local]\nrepository: {server.url}\n"
        f"username: {USER}\npassword: {PASSWORD}\n"
    )
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    key = ("--batch", "--passphrase", "", "--quick-gen-key", "user_name", "default", "default", "never")
    sign = ("upload", "-r", "local", "--sign", "--identity", "user_name")
    # A socket's path has a hundred characters at most.
    with TemporaryDirectory(prefix="gpg-") as keys:
        try:
            twine.run("gpg", *key, GNUPGHOME=keys)
            twine.run("twine", *sign, *(project / "dist").iterdir(), GNUPGHOME=keys)
        finally:
            twine.run("gpgconf", "--kill", "gpg-agent", status=None, GNUPGHOME=keys)
    signatures = sorted(path.name for path in packages.glob("*.asc"))
    assert signatures == [f"{name}.asc" for name in sorted(built(project)) if not name.endswith(".asc")]
    assert stored(packages) == built(project)


PASTE = """
[composite:main]
use = egg:Paste#urlmap
/unstable/ = unstable
/ = stable

[app:stable]
use = egg:pypiserver#main
root = ~/stable-packages

[app:unstable]
use = egg:pypiserver#main
root = ~/stable-packages
   ~/unstable packages

[server:main]
use = egg:gunicorn#main
host = 127.0.0.1
port = $port
workers = 5
accesslog = -
"""
BY_FILE = """
from paste.deploy import loadapp, loadserver

application = loadapp("config:paste.ini", relative_to=".")
loadserver("config:paste.ini", relative_to=".")(application)
"""


@pytest.mark.parametrize("start", ["loadserver", "gunicorn --paste"])
def test_paste(start: str, home: Path, client: GetClient, stack: ExitStack) -> None:
    """The second folder has a blank in its name, which the reference's has not."""
    modules = next((client("starters").bin.parent / "lib").glob("python*/site-packages"))
    stable, unstable = home / "stable-packages", home / "unstable packages"
    for folder, version in ((stable, "1.0"), (unstable, "2.0.dev1")):
        folder.mkdir()
        add_wheel(folder, "demo", version)
    port = free_port()
    (home / "paste.ini").write_text(Template(PASTE).substitute(port=port))
    (home / "serve.py").write_text(BY_FILE)
    by_name = ["-m", "gunicorn", "--paste", "paste.ini", "-b", f"127.0.0.1:{port}", "-w5"]
    environ = environ_of(home)
    environ["PYTHONPATH"] += f":{modules}"
    command = [sys.executable, *(["serve.py"] if start == "loadserver" else by_name)]
    address = f"http://127.0.0.1:{port}"
    server = stack.enter_context(running(command, environ=environ, cwd=home, address=address))
    assert [name.split("-")[1] for name in listed(server.url, "demo")] == ["1.0"]
    assert [name.split("-")[1] for name in listed(f"{server.url}/unstable", "demo")] == ["1.0", "2.0.dev1"]


SUPERVISOR = """
[supervisord]
nodaemon = true
logfile = $home/supervisord.log
pidfile = $home/supervisord.pid

[program:pypi]
command=$home/pypi-server -p $port -P $home/.htpasswd $home/packages
directory=$home
user=$user
autostart=true
autorestart=true
stderr_logfile=$home/pypiserver.err.log
stdout_logfile=$home/pypiserver.out.log
"""


def test_supervisor(home: Path, client: GetClient, stack: ExitStack, password_file: Path, tmp_path: Path) -> None:
    pwd = pytest.importorskip("pwd")
    shutil.copy(password_file, home / ".htpasswd")
    port = free_port()
    settings = {"home": home, "port": port, "user": pwd.getpwuid(os.getuid()).pw_name}
    (home / "supervisord.conf").write_text(Template(SUPERVISOR).substitute(settings))
    server = started(stack, home, [client("starters").bin / "supervisord", "-c", home / "supervisord.conf"], port)
    assert posted(server.url, add_wheel(tmp_path, "demo", "1.0")) == 200
    assert server.stop() == 0
    assert (home / "pypiserver.out.log").read_text().startswith("pypiserver is serving at ")


SCRIPT = """
import pypiserver
from pypiserver import bottle
import pam
app = pypiserver.app(root='./packages', auther=pam.authenticate)
bottle.run(app=app, host='127.0.0.1', port=$port, server='auto')
"""


def test_a_script_with_passwords_of_its_own(home: Path, stack: ExitStack, tmp_path: Path) -> None:
    port = free_port()
    # Called as python-pam's: with a name and a password.
    (home / "pam.py").write_text(f"def authenticate(username, password):\n    return password == {PASSWORD!r}\n")
    (home / "pypiserver-start.py").write_text(Template(SCRIPT).substitute(port=port))
    server = started(stack, home, [sys.executable, "pypiserver-start.py"], port)
    wheel = add_wheel(tmp_path, "demo", "1.0")
    assert posted(server.url, wheel, password="wrong") == 401
    assert posted(server.url, wheel) == 200
    assert listed(server.url, "demo") == [wheel.name]


MOD_WSGI = """
import pypiserver

conf = pypiserver.default_config(
    root =          "$home/packages",
    password_file = "$home/.htpasswd", )
application = pypiserver.app(**conf)
"""
UNDER_WSGIREF = """
from wsgiref.simple_server import make_server

make_server("127.0.0.1", $port, application).serve_forever()
"""


def test_the_script_of_mod_wsgi(home: Path, stack: ExitStack, password_file: Path, tmp_path: Path) -> None:
    """Any server may take the application; Apache itself is started by other tests."""
    shutil.copy(password_file, home / ".htpasswd")
    port = free_port()
    (home / "pypiserver.wsgi").write_text(Template(MOD_WSGI + UNDER_WSGIREF).substitute(home=home, port=port))
    server = started(stack, home, [sys.executable, "pypiserver.wsgi"], port)
    wheel = add_wheel(tmp_path, "demo", "1.0")
    assert posted(server.url, wheel) == 200
    assert get(f"{server.url}/packages/{wheel.name}") == wheel.read_bytes()


def test_downloads_are_protected_and_listings_are_not(serve: Serve, packages: Path, password_file: Path) -> None:
    """``-P foo/htpasswd.txt -a update,download``, and what 2.x writes as ``-a 'download, update'``."""
    wheel = add_wheel(packages, "demo", "1.0")
    for actions in ("update,download", "download, update", "Update,DOWNLOAD"):
        server = serve("-P", password_file, "-a", actions)
        assert listed(server.url, "demo") == [wheel.name]
        url = f"{server.url}/packages/{wheel.name}"
        with pytest.raises(HTTPError, match="401"):
            get(url)
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        with DIRECT.open(Request(url, headers={"Authorization": f"Basic {token}"})) as answer:
            assert answer.read() == wheel.read_bytes()
