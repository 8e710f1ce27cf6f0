"""Metadata made to cost: neither its upload nor any page takes more than a bounded time, answer and memory (P36)."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import logging
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bin.soaking.processes import kibibytes, tree
from pypiserver.distributions import core_metadata, filename, versions
from pypiserver.distributions.core_metadata import LIMITS, LIST_LIMITS
from pypiserver.errors import InvalidFilename
from pypiserver.text import MAX_REASON
from tests.hostile import OPEN, ask, every_server, serving, upload
from tests.make_archives import make_wheel
from tests.unit.wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
HEAD = b"Metadata-Version: 2.1\nName: f-oo\nVersion: 1.0\n"
SEVEN_MB = 7_000_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "continued": lambda: HEAD + b"Summary: x\n" + b" y\n" * 600_000 + b"\n",
    "continued by CR LF": lambda: HEAD + b"Summary: x\r\n" + b" y\r\n" * 600_000 + b"\r\n",
    "requirement": lambda: HEAD + b"Requires-Dist: a" + b">=1," * (SEVEN_MB // 4) + b"<2\n\n",
    "requirements": lambda: HEAD + b"Requires-Dist: a>=1,<2\n" * (SEVEN_MB // 23) + b"\n",
    "marker": lambda: HEAD + b"Requires-Dist: a; " + b"(" * SEVEN_MB + b"\n\n",
    "name": lambda: HEAD.replace(b"f-oo", b"f" + b"-" * SEVEN_MB + b"oo") + b"\n",
    "keywords": lambda: HEAD + b"Keywords: " + b"a," * (SEVEN_MB // 2) + b"\n\n",
    "Requires-Python": lambda: HEAD + b"Requires-Python: " + b">=3," * (SEVEN_MB // 4) + b"<4\n\n",
    "links": lambda: HEAD + b"Project-URL: a, https://x/\n" * (SEVEN_MB // 27) + b"\n",
    "description of lines": lambda: HEAD + b"Description: x\n" + b" y\n" * (SEVEN_MB // 3) + b"\n",
    "description": lambda: HEAD + b"\n" + b"a b\n" * (SEVEN_MB // 4),
}  # fmt: skip
# What is only long to look at is taken, and shown in part.
HARMLESS = {"description of lines", "description"}
SURFACES = (
    "/", "/simple/", "/simple/f-oo/", "/packages/", "/project/f-oo/", "/project/f-oo/1.0/", "/projects/",
    "/projects/?q=x", "/projects/?q=f-oo",
    "/f-oo/json", "/pypi/f-oo/json", "/pypi/f-oo/1.0/json",
)  # fmt: skip
SEARCH = b"""<methodCall><methodName>search</methodName><params><param><value><struct><member><name>name</name>
<value><array><data><value>f-oo</value></data></array></value></member></struct></value></param></params></methodCall>"""
every_bomb = pytest.mark.parametrize("bomb", BOMBS)


@functools.cache
def wheel_of(bomb: str) -> tuple[str, bytes]:
    name, data = make_wheel("f-oo", "1.0", metadata=BOMBS[bomb]())
    assert len(data) < 60_000
    return name, data


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The log as it is written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    from pypiserver.observability.clean_lines import CleanLines

    handler.addFilter(CleanLines())
    logger = logging.getLogger("pypiserver")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    found: list[str] = []
    yield found
    logger.removeHandler(handler)
    found.extend(stream.getvalue().splitlines())
    assert max(map(len, found), default=0) < 3000


@every_bomb
def test_an_upload_is_refused_or_stored_soon_and_in_a_few_words(
    serve: Serve, root: Path, lines: list[str], bomb: str
) -> None:
    client = serve()
    name, data = wheel_of(bomb)
    began = time.process_time()
    answer = client.upload(name, data)
    assert time.process_time() - began < 5
    assert answer.status == (200 if bomb in HARMLESS else 400), answer.text[:500]
    assert len(answer.body) < 3000 and len(answer.reason) <= 220
    assert any(root.iterdir()) == (bomb in HARMLESS)


@every_bomb
def test_no_page_parses_metadata_or_shows_more_than_a_part_of_it(
    serve: Serve, put: Put, lines: list[str], monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    put(*wheel_of(bomb))
    client = digested(serve())

    def parsed(*arguments: object) -> None:
        if threading.current_thread() is threading.main_thread():
            raise AssertionError("a page parses metadata")

    for name in ("_headers", "_requirement", "_specifiers"):
        monkeypatch.setattr(core_metadata, name, parsed)
    monkeypatch.setattr("packaging.requirements.Requirement.__init__", parsed)
    longest = LIMITS["description"] * 2 if bomb in HARMLESS else 150_000
    for path in SURFACES:
        began = time.process_time()
        answer = client.get(path, HTTP_ACCEPT="text/html")
        assert (answer.status, time.process_time() - began < 5) == (200, True), (path, answer.text[:300])
        is_small = path not in SURFACES[4:6] and "json" not in path
        assert len(answer.body) < (20_000 if is_small else longest), path
    answer = client.post("/RPC2", SEARCH, CONTENT_TYPE="text/xml")
    assert b"<name>version</name>" in answer.body and len(answer.body) < 5000


@every_bomb
def test_what_is_served_as_metadata_is_what_is_in_the_file_or_nothing(serve: Serve, put: Put, bomb: str) -> None:
    name, data = wheel_of(bomb)
    put(name, data)
    client = serve()
    answer = client.get(f"/packages/{name}.metadata")
    if bomb in HARMLESS:
        assert answer.body == BOMBS[bomb]()
    else:
        # Installers take the file itself then.
        assert answer.status == 404
    assert client.get(f"/packages/{name}").body == data


def kept_by(before: Callable[[], object], work: Callable[[], object]) -> int:
    """How many bytes of memory work leaves behind that was not there before."""
    before()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def digested(client: Client) -> Client:
    application = client._application
    application.repository.serial()  # type: ignore[attr-defined]
    while application.backend.digester.digest_some():  # type: ignore[attr-defined]
        pass
    return client


def test_what_was_read_of_many_large_ones_is_not_kept_in_memory(serve: Serve, put: Put) -> None:
    for number in range(40):
        raw = HEAD.replace(b"f-oo", b"f-oo%d" % number) + b"Requires-Dist: a" + b">=1," * 100_000 + b"<2\n"
        raw += b"License: " + b"l" * 40_000 + b"\n\n" + b"%d " % number * 2000
        put(*make_wheel(f"f-oo{number}", "1.0", metadata=raw))
    client = digested(serve())

    def look(numbers: range) -> None:
        for number in numbers:
            metadata = f"/packages/f_oo{number}-1.0-py3-none-any.whl.metadata"
            for path in (f"/project/f-oo{number}/", f"/f-oo{number}/json", metadata):
                client.get(path, HTTP_ACCEPT="text/html")

    kept = kept_by(lambda: look(range(1)), lambda: look(range(40)))
    # The legacy JSON may keep 8 MiB, the last pages 4, metadata 4.
    assert kept < 24 << 20


def test_every_field_is_cut_at_its_limit() -> None:
    for name, limit in LIMITS.items():
        header = name.replace("_", "-").encode()
        core = core_metadata.parse_metadata(b"%s: %s\n" % (header, b"x" * 3 * limit))
        assert len(getattr(core, name)) == limit, name
    for name, (count, limit) in LIST_LIMITS.items():
        header = {"classifiers": "classifier", "project_urls": "project-url"}.get(name, name.replace("_", "-")).encode()
        (long,) = getattr(core_metadata.parse_metadata(b"%s: %s\n" % (header, b"y" * 3 * limit)), name)
        many = getattr(core_metadata.parse_metadata(b"%s: y\n" % header * 1000), name)
        assert (len(long), long[-4:], len(many)) == (limit, "y...", min(count, 1000)), name


def test_more_requirements_than_are_shown_are_no_reason_to_refuse_a_package(serve: Serve) -> None:
    client = serve()
    requires = [f"mypy-boto3-service{number}<1.43,>=1.42; extra == 'service{number}'" for number in range(2000)]
    name, data = make_wheel("f-oo", "1.0", requires_dist=requires)
    assert client.upload(name, data).status == 200
    assert client.get(f"/packages/{name}.metadata").body.count(b"Requires-Dist") == 2000
    assert json.loads(client.get("/f-oo/json").body)["info"]["requires_dist"] == requires[:300]


def test_a_sidecar_is_cut_too(serve: Serve, put: Put, root: Path, lines: list[str]) -> None:
    name, data = make_wheel("f-oo", "1.0")
    put(name, data)
    put(f"{name}.yanked", b"r" * 65_000)
    (root / ".status").mkdir()
    (root / ".status" / "f-oo").write_bytes(b"deprecated\n" + b"s" * 1_000_000)
    client = digested(serve())
    page = client.get("/simple/f-oo/", HTTP_ACCEPT="application/vnd.pypi.simple.v1+json").json()
    assert len(page["files"][0]["yanked"]) == MAX_REASON and len(page["project-status"]["reason"]) <= MAX_REASON
    assert page["files"][0]["yanked"].endswith("r...")


def test_a_name_that_is_only_dashes_is_shown_as_the_file_spells_it(serve: Serve, put: Put) -> None:
    put(*wheel_of("name"))
    client = digested(serve())
    listed = client.get("/simple/", HTTP_ACCEPT="application/vnd.pypi.simple.v1+json").json()["projects"]
    assert [each["name"] for each in listed] == ["f_oo"]


HEADERS = ("ACCEPT", "ACCEPT_ENCODING", "USER_AGENT", "IF_NONE_MATCH", "RANGE", "COOKIE")

# -- what strangers send -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def log_that_is_not_kept() -> Iterator[None]:
    """The log goes where nothing is kept: pytest keeps every line, and says so when a test begins."""
    loggers = [logging.getLogger(name) for name in (None, "pypiserver", "pypiserver.access")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [logging.StreamHandler(Sink())]
        logger.setLevel(logging.INFO)
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


class Sink(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("count", [600, 10_000])
@pytest.mark.parametrize("protected", [False, True], ids=["open", "protected"])
def test_long_paths_and_headers_of_strangers_are_not_kept(serve: Serve, put: Put, protected: bool, count: int) -> None:
    put(*make_wheel("f-oo", "1.0"))
    guard: dict[str, object] = {"auther": lambda user, password: False, "authenticate": "update,download,list"}

    def send(number: int) -> None:
        long = f"{number:05d}" + "x" * (8_000 + number * 7919 % 52_000)
        places = (
            "/simple/f-oo/",
            "/projects/",
            f"/simple/{long}/",
            f"/{long}",
            f"/packages/{long}.whl",
            f"/project/{long}/",
        )
        client._application(environ_of(places[number % 6], long), lambda status, headers: None)

    with log_that_is_not_kept():
        client = serve(disable_fallback=True, **(guard if protected else {}))
        kept = kept_by(lambda: send_all(send, range(100)), lambda: send_all(send, range(100, 100 + count)))
    assert kept < 4 << 20


def send_all(send: Callable[[int], None], numbers: range) -> None:
    for number in numbers:
        send(number)
        if not number % 500:
            # What is told of requests is told a tenth of a second later.
            time.sleep(0.2)
    time.sleep(0.5)


def environ_of(path: str, long: str) -> dict[str, object]:
    return {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": f"format={long}&q={long}",
        "REMOTE_ADDR": "127.0.0.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "x", "SERVER_PORT": "80",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "HTTP_HOST": f"{long}.example",
        **{f"HTTP_{name}": long for name in HEADERS},
        "HTTP_AUTHORIZATION": f"Basic {long}", "HTTP_ORIGIN": f"https://{long}",
    }  # fmt: skip


def test_versions_and_names_that_strangers_invent_are_not_kept() -> None:
    def ask_for(number: int) -> None:
        filename.normalize(f"{number}-" + "\U0001f600" * 200)
        versions.canonical_version(f"{number}." + "1." * 100 + "1")
        with pytest.raises(InvalidFilename):
            filename.parse_filename(f"{number}{'a' * 200}.whl")

    kept = kept_by(lambda: None, lambda: [ask_for(number) for number in range(3000)])
    assert kept < 1 << 20


# -- real servers ------------------------------------------------------------------------------------------------------


def peak(pid: int) -> int:
    """The largest resident set that a process and its children had, in bytes."""
    return max(kibibytes(each, "VmHWM") for each in tree(pid)) * 1024


@every_server
def test_bombs_cost_a_server_little_time_and_memory(server: str, tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    folder = tmp_path / "packages"
    folder.mkdir()
    bombs = ("continued", "requirement", "name")
    for number, bomb in enumerate(bombs):
        raw = BOMBS[bomb]().replace(b"1.0", b"1.%d" % number, 2)
        name, data = make_wheel("f-oo", f"1.{number}", metadata=raw)
        (folder / name).write_bytes(data)
    with serving(tmp_path, *OPEN, server=server) as live:
        before = peak(live.process.pid)
        slowest = 0.0
        for bomb in bombs:
            reply = upload(live.url, *wheel_of(bomb))
            assert reply.status == 400
            slowest = max(slowest, reply.seconds)
        for path in (*SURFACES, *(f"/project/f-oo/1.{number}/" for number in range(3))):
            reply = ask(live.url, path, Accept="text/html")
            assert reply.status in (200, 302, 404), path
            slowest = max(slowest, reply.seconds)
        assert slowest < 5
        assert peak(live.process.pid) - before < 256 << 20
