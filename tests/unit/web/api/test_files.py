"""Downloads over the application: validators, ranges, caching, what is next to a file, and who may have it."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import re
import sys
import zipfile
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, unquote

import html5lib
import pytest

from pypiserver.web.http.file_body import Blocks
from tests.make_archives import core_metadata, make_sdist, make_wheel

from ...conftest import OLD
from ...wsgi import Client
from ..test_routes import basic

Serve = Callable[..., Client]
Put = Callable[..., Path]
RAW = core_metadata("foo_bar", "1.0") + b"caf\xc3\xa9 \xc2\x85\r\n odd bytes stay as they are"
WHEEL, WHEEL_BYTES = make_wheel(
    "foo_bar", "1.0", metadata=RAW, extra_members={"big.txt": random.Random(1).randbytes(100_000)}
)
SDIST, SDIST_BYTES = make_sdist("foo-bar", "1.1", metadata_version="2.2")
OLD_SDIST, OLD_SDIST_BYTES = make_sdist("foo-bar", "1.2", metadata_version="2.1")
LARGE, LARGE_BYTES = make_wheel("large", "1.0+local.1", extra_members={"big.txt": random.Random(2).randbytes(70_000)})
PATH = f"/packages/{WHEEL}"
ETAG = f'"{hashlib.sha256(WHEEL_BYTES).hexdigest()}"'
SIZE = len(WHEEL_BYTES)
REVALIDATE = "max-age=0, must-revalidate"


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    put(f"{WHEEL}.asc", b"-----BEGIN PGP SIGNATURE-----")
    put(f"{WHEEL}.provenance", b'{"version":1}')
    put(f"{WHEEL}.yanked", b"because\n")
    put(f"sub dir/{SDIST}", SDIST_BYTES)
    put(f"sub dir/{OLD_SDIST}", OLD_SDIST_BYTES)


# -- validators and ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        (ETAG, 304),
        (f'"a", W/"b",{ETAG} , "c"', 304),
        (f"W/{ETAG}", 304),
        ("*", 304),
        ('"a"', 200),
        (ETAG.strip('"'), 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_list_of_known_validators_spares_the_bytes(
    serve: Serve, method: str, if_none_match: str, status: int
) -> None:
    answer = serve().request(method, PATH, HTTP_IF_NONE_MATCH=if_none_match)
    assert (answer.status, answer.headers["etag"]) == (status, ETAG)
    assert answer.headers["cache-control"] == REVALIDATE
    assert answer.body == (WHEEL_BYTES if (method, status) == ("GET", 200) else b"")


MODIFIED = formatdate(OLD, usegmt=True)
RANGES = [
    pytest.param({"HTTP_RANGE": "bytes=0-9"}, slice(0, 10), id="first bytes"),
    pytest.param({"HTTP_RANGE": f"bytes=70-{SIZE * 2}"}, slice(70, None), id="beyond the end"),
    pytest.param({"HTTP_RANGE": "bytes=70-"}, slice(70, None), id="pip resumes"),
    pytest.param({"HTTP_RANGE": "bytes=-100"}, slice(-100, None), id="suffix"),
    pytest.param({"HTTP_RANGE": f"bytes=-{SIZE * 2}"}, slice(0, None), id="poetry's suffix, longer than the file"),
    pytest.param({"HTTP_RANGE": "bytes=5-9", "HTTP_IF_RANGE": ETAG}, slice(5, 10), id="If-Range by tag"),
    pytest.param({"HTTP_RANGE": "bytes=5-9", "HTTP_IF_RANGE": MODIFIED}, slice(5, 10), id="If-Range by date"),
    pytest.param({"HTTP_RANGE": "bytes=5-9", "HTTP_IF_RANGE": '"other"'}, None, id="If-Range of another file"),
    pytest.param({"HTTP_RANGE": "bytes=5-9", "HTTP_IF_RANGE": f"W/{ETAG}"}, None, id="If-Range, weak"),
    pytest.param({"HTTP_RANGE": "bytes=0-1,5-6"}, None, id="two ranges"),
    pytest.param({"HTTP_RANGE": "lines=0-1"}, None, id="other unit"),
    pytest.param({"HTTP_RANGE": "bytes=9-5"}, None, id="backwards"),
]


@pytest.mark.parametrize(("headers", "section"), RANGES)
def test_one_range_is_sent_and_what_is_not_understood_is_ignored(
    serve: Serve, headers: dict[str, str], section: slice | None
) -> None:
    answer = serve().get(PATH, HTTP_ACCEPT_ENCODING="gzip", **headers)
    expected = WHEEL_BYTES[section] if section else WHEEL_BYTES
    assert (answer.status, answer.body == expected) == (206 if section else 200, True)
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["etag"] == ETAG and "content-encoding" not in answer.headers
    if section:
        start, stop, _ = section.indices(SIZE)
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    # HEAD knows no range: it says what GET without one would.
    head = serve().request("HEAD", PATH, **headers)
    assert (head.status, head.headers["content-length"], head.headers["accept-ranges"]) == (200, str(SIZE), "bytes")


def test_a_range_behind_the_end_is_refused_and_not_kept(serve: Serve) -> None:
    answer = serve().get(PATH, HTTP_RANGE=f"bytes={SIZE}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert answer.headers["cache-control"] == "no-store"


def test_lazy_clients_put_a_wheel_together_from_ranges(serve: Serve) -> None:
    """What pip's fast-deps and uv do without metadata: the tail first, then the directory, then one member."""
    client = serve()
    tail = client.get(PATH, HTTP_RANGE="bytes=-16384").body
    head = client.get(PATH, HTTP_RANGE=f"bytes=0-{SIZE - len(tail) - 1}").body
    with zipfile.ZipFile(io.BytesIO(head + tail)) as archive:
        assert archive.read("foo_bar-1.0.dist-info/METADATA") == RAW


