"""What each client asks for to install from a folder copied in with cp: pages, metadata, and only what it installs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.harness import GetClient, Record, Serve, installed, listed, wait_until_listed
from tests.clients.samples import (
    SHELF,
    SHELF_FILES,
    add_sdist,
    add_static_sdist,
    add_wheel,
    fill,
    shelf_only,
    write_consumer,
)

WANTED = ["demo-2.0-py2.py3-none-any.whl", "demo_helper-1.5-py2.py3-none-any.whl"]
TREE = 60


def copy_in(folder: Path, tmp_path: Path, add: Callable[..., Path] = add_wheel) -> None:
    """Fill the folder as people do: with a copy of what lies elsewhere."""
    source = tmp_path / "source"
    source.mkdir()
    fill(source, add)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", *source.iterdir(), folder], check=True)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        pytest.param("pip", {"page": 2, "metadata": 2, "file": 2}, id="pip 26"),
        pytest.param("pip20", {"page": 2, "file": 2}, id="pip 20"),
        pytest.param("pip9", {"page": 2, "file": 2}, id="pip 9"),
        pytest.param("uv", {"page": 2, "metadata": 2, "file": 2}, id="uv"),
    ],
)
def test_install_asks_no_more_than_it_needs(
    name: str,
    counts: dict[str, int],
    client: GetClient,
    serve: Serve,
    record: Record,
    packages: Path,
    tmp_path: Path,
) -> None:
    server = serve()
    copy_in(packages, tmp_path)
    for project, files in SHELF_FILES.items():
        wait_until_listed(server.url, project, *files)
    recorder = record(server)
    tool = client(name)
    tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", f"{recorder.url}/simple/", "demo")
    assert installed(tmp_path / "site") == SHELF
    assert recorder.counts() == counts
    assert recorder.files() == WANTED


LOCK = {
    "uv": ("uv lock", "uv sync --locked"),
    "pip": (
        "python -m pip lock demo --index-url {url}/simple/",
        "python -m pip install --index-url {url}/simple/ --target .venv -r pylock.toml",
    ),
    "poetry": ("poetry lock", "poetry install"),
    "pdm": ("pdm lock", "pdm install"),
}
BOTH = {"page": 2, "metadata": 2}
# uv and Poetry lock for every Python, so they look at demo 9.0 as well.
ALL = {"page": 2, "metadata": 3}
FILES = {"file": 2}
AGAIN = {"page": 2, "file": 2}
LOCKING = [
    pytest.param("uv", add_wheel, ALL, FILES, id="uv"),
    pytest.param("pip", add_wheel, BOTH, FILES, id="pip"),
    pytest.param("poetry", add_wheel, ALL, AGAIN, id="poetry"),
    pytest.param("pdm", add_wheel, {"page": 4, "metadata": 2}, AGAIN, id="pdm"),
    # uv reads the metadata of an sdist from the sdist itself, keeps what it has, and asks whether it changed (304).
    pytest.param("uv", add_static_sdist, {"page": 2, "file": 3}, {"file": 2}, id="uv, sdists"),
    pytest.param("pip", add_static_sdist, BOTH, FILES, id="pip, sdists"),
    pytest.param("poetry", add_static_sdist, ALL, AGAIN, id="poetry, sdists"),
    pytest.param("pdm", add_static_sdist, {"page": 4, "metadata": 2}, AGAIN, id="pdm, sdists"),
]


@pytest.mark.parametrize(("name", "add", "locking", "installing"), LOCKING)
def test_locking_reads_metadata_and_installing_downloads_each_file_once(
    name: str,
    add: Callable[..., Path],
    locking: dict[str, int],
    installing: dict[str, int],
    client: GetClient,
    serve: Serve,
    record: Record,
    packages: Path,
    tmp_path: Path,
) -> None:
    server = serve()
    copy_in(packages / "any" / "folder", tmp_path, add)
    for project, wheels in SHELF_FILES.items():
        wait_until_listed(server.url, project, *(as_made_by(add, wheel) for wheel in wheels))
    recorder = record(server)
    folder = tmp_path / "project"
    write_consumer(folder, recorder.url, "uv" if name == "pip" else name)
    tool = client(name)
    asked = []
    for command in LOCK[name]:
        recorder.requests.clear()
        # The index is the project's own configuration here, which uv otherwise is told not to read.
        words = command.format(url=recorder.url).split()
        tool.run(*words, cwd=folder, UV_NO_CONFIG="0", UV_PYTHON=str(tool.python))
        asked.append(recorder.counts())
    assert asked == [locking, installing]
    assert shelf_only(installed(folder / ".venv")) == SHELF
    if installing:
        assert recorder.files() == sorted(as_made_by(add, wheel) for wheel in WANTED)


def as_made_by(add: Callable[..., Path], wheel: str) -> str:
    """The file name, of a wheel or of an sdist."""
    return wheel if add is add_wheel else "-".join(wheel.split("-")[:2]) + ".tar.gz"


def test_uv_downloads_no_wheel_of_a_large_tree_that_it_does_not_install(
    client: GetClient, serve: Serve, record: Record, packages: Path, tmp_path: Path
) -> None:
    """A tree of 60 projects, each with an older release and a source that nothing installs, in folders in folders."""
    for number in range(TREE):
        folder = packages / f"{number % 7}" / f"{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        needs = [f"tree-{child}>=2" for child in (2 * number + 1, 2 * number + 2) if child < TREE]
        add_wheel(folder, f"tree-{number}", "1.0")
        add_wheel(folder, f"tree-{number}", "2.0", needs=needs)
        add_sdist(folder, f"tree-{number}", "2.0", needs=needs)
    recorder = record(serve())
    tool = client("uv")
    command = ("uv", "pip", "install", "--python", tool.python, "--target", tmp_path / "site")
    tool.run(*command, "--index-url", f"{recorder.url}/simple/", "tree-0")
    assert installed(tmp_path / "site") == {f"tree-{number}": "2.0" for number in range(TREE)}
    assert recorder.counts() == {"page": TREE, "metadata": TREE, "file": TREE}
    assert recorder.files() == sorted(f"tree_{number}-2.0-py2.py3-none-any.whl" for number in range(TREE))


@pytest.mark.parametrize(("name", "coding"), [("pip", "gzip"), ("uv", "zstd"), ("poetry", "zstd")])
def test_pages_come_in_the_best_coding_that_the_client_knows(
    name: str, coding: str, client: GetClient, serve: Serve, record: Record, packages: Path, tmp_path: Path
) -> None:
    for number in range(30):
        add_wheel(packages, "demo", f"1.{number}")
    recorder = record(serve())
    write_consumer(tmp_path / "project", recorder.url, "uv" if name == "pip" else name)
    tool = client(name)
    words = LOCK[name][0].format(url=recorder.url).split()
    tool.run(*words, cwd=tmp_path / "project", UV_NO_CONFIG="0", UV_PYTHON=str(tool.python))
    assert [request.coding for request in recorder.requests if request.kind == "page"] == [coding]


def test_file_copied_in_is_installed_by_the_next_run(
    client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    """No client keeps an older page: what shows in the folder is what it gets."""
    add_wheel(packages, "demo", "1.0")
    server = serve()
    tool = client("uv")
    command = ("uv", "pip", "install", "--python", tool.python, "--index-url", f"{server.url}/simple/", "--target")
    tool.run(*command, tmp_path / "before", "demo")
    newer = add_wheel(tmp_path, "demo", "1.1")
    shutil.copyfile(newer, packages / newer.name)
    wait_until_listed(server.url, "demo", "demo-1.0-py2.py3-none-any.whl", newer.name)
    tool.run(*command, tmp_path / "after", "demo")
    assert [installed(tmp_path / name) for name in ("before", "after")] == [{"demo": "1.0"}, {"demo": "1.1"}]
    assert listed(server.url, "demo") == ["demo-1.0-py2.py3-none-any.whl", "demo-1.1-py2.py3-none-any.whl"]


def hashes_of(packages: Path) -> set[str]:
    return {hashlib.sha256((packages / filename).read_bytes()).hexdigest() for filename in WANTED}


def test_pip_compile_writes_the_hashes_of_every_file(
    client: GetClient, serve: Serve, record: Record, packages: Path, tmp_path: Path
) -> None:
    """It asks the legacy JSON for them, and installing downloads each file once."""
    fill(packages)
    add_sdist(packages, "demo", "2.0", needs=["demo-helper"])
    recorder = record(serve())
    tool = client("pip-tools")
    (tmp_path / "requirements.in").write_text("demo\n")
    index = ("--index-url", f"{recorder.url}/simple/")
    tool.run("pip-compile", "--generate-hashes", *index, "requirements.in", cwd=tmp_path)
    assert sum(request.path.endswith("/json") for request in recorder.requests) == 2
    written = (tmp_path / "requirements.txt").read_text()
    sdist = hashlib.sha256((packages / "demo-2.0.tar.gz").read_bytes()).hexdigest()
    assert set(re.findall("sha256:([0-9a-f]{64})", written)) == {*hashes_of(packages), sdist}
    # The JSON spares it from downloading any file.
    assert recorder.counts() == {"page": 6, "metadata": 2}
    tool.pip("install", "--require-hashes", "--target", tmp_path / "site", *index, "-r", tmp_path / "requirements.txt")
    assert installed(tmp_path / "site") == SHELF


def test_pipenv_locks_and_installs_by_hash(
    client: GetClient, serve: Serve, record: Record, packages: Path, tmp_path: Path
) -> None:
    """It scrapes the hashes out of the pages in HTML."""
    fill(packages)
    recorder = record(serve())
    project = tmp_path / "project"
    project.mkdir()
    source = f'[[source]]\nname = "local"\nurl = "{recorder.url}/simple/"\nverify_ssl = false\n'
    (project / "Pipfile").write_text(f'{source}\n[packages]\ndemo = "*"\n')
    tool = client("pipenv")
    environ = {"PIPENV_VENV_IN_PROJECT": "1", "PIPENV_NOSPIN": "1", "PIPENV_PYTHON": str(tool.python)}
    tool.run("pipenv", "lock", cwd=project, **environ)
    locked = json.loads((project / "Pipfile.lock").read_text())["default"]
    assert {name: entry["version"] for name, entry in locked.items()} == {name: f"=={SHELF[name]}" for name in SHELF}
    assert {digest for entry in locked.values() for digest in entry["hashes"]} == {
        f"sha256:{digest}" for digest in hashes_of(packages)
    }
    assert recorder.counts() == {"page": 6, "metadata": 2}
    recorder.requests.clear()
    tool.run("pipenv", "sync", cwd=project, **environ)
    assert shelf_only(installed(project / ".venv")) == SHELF
    assert recorder.counts() == {"page": 2, "file": 2}
