"""Files of other indexes: what is fetched, checked, kept, and given to whom."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.cache_store import Key
from pypiserver.deferred import Interrupted
from pypiserver.errors import NotFound, Unavailable
from pypiserver.proxy import small_fetch
from pypiserver.proxy.transfer import HELD_BYTES
from pypiserver.upstream.client import Unreachable
from tests.make_archives import core_metadata, make_sdist, make_wheel

from ..wsgi import Client
from .sites import UPLOADED_NS, UPSTREAM, FakeResponse, Site, remote, run_threads, whole

NAME = "raven-1.0.tar.gz"
PATH = f"/packages/@pypi/raven/{NAME}"
KEY = Key("pypi", "raven", NAME)
DATA = os.urandom(300_000)


def site_of(folder: Path, response: FakeResponse | list[FakeResponse], data: bytes = DATA, **fields: Any) -> Site:
    responses = response if isinstance(response, list) else [response]

    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        return responses.pop(0) if len(responses) > 1 else responses[0]

    site = Site(folder, answer)
    site.add(remote(NAME, data, **fields))
    return site


def visible(folder: Path) -> set[str]:
    """The files that a server of the folder alone may see."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".upload-*"))


def settled(site: Site) -> None:
    """Until no fetch is under way."""
    for _ in range(2000):
        if not site.files._transfers and site.files._jobs.is_idle():
            return
        threading.Event().wait(0.005)
    raise AssertionError("a fetch does not end")


def test_a_file_is_given_and_kept_with_its_upload_time(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA), yanked="bad")
    answer = Client(site.application()).get(PATH)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, DATA, "300000")
    assert answer.headers["etag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
    assert answer.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    settled(site)
    assert visible(tmp_path) == {f"pypi/raven/{NAME}", f"pypi/raven/{NAME}.yanked"}
    assert (tmp_path / "pypi/raven" / NAME).stat().st_mtime_ns == UPLOADED_NS
    assert (tmp_path / "pypi/raven" / f"{NAME}.yanked").read_bytes() == b"bad"
    again = Client(site.application()).get(PATH)
    assert again == answer
    assert [url for url, _ in site.client.asked] == [f"http://files.test/{NAME}"]
    assert leftovers(tmp_path) == []


def test_no_header_of_a_client_is_passed_on(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA))
    Client(site.application()).get(PATH, HTTP_COOKIE="a=b", HTTP_AUTHORIZATION="Basic eDp5", HTTP_IF_NONE_MATCH='"x"')
    assert site.client.asked[0][1] == {"Accept-Encoding": "identity", "Accept": "*/*"}


def test_many_clients_fetch_once(tmp_path: Path) -> None:
    gate = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield DATA[:1000]
        gate.wait(10)
        yield DATA[1000:]

    site = site_of(tmp_path, FakeResponse(200, {"content-length": "300000"}, slowly))
    site.files._blocking = threading.BoundedSemaphore(50)  # type: ignore[assignment]
    threading.Timer(0.05, gate.set).start()
    answers = run_threads(20, lambda number: Client(site.application()).get(PATH).body)
    assert answers == [DATA] * 20
    assert len(site.client.asked) == 1