# -- caching ---------------------------------------------------------------------------------------------------------

PRIVATE = {"auther": lambda user, password: True, "authenticate": "list,download"}


@pytest.mark.parametrize(
    ("settings", "file", "beside"),
    [
        pytest.param({}, REVALIDATE, REVALIDATE, id="default"),
        pytest.param({"overwrite": True}, REVALIDATE, REVALIDATE, id="overwrite"),
        pytest.param({"cache_control": 60}, "max-age=60, public", REVALIDATE, id="told"),
        pytest.param({"cache_control": 0}, "max-age=0, public", REVALIDATE, id="told nothing is kept"),
        pytest.param({"cache_control": 60, "overwrite": True}, "max-age=60, public", REVALIDATE, id="both"),
        pytest.param(PRIVATE, f"{REVALIDATE}, private", f"{REVALIDATE}, private", id="protected"),
        pytest.param(
            {**PRIVATE, "overwrite": True}, f"{REVALIDATE}, private", f"{REVALIDATE}, private", id="protected overwrite"
        ),
        pytest.param(
            {**PRIVATE, "cache_control": 60}, "max-age=60, private", f"{REVALIDATE}, private", id="protected, told"
        ),
    ],
)
def test_how_long_caches_may_keep_a_file(serve: Serve, settings: dict[str, object], file: str, beside: str) -> None:
    client = serve(**settings)
    for suffix, expected in (("", file), (".metadata", file), (".asc", beside), (".provenance", beside)):
        for method in ("GET", "HEAD"):
            answer = client.request(method, PATH + suffix, HTTP_AUTHORIZATION=basic("a", "b"))
            assert (answer.status, answer.headers["cache-control"]) == (200, expected), suffix
        again = client.get(PATH + suffix, HTTP_IF_NONE_MATCH=answer.headers["etag"], HTTP_AUTHORIZATION=basic("a", "b"))
        assert (again.status, again.headers["cache-control"]) == (304, expected), suffix


# -- what is next to a file ---------------------------------------------------------------------------------------


def test_metadata_is_byte_for_byte_what_is_in_the_wheel(serve: Serve) -> None:
    answer = serve().get(f"{PATH}.metadata", HTTP_ACCEPT_ENCODING="gzip, zstd")
    assert answer.body == RAW
    assert answer.headers["etag"] == f'"{hashlib.sha256(RAW).hexdigest()}"'
    assert answer.headers["content-length"] == str(len(RAW))
    assert answer.headers["cache-control"] == REVALIDATE
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-encoding" not in answer.headers


def test_metadata_of_a_static_sdist_is_served_and_that_of_an_old_one_is_not(serve: Serve) -> None:
    client = serve()
    assert b"Name: foo-bar" in client.get(f"/packages/sub dir/{SDIST}.metadata").body
    answer = client.get(f"/packages/sub dir/{OLD_SDIST}.metadata")
    assert (answer.status, answer.text) == (404, f"The metadata of {OLD_SDIST} is not served on its own.\n")


