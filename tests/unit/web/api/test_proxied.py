"""Pages of other indexes as clients get them, from indexes in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import bottle
import pytest

import pypiserver
from pypiserver.deferred import Waits
from pypiserver.errors import NotFound
from pypiserver.formats.negotiation import Form
from pypiserver.process import PerProcess
from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.service import Proxy
from pypiserver.repeatable import REPEATS, STILL
from pypiserver.web.api.page_responses import PageResponses
from pypiserver.web.api.proxied import Proxied
from pypiserver.web.api.simple import Simple
from pypiserver.web.application import build
from pypiserver.web.html.other_indexes import Indexes
from pypiserver.web.http.page_cache import PageMemory
from tests.make_archives import make_wheel
from tests.unit.proxy import indexes
from tests.unit.proxy.indexes import Index, World
from tests.unit.wsgi import Answer, Client

JSON = "application/vnd.pypi.simple.v1+json"
ONE, TWO = "raven-1.0-py3-none-any.whl", "raven-2.0.tar.gz"


@dataclass
class Served:
    """An application over a folder and some indexes."""

    world: World
    application: Any
    web: Any
    client: Client

    def again(self, **policy: Any) -> Served:
        """The same after a restart: nothing of memory is left."""
        return served(self.application, self.world, **policy)

    def json(self, path: str = "/simple/raven/", **headers: str) -> Any:
        return self.client.get(path, HTTP_ACCEPT=JSON, **headers).json()


def served(application: Any, world: World, **policy: Any) -> Served:
    def make() -> Proxy:
        rules = Policy(PolicySettings(**policy), wall=world.clock.now)
        return Proxy(world.pages(), world.store, rules=rules, now=world.clock.now)

    def require(name: str) -> None:
        if name.startswith("acme"):
            raise NotFound("ours")

    memory = PageMemory()
    proxied = Proxied(PerProcess(make), PageResponses(private=False), memory, require=require)
    simple = Simple(application.repository, memory, fallback=lambda name: None, private=False, proxied=proxied)
    people = Indexes(application.repository, proxied, require=require, is_merged=lambda name: False)
    web = replace(application.web, simple=simple, indexes=people)
    return Served(world, application, web, Client(build(web)))


@pytest.fixture
def serving(root: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    applications = []
    # Of a folder that changed just now it is not certain whether a name appeared in it since.
    os.utime(root, (1_600_000_000, 1_600_000_000))

    def make(*indexes: Index, **policy: Any) -> Served:
        application = pypiserver.app(
            roots=[root], password_file=".", authenticate=".", catalog=tmp_path / f"c{len(applications)}.sqlite"
        )
        applications.append(application)
        return served(application, World(indexes or (Index(projects={"raven": [ONE, TWO]}),)), **policy)

    yield make
    for each in applications:
        each.close()


def test_a_page_has_what_its_index_says_with_links_to_files_here(serving: Callable[..., Served]) -> None:
    page = serving().json()
    assert (page["meta"], page["name"], page["versions"]) == ({"api-version": "1.4"}, "raven", ["1.0", "2.0"])
    assert page["files"][0] == {
        "filename": ONE,
        "url": f"../../packages/@up/raven/{ONE}",
        "hashes": {"sha256": "0" * 64},
        "size": 1000,
        "upload-time": "2027-01-15T08:00:00.000000Z",
        "yanked": False,
        "gpg-sig": False,
        "core-metadata": False,
        "data-dist-info-metadata": False,
    }


def test_the_page_for_old_clients_has_the_same_files(serving: Callable[..., Served]) -> None:
    text = serving().client.get("/simple/raven/").text
    assert f'<a href="../../packages/@up/raven/{ONE}#sha256={"0" * 64}">{ONE}</a>' in text


@pytest.fixture
def poor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let indexes say something else of their files."""

    def change(**values: Any) -> None:
        before = indexes.remote
        monkeypatch.setattr(indexes, "remote", lambda *args, **given: before(*args, **{**given, **values}))

    return change