@pytest.mark.parametrize("wrong", ["hash", "short", "long", "length", "last byte"])
def test_no_client_gets_a_whole_wrong_file(tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    spoiled = {
        "hash": b"x" + DATA[1:],
        "short": DATA[:-1],
        "long": DATA + b"x",
        "length": DATA + b"x",
        "last byte": DATA[:-1] + b"x",
    }[wrong]
    length = str(len(DATA) + (wrong == "length"))
    blocks = [spoiled[at : at + 10_000] for at in range(0, len(spoiled), 10_000)]
    site = site_of(tmp_path, FakeResponse(200, {"content-length": length}, lambda: iter(blocks)))
    taken = bytearray()
    try:
        body = site.files.transfer(site.pages[PATH[10:]], _upstream()).body(0, len(DATA))
        for block in body:
            taken += block
    except Interrupted:
        pass
    assert len(taken) <= len(DATA) - HELD_BYTES
    settled(site)
    assert (visible(tmp_path), leftovers(tmp_path)) == (set(), [])
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1


def test_a_wrong_file_is_asked_for_twice_and_then_refused(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(b"x" * len(DATA)))
    client = Client(site.application())
    for _ in range(2):
        # Its error is the response, if it is known before the first byte.
        with contextlib.suppress(Interrupted):
            assert client.get(PATH).status == 502
        settled(site)
    answer = client.get(PATH)
    assert (answer.status, len(site.client.asked)) == (502, 2)
    assert answer.text.startswith(NAME)


def test_a_file_that_is_wrong_once_is_right_at_the_next_request(tmp_path: Path) -> None:
    small = DATA[:1000]
    site = site_of(tmp_path, [whole(b"x" * 1000), whole(small)], small)
    client = Client(site.application())
    assert client.get(PATH).status == 502
    settled(site)
    assert client.get(PATH).body == small


@pytest.mark.parametrize(
    ("status", "expected"), [(404, 404), (410, 404), (500, 503), (503, 503), (429, 503), (403, 502)]
)
def test_a_status_becomes_ours(tmp_path: Path, status: int, expected: int) -> None:
    site = site_of(tmp_path, FakeResponse(status))
    answer = Client(site.application()).get(PATH)
    assert (answer.status, "retry-after" in answer.headers) == (expected, expected == 503)


def test_an_index_that_is_down_is_503(tmp_path: Path) -> None:
    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        raise Unreachable("no route to 10.0.0.1", kind="unreachable")

    site = Site(tmp_path, answer)
    site.add(remote(NAME, DATA))
    found = Client(site.application()).get(PATH)
    assert (found.status, "10.0.0.1" in found.text) == (503, False)


def test_a_coded_answer_is_decoded_before_it_is_hashed(tmp_path: Path) -> None:
    # The client decodes, if it is told to.
    class Coded(FakeResponse):
        def chunks(self, decode: bool = True) -> Iterator[bytes]:
            yield DATA if decode else gzip.compress(DATA)

    site = site_of(tmp_path, Coded(200, {"content-encoding": "gzip", "content-length": "17"}))
    assert Client(site.application()).get(PATH).body == DATA


def test_the_coding_of_a_tar_gz_itself_is_no_coding(tmp_path: Path) -> None:
    class SaidOnly(FakeResponse):
        def chunks(self, decode: bool = True) -> Iterator[bytes]:
            yield b"a tar" if decode else DATA

    for fields in ({}, {"size": None}):
        site = site_of(
            tmp_path / str(len(fields)),
            SaidOnly(200, {"content-encoding": "x-gzip", "content-length": "300000"}),
            **fields,
        )
        assert Client(site.application()).get(PATH).body == DATA


def test_without_any_length_it_is_given_when_it_is_whole(tmp_path: Path) -> None:
    site = site_of(tmp_path, replace(whole(DATA), headers={}), size=None)
    answer = Client(site.application()).get(PATH)
    assert (answer.body, answer.headers["content-length"]) == (DATA, "300000")


def test_without_a_hash_the_archive_is_checked(tmp_path: Path) -> None:
    _, data = make_sdist("raven", "1.0")
    site = site_of(tmp_path, whole(data), data, hashes=())
    answer = Client(site.application()).get(PATH)
    assert (answer.body, answer.headers["etag"]) == (data, f'"{hashlib.sha256(data).hexdigest()}"')
    broken = site_of(tmp_path / "b", whole(data[:-20]), data[:-20], hashes=())
    assert Client(broken.application()).get(PATH).status == 502
    assert visible(tmp_path / "b") == set()


def test_head_asks_no_one(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA))
    answer = Client(site.application()).request("HEAD", PATH)
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "300000", b"")
    assert Client(site.application()).get(PATH, HTTP_IF_NONE_MATCH=answer.headers["etag"]).status == 304
    assert site.client.asked == []


def test_a_short_range_is_passed_on_and_never_kept(tmp_path: Path) -> None:
    data = os.urandom(2 << 20)

    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        said = {"content-range": f"bytes {first}-{last}/{len(data)}"}
        return FakeResponse(206, said, lambda: iter([data[first : last + 1]]))

    site = Site(tmp_path, answer)
    site.add(remote(NAME, data))
    got = Client(site.application()).get(PATH, HTTP_RANGE="bytes=-10000")
    assert (got.status, got.body, got.headers["content-range"]) == (206, data[-10000:], "bytes 2087152-2097151/2097152")
    assert (visible(tmp_path), site.client.asked[0][1]["Range"]) == (set(), "bytes=2087152-2097151")


