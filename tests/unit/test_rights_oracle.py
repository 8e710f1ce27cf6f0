"""A hidden project is the same as one that never existed, in every answer of an application (see rights_oracle)."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import pytest

import pypiserver
from pypiserver import factory
from pypiserver.access.principal import Principal
from pypiserver.access.rights import Rights
from pypiserver.access.rights_file import read_rights
from pypiserver.distributions.filename import normalize, projects_of
from pypiserver.web.api.files import without_sidecar
from tests import rights_oracle as oracle
from tests.fake_upstream import FakeUpstream, upstream
from tests.rights_oracle import Reply, World

from .waiting import eventually
from .wsgi import Client

# The mark of a class in a validator depends on the catalog.
MARK = re.compile(r"\.[0-9a-f]{16}(?=[-\"])")
HIDES = ("", "mia", "pat", "sam", "cia", "token", *oracle.WRONG)
# Those who may do one thing with projects that they may not list: it does not show in any other answer.
CHANGES = ("uma", "del", "dow")


def may_list(rights: str, who: str, project: str) -> bool:
    said = read_rights(rights.encode())
    assert said.faults == ()
    if who == "token":
        root = Principal("root", scope=oracle.TOKEN_LINE.scope)
        return Rights(said.grants, said.groups).may(root, "list", normalize(project))
    return Rights(said.grants, said.groups).may(
        Principal(who if who in oracle.USERS else None), "list", normalize(project)
    )


class Server:
    """An application over a folder with some of a world's projects."""

    def __init__(self, some: World, projects: tuple[str, ...], folder: Path, **settings: object) -> None:
        self.world = some
        self.root = folder / "packages"
        self.root.mkdir(parents=True)
        rights, tokens = oracle.configure(folder, some)
        oracle.fill(self.root, some, projects)
        self.application: factory.Application = pypiserver.app(  # type: ignore[assignment]
            roots=[self.root],
            rights=rights,
            tokens=tokens,
            auther=lambda user, password: user in oracle.USERS and password == oracle.PASSWORD,
            catalog=folder / "catalog.sqlite",
            stats=folder / "stats.sqlite",
            metrics=True,
            allow_origin=["https://elsewhere.example"],
            **{"fallback_url": "https://pypi.example/simple/", **settings},
        )
        self.client = Client(self.application)
        self.application.survey()
        while self.application.backend.catalog.pending_count():
            self.application.backend.digester.digest_some()

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        path, _, query = target.partition("?")
        decoded = unquote_to_bytes(path).decode("latin-1").encode("latin-1").decode("utf-8", "replace")
        fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        if (kind := fields.pop("HTTP_CONTENT_TYPE", None)) is not None:
            fields["CONTENT_TYPE"] = kind
        answer = self.client.request(method, decoded + (f"?{query}" if query else ""), body, RAW_URI=target, **fields)
        told = tuple(sorted((name, value) for name, value in answer.headers.items() if name != "date"))
        return Reply(f"{answer.status} {answer.reason}", told, answer.body)


@contextlib.contextmanager
def serving(some: World, projects: tuple[str, ...], folder: Path, **settings: object) -> Iterator[Server]:
    server = Server(some, projects, folder, **settings)
    try:
        # The first request starts the thread that scans; it is not ready until that has its lock.
        assert eventually(lambda: server.client.get("/health/ready").status == 200)
        yield server
    finally:
        server.application.close()


@pytest.fixture(scope="module", params=range(2))
def world(request: pytest.FixtureRequest) -> World:
    return oracle.world(request.param, may_list)


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(world, world.projects, tmp_path_factory.mktemp("oracle")) as server:
        yield server


def test_every_route_is_in_the_oracle(server: Server) -> None:
    """A new row of the table needs requests that ask it for a hidden project."""
    table = {(each.method, oracle.bare(each.rule)) for each in server.application.routes if each.method != "OPTIONS"}
    assert table == set(oracle.ROWS)


# Of all requests, one in so many is sent here; tests/security sends all of them, to real servers too.
EVERY = 31
EVERY_LIST = 7
ODD_METHODS = pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")


@ODD_METHODS
@pytest.mark.parametrize("who", CHANGES)
def test_a_right_to_one_action_tells_nothing_in_other_answers(server: Server, who: str) -> None:
    count, found = oracle.differing(server.send, server.world, who, every=EVERY, first=CHANGES.index(who))
    assert found == []
    assert count > 100


@ODD_METHODS
@pytest.mark.parametrize("who", HIDES)
def test_an_answer_for_a_hidden_project_is_that_for_one_that_never_existed(server: Server, who: str) -> None:
    assert server.world.hidden[who]
    count, found = oracle.differing(server.send, server.world, who, every=EVERY, first=HIDES.index(who))
    assert found == []
    assert count > 100


@ODD_METHODS
def test_the_oracle_sees_what_exists(world: World, tmp_path: Path) -> None:
    """For a user who may see all projects, the same requests differ."""
    with serving(world, world.projects, tmp_path) as server:
        count, found = oracle.differing(server.send, world, "root", every=2 * EVERY)
    assert len(found) > count / 8


