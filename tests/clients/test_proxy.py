"""Every client through a server that caches another index: with it, without it, and after a restart without it."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.harness import JSON_TYPE, Client, GetClient, Serve, get, installed
from tests.clients.proxies import MANY, Front, add_many, add_shelf, contents, on_new_machine, publish
from tests.clients.samples import SHELF, shelf_only, write_consumer
from tests.fake_upstream import pytorch, upstream

INSTALLERS = ["pip", "pip20", "pip9", "uv"]
LOCKERS = {
    "poetry": (["poetry", "lock"], ["poetry", "install"]),
    "pdm": (["pdm", "lock"], ["pdm", "install"]),
    "uv": (["uv", "lock"], ["uv", "sync", "--frozen"]),
}


@dataclass
class There:
    """An index: its address, the other server its files are on, and what ends it."""

    url: str
    end: Callable[[], object]
    hosts: tuple[str, ...] = ()


@contextmanager
def public(folder: Path) -> Iterator[There]:
    """An index as the public one: JSON with sizes and times, files at PyPI's form of address on another origin."""
    with upstream() as files, upstream(files=files) as up:
        add_shelf(up, folder)

        def end() -> None:
            up.stop()
            files.stop()

        yield There(up.url, end, (files.origin,))


@contextmanager
def html(folder: Path) -> Iterator[There]:
    """An old index: HTML without sizes, times and metadata."""
    with upstream(only_html=True) as up:
        add_shelf(up, folder)
        for project in up.projects.values():
            for file in project.files:
                file.uploaded = file.size = file.metadata = None
        yield There(up.url, up.stop)


@contextmanager
def torch(folder: Path) -> Iterator[There]:
    """PyTorch's: HTML, relative links to files next to the pages, 403 for what is missing."""
    with pytorch() as up:
        add_shelf(up, folder, form=f"{up.simple}{{}}", uploaded=None)
        yield There(up.url, up.stop)


@contextmanager
def own(folder: Path, serve: Serve) -> Iterator[There]:
    """Another server of ours."""
    with upstream() as unused:
        add_shelf(unused, folder)
    server = serve(folder=folder)
    yield There(f"{server.url}/simple/", server.stop)


@contextmanager
def shaped(shape: str, folder: Path, serve: Serve) -> Iterator[There]:
    """An index of this shape with the shelf."""
    with ExitStack() as stack:
        if shape == "own":
            yield stack.enter_context(own(folder, serve))
        else:
            yield stack.enter_context({"public": public, "html": html, "torch": torch}[shape](folder))


def install(client: Client, target: Path, index: str, *what: str) -> dict[str, str]:
    """Install with pip or uv, as on a new machine; what is in the target afterwards."""
    fresh = on_new_machine(client, target.name)
    fresh.run(*fresh.installer, "--target", target, "--index-url", index, *what)
    return installed(target)


@pytest.mark.parametrize("shape", ["public", "html", "torch", "own"])
@pytest.mark.parametrize("name", INSTALLERS)
def test_installed_with_the_index_and_without_it(
    name: str, shape: str, client: GetClient, serve: Serve, tmp_path: Path
) -> None:
    with shaped(shape, tmp_path / "there", serve) as there:
        front = Front(tmp_path / "here", there.url, there.hosts)
        with front.running("--cache-fresh", "1s") as server:
            assert install(client(name), tmp_path / "cold", f"{server.url}/simple/", "demo") == SHELF
            there.end()
            assert install(client(name), tmp_path / "down", f"{server.url}/simple/", "demo") == SHELF
        with front.running("--cache-fresh", "1s") as server:
            assert install(client(name), tmp_path / "restarted", f"{server.url}/simple/", "demo") == SHELF
            # The root is an index, too.
            assert install(client(name), tmp_path / "root", server.url, "demo") == SHELF
        with front.running("--offline") as server:
            assert install(client(name), tmp_path / "offline", f"{server.url}/simple/", "demo") == SHELF


def without_host(text: str, url: str) -> str:
    """A lock file with a word in the place of the server's address.

    Poetry and pdm also write a digest of the project's own file, which has the address in it.
    """
    parts = urlsplit(url)
    text = re.sub(r'(?m)^content[-_]hash = ".*"$', "", text)
    return text.replace(f"{parts.scheme}://{parts.netloc}", "https://index.example")


