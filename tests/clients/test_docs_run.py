"""The documentation, typed: each page's commands are run in a fresh home, its Python executed, its files read.

A page is one shell script (`doc_shell`), on a machine (`doc_machine`) that has this checkout in a fresh environment,
free ports of loopback, and an index of its own in place of PyPI. What a page shows only, its source says with a reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.doc_configuration import READERS
from tests.clients.doc_inline import BEFORE, NOT_RUN, SERVER, TYPED, lines
from tests.clients.doc_inline import fault as inline_fault
from tests.clients.doc_machine import PUBLIC, furnish, install, own_wheel, programs, shelf, wheelhouse
from tests.clients.doc_pages import KINDS, Block, blocks, fault
from tests.clients.doc_shell import Machine, script, serves, shown, statements
from tests.clients.environments import MissingPythonError
from tests.clients.harness import clean_environ, server_environ
from tests.cluster.process import program
from tests.live_server import REPOSITORY, pypi_server, running
from tests.ports import free_ports

PAGES = sorted([REPOSITORY / "README.rst", *(REPOSITORY / "docs").rglob("*.rst")])
NAMES = {str(page.relative_to(REPOSITORY)): page for page in PAGES}
RUN_KINDS = {"shell", "python", "synopsis", "yaml"}
RUN = [
    name
    for name, page in NAMES.items()
    if any(not block.not_run and block.kind in RUN_KINDS for block in blocks(page.read_text("utf-8")))
]
PAGE_SECONDS = 150


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of what acts as PyPI: wheels of others, this checkout, and the packages the pages speak of."""
    folder = tmp_path_factory.mktemp("index")
    try:
        folders = (wheelhouse(), own_wheel(), folder / "shelf")
        programs(folder / "programs")
    except MissingPythonError as missing:
        pytest.skip(str(missing))
    shelf(folder / "shelf", PUBLIC)
    command = pypi_server("--disable-fallback", *folders)
    with running(command, environ=server_environ(folder / "home"), cwd=folder) as server:
        yield f"{server.url}/simple/"


@pytest.fixture
def machine(tmp_path: Path, index: str) -> Machine:
    furnish(tmp_path)
    return Machine(tmp_path, *free_ports(2), index)


def environ_of(machine: Machine, *folders: Path) -> dict[str, str]:
    """A fresh login of the reader, to whom only this machine's index is PyPI."""
    environ = clean_environ(machine.home)
    for name in ("PIP_CONFIG_FILE", "UV_NO_CONFIG", "NO_COLOR", "PYTHONDONTWRITEBYTECODE"):
        del environ[name]
    return environ | {
        "PATH": ":".join([*map(str, folders), environ["PATH"]]),
        "LOG": str(machine.root / "served.log"),
        "VIRTUAL_ENV": str(folders[0].parent),
        "SHELF": str(machine.root / "shelf"),
        "PORTS": f"{machine.port} {machine.second}",
        "PROJECT": str(machine.root / "project"),
        # Only what is imported is compiled.
        "PIP_NO_COMPILE": "1",
        # No command may ask another machine.
        "PIP_INDEX_URL": machine.index,
        "UV_DEFAULT_INDEX": machine.index,
        "PYPISERVER_FALLBACK_URL": machine.index,
        "PYPISERVER_HOST": "127.0.0.1",
        "PYPISERVER_PORT": str(machine.port),
        # What uv and the others ask for on a terminal only.
        "UV_PUBLISH_PASSWORD": "the-password",
        "TWINE_NON_INTERACTIVE": "",
    }


def typed(text: str, machine: Machine, environ: dict[str, str], name: str) -> dict[int, str]:
    """Run a script of `doc_shell`; gives what was printed, by the line of the page ``name``. Fails when it does."""
    written = machine.root / "page.sh"
    written.write_text(text)
    # Files, and no pipes: what was printed is known after the time is up too.
    with (machine.root / "out").open("wb") as out_file, (machine.root / "err").open("wb") as err_file:
        process = subprocess.Popen(
            ["bash", str(written)],
            cwd=machine.home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
        )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PAGE_SECONDS)
    finally:
        # What a failed page left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    out, err = ((machine.root / name).read_text(errors="replace") for name in ("out", "err"))
    parts = re.split(r"\n@@ (\d+)\n", out)
    printed = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    last = max(printed, default=0)
    served = machine.root / "served.log"
    log = served.read_text(errors="replace") if served.exists() else ""
    failed = re.split(r"\n@@ \d+\n", err)[-1]
    assert process.returncode == 0, f"{name}:{last}\n{printed.get(last, '')}\n{failed}\n--- served:\n{log[-3000:]}"
    return printed


