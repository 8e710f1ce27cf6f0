"""Dependency confusion: what is here, or is ours by name, is never looked for elsewhere (P40, P44, P46)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make_archives import make_wheel
from tests.security.test_access import SPELLINGS
from tests.unit.wsgi import Answer, Client

Serve = Callable[..., Client]
Put = Callable[..., Path]

ELSEWHERE = "https://elsewhere.example/simple"
ADDRESSES = (
    "/simple/{}/", "/simple/{}", "/+simple/{}/", "/+simple/{}", "/{}", "/{}/", "/pypi/{}/json", "/{}/json",
    "/pypi/{}/1.0/json", "/packages/{}", "/packages/{}/", "/packages/{}-9.0-py3-none-any.whl",
    "/packages/{}-9.0.tar.gz",
    "/simple/{}/json", "/simple/{}/x-1.0.tar.gz", "/pypi/{}", "/legacy/{}/",
)  # fmt: skip


def spellings_of(name: str) -> list[str]:
    """The same project's name, differently written (PEP 503)."""
    chance = random.Random(name)
    found = {
        name,
        name.upper(),
        name.title(),
        name.replace("-", "_"),
        name.replace("-", "."),
        name.replace("-", "-_.-"),
    }
    for _ in range(5):
        found.add("".join(letter.upper() if chance.random() < 0.5 else letter for letter in name))
    return sorted(found)


def followed(client: Client, path: str, **headers: str) -> list[Answer]:
    """The answers on the way from an address to where its redirects within this server end."""
    answers = []
    for _ in range(4):
        decoded = unquote_to_bytes(path).decode("utf-8", "replace")
        answer = client.get(decoded, **headers)
        answers.append(answer)
        location = answer.headers.get("location", "")
        if not location or "://" in location or location.startswith("//"):
            break
        folder = path.rpartition("/")[0]
        while location.startswith("../"):
            location, folder = location[3:], folder.rpartition("/")[0]
        path = f"{folder}/{location}"
    return answers


def leaves(answers: list[Answer]) -> bool:
    return any(
        "://" in each.headers.get("location", "") or "//" in each.headers.get("location", "")[:2] for each in answers
    )


@pytest.fixture
def client(serve: Serve, put: Put) -> Client:
    put(*make_wheel("acme-tool", "1.0"))
    return serve(fallback_url=ELSEWHERE, private=["acme-*", "corp"])


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("name", ["acme-tool", "acme-not-uploaded-yet", "corp"])
def test_a_local_or_private_name_never_leaves_by_any_route_in_any_spelling(
    client: Client, address: str, name: str
) -> None:
    for written in spellings_of(name):
        for spelling in SPELLINGS.values():
            path = spelling(address.format(written)).partition("?")[0]
            for accept in ("text/html", "application/vnd.pypi.simple.v1+json"):
                answers = followed(client, path, HTTP_ACCEPT=accept)
                # Further parts of a path make another name of it, which is not the private one.
                if leaves(answers):
                    location = answers[-1].headers["location"]
                    assert re.sub(r"[-_.]+", "-", location).lower().find(name) < 0, (path, location)


def test_without_private_names_an_unknown_project_is_sent_elsewhere(client: Client) -> None:
    assert client.get("/simple/other/").headers["location"] == f"{ELSEWHERE}/other/"


@given(st.text(st.sampled_from("acmeACME-_.09é/%;\n"), max_size=12))
def test_no_name_that_normalises_to_a_private_one_leaves(tail: str) -> None:
    client = PrivateClient.made()
    answers = followed(client, f"/simple/acme-{tail}/".replace("%", "%25"))
    location = answers[-1].headers.get("location", "")
    assert not location.startswith("http") or "acme-" not in location


class PrivateClient:
    """One application for all the examples of a test, over a folder that does not matter."""

    _client: Client | None = None

    @classmethod
    def made(cls) -> Client:
        import tempfile

        import pypiserver

        if cls._client is None:
            folder = tempfile.mkdtemp()
            cls._client = Client(
                pypiserver.app(
                    roots=[folder], password_file=".", authenticate=".", fallback_url=ELSEWHERE, private=["acme-*"],
                    catalog=f"{folder}/.catalog",
                )
            )  # fmt: skip
        return cls._client


def test_a_project_that_is_here_only_in_damaged_files_is_not_looked_for_elsewhere(serve: Serve, put: Put) -> None:
    put("broken-1.0-py3-none-any.whl", b"no archive at all")
    client = serve(fallback_url=ELSEWHERE)
    for address in ("/simple/broken/", "/+simple/broken/", "/broken/json"):
        assert not leaves(followed(client, address)), address


def test_a_yanked_or_quarantined_project_stays_here(serve: Serve, put: Put, root: Path) -> None:
    name, data = make_wheel("pulled", "1.0")
    put(name, data)
    put(f"{name}.yanked", b"bad")
    put(".status/withheld", b"quarantined\n")
    put(*make_wheel("withheld", "1.0"))
    client = serve(fallback_url=ELSEWHERE)
    for project in ("pulled", "withheld"):
        assert not leaves(followed(client, f"/simple/{project}/")), project


@pytest.mark.parametrize("address", [each for each in ADDRESSES if "simple" in each])
def test_a_folder_that_cannot_be_read_is_503_and_never_a_redirect_elsewhere(
    serve: Serve, put: Put, root: Path, address: str
) -> None:
    put(*make_wheel("acme-tool", "1.0"))
    client = serve(fallback_url=ELSEWHERE)
    root.rename(root.with_name("away"))
    for name in ("acme-tool", "never-heard-of"):
        answers = followed(client, address.format(name))
        assert not leaves(answers)
        assert answers[-1].status in (503, 404), answers[-1]
    assert client.get("/simple/never-heard-of/").status == 503
    assert client.get("/simple/").status == 503
    assert client.get("/health").status == 503


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_X_FORWARDED_HOST": "evil.example", "REMOTE_ADDR": "203.0.113.9"},
        {"HTTP_X_FORWARDED_PREFIX": "/evil.example", "REMOTE_ADDR": "203.0.113.9"},
        {"HTTP_FORWARDED": "host=evil.example;proto=https", "REMOTE_ADDR": "203.0.113.9"},
        {"HTTP_X_FORWARDED_PREFIX": "//evil.example"},
        {"HTTP_X_FORWARDED_HOST": "evil example"},
    ],
)
def test_no_header_of_a_stranger_changes_where_an_answer_points(client: Client, headers: dict[str, str]) -> None:
    for path in ("/simple", "/simple/Acme_Tool/", "/simple/other/", "/acme-tool", "/packages", "/"):
        answer = client.get(path, **headers)
        assert "evil" not in answer.headers.get("location", "") + answer.text
        assert not answer.headers.get("location", "").startswith(("/", "\\"))


@pytest.mark.parametrize("name", ["%0d%0aX-Evil:%20y", "x%0d%0aSet-Cookie:y", "%00", "a%0ab", "\u2028", "é"])
def test_no_redirect_carries_what_would_end_a_header(client: Client, name: str) -> None:
    for address in ("/simple/{}/", "/{}", "/simple/{}", "/{}/"):
        decoded = unquote_to_bytes(address.format(name)).decode("utf-8")
        answer = client.get(f"{decoded}?x=%0d%0aY:z")
        for field, value in answer.headers.items():
            assert "\r" not in value and "\n" not in value and "evil" not in field
