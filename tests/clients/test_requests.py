"""What each client asks for to install from a folder copied in with cp: pages, metadata, and only what it installs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.harness import GetClient, Record, Serve, installed, listed, wait_until_listed
from tests.clients.samples import SHELF, SHELF_FILES, add_wheel, fill, shelf_only, write_consumer

WANTED = ["demo-2.0-py2.py3-none-any.whl", "demo_helper-1.5-py2.py3-none-any.whl"]
TREE = 60


def copy_in(packages: Path, tmp_path: Path) -> None:
    """Fill the folder as people do: with a copy of what lies elsewhere."""
    source = tmp_path / "source"
    source.mkdir()
    fill(source)
    for path in source.iterdir():
        shutil.copyfile(path, packages / path.name)


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


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        pytest.param("poetry", ["lock", "install"], id="poetry"),
        pytest.param("pdm", ["lock", "install"], id="pdm"),
    ],
)
def test_locking_reads_metadata_and_installing_downloads_each_file_once(
    name: str,
    commands: list[str],
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
    folder = tmp_path / "project"
    write_consumer(folder, recorder.url, name)
    tool = client(name)
    lock, install = commands
    tool.run(name, lock, cwd=folder)
    asked = recorder.counts()
    assert recorder.files() == []
    assert asked.keys() == {"page", "metadata"}
    tool.run(name, install, cwd=folder)
    assert shelf_only(installed(folder / ".venv")) == SHELF
    assert recorder.files() == WANTED
    assert "range" not in recorder.counts()
    print(f"{name}: lock {asked}, lock and install {recorder.counts()}")


def test_uv_downloads_no_wheel_of_a_large_tree_that_it_does_not_install(
    client: GetClient, serve: Serve, record: Record, packages: Path, tmp_path: Path
) -> None:
    """A tree of 60 projects, each with an older release that nothing installs."""
    for number in range(TREE):
        needs = [f"tree-{child}>=2" for child in (2 * number + 1, 2 * number + 2) if child < TREE]
        add_wheel(packages, f"tree-{number}", "1.0")
        add_wheel(packages, f"tree-{number}", "2.0", needs=needs)
    recorder = record(serve())
    tool = client("uv")
    command = ("uv", "pip", "install", "--python", tool.python, "--target", tmp_path / "site")
    tool.run(*command, "--index-url", f"{recorder.url}/simple/", "tree-0")
    assert installed(tmp_path / "site") == {f"tree-{number}": "2.0" for number in range(TREE)}
    assert recorder.counts() == {"page": TREE, "metadata": TREE, "file": TREE}
    assert recorder.files() == sorted(f"tree_{number}-2.0-py2.py3-none-any.whl" for number in range(TREE))


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