def test_what_an_index_does_not_say_is_left_out_and_lowers_the_version(
    serving: Callable[..., Served], poor: Callable[..., None]
) -> None:
    poor(size=None, hashes=(), uploaded_ns=None, has_metadata=True)
    here = serving()
    page = here.json()
    assert page["meta"] == {"api-version": "1.0"}
    assert page["files"][0] == {
        "filename": ONE,
        "url": f"../../packages/@up/raven/{ONE}",
        "hashes": {},
        "yanked": False,
        "gpg-sig": False,
        "core-metadata": True,
        "data-dist-info-metadata": True,
    }
    text = here.client.get("/simple/raven/").text
    assert 'name="pypi:repository-version" content="1.0"' in text
    metadata = 'data-core-metadata="true" data-dist-info-metadata="true"'
    assert f'<a href="../../packages/@up/raven/{ONE}" {metadata}>{ONE}</a>' in text


def test_a_provenance_is_ours_and_only_at_a_secure_address(
    serving: Callable[..., Served], poor: Callable[..., None]
) -> None:
    poor(provenance="https://elsewhere.example/provenance")
    here = serving()
    assert "provenance" not in here.json(HTTP_HOST="shop.example")["files"][0]
    secure = {"HTTP_HOST": "shop.example", "wsgi.url_scheme": "https"}
    assert here.json(**secure)["files"][0]["provenance"] == (
        f"https://shop.example/packages/@up/raven/{ONE}.provenance"
    )


def test_a_page_is_equal_on_every_replica_and_after_a_restart(serving: Callable[..., Served]) -> None:
    here = serving()
    first = here.client.get("/simple/raven/", HTTP_ACCEPT=JSON)
    assert first.headers["etag"].startswith('"')
    here.world.clock.pass_by(700)
    again = here.again().client.get("/simple/raven/", HTTP_ACCEPT=JSON)
    assert (again.headers["etag"], again.body) == (first.headers["etag"], first.body)
    known = here.client.get("/simple/raven/", HTTP_ACCEPT=JSON, HTTP_IF_NONE_MATCH=first.headers["etag"])
    assert known.status == 304


def status(answer: Answer) -> tuple[str | None, str | None]:
    return answer.headers.get("cache-status"), answer.headers.get("age")


def test_a_response_says_how_it_came_about(serving: Callable[..., Served]) -> None:
    here = serving()
    assert status(here.client.get("/simple/raven/")) == ("pypiserver; fwd=miss", None)
    assert status(here.client.get("/simple/raven/")) == ("pypiserver; hit", None)
    here.world.clock.pass_by(10)
    assert status(here.client.get("/simple/raven/", HTTP_CACHE_CONTROL="max-age=0")) == ("pypiserver; hit", None)
    assert status(here.client.get("/simple/raven/", HTTP_CACHE_CONTROL="no-cache")) == ("pypiserver; fwd=request", None)
    here.world.clock.pass_by(601)
    assert status(here.client.get("/simple/raven/")) == ("pypiserver; fwd=stale", None)
    here.world.clock.pass_by(1000)
    here.world.indexes[0].trouble = "down"
    stale = here.client.get("/simple/raven/")
    assert status(stale) == ("pypiserver; hit; ttl=-1000; detail=upstream-unreachable", "1000")
    assert stale.headers["cache-control"] == "max-age=0, must-revalidate"


def test_unknown_is_not_found_and_an_outage_is_not(serving: Callable[..., Served]) -> None:
    here = serving()
    assert here.client.get("/simple/crow/").status == 404
    here.world.indexes[0].trouble = "down"
    answer = here.client.get("/simple/jackdaw/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")


