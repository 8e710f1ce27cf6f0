"""Below a path without any proxy, as ``--server-base-url /PREFIX/`` of 2.4 made it: every client, every server."""

from __future__ import annotations

from pathlib import Path
from urllib.request import Request

import pytest

from tests.clients.harness import PASSWORD, GetClient, Serve, get, installed
from tests.clients.samples import SHELF, add_project, fill
from tests.clients.uploaders import UPLOADS, Upload, built, stored
from tests.live_server import DIRECT

BASE = "/team/pypi"

pytestmark = pytest.mark.parametrize("server", ["granian", "waitress", "gunicorn"])


@pytest.mark.parametrize("name", ["pip", "pip9", "uv"])
def test_install(server: str, name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path) -> None:
    fill(packages)
    live = serve("--server", server, "--server-base-url", f"{BASE}/")
    assert f"pypiserver is serving at {live.url}{BASE}/\n" in live.output
    tool = client(name)
    tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", f"{live.url}{BASE}/simple/", "demo")
    assert installed(tmp_path / "site") == SHELF


@pytest.mark.parametrize(
    ("name", "upload"), [UPLOADS["twine 7"], UPLOADS["uv"], UPLOADS["setup.py"]], ids=["twine", "uv", "setup.py"]
)
@pytest.mark.parametrize("slash", ["/", ""])
def test_upload(
    server: str,
    slash: str,
    name: str,
    upload: Upload,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    live = serve("--server", server, "--server-base-url", f"{BASE}/", "-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{live.url}{BASE}{slash}", PASSWORD)
    assert status == 0, output
    assert stored(packages) == built(project)


def test_search(server: str, client: GetClient, serve: Serve, packages: Path) -> None:
    fill(packages)
    live = serve("--server", server, "--server-base-url", f"{BASE}/")
    found = client("pip").pip("search", "--index", f"{live.url}{BASE}", "demo").stdout
    assert "demo-helper (1.5)" in found


def test_pages_name_the_address(server: str, serve: Serve, packages: Path) -> None:
    fill(packages)
    url = f"{(live := serve('--server', server, '--server-base-url', f'{BASE}/')).url}{BASE}"
    assert f"{url}/simple/" in get(f"{url}/").decode()
    assert f'"url": "{url}/packages/' in get(f"{url}/pypi/demo/json").decode().replace('"url":"', '"url": "')
    with DIRECT.open(Request(url)) as answer:
        assert answer.url == f"{url}/"
    assert get(f"{url}/health") == get(f"{live.url}/health") == b"Ok\n"
