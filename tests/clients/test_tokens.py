"""A token in place of a password, with every client: uploads, installations, the requests of Renovate and others."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from tests.clients import uploaders
from tests.clients.harness import (
    JSON_TYPE,
    USER,
    Client,
    GetClient,
    Record,
    Serve,
    get,
    installed,
    server_environ,
)
from tests.clients.samples import SHELF, add_project, fill, shelf_only, write_consumer
from tests.clients.test_install import PIPS, install
from tests.clients.uploaders import TWINE, UPLOADS, UV, Upload, built, dist, said, stored
from tests.live_server import DIRECT, LiveServer

Mint = Callable[..., str]


@pytest.fixture
def mint(tmp_path: Path) -> Mint:
    """A new token of the user, made by the command."""

    def mint(*flags: str) -> str:
        command = [sys.executable, "-m", "pypiserver", "token", "mint", tmp_path / "tokens", USER, *flags]
        environ = server_environ(tmp_path / "operator")
        done = subprocess.run(
            [str(word) for word in command], env=environ, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout.strip()

    return mint


@pytest.fixture
def closed(serve: Serve, password_file: Path, tmp_path: Path) -> Callable[[], LiveServer]:
    """Start a server that takes nothing without a login."""
    return lambda: serve("-P", password_file, "--tokens", tmp_path / "tokens", "-a", "update,download,list")


def with_login(url: str, user: str, password: str) -> str:
    return url.replace("http://", f"http://{user}:{password}@")


@pytest.mark.parametrize(("name", "upload"), UPLOADS.values(), ids=UPLOADS)
def test_upload_by_a_token_that_may_nothing_else(
    name: str,
    upload: Upload,
    client: GetClient,
    closed: Callable[[], LiveServer],
    mint: Mint,
    packages: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = mint("--may", "upload")
    server = closed()
    monkeypatch.setattr(uploaders, "USER", "__token__")
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{server.url}/", token)
    assert status == 0, output
    assert stored(packages) == built(project)


@pytest.mark.parametrize(("name", "upload"), [UPLOADS["twine 7"], UPLOADS["uv"], UPLOADS["setup.py"]])
def test_upload_by_a_token_under_any_name(
    name: str,
    upload: Upload,
    client: GetClient,
    closed: Callable[[], LiveServer],
    mint: Mint,
    packages: Path,
    tmp_path: Path,
) -> None:
    token = mint("--may", "upload")
    server = closed()
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{server.url}/", token)
    assert status == 0, output
    assert stored(packages) == built(project)


@pytest.mark.parametrize(
    ("name", "command", "variables"),
    [
        ("uv", UV, {"UV_PUBLISH_TOKEN": "{token}", "UV_PUBLISH_URL": "{url}/"}),
        ("twine", TWINE, {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": "{token}",
                          "TWINE_REPOSITORY_URL": "{url}/"}),
        ("hatch", ("hatch", "publish", "-n"), {
            "HATCH_INDEX_USER": "__token__", "HATCH_INDEX_AUTH": "{token}", "HATCH_INDEX_REPO": "{url}/",
        }),
        ("poetry", ("poetry", "publish", "-r", "local"), {
            "POETRY_PYPI_TOKEN_LOCAL": "{token}", "POETRY_REPOSITORIES_LOCAL_URL": "{url}/",
        }),
        ("pdm", ("pdm", "publish", "--no-build"), {
            "PDM_PUBLISH_USERNAME": "__token__", "PDM_PUBLISH_PASSWORD": "{token}", "PDM_PUBLISH_REPO": "{url}/",
        }),
    ],
    ids=["uv", "twine", "hatch", "poetry", "pdm"],
)  # fmt: skip
def test_upload_by_a_token_in_the_variables_of_ci(
    name: str,
    command: tuple[str, ...],
    variables: dict[str, str],
    client: GetClient,
    closed: Callable[[], LiveServer],
    mint: Mint,
    packages: Path,
    tmp_path: Path,
) -> None:
    token, server = mint("--may", "upload"), closed()
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    files = () if name in ("poetry", "pdm") else dist(project)
    environ = {key: value.format(token=token, url=server.url) for key, value in variables.items()}
    status, output = said(client(name), project, *command, *files, **environ)
    assert status == 0, output
    assert stored(packages) == built(project)
    assert token[13:] not in output


def test_upload_by_a_token_in_pypirc(
    client: GetClient, closed: Callable[[], LiveServer], mint: Mint, packages: Path, tmp_path: Path
) -> None:
    token, server, tool = mint("--may", "upload"), closed(), client("twine")
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    tool.home.mkdir(exist_ok=True)
    (tool.home / ".pypirc").write_text(
        f"[distutils]\nindex-servers = local\n\n[local]\nrepository = {server.url}/\n"
        f"username = __token__\npassword = {token}\n"
    )
    status, output = said(tool, project, *TWINE, "-r", "local", *dist(project))
    assert status == 0, output
    assert stored(packages) == built(project)


@pytest.mark.parametrize("user", ["__token__", "anything"])
@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_install_by_a_token_in_the_address(
    name: str,
    user: str,
    client: GetClient,
    closed: Callable[[], LiveServer],
    mint: Mint,
    packages: Path,
    tmp_path: Path,
) -> None:
    fill(packages)
    token, server = mint("--may", "read"), closed()
    index = f"{with_login(server.url, user, token)}/simple/"
    assert install(client(name), tmp_path / "site", "--index-url", index, "demo") == SHELF


@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_install_by_a_token_in_netrc(
    name: str, client: GetClient, closed: Callable[[], LiveServer], mint: Mint, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    token, server, tool = mint("--may", "read"), closed(), client(name)
    tool.home.mkdir(exist_ok=True)
    netrc = tool.home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login __token__ password {token}\n")
    netrc.chmod(0o600)
    assert install(tool, tmp_path / "site", "--index-url", f"{server.url}/simple/", "demo") == SHELF


@pytest.mark.parametrize("name", ["pip", "pip20", "pip9"])
def test_install_by_a_token_in_pip_conf(
    name: str, client: GetClient, closed: Callable[[], LiveServer], mint: Mint, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    token, server, tool = mint("--may", "read"), closed(), client(name)
    conf = tmp_path / "pip.conf"
    conf.write_text(f"[global]\nindex-url = {with_login(server.url, '__token__', token)}/simple/\n")
    tool.run(*tool.installer, "--target", tmp_path / "site", "demo", PIP_CONFIG_FILE=str(conf))
    assert installed(tmp_path / "site") == SHELF


KEYRING = """
import os
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 9

    def get_password(self, service, username):
        return os.environ["HELD"] if username == "__token__" else None

    def set_password(self, service, username, password):
        raise NotImplementedError