def test_an_index_is_not_asked_for_what_is_here_or_ours(
    serving: Callable[..., Served], put: Callable[..., Path], wheel: bytes
) -> None:
    put("raven-1.0-py3-none-any.whl", wheel)
    here = serving()
    for path in ("/simple/raven/", "/simple/acme-tools/", "/+simple/raven/", "/+simple/crow/", "/project/raven/"):
        here.client.get(path)
        here.client.get(path)
    assert here.world.indexes[0].asked == []


@pytest.fixture
def wheel() -> bytes:
    return make_wheel("raven", "1.0")[1]


def test_a_project_that_comes_here_takes_the_place_of_the_other_index(
    serving: Callable[..., Served], wheel: bytes
) -> None:
    here = serving(Index(projects={"raven": [ONE, TWO], "crow": ["crow-1.0.tar.gz"]}))
    for _ in range(2):
        assert [file["filename"] for file in here.json()["files"]] == [ONE, TWO]
    assert here.client.upload(ONE, wheel, fields={"name": "raven", "version": "1.0"}).status == 200
    for _ in range(3):
        (file,) = here.json()["files"]
        assert file["url"] == f"../../packages/{ONE}"
        kept = answer_at_once(here.web.simple, HTTP_ACCEPT=JSON)
        assert kept is None or f"../../packages/{ONE}".encode() in kept.body
    # What was found out at another serial of the catalog counts for nothing.
    proxied = here.web.simple._proxied
    proxied.project("crow", Form.JSON, 7)
    assert (proxied.is_absent("crow", 7), proxied.is_absent("crow", 8)) == (True, False)


def test_pages_of_projects_that_are_here_only_are_never_those_of_other_indexes(serving: Callable[..., Served]) -> None:
    here = serving()
    for _ in range(2):
        assert here.client.get("/simple/raven/").status == 200
        assert here.client.get("/+simple/raven/").status == 404