def lock(tool: Client, name: str, index: str, folder: Path, needs: str = "demo") -> str:
    """Lock a new project, and install it; the text of the lock."""
    write_consumer(folder, index, name, needs)
    run(tool, LOCKERS[name][0], folder)
    run(tool, LOCKERS[name][1], folder)
    return (folder / f"{name}.lock").read_text()


def run(tool: Client, command: list[str], folder: Path) -> None:
    """The index is the project's own configuration, which uv otherwise is told not to read."""
    tool.run(*command, cwd=folder, UV_NO_CONFIG="0", UV_PYTHON=str(tool.python))


@pytest.mark.parametrize("name", LOCKERS)
def test_a_lock_differs_by_the_host_only(name: str, client: GetClient, tmp_path: Path) -> None:
    """Also the addresses of files, which uv writes into its lock. The lock installs without the index, too."""
    with upstream() as up:
        add_shelf(up, tmp_path / "there")
        front = Front(tmp_path / "here", up.url)
        with front.running() as server:
            there = lock(client(name), name, up.origin, tmp_path / "direct")
            here = lock(on_new_machine(client(name), "through"), name, server.url, tmp_path / "through")
            assert without_host(here, server.url) == without_host(there, up.origin)
            assert shelf_only(installed(tmp_path / "through" / ".venv")) == SHELF
        up.stop()
        with front.running() as server:
            folder = tmp_path / "later"
            write_consumer(folder, server.url, name)
            # uv's of the index itself, with the host of the server in it.
            (folder / f"{name}.lock").write_text(there.replace(up.origin, server.url) if name == "uv" else here)
            run(on_new_machine(client(name), "later"), LOCKERS[name][1], folder)
            assert shelf_only(installed(folder / ".venv")) == SHELF


PYLOCKS = {
    "uv": ("uv", "pip", "compile", "--format", "pylock.toml", "-o", "pylock.toml", "requirements.in"),
    "pip": ("python", "-m", "pip", "lock", "-o", "pylock.toml", "-r", "requirements.in"),
    "pip-tools": ("pip-compile", "--generate-hashes", "--no-header", "-o", "pylock.toml", "requirements.in"),
}


@pytest.mark.parametrize("name", PYLOCKS)
def test_a_standard_lock_differs_by_the_host_only(name: str, client: GetClient, tmp_path: Path) -> None:
    """``pylock.toml`` (PEP 751), and the requirements with hashes of pip-tools."""
    with upstream() as up:
        add_shelf(up, tmp_path / "there")
        with Front(tmp_path / "here", up.url).running() as server:
            texts = []
            for url, word in ((up.origin, "direct"), (server.url, "through")):
                folder = tmp_path / word
                folder.mkdir()
                (folder / "requirements.in").write_text("demo\n")
                on_new_machine(client(name), word).run(*PYLOCKS[name], "--index-url", f"{url}/simple/", cwd=folder)
                texts.append(without_host((folder / "pylock.toml").read_text(), url))
            assert texts[0] == texts[1]
            assert "demo-helper" in texts[0]


def sync(tool: Client, folder: Path, index: str, lock_text: str, word: str) -> dict[str, str]:
    """``uv sync --frozen`` of a lock on a new machine; the projects of MANY that are installed."""
    project = folder / word
    write_consumer(project, index, "uv", "raven-00")
    (project / "uv.lock").write_text(lock_text)
    run(on_new_machine(tool, word), ["uv", "sync", "--frozen"], project)
    return {name: version for name, version in installed(project / ".venv").items() if name in MANY}


