"""A file whose bytes change under its name installs at once, whatever kept the old ones: a client, or nginx."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.certificates import make_certificate
from tests.clients.fronts import documented_accel, documented_cache, nginx_of, printed_nginx
from tests.clients.harness import JSON_TYPE, Client, GetClient, Serve, server_environ
from tests.clients.samples import add_wheel
from tests.live_server import DIRECT, Opener, pypi_server, running

WHEEL = "demo-1.0-py2.py3-none-any.whl"
# More than is kept with an answer: nginx sends it from the disk.
LARGE = 100_000
CLIENTS = ["pip", "pip20", "pip9", "uv"]


def put(packages: Path, summary: str, *, ballast: int = 0) -> bytes:
    """Copy a build over the one that is there; every build has the same size and time, as reproducible ones have."""
    add_wheel(packages.parent, "demo", "1.0", summary=summary, ballast=ballast).replace(packages / WHEEL)
    os.utime(packages / WHEEL, (1_600_000_000, 1_600_000_000))
    return (packages / WHEEL).read_bytes()


def wait_until_shown(url: str, data: bytes, opener: Opener = DIRECT) -> None:
    """Wait until the page that clients see names these bytes."""
    wanted, until = hashlib.sha256(data).hexdigest(), time.monotonic() + 30
    request = urllib.request.Request(f"{url}/simple/demo/", headers={"Accept": JSON_TYPE})
    shown: list[str] = []
    while shown != [wanted]:
        assert time.monotonic() < until, shown
        # Before its first second has passed, the file is not there yet.
        with contextlib.suppress(HTTPError), opener.open(request, timeout=30) as answer:
            shown = [file["hashes"]["sha256"] for file in json.loads(answer.read())["files"]]
        time.sleep(0.05)


def install(tool: Client, url: str, target: Path) -> str:
    """What the package says of itself that the client installs."""
    tool.run(*tool.installer, "--target", target, "--index-url", f"{url}/simple/", "demo")
    (metadata,) = target.glob("demo-1.0.dist-info/METADATA")
    return next(line for line in metadata.read_text().splitlines() if line.startswith("Summary: "))[9:]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_that_kept_the_old_file_installs_the_new_one(
    name: str, client: GetClient, stack: ExitStack, packages: Path, tmp_path: Path
) -> None:
    """pip keeps files of an index with HTTPS only."""
    certificate = make_certificate(tmp_path)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=certificate.context)
    )
    flags = ("--disable-fallback", "--certificate", certificate.chain, "--key", certificate.key)
    server = stack.enter_context(
        running(pypi_server(*flags, packages), environ=server_environ(tmp_path / "server"), cwd=tmp_path, opener=opener)
    )
    tool = replace(client(name), trusted=certificate.authority)
    for build in ("one", "two"):
        data = put(packages, build)
        wait_until_shown(server.url, data, opener)
        assert install(tool, server.url, tmp_path / build) == build


@pytest.mark.parametrize("ballast", [0, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("prefix", ["", "/pypi"])
def test_the_printed_nginx_gives_the_new_file(
    prefix: str, ballast: int, client: GetClient, stack: ExitStack, packages: Path, tmp_path: Path
) -> None:
    front, _ = stack.enter_context(printed_nginx(packages, tmp_path, prefix=prefix))
    replaced_behind(front.url + prefix, client, packages, tmp_path, ballast=ballast)


@pytest.mark.parametrize("ballast", [0, LARGE], ids=["small", "large"])
def test_the_documented_nginx_cache_gives_the_new_file(
    ballast: int, client: GetClient, serve: Serve, stack: ExitStack, packages: Path, tmp_path: Path
) -> None:
    front = stack.enter_context(nginx_of(documented_cache(), serve().url))
    replaced_behind(front.url, client, packages, tmp_path, ballast=ballast)


@pytest.mark.parametrize("config", ["printed", "documented"])
def test_nginx_that_sends_files_itself_knows_them_by_their_bytes(
    config: str, serve: Serve, stack: ExitStack, packages: Path, tmp_path: Path
) -> None:
    """Of two builds with one size and one time, the ETag that nginx makes is the same."""
    if config == "printed":
        url = stack.enter_context(printed_nginx(packages, tmp_path))[0].url
    else:
        url = stack.enter_context(nginx_of(documented_accel(packages), serve("--accel", "nginx").url)).url
    tags, sizes = [], set()
    for build in ("one", "two"):
        data = put(packages, build, ballast=LARGE)
        wait_until_shown(url, data)
        headers = {"If-None-Match": ", ".join(tags)} if tags else {}
        with DIRECT.open(urllib.request.Request(f"{url}/packages/{WHEEL}", headers=headers), timeout=30) as answer:
            assert answer.read() == data
            tags.append(answer.headers["ETag"])
        assert tags[-1] == f'"{hashlib.sha256(data).hexdigest()}"'
        sizes.add(len(data))
        part = {"Range": "bytes=2-5", "If-Range": tags[-1]}
        with DIRECT.open(urllib.request.Request(f"{url}/packages/{WHEEL}", headers=part), timeout=30) as answer:
            assert (answer.status, answer.read()) == (206, data[2:6])
        known = urllib.request.Request(f"{url}/packages/{WHEEL}", headers={"If-None-Match": tags[-1]})
        with pytest.raises(HTTPError, match="304"):
            DIRECT.open(known, timeout=30)
    assert len(sizes) == 1


@pytest.mark.parametrize("path", ["/simple/demo/", f"/packages/{WHEEL}"])
def test_no_one_gets_what_was_kept_before_while_another_asks(
    path: str, stack: ExitStack, packages: Path, tmp_path: Path
) -> None:
    """Of jobs that begin together after an upload, nginx asks for one; the others must not get an old answer."""
    old = put(packages, "one")
    front, server = stack.enter_context(printed_nginx(packages, tmp_path))
    wait_until_shown(front.url, old)
    before = DIRECT.open(front.url + path, timeout=30).read()
    new = put(packages, "two")
    wait_until_shown(server.url, new)
    time.sleep(2.1)
    server.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(lambda: DIRECT.open(front.url + path, timeout=30).read()) for _ in range(4)]
        # What is kept would be answered at once.
        wait(answers, timeout=0.5)
        server.process.send_signal(signal.SIGCONT)
        assert before not in [answer.result() for answer in answers]


def replaced_behind(url: str, client: GetClient, packages: Path, tmp_path: Path, *, ballast: int) -> None:
    for build in ("one", "two"):
        wait_until_shown(url, put(packages, build, ballast=ballast))
        # nginx keeps each answer, one for each Accept header, for one to two seconds.
        time.sleep(2.1)
        for name in ("pip", "uv"):
            assert install(client(name), url, tmp_path / name / build) == build
