"""Pages of real indexes on loopback, right and wrong ones, through the whole application."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fake_upstream import FakeUpstream, add_pytorch_wheel, pytorch, upstream
from tests.make_archives import make_wheel
from tests.unit.wsgi import Answer, Client

pytestmark = pytest.mark.live

JSON = "application/vnd.pypi.simple.v1+json"
ONE, TWO = "raven-1.0-py3-none-any.whl", "raven-2.0-py3-none-any.whl"


@dataclass
class Here:
    """A server over an empty folder that asks indexes; ``restart()`` is another one with the same cache."""

    start: Callable[..., Client]
    settings: dict[str, Any]
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, **settings: Any) -> Here:
        self.client = self.start(**{**self.settings, **settings})
        return self

    def page(self, name: str = "raven", **headers: str) -> Answer:
        return self.client.get(f"/simple/{name}/", HTTP_ACCEPT=JSON, **headers)

    def files(self, name: str = "raven", **headers: str) -> list[str]:
        answer = self.page(name, **headers)
        assert answer.status == 200, answer.text
        return [file["filename"] for file in answer.json()["files"]]


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with upstream() as index:
        index.add_wheel("raven", "1.0")
        yield index


@pytest.fixture
def here(serve: Callable[..., Client], tmp_path: Path) -> Callable[..., Here]:
    """A server that asks these indexes in order, each by name, and its settings."""

    def make(*indexes: FakeUpstream, **settings: Any) -> Here:
        *tables, last = indexes
        given: dict[str, Any] = {
            "fallback_mode": "cache",
            "fallback_url": last.url,
            "cache_folder": tmp_path / "cache",
            # Every request asks: no test waits.
            "cache_fresh": 0,
            "upstream": [
                {"name": f"index{number}", "url": each.url, "missing": [each.missing]}
                for number, each in enumerate(tables)
            ],
        }
        return Here(serve, {**given, **settings})

    return make


def test_what_an_index_says_arrives(here: Callable[..., Here], up: FakeUpstream) -> None:
    up.serial = 123
    up.add_wheel("raven", "2.0", requires_python=">=3.9", yanked="broken", provenance=b"{}")
    page = here(up).page(HTTP_HOST="shop.example", **{"wsgi.url_scheme": "https"})
    assert page.headers["x-pypi-last-serial"] == "123"
    said = page.json()
    assert (said["meta"], said["versions"]) == ({"api-version": "1.4", "_last-serial": 123}, ["1.0", "2.0"])
    first, second = said["files"]
    (file, other) = up.projects["raven"].files
    assert first["url"] == f"../..{file.path}"
    assert (first["hashes"], first["size"], first["core-metadata"]) == (
        {"sha256": file.sha256},
        len(file.data),
        second["core-metadata"] and first["core-metadata"],
    )
    assert (second["yanked"], second["requires-python"]) == ("broken", ">=3.9")
    assert second["provenance"] == f"https://shop.example{other.path}.provenance"


def test_an_index_with_html_alone_and_one_of_pytorch_s_shape(here: Callable[..., Here], up: FakeUpstream) -> None:
    up.only_html = True
    with pytorch() as torch:
        add_pytorch_wheel(torch, "torch", "2.9.0+cu130")
        server = here(torch, up)
        said = server.page("torch").json()
        assert said["meta"] == {"api-version": "1.0"}
        (file,) = said["files"]
        assert file["url"] == "../../packages/@index0/torch/torch-2.9.0+cu130-py3-none-any.whl"
        assert "size" not in file
        assert "upload-time" not in file
        # 403 is how it says that a project is not there, so the next is asked.
        assert server.files("raven") == [ONE]
        assert server.page("crow").status == 404
        text = server.client.get("/simple/torch/").text
        assert 'content="1.0"' in text


@pytest.mark.parametrize("change", [{}, {"coding": "gzip"}, {"coding": "deflate"}, {"chunked": 100}])
def test_a_page_is_asked_for_by_its_validators(
    here: Callable[..., Here], up: FakeUpstream, change: dict[str, Any]
) -> None:
    up.spoil("/simple/raven/", **change)
    server = here(up)
    first = server.page()
    again = server.page()
    assert (again.headers["etag"], again.headers["cache-status"]) == (first.headers["etag"], "pypiserver; fwd=stale")
    assert up.seen[-1].headers["if-none-match"]
    up.add_wheel("raven", "2.0")
    assert server.files() == [ONE, TWO]
    assert server.page(HTTP_IF_NONE_MATCH=server.page().headers["etag"]).status == 304


def test_no_header_of_a_client_is_passed_on(here: Callable[..., Here], up: FakeUpstream) -> None:
    here(up).page(
        HTTP_AUTHORIZATION="Basic c2VjcmV0OnNlY3JldA==",
        HTTP_COOKIE="taint",
        HTTP_X_TAINT="taint",
        HTTP_USER_AGENT="taint",
        HTTP_REFERER="taint",
        HTTP_IF_NONE_MATCH='"taint"',
    )
    (asked,) = [each for each in up.seen if each.path == "/simple/raven/"]
    assert not any("taint" in value or "secret" in value or "c2Vj" in value for value in asked.headers.values())


BROKEN: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503},
    "403": {"status": 403},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "cut": {"cut_after": 40},
    "reset": {"cut_after": 40, "reset": True},
    "hang up": {"hang_up": True},
    "nonsense": {"body": b"\x00nonsense"},
    "empty": {"body": b""},
    "text": {"headers": {"Content-Type": "text/plain"}},
    "other version": {"body": b'{"meta": {"api-version": "2.0"}, "files": []}'},
    "half": {"body": b'{"meta": {"api-version": "1.0"}, "name": "raven", "files": [{"filename": "raven'},
    "coding": {"claims_coding": "gzip"},
    "huge": {"body": b" " * (65 << 20)},
    "circle": {"status": 302, "location": "/simple/raven/"},
    "inward": {"status": 302, "location": "http://169.254.169.254/simple/raven/"},
    "junk": {"raw": b"SSH-2.0-OpenSSH\r\n"},
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_wrong_answer_gives_the_last_page_and_without_one_503(
    here: Callable[..., Here], up: FakeUpstream, broken: str
) -> None:
    # What is not modified has no body that could be wrong.
    up.validators = False
    server = here(up)
    assert server.files() == [ONE]
    up.add_wheel("crow", "1.0")
    up.spoil("/simple/*", **BROKEN[broken])
    stale = server.page()
    assert (stale.status, [file["filename"] for file in stale.json()["files"]]) == (200, [ONE])
    assert stale.headers["cache-status"].startswith("pypiserver; hit; ttl=-")
    assert "age" in stale.headers
    none = server.page("crow")
    assert none.status == 503
    assert 1 <= int(none.headers["retry-after"]) <= 10
    # After a restart too, and right again once the index is.
    server.restart()
    assert server.files() == [ONE]
    up.heal()
    server.restart()
    assert server.page("crow").status == 200


def test_an_index_that_is_down_is_not_asked_for_each_page(here: Callable[..., Here], up: FakeUpstream) -> None:
    server = here(up)
    assert server.files() == [ONE]
    up.stop()
    began = time.monotonic()
    for number in range(50):
        assert server.files() == [ONE]
        assert server.page(f"crow{number}").status == 503
    assert time.monotonic() - began < 20, "it waits for each"
    up.start()
    server.restart()
    assert server.page().headers["cache-status"] == "pypiserver; fwd=stale"


def test_offline_no_index_hears_anything(here: Callable[..., Here], up: FakeUpstream) -> None:
    server = here(up)
    server.files()
    up.forget()
    server.restart(offline=True)
    for headers in ({}, {"HTTP_CACHE_CONTROL": "no-cache"}):
        page = server.page(**headers)
        assert (page.status, page.headers["cache-status"].partition("detail=")[2]) == (200, "offline")
    answer = server.page("crow")
    assert (answer.status, "retry-after" in answer.headers) == (503, False)
    assert up.connections == 0


def test_an_index_that_fails_is_never_skipped(here: Callable[..., Here], up: FakeUpstream) -> None:
    with upstream() as first:
        up.add_wheel("crow", "1.0")
        server = here(first, up)
        assert server.files("crow") == ["crow-1.0-py3-none-any.whl"]
        first.add_wheel("raven", "2.0")
        for trouble in ({"status": 500}, {"hang_up": True}, {"body": b"?"}):
            first.spoil("/simple/*", **trouble)
            server.restart()
            assert server.page().status == 503
            # What it did not have when it was asked last.
            assert server.files("crow") == ["crow-1.0-py3-none-any.whl"]
            first.heal()
        server.restart()
        assert server.files() == [TWO]
        first.stop()
        server.restart()
        assert server.files() == [TWO]
        assert up.count("/simple/raven/") == 0


def test_one_request_asks_for_fifty(here: Callable[..., Here], up: FakeUpstream) -> None:
    server = here(up, cache_fresh=600, threads=100)
    got: list[Answer] = []
    with up.held("/simple/raven/"):
        threads = [threading.Thread(target=lambda: got.append(server.page())) for _ in range(50)]
        for thread in threads:
            thread.start()
        up.wait_for("/simple/raven/")
    for thread in threads:
        thread.join()
    assert {answer.status for answer in got} == {200}
    assert up.count("/simple/raven/") == 1


def test_a_slow_index_stops_no_one_else(here: Callable[..., Here], up: FakeUpstream, put: Callable[..., Path]) -> None:
    filename, data = make_wheel("jackdaw", "1.0")
    put(filename, data)
    server = here(up, cache_fresh=600, threads=8)
    server.files()
    got: list[int] = []
    with up.held("/simple/crow*"):
        threads = [
            threading.Thread(target=lambda name=f"crow{number}": got.append(server.page(name).status))
            for number in range(30)
        ]
        for thread in threads:
            thread.start()
        # Some wait, all others are told so at once.
        deadline = time.monotonic() + 20
        while len(got) < 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert set(got) == {503}
        assert server.files("jackdaw") == [filename]
        assert server.files("raven") == [ONE]
    for thread in threads:
        thread.join()
    assert sorted(set(got)) == [404, 503]


def test_an_old_page_is_given_while_its_index_is_slow(here: Callable[..., Here], up: FakeUpstream) -> None:
    server = here(up)
    server.files()
    up.add_wheel("raven", "2.0")
    with up.held("/simple/raven/"):
        stale = server.page()
        assert [file["filename"] for file in stale.json()["files"]] == [ONE]
        assert stale.headers["cache-status"].endswith("detail=upstream-slow")
    deadline = time.monotonic() + 20
    while server.files() != [ONE, TWO]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_page_that_drips_ends(here: Callable[..., Here], up: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.proxy.source.PAGE_SECONDS", 0.5)
    up.spoil("/simple/raven/", bytes_per_second=100)
    assert here(up).page().status == 503


def test_names_of_other_projects_are_not_on_the_page(here: Callable[..., Here], up: FakeUpstream) -> None:
    filename, data = make_wheel("crow", "1.0")
    up.add("raven", filename, data)
    up.add("raven", "README.txt", b"x")
    up.add("raven", "../raven-3.0.tar.gz", b"x", path="/packages/x")
    assert here(up).files() == [ONE]


def test_a_secret_name_is_asked_for_nowhere(here: Callable[..., Here], up: FakeUpstream) -> None:
    server = here(up, private=["acme-*"])
    for path in ("/simple/acme-tools/", "/+simple/raven/", "/project/acme-tools/", "/simple/ACME.Tools/"):
        for accept in (JSON, "text/html"):
            server.client.get(path, HTTP_ACCEPT=accept, HTTP_CACHE_CONTROL="no-cache")
    assert up.seen == []


def test_names_that_no_list_has_are_asked_for_nowhere(here: Callable[..., Here], up: FakeUpstream) -> None:
    server = here(up, known_names=True)
    deadline = time.monotonic() + 20
    while server.page("secret-name").status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert server.page("secret-name").status == 404
    assert server.files() == [ONE]
    assert {each.path for each in up.seen} == {"/simple/", "/simple/raven/"}


@pytest.mark.parametrize("seed", range(3))
def test_flapping_never_makes_a_kept_page_not_found(here: Callable[..., Here], up: FakeUpstream, seed: int) -> None:
    dice = random.Random(seed)
    server = here(up)
    assert server.files() == [ONE]
    for step in range(60):
        up.heal()
        up.validators = dice.random() < 0.3
        kind = dice.choice([*BROKEN, "down", "", "", "restart"])
        if kind == "down":
            up.stop()
        elif kind == "restart":
            server.restart()
        elif kind and kind != "huge":
            up.spoil("/simple/*", **BROKEN[kind], every=dice.choice([1, 2]))
        answer = server.page(**dice.choice([{}, {"HTTP_CACHE_CONTROL": "no-cache"}]))
        assert answer.status == 200, (seed, step, kind, answer.text)
        if kind == "down":
            up.start()
