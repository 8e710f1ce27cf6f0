"""The legacy JSON API on its three addresses, as PyPI answers it and pip-compile reads it."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.make_archives import core_metadata, make_bdist_dumb, make_egg, make_sdist, make_wheel

from ..wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
METADATA = core_metadata(
    "foo-bar",
    "1.0",
    metadata_version="2.4",
    requires_python=">=3.8",
    requires_dist=["baz>=1", 'qux; extra == "x"'],
    summary="A foo ü",
    extra=[
        "Author: Ann",
        "Author-email: ann@pypi.example",
        "License-Expression: MIT",
        "Keywords: a,b",
        "Home-page: https://home.example/",
        "Classifier: A :: B",
        "Project-URL: Docs, https://docs.example/",
        "Provides-Extra: x",
        "Description-Content-Type: text/markdown",
    ],
    description="# Foo\n",
)
WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0", metadata=METADATA)
SDIST, SDIST_BYTES = make_sdist("foo-bar", "1.0")
NEWER, NEWER_BYTES = make_wheel("foo_bar", "2.0rc1")


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    put(f"sub dir/{SDIST}", SDIST_BYTES)
    put(NEWER, NEWER_BYTES)


def test_every_key_says_what_the_metadata_says(serve: Serve) -> None:
    answer = serve().get("/foo-bar/json", HTTP_HOST="pypi.example")
    assert answer.headers["content-type"] == "application/json"
    value = answer.json()
    page = "http://pypi.example/simple/foo-bar/"
    assert value["info"] == {
        "author": "Ann",
        "author_email": "ann@pypi.example",
        "classifiers": ["A :: B"],
        "description": "# Foo\n",
        "description_content_type": "text/markdown",
        "download_url": None,
        "home_page": "https://home.example/",
        "keywords": "a,b",
        "license": "",
        "license_expression": "MIT",
        "maintainer": "",
        "maintainer_email": "",
        "name": "foo-bar",
        "package_url": page,
        "platform": "",
        "project_url": page,
        "project_urls": {"Docs": "https://docs.example/"},
        "provides_extra": ["x"],
        "release_url": page,
        "requires_dist": ["baz>=1", 'qux; extra == "x"'],
        "requires_python": ">=3.8",
        "summary": "A foo ü",
        "version": "1.0",
        "yanked": False,
        "yanked_reason": None,
    }
    assert list(value["releases"]) == ["1.0", "2.0rc1"]
    assert value["urls"] == value["releases"]["1.0"]
    (wheel,) = [file for file in value["urls"] if file["filename"] == WHEEL]
    assert wheel == {
        "comment_text": "",
        "digests": {"sha256": hashlib.sha256(WHEEL_BYTES).hexdigest()},
        "downloads": -1,
        "filename": WHEEL,
        "has_sig": False,
        "md5_digest": None,
        "packagetype": "bdist_wheel",
        "python_version": "py3",
        "requires_python": ">=3.8",
        "size": len(WHEEL_BYTES),
        "upload_time": "2020-09-13T12:26:40",
        "upload_time_iso_8601": "2020-09-13T12:26:40.000000Z",
        "url": f"http://pypi.example/packages/{WHEEL}",
        "yanked": False,
        "yanked_reason": None,
    }


@pytest.mark.parametrize("path", ["/foo-bar/json", "/Foo_Bar/json", "/pypi/foo-bar/json", "/pypi/FOO.bar/json"])
def test_both_addresses_of_a_project_say_the_same(serve: Serve, path: str) -> None:
    client = serve()
    value, other = client.get(path).json(), client.get("/pypi/foo-bar/json").json()
    assert set(value) == {"info", "last_serial", "releases", "urls", "vulnerabilities"}
    # The serial may continue between two requests, because files are digested in the background.
    assert {**value, "last_serial": 0} == {**other, "last_serial": 0}


@pytest.mark.parametrize("version", ["2.0rc1", "2.0.0rc1", "2.0-rc1", "v2.0RC1"])
def test_a_release_has_an_address_of_its_own_in_any_spelling(serve: Serve, version: str) -> None:
    value = serve().get(f"/pypi/foo-bar/{version}/json").json()
    assert value["info"]["version"] == "2.0rc1"
    assert [file["filename"] for file in value["urls"]] == [NEWER]
    assert "releases" not in value


@pytest.mark.parametrize("version", ["1!2.0+abc.1", "1.0+local.2"])
def test_epochs_and_local_versions_have_addresses(serve: Serve, put: Put, version: str) -> None:
    name, data = make_wheel("foo_bar", version)
    put(name, data)
    client = serve()
    value = client.get(f"/pypi/foo-bar/{version}/json").json()
    assert [file["filename"] for file in value["urls"]] == [name]


@pytest.mark.parametrize(
    "path", ["/unknown/json", "/pypi/unknown/json", "/pypi/foo-bar/9.9/json", "/pypi/foo-bar/1.0rc1/json"]
)
def test_what_is_not_here_is_missing_and_never_a_redirect(serve: Serve, path: str) -> None:
    answer = serve().get(path)
    assert (answer.status, "location" in answer.headers) == (404, False)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "There is no" in answer.text


@pytest.mark.parametrize(
    ("versions", "yanked", "latest"),
    [
        (["1.0", "1.1", "2.0a1", "2.0.dev1"], [], "1.1"),
        (["1.0", "1.0.post1"], [], "1.0.post1"),
        (["1.9", "1.10"], [], "1.10"),
        (["2.0a1", "2.0b1"], [], "2.0b1"),
        (["9.0", "1!1.0"], [], "1!1.0"),
        (["1.0", "1.1"], ["1.1"], "1.0"),
        (["1.0", "1.1", "1.2a1"], ["1.0", "1.1"], "1.2a1"),
        (["1.0", "1.1"], ["1.0", "1.1"], "1.1"),
    ],
)
def test_the_version_of_a_project_is_its_highest_final_one(
    serve: Serve, put: Put, versions: list[str], yanked: list[str], latest: str
) -> None:
    for version in versions:
        name, data = make_wheel("other", version)
        put(name, data)
        if version in yanked:
            put(f"{name}.yanked", b"for a reason\n")
    info = serve().get("/other/json").json()["info"]
    assert (info["version"], info["yanked"]) == (latest, latest in yanked)
    assert info["yanked_reason"] == ("for a reason" if latest in yanked else None)


def test_files_of_one_version_stand_together_however_they_spell_it(serve: Serve, put: Put) -> None:
    names = [make_wheel("other", "1.0rc1"), make_sdist("other", "1.0-rc1"), make_sdist("other", "1.0.0rc1")]
    for name, data in names:
        put(name, data)
    value = serve().get("/other/json").json()
    ((_, files),) = value["releases"].items()
    assert {file["filename"] for file in files} == {name for name, _ in names}
    assert value["urls"] == files


def test_kinds_are_called_as_upload_forms_call_them(serve: Serve, put: Put) -> None:
    put(*make_egg("other", "1.0"))
    put(*make_bdist_dumb("other", "1.0"))
    put("other-1.0.win-amd64-py2.7.exe", b"MZ")
    put("other.zip", make_sdist("other", "1.0", format=".zip")[1])
    value = serve().get("/other/json").json()
    kinds = {(file["packagetype"], file["python_version"]) for file in value["urls"]}
    assert kinds == {("bdist_egg", "3.6"), ("bdist_dumb", "any"), ("bdist_wininst", "2.7")}


def test_a_file_without_a_version_is_a_release_without_a_name(serve: Serve, put: Put) -> None:
    put("other.zip", make_sdist("other", "1.0", format=".zip")[1])
    value = serve().get("/other/json").json()
    assert (value["info"]["version"], value["releases"]) == ("", {})
    assert [file["filename"] for file in value["urls"]] == ["other.zip"]


def test_a_requires_python_that_cannot_be_parsed_is_left_out(serve: Serve, put: Put) -> None:
    put(*make_wheel("other", "1.0", requires_python=">3.5.*"))
    value = serve().get("/other/json").json()
    assert (value["info"]["requires_python"], value["urls"][0]["requires_python"]) == (None, None)


def test_the_digest_of_the_link_is_there_too(serve: Serve) -> None:
    (file,) = serve(hash_algo="md5").get("/pypi/foo-bar/2.0rc1/json").json()["urls"]
    md5 = hashlib.md5(NEWER_BYTES).hexdigest()
    assert file["digests"] == {"sha256": hashlib.sha256(NEWER_BYTES).hexdigest(), "md5": md5}
    assert file["md5_digest"] == md5


def pip_compile_hashes(client: Client, index: str, name: str, version: str) -> set[str]:
    """What pip-tools 7 does: the index's address without a last part ``simple``, then ``<name>/json``."""
    base = index.rstrip("/").removesuffix("/simple")
    answer = client.get(f"{base}/{name}/json")
    assert answer.status == 200
    files: list[dict[str, Any]] = answer.json()["releases"][version]
    wanted = ("bdist_wheel", "sdist", "bdist_egg", "bdist_dumb", "bdist_wininst")
    return {f"sha256:{file['digests']['sha256']}" for file in files if file["packagetype"] in wanted and file["url"]}