def test_a_signature_and_attestations_are_sent_as_they_are(serve: Serve, put: Put) -> None:
    client = serve()
    for suffix, kind, body in (
        (".asc", "application/pgp-signature", b"-----BEGIN PGP SIGNATURE-----"),
        (".provenance", "application/vnd.pypi.integrity.v1+json", b'{"version":1}'),
    ):
        answer = client.get(PATH + suffix)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, body, kind)
        assert client.get(PATH + suffix, HTTP_IF_NONE_MATCH=answer.headers["etag"]).status == 304
        put(WHEEL + suffix, b"another one")
        client._application.backend.refresher.scan()  # type: ignore[attr-defined]
        assert client.get(PATH + suffix, HTTP_IF_NONE_MATCH=answer.headers["etag"]).body == b"another one"


def test_a_sidecar_is_nothing_without_its_file(serve: Serve, root: Path, put: Put) -> None:
    (root / WHEEL).unlink()
    put("lonely-1.0.zip.asc", b"signature")
    client = serve()
    for path in (f"{PATH}.asc", f"{PATH}.provenance", f"{PATH}.metadata", "/packages/lonely-1.0.zip.asc"):
        assert client.get(path).status == 404


@pytest.mark.parametrize("suffix", ["", ".metadata", ".asc", ".provenance"])
def test_everything_of_a_file_is_guarded_like_the_file(serve: Serve, suffix: str) -> None:
    client = serve(auther=lambda user, password: password == "right", authenticate="download")
    assert client.get(PATH + suffix).status == 401
    assert client.get(PATH + suffix, HTTP_AUTHORIZATION=basic("a", "wrong")).status == 401
    assert client.get(PATH + suffix, HTTP_AUTHORIZATION=basic("a", "right")).status == 200
    # Which files there are is no business of those who may not have them.
    missing = client.get(f"/packages/missing-1.0.zip{suffix}")
    assert missing.status == 401
    # The list is open all the same.
    assert client.get("/simple/foo-bar/").status == 200
    listed = serve(auther=lambda user, password: False, authenticate="list")
    assert (listed.get(PATH + suffix).status, listed.get("/packages/").status) == (200, 401)


def test_nothing_of_a_quarantined_project_is_sent(serve: Serve, put: Put) -> None:
    put(".status/Foo_Bar", b"quarantined\n")
    client = serve()
    for suffix in ("", ".metadata", ".asc", ".provenance"):
        assert client.get(PATH + suffix).status == 403


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        f"/packages/sub dir/{WHEEL}",
        f"/packages/{SDIST}",
        f"/packages/SUB DIR/{SDIST}",
        f"/packages/sub dir/./{SDIST}",
        f"/packages/sub dir/../sub dir/{SDIST}",
        f"/packages//{WHEEL}",
        f"/packages/{WHEEL}/",
        f"/packages/{WHEEL.upper()}",
        f"/packages/{WHEEL}.yanked",
        f"/packages/{WHEEL}.asc.metadata",
        f"/packages/{WHEEL}.metadata.metadata",
        f"/packages/{WHEEL}\0",
        f"/packages/..\\{WHEEL}",
        "/packages/../catalog-0.sqlite",
        "/packages/.status/foo-bar",
        "/packages/sub dir",
        "/packages/sub dir/",
    ],
)
def test_only_the_very_path_of_a_file_is_its_address(serve: Serve, path: str) -> None:
    answer = serve().get(path)
    assert answer.status == (400 if "\0" in path else 404)


def test_every_link_of_the_listing_leads_to_its_file(serve: Serve, put: Put) -> None:
    name, data = make_wheel("foo_bar", "1!2.0+abc.1")
    put(f"a&b <i> 'ü' #%2F?/{name}", data)
    client = serve()
    body = client.get("/packages/").body
    tree = html5lib.HTMLParser(strict=True).parse(body, transport_encoding="utf-8")
    links = [anchor.get("href") for anchor in tree.iter("{http://www.w3.org/1999/xhtml}a")]
    paths = [f"/packages/{unquote(link.partition('#')[0])}".encode().decode("latin-1") for link in links]
    sent = [client.get("", PATH_INFO=path).body for path in paths]
    assert {WHEEL_BYTES, SDIST_BYTES, OLD_SDIST_BYTES, data} <= set(sent)