"""


@pytest.mark.parametrize(("name", "option"), [("pip", "--keyring-provider=subprocess"), ("uv", "--keyring-provider")])
def test_install_by_a_token_in_the_keyring(
    name: str,
    option: str,
    client: GetClient,
    closed: Callable[[], LiveServer],
    mint: Mint,
    packages: Path,
    tmp_path: Path,
) -> None:
    """The keyring that twine brings, with a backend that has the token."""
    fill(packages)
    token, server, tool, twine = mint("--may", "read"), closed(), client(name), client("twine")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "held.py").write_text(KEYRING)
    program = tmp_path / "held" / "keyring"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/held exec {twine.bin}/keyring "$@"\n')
    program.chmod(0o755)
    index = f"{server.url.replace('http://', 'http://__token__@')}/simple/"
    words = [option] if "=" in option else [option, "subprocess"]
    tool.run(
        *(*tool.installer, "--target", tmp_path / "site", *words, "--index-url", index, "demo"),
        PATH=f"{tmp_path}/held:{tool.bin}:/usr/bin:/bin",
        PYTHON_KEYRING_BACKEND="held.Keyring",
        HELD=token,
        **({"UV_KEYRING_PROVIDER": "subprocess"} if name == "uv" else {}),
    )
    assert installed(tmp_path / "site") == SHELF


@pytest.mark.parametrize(
    ("name", "commands", "variables"),
    [
        ("poetry", [["poetry", "lock"], ["poetry", "install"]], {
            "POETRY_HTTP_BASIC_LOCAL_USERNAME": "__token__", "POETRY_HTTP_BASIC_LOCAL_PASSWORD": "{token}",
        }),
        ("pdm", [["pdm", "lock"], ["pdm", "install"]], {
            "INDEX_USER": "__token__", "INDEX_TOKEN": "{token}",
        }),
        ("uv", [["uv", "lock"], ["uv", "sync", "--locked"]], {
            "UV_INDEX_LOCAL_USERNAME": "__token__", "UV_INDEX_LOCAL_PASSWORD": "{token}",
        }),
    ],
    ids=["poetry", "pdm", "uv"],
)  # fmt: skip
def test_project_is_locked_and_installed_by_a_token(
    name: str,
    commands: list[list[str]],
    variables: dict[str, str],
    client: GetClient,
    closed: Callable[[], LiveServer],
    mint: Mint,
    packages: Path,
    tmp_path: Path,
) -> None:
    fill(packages)
    token, server, tool = mint("--may", "read"), closed(), client(name)
    project = tmp_path / "project"
    write_consumer(project, server.url, name)
    if name == "pdm":
        # It replaces variables in the address of a source.
        text = (project / "pyproject.toml").read_text()
        login = "http://${INDEX_USER}:${INDEX_TOKEN}@"
        (project / "pyproject.toml").write_text(text.replace('url = "http://', f'url = "{login}'))
    environ = {key: value.format(token=token, url=server.url) for key, value in variables.items()}
    for command in commands:
        done = tool.run(*command, cwd=project, UV_NO_CONFIG="0", UV_PYTHON=str(tool.python), **environ)
        assert token[13:] not in done.stdout
    assert shelf_only(installed(project / ".venv")) == SHELF
    assert token[13:] not in (project / f"{name}.lock").read_text()


@pytest.mark.parametrize("name", [*PIPS, "uv"])
def test_an_expired_token_installs_nothing(
    name: str, client: GetClient, closed: Callable[[], LiveServer], mint: Mint, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    token = mint("--may", "read")
    tokens = tmp_path / "tokens"
    line = json.loads(tokens.read_text())
    tokens.write_text(json.dumps({**line, "expires": "2026-01-01T00:00:00Z"}) + "\n")
    server, tool = closed(), client(name)
    index = f"{with_login(server.url, '__token__', token)}/simple/"
    done = tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", index, "demo", status=None)
    assert done.returncode != 0
    assert "401" in done.stdout or "nvalid credentials" in done.stdout or "No matching" in done.stdout
    assert token[13:] not in done.stdout
    assert token[13:] not in "".join(server.output)


def status_of(url: str, **headers: str) -> int:
    """The status of the answer to a request with these headers."""
    request = Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with DIRECT.open(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Renovate's datasource pypi asks /pypi/PROJECT/json below its registry, or the simple page for one that ends with
# /simple/; hostRules with a token send Bearer, those with username and password send Basic. Read in its source
# (lib/modules/datasource/pypi/index.ts, lib/util/http/auth.ts) in 2026.
RENOVATE_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"


@pytest.mark.parametrize("login", ["token", "password", "password without a user"])
def test_the_requests_of_renovate(login: str, closed: Callable[[], LiveServer], mint: Mint, packages: Path) -> None:
    fill(packages)
    token, server = mint("--may", "read"), closed()
    header = {
        "token": f"Bearer {token}",
        "password": basic("__token__", token),
        "password without a user": basic("", token),
    }[login]
    asked = {"Authorization": header, "User-Agent": "RenovateBot/43.0.0 (https://github.com/renovatebot/renovate)"}
    page = json.loads(get(f"{server.url}/simple/demo/", {**asked, "Accept": RENOVATE_ACCEPT}))
    assert {file["filename"].split("-")[1] for file in page["files"]} == {"1.0", "2.0", "9.0"}
    data = json.loads(get(f"{server.url}/pypi/demo/json", {**asked, "Accept": "application/json"}))
    assert set(data["releases"]) == {"1.0", "2.0", "9.0"}
    assert status_of(f"{server.url}/simple/demo/", Accept=RENOVATE_ACCEPT) == 401


# Dependabot puts "token" of a python-index registry into the address, in front of the host (authed_url_builder.rb): one
# without a colon is a user name without a password there. It asks for the JSON, then for the HTML of a project, and
# after 401 or 403 for the index itself (package_details_fetcher.rb).
@pytest.mark.parametrize("login", ["username and password", "token", "token of a user"])
def test_the_requests_of_dependabot(login: str, closed: Callable[[], LiveServer], mint: Mint, packages: Path) -> None:
    fill(packages)
    token, server = mint("--may", "read"), closed()
    header = {
        "username and password": basic("__token__", token),
        "token": basic(token, ""),
        "token of a user": basic(USER, token),
    }[login]
    asked = {"Authorization": header, "User-Agent": "dependabot-core/0.330.0 excon/1.2.5 ruby/3.4.5 (x86_64-linux)"}
    data = json.loads(get(f"{server.url}/pypi/demo/json", {**asked, "Accept": "application/json"}))
    assert set(data["releases"]) == {"1.0", "2.0", "9.0"}
    assert b"demo-2.0" in get(f"{server.url}/simple/demo/", {**asked, "Accept": "text/html"})
    assert b"demo-helper" in get(f"{server.url}/simple/", {**asked, "Accept": "text/html"})


def test_bearer_by_curl(
    client: GetClient, closed: Callable[[], LiveServer], mint: Mint, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    token, server = mint("--may", "read,upload"), closed()
    tool: Client = client("uv")
    tool.home.mkdir(exist_ok=True)
    # In a file, since what is on a command line is in the list of processes.
    (tool.home / "header").write_text(f"Authorization: Bearer {token}\n")
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    login = ("-H", "@header")
    for path in dist(project):
        form = ("-F", ":action=file_upload", "-F", f"content=@{path}")
        tool.run("curl", "-sS", "--fail-with-body", *login, *form, f"{server.url}/")
    (wheel, *_) = [path for path in dist(project) if path.suffix == ".whl"]
    tool.run("curl", "-sS", "--fail", "-o", "got", *login, f"{server.url}/packages/{wheel.name}")
    assert (tool.home / "got").read_bytes() == wheel.read_bytes()
    page = json.loads(get(f"{server.url}/simple/demo/", {"Accept": JSON_TYPE, "Authorization": f"Bearer {token}"}))
    assert page["name"] == "demo"


def test_pip_sends_the_token_with_every_request_once(
    client: GetClient, closed: Callable[[], LiveServer], record: Record, mint: Mint, packages: Path, tmp_path: Path
) -> None:
    """No request is refused first: the challenge is Basic, and nothing else is offered."""
    fill(packages)
    token, server = mint("--may", "read"), closed()
    recorder = record(server)
    index = f"{with_login(recorder.url, '__token__', token)}/simple/"
    install(client("pip"), tmp_path / "site", "--index-url", index, "demo")
    assert {request.status for request in recorder.requests} == {200}