@pytest.mark.parametrize("index", ["/simple/", "/simple", "/pypi/simple/", "/"])
def test_pip_compile_finds_every_hash(serve: Serve, index: str) -> None:
    expected = {f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (WHEEL_BYTES, SDIST_BYTES)}
    assert pip_compile_hashes(serve(), index, "foo-bar", "1.0") == expected


def test_links_are_below_the_address_the_client_used(serve: Serve) -> None:
    client = serve(forwarded_headers="proto,host,prefix")
    proxied = {"HTTP_X_FORWARDED_HOST": "pypi.example", "HTTP_X_FORWARDED_PROTO": "https"}
    url = client.get("/foo-bar/json", HTTP_X_FORWARDED_PREFIX="/x", **proxied).json()["urls"][0]["url"]
    assert url.startswith("https://pypi.example/x/packages/")
    assert client.get("/foo-bar/json").headers["x-accel-expires"] == "0"
    url = serve(server_base_url="https://told.example").get("/foo-bar/json").json()["urls"][0]["url"]
    assert url.startswith("https://told.example/packages/")


@pytest.mark.parametrize("path", ["/foo-bar/json", "/foo-bar/1.0/json", "/pypi/Foo_Bar/json", "/pypi/foo-bar/1.0/json"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_answer_has_a_strong_validator_and_is_made_once(serve: Serve, put: Put, path: str, coding: str) -> None:
    client = serve()
    client.get("/simple/foo-bar/")
    headers = {"HTTP_ACCEPT_ENCODING": coding}
    answer = client.get(path, **headers)
    etag = answer.headers["etag"]
    assert re.fullmatch(r'"[!-~]+"', etag) and answer.headers["vary"] == "Accept-Encoding"
    body = gzip.decompress(answer.body) if coding == "gzip" else answer.body
    assert json.loads(body)["info"]["version"] == "1.0"
    assert answer.headers.get("content-encoding", "identity") == coding
    again = client.get(path, HTTP_IF_NONE_MATCH=f'"x", W/{etag}', **headers)
    kept = {name: answer.headers[name] for name in ("etag", "vary", "cache-control", "x-pypi-last-serial")}
    assert (again.status, again.body, dict(again.headers)) == (304, b"", kept)
    other = client.get(path, HTTP_ACCEPT_ENCODING="gzip" if coding == "identity" else "", HTTP_IF_NONE_MATCH=etag)
    assert other.status == 200
    # It is about the address it was asked at, and about the files that are there now.
    assert client.get(path, HTTP_HOST="pypi.example", HTTP_IF_NONE_MATCH=etag, **headers).status == 200
    put(f"{WHEEL}.yanked", b"")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    assert client.get(path, HTTP_IF_NONE_MATCH=etag, **headers).status == 200


def test_a_protected_answer_is_private(serve: Serve) -> None:
    client = serve(auther=lambda user, password: True, authenticate="list")
    headers = client.get("/foo-bar/json", HTTP_AUTHORIZATION="Basic YTpi").headers
    assert headers["cache-control"] == "max-age=0, must-revalidate, private"
    assert serve().get("/foo-bar/json").headers["cache-control"] == "max-age=0, must-revalidate"
