"""Lists are made and kept for each class of clients: what is kept for one is never an answer for another."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.make_archives import make_wheel

from ...wsgi import Client

RIGHTS = """
everyone read open-*
group staff: ada bob
@staff read acme-* kit
eve read acme-*
root all *
"""
LISTS = ("/simple/", "/+simple/", "/packages/", "/packages/?all")
JSON = {"HTTP_ACCEPT": "application/vnd.pypi.simple.v1+json"}


def login(user: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"{user}:right".encode()).decode()} if user else {}


@pytest.fixture
def client(serve: Callable[..., Client], put: Callable[..., Path], tmp_path: Path) -> Client:
    for name in ("acme-one", "open-two", "kit", "other"):
        put(*make_wheel(name, "1.0"))
    (tmp_path / "rights").write_text(RIGHTS)
    return read(serve(rights=tmp_path / "rights", auther=lambda user, password: password == "right", authenticate=None))


def read(client: Client) -> Client:
    """The client, once all files are read: before, a list has the names of files."""
    application = client._application
    application.survey()  # type: ignore[attr-defined]
    application.backend.digester.digest_some()  # type: ignore[attr-defined]
    return client


@pytest.mark.parametrize("path", LISTS)
def test_users_of_one_class_share_a_page_and_its_tag(client: Client, path: str) -> None:
    ada, bob = (client.get(path, **login(user)) for user in ("ada", "bob"))
    assert (ada.status, ada.body, ada.headers) == (200, bob.body, bob.headers)
    assert client.get(path, **login("bob"), HTTP_IF_NONE_MATCH=ada.headers["etag"]).status == 304


@pytest.mark.parametrize("path", LISTS)
def test_a_tag_of_another_class_is_never_current(client: Client, path: str) -> None:
    users = ("", "ada", "eve", "root", "mia")
    tags = {user: client.get(path, **login(user)).headers["etag"] for user in users}
    for user in users:
        current = [
            each for each in users if client.get(path, **login(user), HTTP_IF_NONE_MATCH=tags[each]).status == 304
        ]
        # mia may see what everyone may: without a login it is the same class.
        assert current == (["", "mia"] if user in ("", "mia") else [user])


def test_classes_with_equal_lists_have_other_tags(client: Client, root: Path) -> None:
    """A tag tells nothing of the rules, even if two classes see the same projects now."""
    (root / "kit-1.0-py3-none-any.whl").unlink()
    read(client)
    seen = [client.get("/simple/", **login(user)) for user in ("ada", "eve")]
    assert seen[0].body == seen[1].body and seen[0].headers["etag"] != seen[1].headers["etag"]


def test_who_sees_everything_gets_the_page_that_is_served_without_rights(
    client: Client, serve: Callable[..., Client]
) -> None:
    without = read(serve())
    for path in LISTS:
        whole, open_to_all = client.get(path, **login("root")), without.get(path)
        assert (whole.body, whole.headers["etag"]) == (open_to_all.body, open_to_all.headers["etag"])


def test_many_classes_take_no_place_from_the_page_of_all(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    users = [f"user{number}" for number in range(40)]
    (tmp_path / "rights").write_text(RIGHTS + "".join(f"{user} read acme-one x-{user}\n" for user in users))
    simple = client._application.web.simple  # type: ignore[attr-defined]
    monkeypatch.setattr(simple._filtered, "_max_bytes", 20_000)
    read(client).get("/simple/", **login("root"))
    before = dict(simple._cache._pages)
    for user in users:
        assert b"acme-one" in client.get("/simple/", **login(user)).body
    assert dict(simple._cache._pages) == before != {}
    assert 1 < len(simple._filtered._pages) < 20


def test_a_change_of_the_rights_counts_at_the_next_request(client: Client, tmp_path: Path) -> None:
    assert b"kit" not in client.get("/simple/", **login("eve")).body
    (tmp_path / "rights").write_text(RIGHTS + "eve list kit\n")
    assert b"kit" in client.get("/simple/", **login("eve")).body
    (tmp_path / "rights").write_text(RIGHTS)
    assert b"kit" not in client.get("/simple/", **login("eve")).body


@pytest.mark.parametrize("path", [*LISTS, "/projects/", "/projects/feed.atom", "/project/kit/", "/"])
def test_what_depends_on_a_login_is_for_no_shared_cache(client: Client, path: str) -> None:
    for user in ("", "ada", "root"):
        answer = client.get(path, **login(user), HTTP_ACCEPT="text/html")
        control = answer.headers.get("cache-control", "")
        assert "private" in control or "no-store" in control
        assert answer.headers["x-accel-expires"] == "0"