@pytest.mark.parametrize("said", ["bytes 0-9/2097152", "bytes 2087152-2097151/9999999", "", "200"])
def test_a_range_that_is_not_exactly_the_one_comes_from_the_file(tmp_path: Path, said: str) -> None:
    data = os.urandom(2 << 20)

    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        if "Range" not in headers or said == "200":
            return whole(data)
        return FakeResponse(206, {"content-range": said}, lambda: iter([data[-10000:]]))

    site = Site(tmp_path, answer)
    site.add(remote(NAME, data))
    assert Client(site.application()).get(PATH, HTTP_RANGE="bytes=-10000").body == data[-10000:]
    settled(site)
    assert visible(tmp_path) == {f"pypi/raven/{NAME}"}


def test_a_kept_file_survives_the_index_and_a_restart(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA))
    Client(site.application()).get(PATH)
    settled(site)
    after = site_of(tmp_path, FakeResponse(500))
    client = Client(after.application())
    assert client.get(PATH).body == DATA
    assert client.get(PATH, HTTP_RANGE="bytes=5-9").body == DATA[5:10]
    assert after.client.asked == []


def test_a_kept_file_of_other_bytes_is_replaced(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA))
    Client(site.application()).get(PATH)
    settled(site)
    other = os.urandom(300_000)
    changed = site_of(tmp_path, whole(other), other)
    assert Client(changed.application()).get(PATH).body == other
    settled(changed)
    assert (tmp_path / "pypi/raven" / NAME).read_bytes() == other


def test_a_kept_file_that_someone_changed_is_not_given(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA))
    Client(site.application()).get(PATH)
    settled(site)
    kept = tmp_path / "pypi/raven" / NAME
    kept.write_bytes(b"y" + DATA[1:])
    os.utime(kept, ns=(UPLOADED_NS, UPLOADED_NS))
    assert Client(site.application()).get(PATH).body == DATA
    settled(site)
    assert kept.read_bytes() == DATA


def test_offline_asks_no_one(tmp_path: Path) -> None:
    site, path, _ = wheel_site(tmp_path)
    client = Client(site.application())
    client.get(path)
    settled(site)
    offline = Site(tmp_path, site.client.answer, offline=True)
    offline.pages = site.pages
    other = offline.add(remote(NAME, DATA))
    client = Client(offline.application())
    assert client.get(path).status == 200
    for each in (f"/packages/{other.path}", f"{path}.metadata?no", f"/packages/{other.path}.provenance"):
        assert client.get(each).status in (200, 404, 503)
    answer = client.get(f"/packages/{other.path}")
    assert (answer.status, "retry-after" in answer.headers) == (503, False)
    assert offline.client.asked == []


def test_proxy_mode_keeps_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, lambda url, headers: whole(DATA), keep=False)
    site.add(remote(NAME, DATA))
    assert Client(site.application()).get(PATH).body == DATA
    settled(site)
    assert (visible(tmp_path), leftovers(tmp_path)) == (set(), [])


# -- sidecars ----------------------------------------------------------------------------------------------------------


def wheel_site(folder: Path, **fields: Any) -> tuple[Site, str, bytes]:
    name, data = make_wheel("raven", "1.0")
    raw = core_metadata("raven", "1.0")

    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        if url.endswith(".metadata"):
            return whole(raw)
        return whole(b"{}") if "provenance" in url else whole(data)

    site = Site(folder, answer)
    given = {"has_metadata": True, "metadata_sha256": hashlib.sha256(raw).hexdigest(), **fields}
    file = site.add(remote(name, data, **given))
    return site, f"/packages/{file.path}", raw


def test_metadata_is_passed_through_and_kept(tmp_path: Path) -> None:
    site, path, raw = wheel_site(tmp_path)
    answer = Client(site.application()).get(f"{path}.metadata")
    assert (answer.body, answer.headers["content-type"]) == (raw, "text/plain; charset=utf-8")
    settled(site)
    again, path, _ = wheel_site(tmp_path)
    assert Client(again.application()).get(f"{path}.metadata").body == raw
    assert (again.client.asked, visible(tmp_path)) == ([], set())


def test_metadata_with_another_hash_is_given_to_no_one(tmp_path: Path) -> None:
    site, path, _ = wheel_site(tmp_path, metadata_sha256="0" * 64)
    assert Client(site.application()).get(f"{path}.metadata").status == 502


