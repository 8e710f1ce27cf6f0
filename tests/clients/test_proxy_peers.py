"""Other programs that serve packages as the index behind ours, and in front of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.clients.harness import JSON_TYPE, PASSWORD, USER, Client, GetClient, get, installed
from tests.clients.peers import PEERS, devpi, pypiron
from tests.clients.proxies import Front, add_shelf, contents, on_new_machine
from tests.clients.samples import SHELF, SHELF_FILES
from tests.fake_upstream import upstream
from tests.live_server import LiveServer

every_peer = pytest.mark.parametrize("peer", PEERS)


def pages(index: str) -> dict[str, dict[str, Any]]:
    """What the pages of an index say of each file of the shelf, which are read in JSON."""
    found = {}
    for project in SHELF:
        url = f"{index}{project}/"
        for file in json.loads(get(url, {"Accept": JSON_TYPE}))["files"]:
            found[file["filename"]] = {**file, "url": urljoin(url, file["url"])}
    return found


def said(files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The fields of the files that matter to clients, without those that say nothing; a time in any spelling."""
    fields = ("hashes", "size", "upload-time", "requires-python", "yanked", "core-metadata")
    found = {name: {key: file[key] for key in fields if file.get(key)} for name, file in files.items()}
    for file in found.values():
        if "upload-time" in file:
            file["upload-time"] = datetime.fromisoformat(file["upload-time"].replace("Z", "+00:00"))
    return found


def install(client: Client, target: Path, index: str) -> dict[str, str]:
    tool = on_new_machine(client, target.name)
    tool.run(*tool.installer, "--target", target, "--index-url", index, "demo")
    return installed(target)


def assert_same_bytes(files: dict[str, dict[str, Any]], folder: Path) -> None:
    """Each file has the bytes and the hash of the peer's, from the address that its page says."""
    wanted = contents(folder)
    assert {name: file["hashes"]["sha256"] for name, file in files.items()} == wanted
    for name, file in files.items():
        assert get(file["url"].partition("#")[0]) == (folder / name).read_bytes()


@every_peer
def test_ours_in_front(peer: str, client: GetClient, tmp_path: Path) -> None:
    """Pages and files equal what the peer has; clients install, also when the peer is down, and after a restart."""
    there = tmp_path / "there"
    with upstream() as up:
        add_shelf(up, there)
        with PEERS[peer](tmp_path / "peer", up.url) as (index, process):
            # simple-repository-server sends clients to the index for the files.
            front = Front(tmp_path / "here", index, hosts=(up.origin,))
            with front.running("--cache-fresh", "1s") as server:
                ours = f"{server.url}/simple/"
                theirs = pages(index)
                assert sorted(theirs) == sorted(name for names in SHELF_FILES.values() for name in names)
                assert said(pages(ours)) == said(theirs)
                assert_same_bytes(pages(ours), there)
                for name in ("pip", "pip9", "uv"):
                    assert install(client(name), tmp_path / f"cold-{name}", ours) == SHELF
                process.stop()
                assert install(client("uv"), tmp_path / "down", ours) == SHELF
            with front.running() as server:
                assert install(client("pip"), tmp_path / "restarted", f"{server.url}/simple/") == SHELF


RELATIVE = "pypiron 0.0.29 joins the relative addresses of a page (PEP 503) to its own idea of the index"
peers_before = [
    pytest.param(name, marks=pytest.mark.xfail(reason=RELATIVE, strict=True)) if name == "pypiron" else name
    for name in PEERS
]


@pytest.mark.parametrize("peer", peers_before)
def test_ours_behind(peer: str, client: GetClient, tmp_path: Path) -> None:
    """A peer takes pages and files from ours, which fetches them."""
    there = tmp_path / "there"
    with upstream() as up:
        add_shelf(up, there)
        front = Front(tmp_path / "here", up.url)
        with front.running() as server, PEERS[peer](tmp_path / "peer", f"{server.url}/simple/") as (index, _):
            assert_same_bytes(pages(index), there)
            for name in ("pip", "uv"):
                assert install(client(name), tmp_path / f"site-{name}", index) == SHELF


@pytest.mark.parametrize(("peer", "path"), [(devpi, "/root/own/"), (pypiron, "/legacy/")], ids=["devpi", "pypiron"])
def test_what_was_uploaded_there(peer: Any, path: str, client: GetClient, tmp_path: Path) -> None:
    there = tmp_path / "there"
    with upstream() as unused:
        add_shelf(unused, there)
    with peer(tmp_path / "peer", "", uploads=True) as (index, process):
        tool, user = client("twine"), "root" if peer is devpi else USER
        login = ("--username", user, "--password", PASSWORD, "--non-interactive")
        tool.run("twine", "upload", "--repository-url", process.url + path, *login, *sorted(there.glob("*.whl")))
        front = Front(tmp_path / "here", index)
        with front.running() as server:
            ours = f"{server.url}/simple/"
            assert said(pages(ours)) == said(pages(index))
            assert_same_bytes(pages(ours), there)
            process.stop()
            for name in ("pip", "uv"):
                assert install(client(name), tmp_path / f"site-{name}", ours) == SHELF


@contextmanager
def ours_as_peer(home: Path, url: str) -> Iterator[tuple[str, LiveServer]]:
    """A second server of ours, which passes on what the index has."""
    home.mkdir()
    with Front(home, url).running() as server:
        yield f"{server.url}/simple/", server


@pytest.mark.parametrize("peer", ["ours", *PEERS])
def test_a_yank_is_passed_on_with_its_reason(peer: str, client: GetClient, tmp_path: Path) -> None:
    """In both forms of a page, whatever form the peer sends; clients then take another release."""
    there = tmp_path / "there"
    with upstream() as up:
        add_shelf(up, there)
        demo, helper = SHELF_FILES["demo"][1], SHELF_FILES["demo-helper"][-1]
        yanked = {demo: "loses data & <more>", helper: ""}
        for file in (each for project in up.projects.values() for each in project.files):
            file.yanked = yanked.get(file.filename)
        start = ours_as_peer if peer == "ours" else PEERS[peer]
        with ExitStack() as stack:
            index, _ = stack.enter_context(start(tmp_path / "peer", up.url))
            server = stack.enter_context(Front(tmp_path / "here", index, hosts=(up.origin,)).running())
            ours = f"{server.url}/simple/"
            found = {name: file["yanked"] for name, file in pages(ours).items() if file["yanked"] is not False}
            assert found == {name: file["yanked"] for name, file in pages(index).items() if file.get("yanked")}
            assert found == {name: reason or True for name, reason in yanked.items()}
            text = get(f"{ours}demo/", {"Accept": "text/html"}).decode()
            assert 'data-yanked="loses data &amp; &lt;more&gt;"' in text
            assert text.count("data-yanked") == 1
            assert 'data-yanked=""' in get(f"{ours}demo-helper/", {"Accept": "text/html"}).decode()
            wanted = {"demo": "1.0"}
            for name in ("pip", "uv"):
                assert install(client(name), tmp_path / f"site-{name}", ours) == wanted
