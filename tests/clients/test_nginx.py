"""Behind a real nginx, with the configurations of the README: at the root of a host, and below a prefix."""

from __future__ import annotations

import base64
import os
import shutil
import string
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request

import pytest

from tests.clients.harness import PASSWORD, USER, GetClient, Serve, clean_environ, get, installed
from tests.clients.samples import SHELF, add_project, fill
from tests.clients.uploaders import UPLOADS, Upload, built, stored
from tests.live_server import DIRECT, running
from tests.make_archives import make_sdist, make_wheel
from tests.ports import free_port

MAIN = string.Template(
    """
daemon off;
pid $folder/nginx.pid;
error_log stderr warn;
$user
events {}
http {
  access_log off;
  client_max_body_size 0;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  $http
  upstream pypi {
    server $upstream fail_timeout=0;
  }
  server {
    listen 127.0.0.1:$port;
    $location
  }
}
"""
)
ROOT = """
    location / {
      proxy_set_header  Host $host:$server_port;
      proxy_set_header  X-Forwarded-Proto $scheme;
      proxy_set_header  X-Real-IP $remote_addr;
      proxy_pass        http://pypi;
    }
"""
# The server is told the prefix in front of its own paths; nginx passes the paths on as they came.
PREFIX = """
    location /pypi/ {
      proxy_set_header  X-Forwarded-Host $host:$server_port/pypi;
      proxy_set_header  X-Forwarded-Proto $scheme;
      proxy_set_header  X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header  X-Real-IP $remote_addr;
      proxy_pass        http://pypi;
    }
"""
# The same with nginx taking the prefix off, which is what the slash at the end of proxy_pass does.
STRIPPED = PREFIX.replace("http://pypi;", "http://pypi/;")
FORWARDED_PREFIX = """
    location /pypi/ {
      proxy_set_header  Host $http_host;
      proxy_set_header  X-Forwarded-Prefix /pypi;
      proxy_set_header  X-Forwarded-Proto $scheme;
      proxy_pass        http://pypi/;
    }
"""
# The server is told the path when it starts, as 2.4 could be, and headers say no more than the host.
BASE_PATH = """
    location /pypi/ {
      proxy_set_header  Host $http_host;
      proxy_pass        http://pypi;
    }
"""
# Nothing but the path is passed on: relative links alone must do.
BARE = "\n    location /pypi/ {\n      proxy_pass http://pypi/;\n    }\n"
# nginx sends the files itself, which no one can ask it for directly.
ACCEL = (
    ROOT
    + """
    location /protected$packages/ {
      internal;
      alias $packages/;
    }
"""
)
PAGES = (
    ROOT
    + """
    location /simple/ {
      proxy_set_header        Host $host:$server_port;
      proxy_pass              http://pypi;
      proxy_cache             pypiserver_cache;
      proxy_ignore_headers    Cache-Control;
      proxy_cache_valid       200 1s;
      proxy_cache_revalidate  on;
      proxy_cache_lock        on;
    }
"""
)
CACHED = ROOT.replace("proxy_pass ", "proxy_cache pypiserver_cache;\n      proxy_pass ")
CACHE = """
  proxy_cache_path $folder/cache
                   levels=1:2
                   keys_zone=pypiserver_cache:10m
                   max_size=10g
                   inactive=60m
                   use_temp_path=off;
"""

Nginx = Callable[..., str]


