"""What a person is shown of a refusal, by each client: the server's sentence, or the standard words of the status.

A problem (RFC 9457) is for uv, the body for those who print it, the reason phrase for the others; granian sends none of
its own.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.clients.harness import PASSWORD, GetClient, Serve, get, server_environ
from tests.clients.samples import add_project, add_wheel
from tests.clients.uploaders import UPLOADS, Upload, maturin, stored, twine
from tests.live_server import LiveServer, pypi_server, running

SENTENCE = "The project newcomer is archived and takes no uploads."
# Those who print the body of an answer; all print the reason phrase. maturin takes every 403 for a wrong password.
PRINT_BODIES = {"uv", "poetry", "curl", "aiohttp"}
SHOWN = {name: upload for name, upload in UPLOADS.items() if name != "maturin"}


@pytest.fixture
def archived(packages: Path) -> None:
    (packages / ".status").mkdir()
    (packages / ".status" / "newcomer").write_text("archived\n")


def started(name: str, client: GetClient, stack: ExitStack, packages: Path, password_file: Path) -> LiveServer:
    environ = server_environ(packages.parent / "server")
    if name == "gunicorn":
        modules = next((client("gunicorn").bin.parent / "lib").glob("python*/site-packages"))
        environ["PYTHONPATH"] += f":{modules}"
    command = pypi_server("--disable-fallback", "--server", name, "-P", password_file, packages)
    return stack.enter_context(running(command, environ=environ, cwd=packages.parent))


@pytest.mark.usefixtures("archived")
@pytest.mark.parametrize(("name", "upload"), SHOWN.values(), ids=SHOWN)
def test_what_is_shown_of_a_refused_upload(
    name: str,
    upload: Upload,
    request: pytest.FixtureRequest,
    client: GetClient,
    stack: ExitStack,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    for server_name in ("granian", "waitress", "gunicorn"):
        server = started(server_name, client, stack, packages, password_file)
        project = add_project(tmp_path / server_name, "newcomer", "1.0")
        status, output = upload(client(name), project, f"{server.url}/", PASSWORD)
        assert status != 0
        # Long lines are broken.
        said = " ".join(output.split())
        is_shown = SENTENCE in said
        assert is_shown is (server_name != "granian" or request.node.callspec.id in PRINT_BODIES), output
        assert is_shown or "Forbidden" in said, output
    assert stored(packages) == {}


@pytest.mark.usefixtures("archived")
@pytest.mark.parametrize("name", ["twine", "twine3"])
def test_twine_shows_the_sentence_when_it_is_verbose(
    name: str, client: GetClient, serve: Serve, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = twine(client(name), project, f"{server.url}/", PASSWORD, "--verbose")
    assert status != 0
    assert SENTENCE in " ".join(output.split())


def test_maturin_shows_the_sentence_of_a_conflict(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    add_wheel(packages, "newcomer", "1.0", summary="was here before")
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = maturin(client("maturin"), project, f"{server.url}/", PASSWORD)
    assert status != 0
    assert "newcomer-1.0-py2.py3-none-any.whl is here with other bytes" in output


def test_uv_shows_why_it_gets_no_file(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    add_wheel(packages, "demo", "1.0")
    server, tool = serve("-P", password_file, "-a", "update,download"), client("uv")
    done = tool.run(
        *tool.installer, "--target", tmp_path / "site", "--index-url", f"{server.url}/simple/", "demo", status=None
    )
    assert done.returncode != 0
    assert f"Server message: Unauthorized, {get_sentence(server.url, 'packages/x')}" in done.stdout


def test_uv_shows_why_it_gets_no_page(client: GetClient, serve: Serve, packages: Path, tmp_path: Path) -> None:
    server, tool = serve(), client("uv")
    packages.rename(tmp_path / "unmounted")
    done = tool.run(
        *tool.installer, "--target", tmp_path / "site", "--index-url", f"{server.url}/simple/", "demo",
        status=None, UV_HTTP_RETRIES="0",
    )  # fmt: skip
    assert done.returncode != 0
    assert "Server message: Service Unavailable, " in done.stdout


PLUG_IN = """
def check_for(argument):
    def check(user, password):
        raise OSError("the directory is down")
    return check
"""
# Why each status is the answer, and its sentence.
REFUSALS = {
    "401": (("-P", "htpasswd.txt"), "Unauthorized, The user name or the password is wrong."),
    "403": ((), "Forbidden, The action 'download' is refused to everyone"),
    "503": (("--auth", "down"), "Service Unavailable, Passwords cannot be checked right now."),
}
# What installers show. uv has words of its own for pages with 401 and 403; pip shows the reason phrase of a file.
SHOWN_OF = {
    ("uv", "list", "401"): "could not be queried due to a lack of valid authentication credentials",
    ("uv", "list", "403"): "returned a 403 Forbidden error",
    ("pip", "list", "401"): "401 Error, Credentials not correct",
    ("pip", "list", "403"): "Could not find a version",
    ("pip", "list", "503"): "Could not find a version",
    ("pip", "download", "401"): "ERROR: HTTP error 401",
    ("pip", "download", "403"): "ERROR: HTTP error 403",
    ("pip", "download", "503"): "too many 503 error responses",
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("closed", ["list", "download"])
@pytest.mark.parametrize("name", ["uv", "pip"])
def test_what_installers_show_of_a_refused_page_and_file(
    name: str, closed: str, status: str, client: GetClient, stack: ExitStack, packages: Path, password_file: Path
) -> None:
    add_wheel(packages, "demo", "1.0")
    home = packages.parent
    flags, sentence = REFUSALS[status]
    environ = server_environ(home / "server")
    information = home / "plug-in" / "down-1.0.dist-info"
    information.mkdir(parents=True)
    (information.parent / "down.py").write_text(PLUG_IN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: down\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[pypiserver.auth]\ndown = down:check_for\n")
    environ["PYTHONPATH"] += f":{information.parent}"
    shutil.copy(password_file, home / "server" / "htpasswd.txt")
    command = pypi_server("--disable-fallback", "--server", "waitress", *flags, "-a", f"update,{closed}", packages)
    server = stack.enter_context(running(command, environ=environ, cwd=home / "server"))
    tool = client(name)
    index = server.url.replace("//", "//ada:not-this@", 1)
    done = tool.run(
        *tool.installer, "--target", home / "site", "--index-url", f"{index}/simple/", "demo",
        status=None, UV_HTTP_RETRIES="0", PIP_RETRIES="0",
    )  # fmt: skip
    assert done.returncode != 0
    shown = " ".join(done.stdout.split())
    assert SHOWN_OF.get((name, closed, status), f"Server message: {sentence}") in shown, shown
    assert "not-this" not in shown and "directory is down" not in shown


def get_sentence(url: str, path: str) -> str:
    """What the server says of an address in plain text."""
    with pytest.raises(HTTPError) as refused:
        get(f"{url}/{path}")
    return refused.value.read().decode().strip()