@pytest.mark.parametrize(("algorithm", "size"), [("sha256", 64), ("md5", 32), ("off", 0)])
def test_a_link_of_the_listing_carries_the_digest_that_is_wanted(serve: Serve, algorithm: str, size: int) -> None:
    client = serve(hash_algo=algorithm)
    client.get("/simple/foo-bar/")  # by then every file was read
    (link,) = re.findall(f'<a href="{re.escape(WHEEL)}([^"]*)">', client.get("/packages/").text)
    digest = hashlib.new(algorithm, WHEEL_BYTES).hexdigest() if size else ""
    assert link == (f"#{algorithm}={digest}" if size else "") and len(digest) == size


def test_the_listing_has_every_file_of_every_folder_once_and_in_order(
    serve: Serve, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are read at a time, and whichever of two files of one name is offered."""
    for module in ("pypiserver.index.lists", "pypiserver.web.html.file_list"):
        monkeypatch.setattr(f"{module}.ROWS", 3)
    other = tmp_path / "other"
    for number in range(8):
        name, data = make_wheel(f"p{number}", "1.0")
        for folder in [other, root / "sub dir"][: 1 + number % 2]:
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
    client = serve(roots=[root, other])
    body = client.get("/packages/").text
    listed = re.findall(r'<a href="([^"/]*|sub[^"]*)">', body)
    assert [unquote(link.partition("#")[0]) for link in listed] == sorted(
        [*(f"p{number}-1.0-py3-none-any.whl" for number in (0, 2, 4, 6)), WHEEL]
        + [f"sub dir/{name}" for name in (SDIST, OLD_SDIST, *(f"p{n}-1.0-py3-none-any.whl" for n in (1, 3, 5, 7)))]
    )
    assert "<title>Files · pypiserver</title>" in body and body.rstrip().endswith("</html>")


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_large_listing_is_sent_in_blocks_and_revalidated(
    coding: str, serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    # By then every file was read, and the page changes no more.
    client.get("/simple/foo-bar/")
    while client._application.backend.digester.digest_some():  # type: ignore[attr-defined]
        pass
    monkeypatch.setattr("pypiserver.web.http.cached_pages.BLOCK_BYTES", 500)
    blocks: list[int] = []
    take = Blocks._take
    monkeypatch.setattr(Blocks, "_take", lambda self, count: blocks.append(count) or take(self, min(count, 500)))
    whole = client.get("/packages/", HTTP_ACCEPT_ENCODING=coding)
    assert len(blocks) == -(-len(whole.body) // 500) + 1
    assert whole.headers.get("content-encoding", "identity") == coding
    assert str(len(whole.body)) == whole.headers["content-length"]
    body = whole.body if coding == "identity" else gzip.decompress(whole.body)
    assert WHEEL in body.decode("utf-8")
    again = client.get("/packages/", HTTP_ACCEPT_ENCODING=coding, HTTP_IF_NONE_MATCH=whole.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    name, data = make_wheel("later", "1.0")
    assert client.upload(name, data).status == 200
    changed = client.get("/packages/", HTTP_IF_NONE_MATCH=whole.headers["etag"])
    assert (changed.status, name in changed.text) == (200, True)


def test_a_file_that_was_replaced_by_hand_has_the_validator_of_its_new_bytes(
    serve: Serve, put: Put, root: Path
) -> None:
    client = serve(overwrite=True)
    assert client.get(PATH).headers["etag"] == ETAG
    _, other = make_wheel("foo_bar", "1.0", summary="another")
    # In one step: a file that is seen while it is written is hidden until it is whole.
    put(".new", other, mtime=OLD + 7).replace(root / WHEEL)
    # No one told the catalog: the download itself sees that the file is another one.
    answer = client.get(PATH, HTTP_IF_NONE_MATCH=ETAG)
    assert (answer.status, answer.body) == (200, other)
    assert answer.headers["etag"] == f'"{hashlib.sha256(other).hexdigest()}"'


# -- handed over to a proxy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "name", "before"),
    [
        ({"accel": "nginx"}, "x-accel-redirect", "/protected"),
        ({"accel": "nginx", "accel_location": "/inside/"}, "x-accel-redirect", "/inside"),
        ({"accel": "sendfile"}, "x-sendfile", ""),
    ],
)
def test_a_proxy_is_told_which_file_to_send(
    serve: Serve, put: Put, root: Path, settings: dict[str, str], name: str, before: str
) -> None:
    path = f"sub dir/{LARGE}"
    put(path, LARGE_BYTES)
    client = serve(**settings)
    client.get("/simple/large/")
    answer = client.get(f"/packages/{path}", if_none_match="*", range="bytes=0-1")
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"", REVALIDATE)
    assert answer.headers[name] == (quote(f"{before}{root}/{path}") if before else f"{root}/{path}")
    assert answer.headers["etag"] == f'"{hashlib.sha256(LARGE_BYTES).hexdigest()}"'
    assert client.get(f"/packages/{WHEEL}.metadata").body == RAW


@pytest.mark.parametrize("way", ["nginx", "sendfile"])
def test_a_file_the_client_has_is_not_handed_over(serve: Serve, put: Put, way: str) -> None:
    """The proxy would compare with an ETag of its own, of time and size, which builds of one project can share."""
    put(LARGE, LARGE_BYTES)
    client, etag = serve(accel=way), f'"{hashlib.sha256(LARGE_BYTES).hexdigest()}"'
    known = client.get(f"/packages/{LARGE}", HTTP_IF_NONE_MATCH=etag)
    assert (known.status, known.body, known.headers) == (304, b"", {"etag": etag, "cache-control": REVALIDATE})
    assert client.get(f"/packages/{LARGE}", HTTP_IF_NONE_MATCH='"64aa-1"').status == 200


def test_a_small_file_is_for_the_proxy_to_keep(serve: Serve) -> None:
    answer = serve(accel="nginx").get(f"/packages/sub dir/{SDIST}")
    assert (answer.status, answer.body, "x-accel-redirect" in answer.headers) == (200, SDIST_BYTES, False)


@pytest.mark.skipif(sys.platform == "win32", reason="its own folders may not be plain")
@pytest.mark.parametrize("folder", ["50%41", "b\u00fccher"])
def test_a_path_that_apache_would_misread_is_not_handed_over(serve: Serve, put: Put, folder: str) -> None:
    name, data = LARGE, LARGE_BYTES
    put(f"{folder}/{name}", data)
    client = serve(accel="sendfile")
    client.get("/simple/large/")
    answer = client.get(f"/packages/{folder}/{name}")
    assert (answer.status, answer.body, "x-sendfile" in answer.headers) == (200, data, False)


def test_what_is_not_served_is_not_handed_over(serve: Serve, put: Put) -> None:
    client = serve(accel="nginx")
    put(".hidden-1.0.zip", b"secret")
    for path in (".hidden-1.0.zip", "unknown-1.0.zip", "../packages/" + WHEEL):
        answer = client.get(f"/packages/{path}")
        assert (answer.status, "x-accel-redirect" in answer.headers) == (404, False)


# -- the form that PyPI gives to addresses ---------------------------------------------------------------------------

DIGITS = f"12/ab/{'0' * 60}"


@pytest.mark.parametrize("suffix", ["", ".metadata", ".asc", ".provenance"])
@pytest.mark.parametrize("name", [WHEEL, SDIST])
def test_a_lock_file_of_pypi_finds_our_files_by_name(serve: Serve, name: str, suffix: str) -> None:
    client = serve()
    own = client.get(f"/packages/{'sub dir/' if name == SDIST else ''}{name}{suffix}")
    other = client.get(f"/packages/{DIGITS}/{name}{suffix}")
    assert (other.status, other.body, other.headers.get("etag")) == (own.status, own.body, own.headers.get("etag"))


def test_the_form_of_pypi_has_ranges_and_a_head(serve: Serve) -> None:
    client = serve()
    answer = client.get(f"/packages/{DIGITS}/{WHEEL}", HTTP_RANGE="bytes=0-9")
    assert (answer.status, answer.body) == (206, WHEEL_BYTES[:10])
    assert client.request("HEAD", f"/packages/{DIGITS}/{WHEEL}").headers["content-length"] == str(SIZE)


@pytest.mark.parametrize(
    "folder",
    ["12/ab/" + "0" * 59, "12/ab/" + "0" * 61, "12/ab/" + "g" * 60, "12/AB/" + "0" * 60, "1/ab/" + "0" * 60, "x"],
)
def test_any_other_form_finds_nothing(serve: Serve, folder: str) -> None:
    assert serve().get(f"/packages/{folder}/{WHEEL}").status == 404


def test_a_file_that_is_really_there_comes_first(serve: Serve, put: Put) -> None:
    put(f"{DIGITS}/{LARGE}", LARGE_BYTES)
    assert serve().get(f"/packages/{DIGITS}/{LARGE}").body == LARGE_BYTES