@pytest.fixture
def nginx(stack: ExitStack, tmp_path: Path) -> Nginx:
    """Start nginx in front of the server at `upstream`; returns its URL, without a slash at the end."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("nginx is not installed, and continuous integration must not do without it")
        pytest.skip("nginx is not installed")

    def nginx(upstream: str, location: str, http: str = "") -> str:
        folder = tmp_path / "nginx"
        folder.mkdir()
        port = free_port()
        settings = {
            "folder": folder,
            "user": "user root;" if os.getuid() == 0 else "",
            "upstream": upstream.partition("://")[2],
            "port": port,
            "location": location,
            "http": string.Template(http).safe_substitute(folder=folder),
        }
        configuration = folder / "nginx.conf"
        configuration.write_text(MAIN.substitute(settings))
        command: list[str | Path] = [program, "-p", folder, "-e", "stderr", "-c", configuration]
        address = f"http://127.0.0.1:{port}"
        stack.enter_context(running(command, environ=clean_environ(folder), cwd=folder, address=address, path="/"))
        return address

    return nginx


TOLD: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "root": (ROOT, "", ()),
    # The example of older versions, which is recognized without a flag.
    "prefix passed on": (PREFIX, "/pypi", ()),
    "prefix taken off": (STRIPPED, "/pypi", ("--forwarded-headers", "proto,for,host")),
    "X-Forwarded-Prefix": (FORWARDED_PREFIX, "/pypi", ("--forwarded-headers", "proto,for,prefix")),
    "--server-base-url": (BASE_PATH, "/pypi", ("--server-base-url", "/pypi/")),
    "--server-base-url, taken off": (
        BASE_PATH.replace("http://pypi;", "http://pypi/;"),
        "/pypi",
        ("--server-base-url", "/pypi/"),
    ),
}
LAYOUTS = TOLD | {"nothing said": (BARE, "/pypi", ())}
every_layout = pytest.mark.parametrize(("location", "prefix", "flags"), LAYOUTS.values(), ids=LAYOUTS)
# A redirect and the welcome page need to know the prefix; links do not.
layouts_that_tell_the_prefix = pytest.mark.parametrize(("location", "prefix", "flags"), TOLD.values(), ids=TOLD)


@every_layout
@pytest.mark.parametrize("name", ["pip", "pip9", "uv"])
def test_install(
    name: str,
    location: str,
    prefix: str,
    flags: tuple[str, ...],
    client: GetClient,
    serve: Serve,
    nginx: Nginx,
    packages: Path,
    tmp_path: Path,
) -> None:
    fill(packages)
    url = nginx(serve(*flags).url, location) + prefix
    tool = client(name)
    tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", f"{url}/simple/", "demo")
    assert installed(tmp_path / "site") == SHELF


@every_layout
@pytest.mark.parametrize(
    ("name", "upload"), [UPLOADS["twine 7"], UPLOADS["uv"], UPLOADS["setup.py"]], ids=["twine", "uv", "setup.py"]
)
def test_upload(
    name: str,
    upload: Upload,
    location: str,
    prefix: str,
    flags: tuple[str, ...],
    client: GetClient,
    serve: Serve,
    nginx: Nginx,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    url = nginx(serve("-P", password_file, *flags).url, location) + prefix
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{url}/", PASSWORD)
    assert status == 0, output
    assert stored(packages) == built(project)


@layouts_that_tell_the_prefix
def test_redirects_stay_below_the_prefix(
    location: str, prefix: str, flags: tuple[str, ...], serve: Serve, nginx: Nginx, packages: Path
) -> None:
    fill(packages)
    url = nginx(serve(*flags).url, location) + prefix
    for typed in ("/simple/Demo_Helper/", "/simple/Demo_Helper", "/demo-helper"):
        with DIRECT.open(url + typed) as answer:
            assert answer.url == f"{url}/simple/demo-helper/"
    with DIRECT.open(f"{url}/simple") as answer:
        assert answer.url == f"{url}/simple/"


@layouts_that_tell_the_prefix
def test_welcome_page_names_the_address_in_front(
    location: str, prefix: str, flags: tuple[str, ...], serve: Serve, nginx: Nginx, packages: Path
) -> None:
    fill(packages)
    url = nginx(serve(*flags).url, location) + prefix
    assert f"{url}/simple/" in get(f"{url}/").decode()


def test_cached_by_nginx_an_upload_shows_at_once(
    client: GetClient, serve: Serve, nginx: Nginx, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    fill(packages)
    server = serve("-P", password_file)
    url = nginx(server.url, CACHED, CACHE)
    tool = client("pip")
    command = ("python", "-m", "pip", "install", "--no-deps", "--index-url", f"{url}/simple/", "--target")
    tool.run(*command, tmp_path / "before", "demo")
    for version in ("2.1", "2.2"):
        project = add_project(tmp_path / version, "demo", version)
        tool_status, output = UPLOADS["twine 7"][1](client("twine"), project, f"{url}/", PASSWORD)
        assert tool_status == 0, output
        tool.run(*command, tmp_path / f"with {version}", "demo")
        assert installed(tmp_path / f"with {version}") == {"demo": version}
    assert installed(tmp_path / "before") == {"demo": "2.0"}


def test_credentials_reach_the_server(serve: Serve, nginx: Nginx, packages: Path, password_file: Path) -> None:
    fill(packages)
    url = nginx(serve("-P", password_file, "-a", "update,download,list").url, ROOT)
    status = subprocess.run(
        ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/simple/", "-u", f"{USER}:{PASSWORD}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert status.stdout == "200"


def test_nginx_sends_the_files_itself(serve: Serve, nginx: Nginx, packages: Path) -> None:
    fill(packages)
    large, data = make_wheel("large", "1.0", extra_members={"big.bin": os.urandom(70_000)})
    (packages / large).write_bytes(data)
    server = serve("--accel", "nginx")
    url = nginx(server.url, ACCEL.replace("$packages", str(packages)))
    paths = sorted(str(path.relative_to(packages)) for path in packages.rglob("*.whl"))
    assert paths
    for path in paths:
        assert get(f"{url}/packages/{quote(path)}") == (packages / path).read_bytes()
        # A small one comes from the server all the same.
        assert (get(f"{server.url}/packages/{quote(path)}") == b"") is (path == large)
    request = Request(f"{url}/packages/{large}", headers={"Range": "bytes=2-5"})
    with DIRECT.open(request) as answer:
        assert (answer.status, answer.read()) == (206, data[2:6])
        assert answer.headers["Cache-Control"] == "max-age=0, must-revalidate"
    with pytest.raises(HTTPError, match="404"):
        get(f"{url}/protected{packages}/{large}")


def test_pages_kept_by_nginx_are_revalidated_and_keep_forms_apart(
    serve: Serve, nginx: Nginx, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    url = nginx(serve().url, PAGES, CACHE)
    json_form = {"Accept": "application/vnd.pypi.simple.v1+json"}
    for _ in range(2):
        assert get(f"{url}/simple/demo/").startswith(b"<!DOCTYPE html>")
        with DIRECT.open(Request(f"{url}/simple/demo/", headers=json_form)) as answer:
            assert answer.read().startswith(b"{")
    name, data = make_sdist("demo", "9.0")
    (packages / name).write_bytes(data)
    deadline = time.monotonic() + 30
    while b"demo-9.0" not in get(f"{url}/simple/demo/"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_rights_decide_is_not_kept_by_nginx(
    serve: Serve, nginx: Nginx, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    """Its cache is on for pages and files; what one client may see is not given to another."""
    fill(packages)
    rights = tmp_path / "rights"
    rights.write_text(f"{USER} read demo\neveryone read nothing\n")
    location = PAGES + CACHED.replace("location / {", "location /packages/ {").replace(
        "proxy_cache ", "proxy_ignore_headers Cache-Control;\n      proxy_cache_valid 200 1h;\n      proxy_cache "
    )
    url = nginx(serve("-P", password_file, "--rights", rights).url, location, CACHE)
    file = next(path.name for path in packages.rglob("demo-*.whl"))
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for path in ("/simple/", "/simple/demo/", f"/packages/{file}"):
        for _ in range(2):
            with DIRECT.open(Request(f"{url}{path}", headers={"Authorization": f"Basic {token}"})) as answer:
                assert b"demo" in answer.read()
            try:
                shown = get(f"{url}{path}")
            except HTTPError as error:
                assert (error.code, path != "/simple/") == (401, True)
            else:
                assert path == "/simple/" and b"demo" not in shown
    assert not [path for path in (tmp_path / "nginx" / "cache").rglob("*") if path.is_file()]
