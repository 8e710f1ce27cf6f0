"""Mirrors of our index: bandersnatch of two ages, the whole index and single projects, and again after changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.harness import GetClient, Serve, answered, installed, page
from tests.clients.samples import SHELF, add_sdist, add_wheel, fill
from tests.clients.test_facts import eventually
from tests.live_server import LiveServer

OLD = 1_700_000_000
# The client, and how it asks which projects there are: 6 by XML-RPC unless told otherwise, 8 by JSON alone.
BANDERSNATCHES = {"8": ("bandersnatch", ""), "6": ("bandersnatch6", ""), "6 by JSON": ("bandersnatch6", "simple")}
every_bandersnatch = pytest.mark.parametrize(("name", "method"), BANDERSNATCHES.values(), ids=BANDERSNATCHES)
CONFIG = """
[mirror]
directory = {folder}
master = {url}
allow-non-https = true
json = true
timeout = 10
workers = 2
hash-index = false
stop-on-error = true
storage-backend = filesystem
verifiers = 2
simple-format = ALL
compare-method = hash
"""


Mirror = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mirror(client: GetClient, tmp_path: Path) -> Mirror:
    """Run bandersnatch over a folder of its own."""

    def run(name: str, method: str, server: LiveServer, *command: str) -> subprocess.CompletedProcess[str]:
        config = tmp_path / "bandersnatch.conf"
        text = CONFIG.format(folder=tmp_path / "mirror", url=server.url)
        config.write_text(text + (f"api-method = {method}\n" if method else ""))
        return client(name).run("bandersnatch", "-c", config, *command)

    return run


def mirrored(folder: Path) -> dict[str, str]:
    files = [path for path in (folder / "mirror" / "web" / "packages").rglob("*") if path.suffix in (".whl", ".gz")]
    return digests(files)


def served(folder: Path) -> dict[str, str]:
    return digests([path for path in folder.iterdir() if path.suffix in (".whl", ".gz")])


def digests(files: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def age(folder: Path, seconds: int) -> None:
    """Let all files be from one day, which is `seconds` after the first."""
    for path in folder.iterdir():
        if path.is_file():
            os.utime(path, (OLD + seconds, OLD + seconds))


@every_bandersnatch
def test_the_whole_index_is_mirrored_and_again_what_changed(
    name: str, method: str, mirror: Mirror, serve: Serve, client: GetClient, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    add_sdist(packages, "third", "1.0")
    age(packages, 0)
    server = serve()
    mirror(name, method, server, "mirror")
    assert mirrored(tmp_path) == served(packages)
    assert (tmp_path / "mirror" / "status").read_text() == str(OLD)
    # What came since is fetched, and nothing is asked of what did not change.
    wheel = add_wheel(packages, "third", "2.0")
    os.utime(wheel, (OLD + 100, OLD + 100))
    yanked = packages / "demo-1.0-py2.py3-none-any.whl.yanked"
    yanked.write_text("loses data\n")
    os.utime(yanked, (OLD + 90, OLD + 90))
    eventually(lambda: page(server)[yanked.stem]["yanked"], "loses data")
    eventually(lambda: wheel.name in page(server, "third"), True)
    for project, changed in (("demo", OLD + 90), ("third", OLD + 100)):
        eventually(lambda project=project: answered(server, project)["meta"]["_last-serial"], changed)  # type: ignore[misc]
    said = mirror(name, method, server, "mirror").stdout
    assert mirrored(tmp_path) == served(packages)
    assert (tmp_path / "mirror" / "status").read_text() == str(OLD + 100)
    assert {word for word in ("demo", "third", "demo-helper") if f"package: {word} " in said} == {"demo", "third"}
    assert 'data-yanked="loses data"' in (tmp_path / "mirror" / "web" / "simple" / "demo" / "index.html").read_text()
    # And it can be installed from.
    index = (tmp_path / "mirror" / "web" / "simple").as_uri()
    tool = client("pip")
    tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", index, "demo")
    assert installed(tmp_path / "site") == SHELF
    assert "0 packages to sync" in mirror(name, method, server, "mirror").stdout


@every_bandersnatch
def test_single_projects_are_synced(
    name: str, method: str, mirror: Mirror, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    said = mirror(name, method, serve(), "sync", "Demo_Helper").stdout
    assert mirrored(tmp_path) == {file: digest for file, digest in served(packages).items() if "helper" in file}, said


def test_a_rebuilt_catalog_gives_a_mirror_nothing_to_do(
    mirror: Mirror, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    fill(packages)
    mirror("bandersnatch", "", serve("--catalog", tmp_path / "one.sqlite"), "mirror")
    other = serve("--catalog", tmp_path / "two.sqlite")
    assert "0 packages to sync" in mirror("bandersnatch", "", other, "mirror").stdout


PULP = """
import asyncio, sys, aiohttp
from bandersnatch.master import Master

class Pulp(Master):
    # What pulp_python has in the place of bandersnatch's own: another session, and the list by XML-RPC.
    pass

async def main():
    async with Pulp(sys.argv[1], allow_non_https=True) as master:
        try:
            print(await master.rpc("no_such_method"))
        except aiohttp.ClientResponseError as error:
            print("status", error.status)
        print(sorted(await master.all_packages()))

asyncio.run(main())
"""


def test_an_unknown_method_fails_as_pulp_expects(client: GetClient, serve: Serve, packages: Path) -> None:
    """pulp_python catches aiohttp's ClientResponseError and reads the index; what is no error it takes for the list."""
    fill(packages)
    said = client("bandersnatch6").run("python", "-c", PULP, serve().url).stdout
    assert said.splitlines() == ["status 400", "['demo', 'demo-helper']"]
