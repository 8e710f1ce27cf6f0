"""What the welcome page says to paste is pasted, and the tools then install and upload with nothing else told them."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from tests.clients.harness import PASSWORD, USER, GetClient, Serve, get, installed
from tests.clients.samples import SHELF, add_project, fill, shelf_only
from tests.live_server import LiveServer

PROJECT = '[project]\nname = "consumer"\nversion = "1.0"\nrequires-python = ">=3.10"\ndependencies = ["demo"]\n\n'


def pasted(server: LiveServer, tool: str) -> str:
    """The text that stands below a tool's name on the welcome page."""
    page = get(f"{server.url}/", {"Accept": "text/html"}).decode()
    texts = dict(re.findall(r'<summary>(\w+) .*?</summary>\s*<pre class="all">(.*?)</pre>', page, re.DOTALL))
    return html.unescape(texts[tool])


def test_pip_installs_with_the_settings_of_the_page(
    client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    (tmp_path / "pip.conf").write_text(pasted(serve(), "pip"))
    pip, target = client("pip"), tmp_path / "site"
    command = (*pip.installer, "--target", target, "demo")
    pip.run(*command, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert installed(target) == SHELF


@pytest.mark.parametrize(
    ("tool", "commands"),
    [
        ("uv", [["uv", "sync"]]),
        ("Poetry", [["poetry", "lock"], ["poetry", "install", "--no-root"]]),
        ("PDM", [["pdm", "lock"], ["pdm", "install", "--no-self"]]),
    ],
)
def test_a_project_is_installed_with_the_settings_of_the_page(
    tool: str, commands: list[list[str]], client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT + pasted(serve(), tool))
    program = client(tool.lower())
    for command in commands:
        program.run(*command, cwd=project, UV_NO_CONFIG="0", UV_PYTHON=str(program.python))
    assert shelf_only(installed(project / ".venv")) == SHELF


def test_twine_uploads_with_the_settings_of_the_page(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    twine = client("twine")
    twine.home.mkdir(exist_ok=True)
    (twine.home / ".pypirc").write_text(pasted(server, "twine"))
    project = add_project(tmp_path / "project", "sample", "1.0")
    files = sorted((project / "dist").iterdir())
    login = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}
    twine.run("twine", "upload", "--non-interactive", "-r", "pypiserver", *files, **login)
    assert sorted(path.name for path in packages.iterdir()) == [path.name for path in files]
