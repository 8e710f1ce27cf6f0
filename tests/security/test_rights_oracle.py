"""A hidden project is the same as one that never existed, over every server, and with all requests of the oracle."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pypiserver.access.htpasswd_file import set_password
from tests import rights_oracle as oracle
from tests.figures import count as counted
from tests.hostile import SERVERS, eventually, serving
from tests.rights_oracle import Reply, World
from tests.unit import test_rights_oracle as inside

# Of all requests, one in so many is sent by each user to a real server; inside of a process, all are sent.
EVERY = 23


@dataclass
class Live:
    """A server over all projects of a world."""

    url: str
    world: World

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        counted("requests of the oracle of rights to live servers")
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, target, body=body or None, headers={"Connection": "close", **headers})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        told = sorted((name.lower(), value) for name, value in answer.getheaders() if name.lower() != "date")
        return Reply(f"{answer.status} {answer.reason}", tuple(told), data)


@pytest.fixture(scope="module", params=SERVERS)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp(request.param)
    world = oracle.world(11, inside.may_list)
    oracle.fill(home / "packages", world, world.projects)
    rights, tokens = oracle.configure(home, world)
    for user in oracle.USERS:
        set_password(home / "htpasswd", user, oracle.PASSWORD)
    options = ("-P", home / "htpasswd", "--rights", rights, "--tokens", tokens, "--metrics", "--fallback-url")
    more = ("https://pypi.example/simple/", "--allow-origin", "https://elsewhere.example")
    with serving(home, *options, *more, server=request.param) as server:
        live = Live(server.url, world)
        eventually(lambda: live.send("GET", "/health/ready", {}).status.startswith("200"))
        yield live


@pytest.mark.parametrize("who", inside.HIDES)
def test_an_answer_for_a_hidden_project_is_that_for_one_that_never_existed(live: Live, who: str) -> None:
    # Each wrong password takes as long as a right one does for the first time.
    every = EVERY * (20 if who == "wrong" else 1)
    sent, found = oracle.differing(live.send, live.world, who, every=every, first=inside.HIDES.index(who))
    assert found == []
    assert sent > (10 if who == "wrong" else 200)


def test_the_oracle_sees_what_exists(live: Live) -> None:
    sent, found = oracle.differing(live.send, live.world, "root", every=10 * EVERY)
    assert len(found) > sent / 10


@pytest.mark.parametrize("who", [*inside.HIDES[:6]])
def test_no_list_has_a_hidden_name(live: Live, who: str) -> None:
    hidden = [here for here, _ in live.world.hidden[who]]
    for method, target, body, headers in oracle.lists(live.world, who, every=EVERY):
        reply = repr(live.send(method, target, {**headers, **oracle.login(who)}, body)).replace("_", "-")
        asked = (target + body.decode()).replace("_", "-")
        assert [name for name in hidden if name in reply and name not in asked] == [], (target, reply)


@inside.ODD_METHODS
@pytest.mark.parametrize("seed", range(2, 5))
def test_all_requests_of_the_oracle_inside_of_a_process(seed: int, tmp_path: Path) -> None:
    world = oracle.world(seed, inside.may_list)
    with inside.serving(world, world.projects, tmp_path) as server:
        for number, who in enumerate(inside.HIDES):
            sent, found = oracle.differing(server.send, world, who, every=3, first=number + seed)
            assert found == []
            assert sent > 1000
            counted("requests of the oracle of rights in a process", 2 * sent)
