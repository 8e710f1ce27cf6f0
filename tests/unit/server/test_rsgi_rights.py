"""Rights and tokens under RSGI: what is remembered is answered on the event loop, and nothing that changed is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.access.token_file import TokenFileStore
from pypiserver.access.token_record import Limits, mint
from tests.make_archives import make_wheel

from ..access.credentials import basic
from ..folder.test_indexer import eventually
from ..rsgi import RsgiClient
from ..wsgi import Client
from .test_rsgi import Watched

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="paths of descriptors are Linux's")
Serve = Callable[..., Client]
METADATA = "/packages/foo-1.0-py3-none-any.whl.metadata"


class House:
    """A server whose rights let ``ada`` and her token read ``foo``, and no one ``bar``."""

    def __init__(self, folder: Path, serve: Serve) -> None:
        self.rights, self.tokens, self.passwords = (folder / name for name in ("rights", "tokens", "passwords"))
        self.write(self.rights, "ada read foo\nroot all *\n")
        self.write(self.passwords, "ada:secret\nroot:secret\n")
        self.record, self.token = mint("ada", Limits(("read",)), seconds=None, now=0)
        self.store = TokenFileStore(self.tokens)
        self.store.change(lambda tokens: [self.record])
        self.application = Watched(
            serve(
                rights=self.rights, tokens=str(self.tokens), password_file=str(self.passwords), disable_fallback=True
            )._application
        )
        self.client = RsgiClient(self.application)

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.write_text(text)
        os.utime(path, (1, 1))

    def asked(self, path: str, authorization: str = "") -> tuple[int, list[str]]:
        """The status, and where the request was answered."""
        self.application.asked.clear()
        headers = {"HTTP_AUTHORIZATION": authorization} if authorization else {}
        return self.client.get(path, **headers).status, list(self.application.asked)


@pytest.fixture
def house(serve: Serve, put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("pypiserver.access.live_file.SETTLE_SECONDS", -1.0)
    monkeypatch.setattr("pypiserver.catalog.state.SIGNAL_SECONDS", 60.0)
    for name in ("foo", "bar"):
        put(*make_wheel(name, "1.0"))
    return House(tmp_path, serve)


THREAD = ["waits", "in a thread"]


@pytest.mark.parametrize("path", ["/simple/foo/", METADATA])
def test_a_remembered_login_and_token_are_answered_on_the_loop(house: House, path: str) -> None:
    def is_remembered(authorization: str) -> bool:
        if house.asked(path, authorization) != (200, ["at once"]):
            return False
        # Others are asked who they are, for the same page.
        assert house.asked(path) == (401, THREAD)
        assert house.asked(path, basic("ada:wrong")) == (401, THREAD)
        assert house.asked(path, f"Bearer {house.token[:-1]}") == (401, THREAD)
        assert house.asked(path.replace("foo", "bar"), authorization) == (404, THREAD)
        return house.asked(path, authorization) == (200, ["at once"])

    # While the scan of the beginning goes on, the catalog may change between two requests.
    for authorization in (basic("ada:secret"), f"Bearer {house.token}"):
        assert eventually(lambda who=authorization: is_remembered(who), 10.0)


@pytest.mark.parametrize("path", ["/simple/", "/packages/", "/projects/"])
def test_lists_for_some_are_made_in_a_thread(house: House, path: str) -> None:
    for _ in range(3):
        assert house.asked(path, basic("ada:secret"))[1] == THREAD


def test_a_change_of_each_file_counts_at_the_next_request_on_the_loop(house: House) -> None:
    password, token = basic("ada:secret"), f"Bearer {house.token}"

    def is_ready() -> bool:
        return all(house.asked("/simple/foo/", who) == (200, ["at once"]) for who in (password, token))

    assert eventually(is_ready, 10.0)
    house.write(house.rights, "ada read baz\n")
    assert [house.asked("/simple/foo/", who) for who in (password, token)] == [(404, THREAD)] * 2
    house.write(house.rights, "ada read foo\n")
    assert eventually(is_ready, 10.0)
    house.store.change(lambda tokens: [mint("ada", Limits(("read",)), seconds=None, now=0)[0]])
    assert eventually(is_ready, 10.0)
    house.tokens.write_text("")
    assert house.asked("/simple/foo/", token) == (401, THREAD)
    assert house.asked("/simple/foo/", password) == (200, ["at once"])
    house.write(house.passwords, "root:secret\n")
    assert house.asked("/simple/foo/", password) == (401, THREAD)


def test_a_token_whose_user_is_gone_is_refused_on_the_loop(house: House) -> None:
    token = f"Bearer {house.token}"
    assert eventually(lambda: house.asked("/simple/foo/", token) == (200, ["at once"]), 10.0)
    house.write(house.passwords, "root:secret\n")
    assert house.asked("/simple/foo/", token) == (401, THREAD)


def test_an_open_page_is_ready_with_tokens_on(serve: Serve, put: Callable[..., Path], tmp_path: Path) -> None:
    put(*make_wheel("foo", "1.0"))
    (tmp_path / "tokens").write_text("")
    application = Watched(serve(tokens=str(tmp_path / "tokens"), disable_fallback=True)._application)
    client = RsgiClient(application)

    def is_ready(path: str) -> bool:
        application.asked.clear()
        return client.get(path).status == 200 and application.asked == ["at once"]

    for path in ("/simple/foo/", "/simple/", METADATA):
        assert eventually(lambda here=path: is_ready(here), 10.0)