@pytest.mark.parametrize("name", RUN)
def test_every_command_works(name: str, machine: Machine, tmp_path: Path) -> None:
    page = list(blocks(NAMES[name].read_text("utf-8")))
    if any(re.search(r"(?m)^rsync ", block.text) for block in page if not block.not_run):
        program("rsync", "rsync")
    environ = environ_of(machine, install(tmp_path / "environment"), programs(tmp_path / "programs"))
    printed = typed(script(page, machine), machine, environ, name)
    expected = {block.line: pattern for block in page if (pattern := shown(block, machine)) is not None}
    wrong = {line: printed[line] for line, pattern in expected.items() if not pattern.fullmatch(printed[line].strip())}
    assert not wrong, "".join(f"{name}:{line} prints:\n{text}" for line, text in wrong.items())


def test_every_command_in_a_sentence_works(machine: Machine, tmp_path: Path) -> None:
    """In one shell: first what ends, next to a server, then what serves."""
    for name, package in (("htpasswd", "apache2-utils"), ("rsync", "rsync"), ("sqlite3", "sqlite3")):
        program(name, package)
    environ = environ_of(machine, install(tmp_path / "environment"), programs(tmp_path / "programs"))
    commands = [each or line for line, each in TYPED.items() if not each.startswith(NOT_RUN)]
    commands.sort(key=serves)
    typed(
        script([Block(at, text, "run") for at, text in enumerate([BEFORE, SERVER, *commands])], machine),
        machine,
        environ,
        "inline",
    )


def test_every_command_in_a_sentence_has_a_row() -> None:
    shown = {
        " ".join(line.partition("  #")[0].split())
        for page in PAGES
        for block in blocks(page.read_text("utf-8"))
        if not block.not_run
        for line in block.text.replace("\\\n", "").splitlines()
    }
    found = {line for page in PAGES for _, line in lines(page.read_text("utf-8"))}
    assert found - shown - {*TYPED} == set()
    assert {*TYPED} - found == set()
    assert [told for each in TYPED.values() if (told := inline_fault(each))] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_run_or_says_why_not(name: str) -> None:
    faults = {block.line: fault(block, REPOSITORY) for block in blocks(NAMES[name].read_text("utf-8"))}
    assert {line: told for line, told in faults.items() if told} == {}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{name}:{block.line}")
        for name, page in NAMES.items()
        for block in blocks(page.read_text("utf-8"))
        if block.kind in READERS and not block.not_run
    ],
)
def test_configuration_is_accepted(block: Block, tmp_path: Path) -> None:
    READERS[block.kind](block.text, tmp_path)


def test_the_reader_of_pages_sees_every_kind() -> None:
    """Else a kind that is no longer found would be checked by nothing."""
    found = {block.kind for page in PAGES for block in blocks(page.read_text("utf-8"))}
    assert {*KINDS, "run"} <= found


def test_what_serves_is_told_from_what_ends() -> None:
    lines = ("pypi-server -p 1 ~/packages", "uvx pypiserver x", "gunicorn -w4 'pypiserver:app()'", "pypi-server run x")
    lines += ("pypi-server --fallback-mode cache x",)
    assert [serves(line) for line in lines] == [True] * 5
    lines = (
        "pypi-server check x",
        "pypi-server -Ux x",
        "pypi-server --help",
        "pypi-server x &",
        "pypi-server nginx > f",
    )
    assert [serves(line) for line in lines] == [False] * 5


def test_statements_are_whole() -> None:
    text = "one \\\n  two\ncat > f <<'TEXT'\nthree\nTEXT\nfour"
    assert list(statements(text)) == ["one \\\n  two", "cat > f <<'TEXT'\nthree\nTEXT", "four"]


@pytest.mark.parametrize(
    "text",
    [
        "A picture::\n\n    +--+\n",
        ".. not run: no time\n\n::\n\n    pip list\n",
        "An index::\n\n    [global]\n    a = 1\n",
    ],
    ids=["of no kind", "a reason of one's own", "a file that is not written"],
)
def test_a_block_that_nothing_checks_is_a_fault(text: str) -> None:
    (block,) = blocks(text)
    assert fault(block, REPOSITORY) != ""