def test_metadata_of_a_kept_wheel_is_made_of_it(tmp_path: Path) -> None:
    site, path, raw = wheel_site(tmp_path, has_metadata=False, metadata_sha256="")
    client = Client(site.application())
    assert client.get(f"{path}.metadata").status == 404
    client.get(path)
    settled(site)
    assert client.get(f"{path}.metadata").body == raw


def test_provenance_goes_next_to_the_kept_file(tmp_path: Path) -> None:
    site, path, _ = wheel_site(tmp_path, provenance="http://index.test/provenance")
    client = Client(site.application())
    assert client.get(f"{path}.provenance").body == b"{}"
    assert client.get(f"{path}.asc").status == 404
    client.get(path)
    settled(site)
    assert {Path(each).suffix for each in visible(tmp_path)} == {".whl", ".provenance"}


@pytest.mark.parametrize("suffix", [".metadata", ".provenance"])
def test_small_things_have_a_limit(tmp_path: Path, suffix: str) -> None:
    site, path, _ = wheel_site(tmp_path, provenance="http://index.test/provenance", metadata_sha256="")
    site.client.answer = lambda url, headers: whole(bytes(9 << 20))
    assert Client(site.application()).get(path + suffix).status == 502


def test_a_yank_follows_the_page(tmp_path: Path) -> None:
    from pypiserver.upstream.values import RemotePage

    site, path, _ = wheel_site(tmp_path)
    Client(site.application()).get(path)
    settled(site)
    (file,) = site.pages.values()
    for reason, expected in (("broken", {".whl", ".yanked"}), (None, {".whl"})):
        site.files.note_page(RemotePage(file.project, "pypi", "", (replace(file, yanked=reason),)))
        assert {Path(each).suffix for each in visible(tmp_path)} == expected


# -- limits ------------------------------------------------------------------------------------------------------------


def test_too_large_a_file_ends(tmp_path: Path) -> None:
    site = Site(tmp_path, lambda url, headers: whole(DATA), most=1000)
    site.add(remote(NAME, DATA, size=None))
    assert Client(site.application()).get(PATH).status == 502
    settled(site)
    assert visible(tmp_path) == set()


def test_more_fetches_than_may_wait_are_refused(tmp_path: Path) -> None:
    gate = threading.Event()

    def forever() -> Iterator[bytes]:
        gate.wait(10)
        yield b""

    site = Site(tmp_path, lambda url, headers: FakeResponse(200, {}, forever))
    site.files._lanes._most, site.files._lanes._waiting = 2, 1
    files = [site.add(remote(f"raven-{number}.0.tar.gz", DATA)) for number in range(4)]
    for file in files[:3]:
        site.files.transfer(file, _upstream())
    with pytest.raises(Unavailable):
        site.files.transfer(files[3], _upstream())
    gate.set()
    settled(site)
    assert len(site.client.asked) == 3


def test_a_name_that_is_none_is_never_joined(tmp_path: Path) -> None:
    site = site_of(tmp_path, whole(DATA))
    for name in ("../x", ".x", "a/b", "a\\b", ""):
        with pytest.raises(NotFound):
            site.store.open(Key("pypi", "raven", name))
        with pytest.raises(NotFound):
            site.store.begin(Key("pypi", name, "x.whl"), None)


def _upstream() -> Any:
    from .sites import UPSTREAM

    return UPSTREAM


@pytest.mark.parametrize("kind", ["metadata", "provenance", "part"])
def test_small_things_that_drip_are_left(tmp_path: Path, kind: str) -> None:
    """Each byte comes in time, and all of them would take months."""
    size, taken = 3 << 20, [0.0]

    def drip() -> Iterator[bytes]:
        while taken[0] < 10_000:
            taken[0] += 10
            yield b"x"

    drips = FakeResponse(206 if kind == "part" else 200, {"content-range": f"bytes 0-99999/{size}"}, drip)
    site = Site(tmp_path, lambda url, headers: drips, clock=lambda: taken[0])
    file = remote(NAME, b"", size=size, has_metadata=True, provenance="http://index.test/p")
    with pytest.raises(Unavailable):
        if kind == "part":
            small_fetch.fetch_part(site.shared, file, UPSTREAM, 0, 100_000)
        else:
            small_fetch.fetch_companion(site.shared, file, UPSTREAM, f".{kind}")
    assert taken[0] < 100
