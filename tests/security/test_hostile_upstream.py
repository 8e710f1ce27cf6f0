"""An upstream that lies, cuts, drips and points inward, in front of real servers with ``--fallback-mode cache``.

Nothing wrong is kept, nothing wrong is given whole, nothing goes to a private address, and other requests are answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fake_pages import JSON, TEXT, FakeFile, large_page
from tests.fake_upstream import FakeUpstream, noise, upstream
from tests.figures import count
from tests.hostile import JSON_TYPE, SERVERS, Reply, ask, serving, wheel
from tests.live_server import LiveServer
from tests.trap import trap

SMALL, LARGE = 3_000, 400_000
_numbers = itertools.count()


@dataclass
class Site:
    """A server, what it asks, and its cache; each test takes projects of its own."""

    live: LiveServer
    up: FakeUpstream
    cache: Path

    def add(self, size: int = SMALL, *, warm: bool = True, **fields: Any) -> FakeFile:
        """A new project with one wheel, whose page the server has by now."""
        file = self.up.add_wheel(f"p{next(_numbers)}", "1.0", size=size, **fields)
        if warm:
            assert self.page(file).status == 200
        return file

    def page(self, file: FakeFile, **headers: str) -> Reply:
        return ask(self.live.url, f"/simple/{project_of(file)}/", **{"Accept": JSON_TYPE, **headers})

    def place(self, file: FakeFile) -> str:
        """Where the server has the file, as its page says."""
        (row,) = json.loads(self.page(file).body)["files"]
        place: str = urlsplit(row["url"]).path
        return "/" + place.lstrip("./")

    def get(self, file: FakeFile, suffix: str = "", **headers: str) -> Reply | None:
        """The file, or None if the response was cut."""
        count("requests to a hostile upstream's cache")
        try:
            return ask(self.live.url, self.place(file) + suffix, **headers)
        except (http.client.HTTPException, OSError):
            return None

    def kept(self, file: FakeFile) -> list[Path]:
        """What the cache has under its name."""
        return [path for path in self.cache.rglob(file.filename) if path.is_file()]


def project_of(file: FakeFile) -> str:
    return file.filename.partition("-")[0]


def toml(up: FakeUpstream, *hosts: str) -> str:
    return f'[[upstream]]\nname = "up"\nurl = "{up.url}"\nhosts = {json.dumps(hosts)}\n'


@contextlib.contextmanager
def site(home: Path, server: str, *arguments: str, stall: int = 20) -> Iterator[Site]:
    with upstream() as up:
        (home / "pypiserver.toml").write_text(toml(up))
        (home / "packages").mkdir()
        name, data = wheel("ours")
        (home / "packages" / name).write_bytes(data)
        # The last index is the same one, so that no test asks the public index.
        flags = (
            "--fallback-url",
            up.url,
            "--fallback-mode",
            "cache",
            "--cache-folder",
            str(home / "kept"),
            "--stall-timeout",
            str(stall),
        )
        with serving(home, "--config", home / "pypiserver.toml", *flags, *arguments, server=server) as live:
            yield Site(live, up, home / "kept")


@pytest.fixture(scope="module", params=SERVERS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp(request.param), request.param) as made:
        yield made


@pytest.fixture
def one(shared: Site) -> Iterator[Site]:
    """The server with a right upstream; afterwards it still serves, and nothing half is in its cache."""
    yield shared
    shared.up.heal()
    assert ask(shared.live.url, "/simple/ours/").status == 200
    for path in shared.cache.rglob("*.whl"):
        data = path.read_bytes()
        rights = [data == file.data for project in shared.up.projects.values() for file in project.files
                  if file.filename == path.name]  # fmt: skip
        assert any(rights), f"{path} is kept, and is not what the index has"


# -- files ---------------------------------------------------------------------------------------------------------

# What is done to a file, and whether a client may have it all the same. "keep" says that it is right.
FAULTS: dict[str, dict[str, Any]] = {
    "cut before the first byte": {"cut_after": 0},
    "cut after a byte": {"cut_after": 1},
    "cut in the middle": {"cut_after": 1_500},
    "cut before the last byte": {"cut_after": -1},
    "cut before the last 64 KiB": {"cut_after": -65_536},
    "cut within the last 64 KiB": {"cut_after": -65_535},
    "reset in the middle": {"cut_after": 1_500, "reset": True},
    "another first byte": {"corrupt_at": 0},
    "another last byte": {"corrupt_at": -1},
    "another byte in between": {"corrupt_at": 1_000},
    "a byte more": {"pad": b"x"},
    "a megabyte more": {"pad": b"x" * (1 << 20)},
    "a length that is too small": {"length": 1_000},
    "a length that is too large": {"length": 10_000_000, "cut_after": 10_000_000},
    "no length, and a cut": {"length": None, "cut_after": 1_500},
    "chunks, and a cut": {"chunked": 100, "cut_after": 1_500},
    "chunks with something more": {"chunked": 1_000, "pad": b"more"},
    "a gzip that is cut": {"coding": "gzip", "cut_after": 1_000},
    "a bomb": {"body": b"\0" * (30 << 20), "coding": "gzip"},
    "another file": {"body": b"PK\x05\x06" + b"\0" * 18},
    "nothing": {"body": b""},
    "a page of HTML": {"body": b"<html>sign in</html>", "headers": {"Content-Type": "text/html"}},
    "500": {"status": 500},
    "429": {"status": 429, "headers": {"Retry-After": "9999999"}},
    "403": {"status": 403},
    "204": {"status": 204},
    "206 of everything": {"headers": {"Content-Range": "bytes 0-9/10"}, "status": 206, "body": b"0123456789"},
    "304": {"status": 304},
    "an interim response": {"raw": b"HTTP/1.1 103 Early Hints\r\n\r\n"},
    "a status of 999": {"status": 999},
    "no HTTP": {"raw": b"SSH-2.0-OpenSSH\r\n"},
    "no word": {"hang_up": True},
    "two lengths": {"headers": {"Content-Length": "5"}},
    "a negative length": {"headers": {"Content-Length": "-5"}, "corrupt_at": 0, "cut_after": 10_000_000},
    "a length of ages": {"headers": {"Content-Length": "9" * 40}, "cut_after": 10_000_000},
    "a redirect to itself": {"location": "SELF"},
    "a redirect to nowhere": {"location": ""  "http://files.invalid/x"},
    "a redirect inward": {"location": "http://169.254.169.254/latest/meta-data"},
    "a redirect to us": {"location": "US"},
}  # fmt: skip


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_neither_kept_nor_given_whole(one: Site, fault: str, size: int) -> None:
    file = one.add(size)
    what = dict(FAULTS[fault])
    if what.get("cut_after", 0) < 0:
        what["cut_after"] = max(len(file.data) + what["cut_after"], 0)
    if what.get("location") == "SELF":
        what["location"] = file.path
    if what.get("location") == "US":
        what["location"] = one.live.url + "/"
    one.up.spoil(file.path, **what)
    for headers in ({}, {"Range": "bytes=0-"}, {"Range": f"bytes=-{len(file.data)}"}):
        reply = one.get(file, **headers)
        if reply is not None and reply.status in (200, 206):
            assert reply.body == file.data
            pytest.fail("what is wrong here cannot be right")
        if reply is not None:
            assert reply.status in (403, 404, 502, 503), reply
            assert len(reply.body) < 2_000
    assert one.kept(file) == []
    one.up.heal()


RIGHT: dict[str, dict[str, Any]] = {
    "a coding": {"coding": "gzip"},
    "a coding that is only said": {"claims_coding": "gzip"},
    "a coding that no one knows": {"claims_coding": "br"},
    "another coding": {"coding": "deflate"},
    "chunks": {"chunked": 100},
    "no length": {"length": None},
    "another type": {"headers": {"Content-Type": "text/html"}},
    "a redirect": {"location": "/elsewhere/{}"},
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("shape", RIGHT)
def test_a_right_file_of_an_odd_shape_is_given_and_kept(one: Site, shape: str, size: int) -> None:
    file = one.add(size)
    what = dict(RIGHT[shape])
    if "location" in what:
        what["location"] = what["location"].format(file.filename)
        one.up.served[what["location"]] = file.data
    one.up.spoil(file.path, **what)
    reply = one.get(file)
    assert reply is not None and (reply.status, reply.body) == (200, file.data)
    deadline = time.monotonic() + 20
    while not one.kept(file):
        assert time.monotonic() < deadline, "it is not kept"
        time.sleep(0.01)
    assert [path.read_bytes() for path in one.kept(file)] == [file.data]


def test_a_page_that_lies_about_the_hash_or_size_makes_a_wrong_file(one: Site) -> None:
    for fields in ({"claimed": "0" * 64}, {"extra": {"size": 5}}, {"extra": {"size": 10**12}}):
        file = one.add(**fields)
        reply = one.get(file)
        assert reply is None or reply.status in (502, 503)
        assert one.kept(file) == []


def test_without_a_hash_a_file_has_to_be_what_its_name_says(one: Site) -> None:
    file = one.add(claimed="", extra={"hashes": {}})
    one.up.spoil(file.path, body=b"PK\x05\x06" + b"\0" * 18)
    reply = one.get(file)
    assert reply is None or reply.status in (502, 503)
    assert one.kept(file) == []


@pytest.mark.parametrize("what", ["metadata", "provenance"])
def test_what_comes_with_a_file_is_checked_too(one: Site, what: str) -> None:
    file = one.add(provenance=b"{}")
    pattern = f"{file.path}.metadata" if what == "metadata" else "/integrity/*"
    with trap() as inner:
        for spoiled in (
            {"body": b"x" * (9 << 20)},
            {"location": f"http://127.0.0.1:{inner.port}/"},
            {"cut_after": 1},
            {"raw": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "raw_forever": b"0" * 60_000},
        ):  # fmt: skip
            one.up.spoil(pattern, **spoiled)
            reply = one.get(file, f".{what}")
            assert reply is None or reply.status in (403, 404, 502, 503), reply
            one.up.heal()
        assert inner.connections == 0
    if what == "metadata":
        one.up.spoil(pattern, body=b"Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
        reply = one.get(file, ".metadata")
        assert reply is not None and b"evil" not in reply.body
        one.up.heal()


# -- pages ---------------------------------------------------------------------------------------------------------

NONSENSE: dict[str, dict[str, Any]] = {
    "no JSON": {"body": b"{"},
    "a page that was cut": {"body": b"<a href=/login>", "headers": {"Content-Type": "text/html"}, "cut_after": 12},
    "another type": {"headers": {"Content-Type": "application/octet-stream"}},
    "cut": {"cut_after": 10},
    "500": {"status": 500},
    "502": {"status": 502},
    "401": {"status": 401},
    "403": {"status": 403},
    "204": {"status": 204},
    "304 unasked": {"status": 304},
    "a circle": {"location": "SELF"},
    "inward": {"location": "http://[::ffff:169.254.169.254]/"},
    "another interface": {"body": b'{"meta":{"api-version":"2.0"},"files":[]}'},
    "nested": {"body": b'{"files":' + b"[" * 200_000},
}  # fmt: skip


@pytest.mark.parametrize("fault", NONSENSE)
def test_a_page_that_makes_no_sense_is_an_outage_and_nothing_else(one: Site, fault: str) -> None:
    file = one.add(warm=False)
    what = dict(NONSENSE[fault])
    if what.get("location") == "SELF":
        what["location"] = one.up.page_path(project_of(file))
    one.up.spoil(one.up.page_path(project_of(file)), **what)
    for accept in (JSON_TYPE, "text/html"):
        reply = one.page(file, Accept=accept)
        assert reply.status == 503 and int(reply.headers["retry-after"]) > 0, reply
    one.up.heal()
    # Several failures in a row are an outage of the index; one that is right in between says that it is none.
    one.add()


def test_files_of_others_are_on_no_page_and_at_no_address(one: Site) -> None:
    file = one.add()
    project = one.up.project(f"q{next(_numbers)}")
    for name in (
        file.filename,
        "ours-9.0-py3-none-any.whl",
        "../../etc/passwd",
        ".hidden-1.0.tar.gz",
        "x" * 300 + ".whl",
    ):
        one.up.add(project.name, name, b"evil", path=f"/evil/{next(_numbers)}")
    right = one.up.add_wheel(project.name, "1.0")
    reply = ask(one.live.url, f"/simple/{project.name}/", Accept=JSON_TYPE)
    assert [row["filename"] for row in json.loads(reply.body)["files"]] == [right.filename]
    assert b"9.0" not in ask(one.live.url, "/simple/ours/").body
    own = f"/packages/@up/{project.name}"
    for path in (f"{own}/{file.filename}", f"{own}/ours-9.0-py3-none-any.whl", f"{own}/../../../../etc/passwd"):
        assert ask(one.live.url, path).status in (400, 404), path


def test_markup_of_a_page_is_text_here(one: Site) -> None:
    evil = '"><script>alert(1)</script>\r\nX-Evil: 1'
    file = one.add(yanked=evil, requires_python=evil, warm=False)
    project = one.up.projects[project_of(file)]
    project.status, project.reason = "archived", evil
    file.extra["url"] = f"javascript:alert(1)//{file.filename}"
    fine = one.up.add(project.name, f"{project.name}-2.0.tar.gz", b"x", yanked=evil, uploaded=None)
    for path, accept in (
        (f"/simple/{project.name}/", "text/html"),
        (f"/project/{project.name}/", "text/html"),
        (f"/pypi/{project.name}/json", "*/*"),
    ):
        reply = ask(one.live.url, path, Accept=accept)
        assert b"<script>alert" not in reply.body and b"javascript:" not in reply.body, path
        assert "x-evil" not in reply.headers
    reply = ask(one.live.url, f"/simple/{project.name}/", Accept=JSON_TYPE)
    page = json.loads(reply.body)
    assert [row["filename"] for row in page["files"]] == [fine.filename]
    assert "\n" not in page["files"][0]["yanked"]


def test_every_redirect_and_link_inward_ends_here(one: Site) -> None:
    with trap() as inner, trap("::1") as inner6:
        for host in (
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "127.0.0.1.",
        ):
            target = f"http://{host}:{inner6.port if host == '[::1]' else inner.port}"
            file = one.add(warm=False)
            page = one.up.page_path(project_of(file))
            one.up.spoil(page, location=f"{target}/simple/x/")
            assert one.page(file).status == 503
            one.up.heal()
            linked = one.up.add(f"q{next(_numbers)}", f"q{next(_numbers) - 1}-1.0.tar.gz", b"x")
            linked.filename = (
                f"{next(name for name, each in one.up.projects.items() if linked in each.files)}-1.0.tar.gz"
            )
            linked.extra.update(url=f"{target}/{linked.filename}", provenance=f"{target}/p")
            linked.extra["core-metadata"] = True
            for suffix in ("", ".metadata", ".provenance"):
                reply = one.get(linked, suffix)
                assert reply is None or reply.status in (403, 404, 502, 503), (host, suffix, reply)
        assert (inner.connections, inner6.connections) == (0, 0)


def test_nothing_of_a_client_reaches_the_upstream(one: Site) -> None:
    private = {
        "Cookie": "a=secret",
        "Authorization": "Basic bWU6c2VjcmV0",
        "User-Agent": "pip/secret",
        "X-Forwarded-For": "10.9.8.7",
        "Referer": "https://secret.example/",
        "X-Secret": "secret",
    }
    file = one.add(LARGE, warm=False, provenance=b"{}")
    one.up.forget()
    one.page(file, **private)
    for suffix in (".metadata", ".provenance", ""):
        one.get(file, suffix, **private)
    one.get(file, Range="bytes=-100", **private)
    assert len(one.up.seen) > 3
    allowed = {"host", "accept", "accept-encoding", "user-agent", "range", "if-none-match", "if-modified-since"}
    for seen in one.up.seen:
        assert set(seen.headers) <= allowed, seen
        assert "secret" not in str(seen.headers), seen


# -- time and memory -----------------------------------------------------------------------------------------------


def resident(live: LiveServer) -> int:
    """The memory of a server and its children (KiB)."""
    pids = {str(live.process.pid)}
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if fields["PPid"] in pids:
                pids.add(status.parent.name)
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total


def test_other_requests_are_answered_while_the_upstream_is_silent(tmp_path: Path) -> None:
    with site(tmp_path, "granian", "--max-fetches", "4") as one:
        files = [one.add() for _ in range(12)]
        cold = [one.add(warm=False) for _ in range(12)]
        with one.up.held("*"):
            threads = [threading.Thread(target=one.get, args=(file,)) for file in files]
            threads += [threading.Thread(target=one.page, args=(file,)) for file in cold]
            for each in threads:
                each.start()
            one.up.wait_for("*", 8)
            for _ in range(20):
                assert ask(one.live.url, "/simple/ours/").status == 200
                assert ask(one.live.url, "/health").status == 200
            assert one.up.busy <= 12
        for each in threads:
            each.join(60)
            assert not each.is_alive()


def test_a_page_of_sixty_megabytes_takes_bounded_memory(tmp_path: Path) -> None:
    with site(tmp_path, "granian", stall=60) as one:
        project = one.up.project("huge")
        project.page = (JSON, large_page("huge", 60 << 20))
        before = resident(one.live)
        peaks: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peaks.append(resident(one.live))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            statuses = {ask(one.live.url, "/simple/huge/", Accept=JSON_TYPE, timeout=120).status for _ in range(2)}
        finally:
            done.set()
            watcher.join()
        assert statuses == {503}
        assert (max(peaks) - before) / 1024 < 4 * 60, f"{(max(peaks) - before) / 1024:.0f} MiB more"


@pytest.mark.parametrize("what", ["head", "page", "file"])
def test_what_drips_is_left(tmp_path: Path, what: str) -> None:
    with site(tmp_path, "granian", stall=3 if what == "file" else 60) as one:
        file = one.add(LARGE, warm=what == "file")
        path = file.path if what == "file" else one.up.page_path(project_of(file))
        one.up.spoil(path, **({"head_bytes_per_second": 2} if what == "head" else {"bytes_per_second": 20}))
        reply = one.get(file) if what == "file" else one.page(file)
        assert reply is None or reply.status in (502, 503)
        assert one.kept(file) == []


def test_an_upstream_that_flaps_is_right_now_and_then_and_never_wrong(one: Site) -> None:
    file = one.add(LARGE)
    one.up.spoil(file.path, every=2, cut_after=70_000)
    seen = set()
    for _ in range(6):
        reply = one.get(file)
        seen.add(reply and reply.status)
        if reply is not None and reply.status == 200:
            assert hashlib.sha256(reply.body).hexdigest() == file.sha256
    assert 200 in seen
    one.up.heal()


def test_html_of_an_upstream_is_read_by_its_tags_alone(one: Site) -> None:
    name = f"q{next(_numbers)}"
    links = [f"<a href='/{name}-{number}.0.tar.gz'>" for number in range(4)]
    body = f"<!--{links[1]}-->{links[2]}x</a><script>{links[3]}</script>"
    one.up.project(name).page = (TEXT, body.encode() + noise(10).hex().encode())
    reply = ask(one.live.url, f"/simple/{name}/", Accept=JSON_TYPE)
    assert [row["filename"] for row in json.loads(reply.body)["files"]] == [f"{name}-2.0.tar.gz"]
