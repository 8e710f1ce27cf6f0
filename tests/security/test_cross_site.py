"""Pages of other sites change nothing here, and every client still uploads (P31)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.make_archives import make_wheel
from tests.unit.wsgi import Client, form

Serve = Callable[..., Client]
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
FORM = {"name": "foo", "version": "1.0"}

FOREIGN = {
    "one that a list begins with": {
        "HTTP_ORIGIN": "https://evil.example",
        "HTTP_HOST": "127.0.0.1:8080",
        "HTTP_X_FORWARDED_HOST": "evil.example, pypi.example",
    },
    "no origin, and no host of a proxy": {"HTTP_ORIGIN": "null", "HTTP_HOST": "", "HTTP_X_FORWARDED_PROTO": "https"},
    "another site": {"HTTP_SEC_FETCH_SITE": "cross-site"},
    "a sibling site": {"HTTP_SEC_FETCH_SITE": "same-site"},
    "a word nobody knows": {"HTTP_SEC_FETCH_SITE": "future"},
    "no site": {"HTTP_SEC_FETCH_SITE": ""},
    "an old browser": {"HTTP_ORIGIN": "https://evil.example"},
    "a sandboxed frame": {"HTTP_ORIGIN": "null"},
    "another port": {"HTTP_ORIGIN": "http://127.0.0.1:8000", "HTTP_HOST": "127.0.0.1:8080"},
    "a name that begins like ours": {"HTTP_ORIGIN": "http://pypi.example.evil.example", "HTTP_HOST": "pypi.example"},
    "a user part": {"HTTP_ORIGIN": "http://pypi.example@evil.example", "HTTP_HOST": "pypi.example"},
    "an address that is none": {"HTTP_ORIGIN": "http://[", "HTTP_HOST": "pypi.example"},
    "both, one of them ours": {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "https://evil.example"},
}
OURS = {
    "twine, uv, curl": {},
    "our own page": {"HTTP_SEC_FETCH_SITE": "same-origin"},
    "typed by a person": {"HTTP_SEC_FETCH_SITE": "none"},
    "our own page in an old browser": {"HTTP_ORIGIN": "https://pypi.example", "HTTP_HOST": "pypi.example"},
    "behind two proxies, one of them appending": {
        "HTTP_ORIGIN": "https://pypi.example",
        "HTTP_HOST": "127.0.0.1:8080",
        "HTTP_X_FORWARDED_HOST": "evil.example, pypi.example",
    },
    "behind a proxy": {
        "HTTP_ORIGIN": "https://pypi.example",
        "HTTP_HOST": "127.0.0.1:8080",
        "HTTP_X_FORWARDED_HOST": "pypi.example",
    },
}
POSTS = ("/", "/pypi", "/pypi/", "/simple", "/simple/", "/legacy", "/legacy/")


@pytest.mark.parametrize("site", FOREIGN)
@pytest.mark.parametrize("path", POSTS)
def test_a_page_of_another_site_can_store_and_remove_nothing(serve: Serve, root: Path, site: str, path: str) -> None:
    client = serve()
    assert client.upload("bar-1.0-py3-none-any.whl", make_wheel("bar", "1.0")[1]).status == 200
    before = sorted(root.iterdir())
    assert client.upload(WHEEL, WHEEL_BYTES, path=path, **FOREIGN[site]).status == 403
    for action in ("remove_pkg", "yank", "unyank"):
        body, kind = form({":action": action, "name": "bar", "version": "1.0"})
        assert client.post(path, body, CONTENT_TYPE=kind, **FOREIGN[site]).status == 403
        plain = f":action={action}&name=bar&version=1.0".encode()
        kind = "application/x-www-form-urlencoded"
        assert client.post(path, plain, CONTENT_TYPE=kind, **FOREIGN[site]).status == 403
    assert sorted(root.iterdir()) == before


@pytest.mark.parametrize("site", OURS)
@pytest.mark.parametrize("path", POSTS)
def test_clients_and_our_own_pages_still_upload(serve: Serve, root: Path, site: str, path: str) -> None:
    assert serve().upload(WHEEL, WHEEL_BYTES, path=path, **OURS[site]).status == 200
    assert (root / WHEEL).read_bytes() == WHEEL_BYTES


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_a_post_changes_anything(serve: Serve, root: Path, method: str) -> None:
    client = serve()
    client.upload(WHEEL, WHEEL_BYTES)
    body, kind = form({":action": "remove_pkg", **FORM})
    for path in (*POSTS, f"/packages/{WHEEL}", "/simple/foo/"):
        for query in ("", "?:action=remove_pkg&name=foo&version=1.0"):
            client.request(method, path + query, body, CONTENT_TYPE=kind)
    assert [path.name for path in root.iterdir()] == [WHEEL]