def test_a_kept_page_waits_for_nothing(serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.web.api.proxied.READY_SECONDS", 0.0)
    here = serving()
    simple = here.web.simple
    assert answer_at_once(simple) is None
    first = here.client.get("/simple/raven/")
    here.client.get("/simple/raven/")
    second = answer_at_once(simple)
    assert second is not None
    assert (dict(second.headerlist)["ETag"], dict(second.headerlist)["Cache-Status"]) == (
        first.headers["etag"],
        "pypiserver; hit",
    )
    assert answer_at_once(simple, HTTP_CACHE_CONTROL="no-cache") is None
    here.world.clock.pass_by(601)
    assert answer_at_once(simple) is None


def test_a_page_that_was_just_given_is_given_again_until_its_index_says_something_else(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.web.api.proxied.READY_SECONDS", 1000.0)
    here = serving()
    simple = here.web.simple
    for _ in range(2):
        here.client.get("/simple/raven/")
    assert answer_at_once(simple).body == answer_at_once(simple).body
    here.world.indexes[0].projects["raven"] = [TWO]
    here.world.clock.pass_by(10)
    here.client.get("/simple/raven/", HTTP_CACHE_CONTROL="no-cache")
    assert ONE not in answer_at_once(simple).body.decode()


def test_a_page_is_repeated_until_its_index_says_something_else_or_the_project_is_here(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, put: Callable[..., Path]
) -> None:
    def still() -> Callable[[], bool]:
        for _ in range(2):
            here.client.get("/simple/raven/")
            answer_at_once(here.web.simple)
        assert answer_at_once(here.web.simple, **{REPEATS: True}) is not None
        found: Callable[[], bool] = bottle.request.environ[STILL]
        assert found()
        return found

    monkeypatch.setattr("pypiserver.web.api.proxied.READY_SECONDS", 1000.0)
    here = serving()
    is_still = still()
    here.world.indexes[0].projects["raven"] = [TWO]
    here.world.clock.pass_by(10)
    here.client.get("/simple/raven/", HTTP_CACHE_CONTROL="no-cache")
    assert not is_still()
    is_still = still()
    # Nothing is asked of the catalog, and no scan has to come first.
    put(*make_wheel("raven", "9.0"))
    assert not is_still()


def test_a_page_is_repeated_for_a_moment_only(serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("pypiserver.web.api.proxied.time", clock)
    here = serving()
    for _ in range(2):
        here.client.get("/simple/raven/")
        answer_at_once(here.web.simple)
    answer_at_once(here.web.simple, **{REPEATS: True})
    is_still: Callable[[], bool] = bottle.request.environ[STILL]
    assert is_still()
    clock.now += 0.3
    assert not is_still()


def answer_at_once(simple: Simple, **environ: Any) -> Any:
    """The response of the handler that may not wait, None if it would have to."""
    bottle.request.bind({"REQUEST_METHOD": "GET", "PATH_INFO": "/simple/raven/", "HTTP_HOST": "localhost", **environ})
    try:
        return simple.project_at_once("raven")
    except Waits:
        return None


def test_a_quarantined_project_has_no_files(serving: Callable[..., Served]) -> None:
    page = serving(Index(projects={"raven": [ONE]}, status="quarantined")).json()
    assert (page["project-status"], page["files"]) == ({"status": "quarantined"}, [])


def test_withheld_files_are_named_and_come_of_age(serving: Callable[..., Served]) -> None:
    here = serving(min_age=86_400.0)
    page = here.json()
    assert (page["files"], page["versions"]) == ([], [])
    assert [each["filename"] for each in page["_withheld"]] == [ONE, TWO]
    here.world.clock.pass_by(86_400)
    page = here.json()
    assert [each["filename"] for each in page["files"]] == [ONE, TWO]
    assert "_withheld" not in page


def test_people_see_a_page_of_the_project(serving: Callable[..., Served]) -> None:
    here = serving()
    answer = here.client.get("/project/raven/", HTTP_ACCEPT="text/html")
    assert answer.status == 200
    assert ONE in answer.text
    assert here.client.get("/project/crow/", HTTP_ACCEPT="text/html").status == 404
    # What only an archive says is not made up.
    assert here.client.get("/pypi/raven/json").status == 404


def test_people_see_releases_and_a_feed_of_the_project(serving: Callable[..., Served]) -> None:
    here = serving()
    page = here.client.get("/project/raven/2.0/", HTTP_ACCEPT="text/html")
    assert (page.status, TWO in page.text, ONE in page.text) == (200, True, False)
    for path, place in (("/project/raven/2/", "2.0"), ("/project/Raven/2.0/", "2.0"), ("/project/raven/v1.0/", "1.0")):
        moved = here.client.get(path, HTTP_ACCEPT="text/html")
        assert (moved.status, moved.headers["location"]) == (302, f"../../raven/{place}/")
    for path in (
        "/project/raven/3.0/",
        "/project/crow/1.0/",
        "/project/acme-tools/1.0/",
        "/project/acme-tools/feed.atom",
    ):
        assert here.client.get(path, HTTP_ACCEPT="text/html").status == 404
    feed = here.client.get("/project/raven/feed.atom")
    assert (feed.status, feed.headers["content-type"]) == (200, "application/atom+xml; charset=utf-8")
    found = [each.text for each in ElementTree.fromstring(feed.body).iter("{http://www.w3.org/2005/Atom}title")]
    assert sorted(found) == ["pypiserver: releases of raven", "raven 1.0", "raven 2.0"]
    assert here.client.get("/project/Raven/feed.atom").headers["location"] == "../raven/feed.atom"


def test_a_serial_is_passed_on_to_mirrors(serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    before = indexes.parse
    monkeypatch.setattr(indexes, "parse", lambda *args, **given: replace(before(*args, **given), last_serial=77))
    answer = serving().client.get("/simple/raven/", HTTP_ACCEPT=JSON)
    assert (answer.headers["x-pypi-last-serial"], answer.json()["meta"]["_last-serial"]) == ("77", 77)
    assert json.loads(answer.body)["name"] == "raven"