def test_sixty_packages_without_the_index_and_elsewhere(client: GetClient, serve: Serve, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    add_many(there)
    tool = client("uv")
    with upstream() as up:
        publish(up, there)
        front = Front(tmp_path / "here", up.url)
        with front.running() as server:
            text = lock(tool, "uv", server.url, tmp_path / "first", "raven-00")
            address = server.url
        up.stop()
        with front.running() as server:
            assert sync(tool, tmp_path, server.url, text, "restarted") == MANY
    # The folder of the cache, served alone, has the same; so have copies of it.
    kept = front.kept
    assert len(contents(kept)) == len(MANY)
    copied, unpacked = tmp_path / "copied", tmp_path / "unpacked"
    subprocess.run(["cp", "-a", kept, copied], check=True)
    with tarfile.open(tmp_path / "cache.tar", "w") as archive:
        archive.add(kept, "packages")
    with tarfile.open(tmp_path / "cache.tar") as archive:
        archive.extractall(unpacked, filter="fully_trusted")
    for folder in (kept, copied, unpacked / "packages"):
        server = serve(folder=folder)
        alone = text.replace(address, server.url)
        assert sync(tool, tmp_path, server.url, alone, f"alone-{folder.parent.name}-{folder.name}") == MANY
        target = tmp_path / f"site-{folder.parent.name}-{folder.name}"
        assert install(client("pip"), target, f"{server.url}/simple/", "raven-00") == MANY
    assert contents(unpacked / "packages") == contents(kept)


def rows(url: str, project: str) -> dict[str, dict[str, object]]:
    """What a page says of each file, without the addresses."""
    page = json.loads(get(f"{url}/simple/{project}/", {"Accept": JSON_TYPE}))
    return {file["filename"]: {key: file[key] for key in file if key != "url"} for file in page["files"]}


def test_a_folder_of_the_cache_says_what_the_index_said(serve: Serve, tmp_path: Path) -> None:
    """Upload times, yanks and hashes are those of the index, so that clients' dates and yanks still work."""
    with upstream() as up:
        add_shelf(up, tmp_path / "there")
        up.projects["demo"].files[0].yanked = "loses data"
        front = Front(tmp_path / "here", up.url)
        with front.running() as server:
            for project in SHELF:
                for path in (file.path for file in up.projects[project].files):
                    get(server.url + path)
            pages = {project: rows(server.url, project) for project in SHELF}
    alone = serve(folder=front.kept)
    assert {project: rows(alone.url, project) for project in SHELF} == pages


def pipenv(tool: Client, index: str, folder: Path, lock_text: str = "") -> tuple[dict[str, str], str]:
    """What pipenv installs of a new project, or by this lock; and the lock."""
    folder.mkdir()
    source = f'[[source]]\nname = "here"\nurl = "{index}"\nverify_ssl = false\n'
    (folder / "Pipfile").write_text(f'{source}\n[packages]\ndemo = "*"\n')
    environ = {"PIPENV_VENV_IN_PROJECT": "1", "PIPENV_NOSPIN": "1", "PIPENV_PYTHON": str(tool.python)}
    if lock_text:
        (folder / "Pipfile.lock").write_text(lock_text)
    else:
        tool.run("pipenv", "lock", cwd=folder, **environ)
    tool.run("pipenv", "sync", cwd=folder, **environ)
    return shelf_only(installed(folder / ".venv")), (folder / "Pipfile.lock").read_text()


HATCH = """\
[project]
name = "consumer"
version = "1.0"

[tool.hatch.envs.default]
path = ".venv"
skip-install = true
dependencies = ["demo"]
"""


def hatch(tool: Client, index: str, folder: Path, lock_text: str = "") -> tuple[dict[str, str], str]:
    """What hatch installs into the environment of a project; it has no lock."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(HATCH)
    environ = {"PIP_INDEX_URL": index, "HATCH_PYTHON": str(tool.python)}
    tool.run("hatch", "env", "create", cwd=folder, **environ)
    return shelf_only(installed(folder / ".venv")), ""


@pytest.mark.parametrize("manage", [pipenv, hatch])
def test_managers_of_environments_with_the_index_and_without_it(
    manage: Callable[..., tuple[dict[str, str], str]], client: GetClient, tmp_path: Path
) -> None:
    with upstream() as up:
        add_shelf(up, tmp_path / "there")
        front = Front(tmp_path / "here", up.url)
        tool = client(manage.__name__)
        with front.running() as server:
            found, lock_text = manage(tool, f"{server.url}/simple/", tmp_path / "first")
            assert found == SHELF
        up.stop()
        with front.running() as server:
            index = f"{server.url}/simple/"
            assert manage(on_new_machine(tool, "lock"), index, tmp_path / "locked", lock_text)[0] == SHELF
            assert manage(on_new_machine(tool, "new"), index, tmp_path / "new")[0] == SHELF
