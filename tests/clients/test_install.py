"""Installing from a folder no one prepared: every client gets the newest version for its Python and what that needs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.clients.harness import Client, GetClient, Serve, get, installed, wait_until_listed
from tests.clients.samples import SHELF, SHELF_FILES, add_sdist, add_wheel, fill, shelf_only, write_consumer
from tests.live_server import LiveServer

PIPS = ["pip", "pip20", "pip9"]


def install(client: Client, target: Path, *arguments: str | Path) -> dict[str, str]:
    """Install into a folder with pip or uv; what is in it afterwards."""
    client.run(*client.installer, "--target", target, *arguments)
    return installed(target)


@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_newest_version_for_this_python_is_installed(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    server = serve()
    assert install(client(name), tmp_path / "site", "--index-url", f"{server.url}/simple/", "demo") == SHELF


@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_root_url_serves_as_index(name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path) -> None:
    fill(packages)
    server = serve()
    assert install(client(name), tmp_path / "site", "-i", server.url, "demo") == SHELF


@pytest.mark.parametrize("name", [*PIPS, "uv"])
@pytest.mark.parametrize("path", ["", "/simple/"], ids=["root", "simple"])
def test_extra_index_url(
    path: str,
    name: str,
    client: GetClient,
    serve: Serve,
    packages: Path,
    tmp_path: Path,
) -> None:
    add_wheel(packages, "unrelated", "1.0")
    main_index = serve()
    extra = tmp_path / "extra"
    extra.mkdir()
    fill(extra)
    extra_index = serve(folder=extra)
    arguments = ["--index-url", f"{main_index.url}/simple/", "--extra-index-url", extra_index.url + path]
    assert install(client(name), tmp_path / "site", *arguments, "demo") == SHELF


@contextmanager
def tampering(server: LiveServer, replaced: Path) -> Iterator[str]:
    """The address of a cache in front of the server that has other bytes under a file's name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_replaced = self.path.endswith(replaced.name)
            body = replaced.read_bytes() if is_replaced else get(server.url + self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if is_replaced else "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that the library asks for

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{front.server_address[1]}"
        front.shutdown()
        thread.join()


@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_find_links_verifies_what_it_downloads(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    server, tool = serve(), client(name)
    wait_until_listed(server.url, "demo", *SHELF_FILES["demo"])
    assert (
        install(tool, tmp_path / "site", "--no-index", "--find-links", f"{server.url}/packages/", "demo==2.0") == SHELF
    )
    other = add_wheel(tmp_path, "demo", "2.0", needs=["demo-helper>=1.0"], summary="other bytes")
    with tampering(server, other) as address:
        cache = "--no-cache" if name == "uv" else "--no-cache-dir"
        links = (cache, "--no-index", "--find-links", f"{address}/packages/")
        done = tool.run(*tool.installer, "--target", tmp_path / "other", *links, "demo==2.0", status=None)
    assert done.returncode != 0 and "hash" in done.stdout.lower(), done.stdout
    assert "demo" not in installed(tmp_path / "other")


@pytest.mark.parametrize("name", PIPS)
def test_sdist_is_built_and_installed(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    add_sdist(packages, "demo-source", "1.0", needs=["demo-helper"])
    server = serve()
    # The build tools are in the client's environment; this index has none.
    isolation = ["--no-build-isolation"] if name == "pip" else []
    found = install(client(name), tmp_path / "site", *isolation, "--index-url", f"{server.url}/simple/", "demo-source")
    assert found == {"demo-source": "1.0", "demo-helper": "1.5"}


@pytest.mark.parametrize("spelling", ["demo-source", "Demo_Source"])
def test_easy_install(spelling: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path) -> None:
    fill(packages)
    add_sdist(packages, "demo-source", "1.0", needs=["demo-helper"])
    server = serve()
    site = tmp_path / "site"
    site.mkdir()
    client("pip9").run(
        *("easy_install", "--always-unzip", "--index-url", f"{server.url}/simple/"),
        *("--install-dir", site, "--script-dir", site, spelling),
        PYTHONPATH=str(site),
    )
    assert installed(site) == {"demo-source": "1.0", "demo-helper": "1.5"}


@pytest.mark.parametrize("name", PIPS)
def test_download_with_required_hashes(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    server = serve()
    wanted = [packages / "demo-2.0-py2.py3-none-any.whl", packages / "demo_helper-1.5-py2.py3-none-any.whl"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in wanted]
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"demo==2.0 --hash=sha256:{digests[0]}\ndemo-helper==1.5 --hash=sha256:{digests[1]}\n")
    target = tmp_path / "downloads"
    client(name).pip(
        *("download", "--require-hashes", "-d", target, "--index-url", f"{server.url}/simple/", "-r", requirements)
    )
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        path.name: path.read_bytes() for path in wanted
    }


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_required_hashes_are_those_of_what_is_installed(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    server, requirements = serve(), tmp_path / "requirements.txt"
    index = ("--index-url", f"{server.url}/simple/", "--require-hashes", "-r", requirements)
    digest = hashlib.sha256((packages / "demo_helper-1.5-py2.py3-none-any.whl").read_bytes()).hexdigest()
    requirements.write_text(f"demo-helper==1.5 --hash=sha256:{digest}\n")
    assert install(client(name), tmp_path / "site", *index) == {"demo-helper": "1.5"}
    requirements.write_text(f"demo-helper==1.5 --hash=sha256:{digest[::-1]}\n")
    tool = client(name)
    refused = tool.run(*tool.installer, "--target", tmp_path / "other", *index, "--no-cache-dir", status=None)
    assert refused.returncode != 0 and "hash" in refused.stdout.lower()


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        pytest.param("poetry", [["poetry", "lock"], ["poetry", "install"]], id="poetry"),
        pytest.param("pdm", [["pdm", "lock"], ["pdm", "install"]], id="pdm"),
        pytest.param("uv", [["uv", "lock"], ["uv", "sync", "--locked"]], id="uv"),
    ],
)
def test_project_is_locked_and_installed(
    name: str,
    commands: list[list[str]],
    client: GetClient,
    serve: Serve,
    packages: Path,
    tmp_path: Path,
) -> None:
    fill(packages)
    server = serve()
    project = tmp_path / "project"
    write_consumer(project, server.url, name)
    tool = client(name)
    for command in commands:
        # The index is the project's own configuration here, which uv otherwise is told not to read.
        tool.run(*command, cwd=project, UV_NO_CONFIG="0", UV_PYTHON=str(tool.python))
    assert shelf_only(installed(project / ".venv")) == SHELF
    # Locked by digest: a lock file without one means that the page did not say it.
    digest = hashlib.sha256((packages / "demo-2.0-py2.py3-none-any.whl").read_bytes()).hexdigest()
    assert digest in (project / f"{name}.lock").read_text()


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_release_after_a_date_is_left_out(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    for filename in (*SHELF_FILES["demo"], *SHELF_FILES["demo-helper"]):
        old = filename.startswith(("demo-1", "demo_helper-1.0"))
        os.utime(packages / filename, (1_600_000_000, 1_600_000_000) if old else (1_700_000_000, 1_700_000_000))
    server = serve()
    option = "--uploaded-prior-to" if name == "pip" else "--exclude-newer"
    index = ["--index-url", f"{server.url}/simple/"]
    found = install(client(name), tmp_path / "site", *index, option, "2022-01-01T00:00:00Z", "demo")
    assert found == {"demo": "1.0"}


@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_unknown_project_is_not_found(name: str, client: GetClient, serve: Serve, packages: Path) -> None:
    fill(packages)
    server = serve()
    tool = client(name)
    done = tool.run(*tool.installer, "--index-url", f"{server.url}/simple/", "no-such-thing", status=1)
    assert "no-such-thing" in done.stdout
    assert "500" not in done.stdout