def told(reply: Reply) -> Reply:
    """A reply without what differs from catalog to catalog."""
    return reply._replace(headers=tuple((name, MARK.sub("", value)) for name, value in reply.headers))


@pytest.mark.parametrize("who", HIDES)
def test_a_list_is_that_of_a_server_without_hidden_projects(
    world: World, who: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = world
    hidden = [here for here, _ in some.hidden[who]]
    taints = {taint for name in hidden for taint in (name, name.replace("-", "_"), f"taint-of-{name}")}
    caplog.set_level(logging.INFO)
    whole, part = tmp_path / "whole", tmp_path / "part"
    with serving(some, some.projects, whole) as server, serving(some, some.visible(who), part) as alone:
        for method, target, body, headers in oracle.lists(some, who, every=EVERY_LIST, first=HIDES.index(who)):
            caplog.clear()
            fields = {**headers, **oracle.login(who)}
            for each in (server, alone):
                # Downloads are counted a moment after the answer.
                each.application.observers.flush()
            seen = server.send(method, target, fields, body)
            said = repr(seen) + caplog.text
            assert told(seen) == told(alone.send(method, target, fields, body)), (method, target, body, headers)
            asked = (target + body.decode()).replace("_", "-")
            named = [taint for taint in taints if taint in said and taint.replace("_", "-") not in asked]
            assert named == [], (target, body)


@ODD_METHODS
@pytest.mark.parametrize("who", HIDES)
def test_nothing_is_looked_up_for_a_hidden_project(server: Server, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules alone decide, so the time of an answer tells nothing."""
    backend, ours = server.application.backend, threading.get_ident()
    asked: list[str] = []

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*some: object) -> object:
            if threading.get_ident() == ours:
                asked.append(real.__name__)
            return real(*some)

        return call

    for each, name in (
        (backend.catalog.connections, "reading"),
        (backend.catalog.connections, "transaction"),
        (backend.presence, "holding"),
    ):
        monkeypatch.setattr(each, name, counted(getattr(each, name)))
    count = 0
    for number, (ask, spelling, path, headers, method) in enumerate(oracle.addresses()):
        is_form = ask.kind == "form" and method == "POST" and who not in ("sam", "cia")
        names_one = "{" in ask.path.partition("?")[0] or is_form
        if not names_one or number % EVERY != HIDES.index(who):
            continue
        for name in itertools.chain(*server.world.hidden[who]):
            target, body, more = oracle.request(ask, name, oracle.SPELLINGS[spelling])
            target = oracle.PATHS[path](target)
            asked.clear()
            server.send(method, target, {**oracle.login(who), **more, **oracle.HEADERS[headers]}, body)
            # A file name that is none of a distribution is looked up, and found nowhere.
            assert asked == [] or is_no_file(target), (method, target)
            count += 1
    assert count > 100


def is_no_file(target: str) -> bool:
    path = unquote(target.partition("?")[0])
    return path.strip("/").startswith("packages/") and not projects_of(without_sidecar(path).rpartition("/")[2])


# -- with a cache of another index -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(), ("*",)], ids=["separate", "merged"])
def proxying(
    world: World, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Server, FakeUpstream]]:
    """A server of the world whose other index has every name of it: those that exist, and those that never did."""
    with upstream() as up:
        for name in {each for pairs in world.hidden.values() for pair in pairs for each in pair}:
            up.add_wheel(name, "1.0", summary=f"taint-of-{name}")
            up.add_sdist(name.replace("-", "_"), "1.0")
        up.add_wheel("kit-proxied", "1.0")
        folder = tmp_path_factory.mktemp("proxying")
        settings = {"fallback_mode": "cache", "fallback_url": up.url, "cache_folder": folder / "cache"}
        settings["merge"] = list(request.param)
        with serving(world, world.projects, folder, **settings) as server:
            yield server, up


@ODD_METHODS
@pytest.mark.parametrize("who", HIDES)
def test_with_a_cache_too_an_answer_is_that_for_a_name_that_never_existed(
    proxying: tuple[Server, FakeUpstream], who: str
) -> None:
    server, up = proxying
    up.seen.clear()
    count, found = oracle.differing(server.send, server.world, who, every=EVERY, first=HIDES.index(who))
    assert found == []
    assert count > 100
    hidden = {name for pair in server.world.hidden[who] for name in pair}
    asked = {normalize(part) for each in up.seen for part in unquote(each.path).split("/") if part}
    assert hidden & asked == set(), "another index heard of a hidden name"


def test_a_name_that_may_be_seen_comes_from_the_other_index(proxying: tuple[Server, FakeUpstream]) -> None:
    server, up = proxying
    assert server.send("GET", "/simple/kit-proxied/", {}).status.startswith("200")
    file = up.projects["kit-proxied"].files[0]
    assert server.send("GET", file.path, {}).status.startswith("200")
    assert server.send("GET", "/simple/acme-sdk-unknown/", {}).status.startswith("401")
