"""How files of a bucket are sent by others: redirects that stay the same, and what nginx is told."""

from __future__ import annotations

import calendar
import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import pypiserver
from pypiserver.bucket.presign import signed_at
from pypiserver.errors import ConfigError, Unavailable
from pypiserver.factory import application
from pypiserver.web.api.offload import Addresses
from tests.raising import raises

from ...storage_contract import FOO, FOO_BYTES, World, address, files, world_of
from ...wsgi import Client

SHA256 = hashlib.sha256(FOO_BYTES).hexdigest()
PATH = f"{SHA256[:2]}/{SHA256[2:4]}/{SHA256}/{FOO}"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A bucket of a store that can sign, and is only asked to do that: its catalog is that of a folder's bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with world_of(tmp_path, storage=f"file://{tmp_path}/bucket") as made:
        made.client().upload(FOO, FOO_BYTES)
        made.close()
        yield made


def signing(world: World, **settings: object) -> Client:
    """A server of that catalog whose store is another one."""
    filled = world.client(downloads="stream")._application.backend  # type: ignore[attr-defined]
    shared = {name: getattr(filled, name) for name in ("catalog", "queries", "indexer", "digester", "digests")}
    build = application.build_backend
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "build_backend", lambda config: replace(build(config), **shared))
        return world.client(
            **{"storage": "s3://bucket/pre/fix", "catalog": world.catalog.with_name("other"), **settings}
        )


@pytest.mark.parametrize("way", ["auto", "redirect"])
def test_a_download_is_a_redirect_that_is_private_and_stays_the_same(way: str, world: World) -> None:
    client = signing(world, downloads=way, signed_url_ttl=600)
    first, second = client.get(f"/packages/{PATH}"), client.get(f"/packages/{PATH}", HTTP_RANGE="bytes=0-1")
    assert (first.status, first.body, first.headers["cache-control"]) == (
        302,
        b"",
        "max-age=0, must-revalidate, private",
    )
    assert second.headers["location"] == first.headers["location"]
    place = urlsplit(first.headers["location"])
    assert place.path == f"/bucket/pre/fix/files/{PATH}"
    assert parse_qs(place.query)["X-Amz-Expires"] == ["600"]


@pytest.mark.parametrize(("age", "kept"), [(60, 60), (31_536_000, 295)])
def test_the_way_to_the_bucket_is_kept_as_long_as_files_may_be(world: World, age: int, kept: int) -> None:
    """And no longer than the address there is good for."""
    client = signing(world, signed_url_ttl=600, cache_control=age)
    assert client.get(f"/packages/{PATH}").headers["cache-control"] == f"private, max-age={kept}"


def test_all_servers_send_clients_to_the_same_address(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of/this+session=")
    clients = [
        signing(world, signed_url_ttl=604_800, catalog=tmp_path / name, downloads=way)
        for name, way in (("one", "redirect"), ("two", "redirect"), ("three", "accel"))
    ]
    location, other, told = (client.get(f"/packages/{PATH}").headers for client in clients)
    assert location["location"] == other["location"] == told["x-store-url"]
    fields = parse_qs(urlsplit(location["location"]).query)
    moment = calendar.timegm(time.strptime(fields["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ"))
    assert moment % 302_400 == 0 and 0 <= time.time() - moment < 302_400 + 60
    assert fields["X-Amz-Security-Token"] == ["of/this+session="]


def test_clients_are_sent_to_the_public_endpoint(world: World) -> None:
    client = signing(world, public_storage_endpoint="https://packages.example/", signed_url_ttl=600)
    place = urlsplit(client.get(f"/packages/{PATH}").headers["location"])
    assert (place.scheme, place.netloc, place.path) == ("https", "packages.example", f"/bucket/pre/fix/files/{PATH}")
    # It is signed for that host, with the secret and for a time that all agree on.
    (date,) = parse_qs(place.query)["X-Amz-Date"]
    moment = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    assert moment % 300 == 0 and signed_at(place.geturl(), "secret", moment) == place.geturl()


def test_what_has_no_body_or_is_no_file_is_never_handed_over(world: World) -> None:
    client = signing(world)
    head = client.request("HEAD", f"/packages/{PATH}")
    assert (head.status, head.headers["content-length"], head.headers["etag"]) == (
        200,
        str(len(FOO_BYTES)),
        f'"{SHA256}"',
    )
    metadata = client.get(f"/packages/{PATH}.metadata")
    assert (metadata.status, metadata.body[:17]) == (200, b"Metadata-Version:")
    assert client.get(f"/packages/{PATH[:-1]}").status == 404
    assert client.get(f"/packages/{FOO}").status == 404


def test_nginx_is_told_the_address_and_a_name_to_keep_it_by(world: World) -> None:
    client = signing(world, downloads="accel", accel_location="/internal/")
    answer = client.get(f"/packages/{PATH}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-accel-redirect"] == f"/internal/{PATH}"
    assert urlsplit(answer.headers["x-store-url"]).path == f"/bucket/pre/fix/files/{PATH}"
    assert answer.headers["cache-control"] == "max-age=0, must-revalidate"
    assert "x-accel-redirect" not in client.request("HEAD", f"/packages/{PATH}").headers


@pytest.mark.parametrize("way", ["redirect", "accel"])
def test_a_store_that_cannot_sign_is_refused(way: str, tmp_path: Path) -> None:
    with raises(ConfigError, kind="contradiction", setting="downloads", value=way):
        pypiserver.app(storage=f"file://{tmp_path}", downloads=way, catalog=tmp_path / "catalog")


def test_an_address_is_given_out_for_half_of_its_life() -> None:
    now, made = [61.5], iter(range(100))
    addresses = Addresses(lambda path, ttl, since: f"{path}?{since}+{ttl}-{next(made)}", 60, clock=lambda: now[0])
    assert [addresses.of("a"), addresses.of("b"), addresses.of("a")] == ["a?60+60-0", "b?60+60-1", "a?60+60-0"]
    now[0] = 89.9
    assert addresses.of("a") == "a?60+60-0"
    now[0] = 90.0
    assert [addresses.of("a"), addresses.of("a")] == ["a?90+60-2", "a?90+60-2"]
    now[0] = 89.0
    assert addresses.of("a") == "a?60+60-3", "a clock that was put back"


def test_what_cannot_be_signed_is_an_outage_and_not_remembered() -> None:
    answers = iter([Unavailable("no credentials"), "a?1"])

    def sign(path: str, ttl: int, since: int) -> str:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    addresses = Addresses(sign, 60)
    with pytest.raises(Unavailable):
        addresses.of("a")
    assert addresses.of("a") == "a?1"


def test_downloads_are_counted_whichever_program_sends_them(world: World, tmp_path: Path) -> None:
    client = signing(world, stats=tmp_path / "stats.sqlite")
    assert files(client)[0]["filename"] == FOO and address(files(client)[0]) == f"/packages/{PATH}"
    client.get(f"/packages/{PATH}")
    client._application.observers.flush()  # type: ignore[attr-defined]
    counts = client._application.repository.downloads("foo")  # type: ignore[attr-defined]
    assert counts is not None and counts.total == 1
