"""Uploads and what else a form may ask, as a client sends it and as the folder is afterwards."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pypiserver.backend.digester import Digester
from pypiserver.distributions.filename import parse_filename
from pypiserver.folder.tmpfile import has_unnamed
from tests.make_archives import make_bdist_dumb, make_egg, make_sdist, make_wheel, make_zip

from ...faults import Faults, tree
from ...wsgi import Client, form
from .forms import JSON, act, listed, upload

WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0", summary="A foo")
OTHER_BYTES = make_wheel("foo_bar", "1.0", summary="Another foo")[1]
SDIST, SDIST_BYTES = make_sdist("foo_bar", "1.0")
Serve = Callable[..., Client]
Put = Callable[..., Path]


def folders(client: Client) -> Any:
    return client._application.backend.storage  # type: ignore[attr-defined]


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve(disable_fallback=True)


# -- storing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/simple/", "/simple", "/legacy/", "/legacy", "/pypi/", "/pypi"])
def test_an_upload_is_stored_as_it_is_and_listed_at_once(client: Client, root: Path, path: str) -> None:
    answer = client.upload(WHEEL, WHEEL_BYTES, path=path)
    assert (answer.status, answer.text) == (200, f"{WHEEL} was stored.\n")
    assert set(tree(root)) == {WHEEL} and (root / WHEEL).read_bytes() == WHEEL_BYTES
    assert listed(client)[WHEEL]["hashes"]["sha256"] == hashlib.sha256(WHEEL_BYTES).hexdigest()
    assert client.get(f"/packages/{WHEEL}").body == WHEEL_BYTES
    assert client.get(f"/packages/{WHEEL}.metadata").status == 200


KINDS = [
    make_wheel("foo_bar", "1.0"),
    *[make_sdist("foo_bar", "1.0", format=each) for each in (".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".tgz")],
    make_egg("foo_bar", "1.0"),
    make_bdist_dumb("foo_bar", "1.0"),
    ("foo_bar-1.0.win32-py3.6.exe", b"MZ" + b"\0" * 100),
    ("foo_bar-1.0.win32-py3.6.msi", b"\xd0\xcf\x11\xe0" + b"\0" * 100),
]


@pytest.mark.parametrize(("filename", "content"), KINDS, ids=[name for name, _ in KINDS])
def test_every_kind_of_distribution_can_be_uploaded(client: Client, filename: str, content: bytes) -> None:
    assert client.upload(filename, content, fields={"name": "Foo.Bar", "version": "1.0"}).status == 200
    assert list(listed(client)) == [filename]


def test_a_missing_action_with_a_file_is_an_upload(client: Client) -> None:
    body, kind = form({"name": "foo-bar"}, WHEEL, WHEEL_BYTES)
    assert client.post("/", body, CONTENT_TYPE=kind).status == 200
    assert list(listed(client)) == [WHEEL]


def test_an_upload_takes_the_modes_that_the_operator_chose(client: Client, root: Path) -> None:
    before = os.umask(0o027)
    try:
        client.upload(WHEEL, WHEEL_BYTES)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / WHEEL).stat().st_mode) == 0o640


# -- the same name again -----------------------------------------------------------------------------------------------


def test_the_same_bytes_again_change_nothing(client: Client, root: Path, put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    before = tree(root)
    answer = upload(client, WHEEL, WHEEL_BYTES, gpg_signature="sig")
    assert (answer.status, tree(root)) == (200, before)
    assert WHEEL in answer.text


def test_other_bytes_of_one_name_are_a_conflict(client: Client, root: Path, put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    before = tree(root)
    answer = upload(client, WHEEL, OTHER_BYTES, gpg_signature="sig")
    assert (answer.status, tree(root)) == (409, before)
    assert "already exists" in answer.text and "already exists" in answer.reason


def test_a_file_deeper_in_the_folder_is_a_file_of_that_name_too(client: Client, root: Path, put: Put) -> None:
    put(f"deep/{WHEEL}", WHEEL_BYTES)
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    assert client.upload(WHEEL, OTHER_BYTES).status == 409
    assert set(tree(root)) == {"deep", f"deep/{WHEEL}"}


def test_overwriting_replaces_where_the_file_is(serve: Serve, root: Path, put: Put) -> None:
    for suffix in ("", ".asc", ".provenance", ".yanked"):
        put(f"deep/{WHEEL}{suffix}", WHEEL_BYTES)
    client = serve(overwrite=True)
    client.get("/simple/foo-bar/")
    assert client.upload(WHEEL, OTHER_BYTES).status == 200
    assert set(tree(root)) == {"deep", f"deep/{WHEEL}", f"deep/{WHEEL}.yanked"}
    file = listed(client)[WHEEL]
    assert file["hashes"]["sha256"] == hashlib.sha256(OTHER_BYTES).hexdigest()
    assert file["yanked"] and not file.get("gpg-sig") and "provenance" not in file
    assert client.get(f"/packages/deep/{WHEEL}").body == OTHER_BYTES
    assert client.get(f"/packages/deep/{WHEEL}.asc").status == 404


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_another_folder_is_in_the_way(serve: Serve, root: Path, tmp_path: Path, overwrite: bool) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / WHEEL).write_bytes(WHEEL_BYTES)
    os.utime(second / WHEEL, (1_600_000_000, 1_600_000_000))
    client = serve(roots=[root, second], overwrite=overwrite)
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    assert client.upload(WHEEL, OTHER_BYTES).status == 409
    assert (tree(root), (second / WHEEL).read_bytes()) == ({}, WHEEL_BYTES)
    assert client.upload(SDIST, SDIST_BYTES).status == 200
    assert (root / SDIST).is_file() and set(listed(client)) == {WHEEL, SDIST}


def test_a_file_removed_by_hand_just_now_is_not_taken_for_stored(client: Client, root: Path, put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    assert list(listed(client)) == [WHEEL]
    (root / WHEEL).unlink()
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    assert (root / WHEEL).read_bytes() == WHEEL_BYTES


def test_a_good_upload_takes_the_place_of_a_damaged_file(serve: Serve, root: Path, put: Put) -> None:
    put(WHEEL, WHEEL_BYTES[:-30])
    client = serve(disable_fallback=True)
    answer = client.get("/simple/foo-bar/")
    assert answer.status == 503 and "retry-after" not in answer.headers
    assert WHEEL in answer.text and str(root) not in answer.text
    assert client.upload(WHEEL, WHEEL_BYTES[:-40]).status == 400
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    assert list(listed(client)) == [WHEEL]
    assert client.upload(WHEEL, OTHER_BYTES).status == 409
    assert (root / WHEEL).read_bytes() == WHEEL_BYTES


def test_a_file_that_is_written_or_cannot_be_read_keeps_its_name(
    serve: Serve, root: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(WHEEL, WHEEL_BYTES[:-30], mtime=time.time() - 5)
    client = serve(disable_fallback=True)
    answer = client.get("/simple/foo-bar/")
    assert answer.status == 503 and answer.headers["retry-after"] == "2"
    assert client.upload(WHEEL, WHEEL_BYTES).status == 409
    put(SDIST, SDIST_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(Digester, "read", raising)
        other = serve(disable_fallback=True)
        answer = other.get(f"/simple/{parse_filename(SDIST).project}/")
        assert answer.status == 503 and str(root) not in answer.text
        assert other.upload(SDIST, SDIST_BYTES[:-1]).status == 400
    assert (root / SDIST).read_bytes() == SDIST_BYTES


def raising(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("ending", [".exe", ".msi"])
def test_a_damaged_installer_is_hidden_like_any_damaged_file(ending: str, serve: Serve, put: Put) -> None:
    put(f"foo_bar-1.0.win32{ending}", b"<html>not found</html>")
    client = serve(fallback_url="https://pypi.example/simple")
    answer = client.get("/simple/foo-bar/")
    assert answer.status == 503 and f"foo_bar-1.0.win32{ending}" in answer.text


def test_a_release_with_a_long_version_is_yanked(serve: Serve, put: Put) -> None:
    version = "1" * 217
    put(f"foo-{version}.zip", make_sdist("foo", version, format=".zip")[1])
    client = serve()
    form = urlencode({":action": "yank", "name": "foo", "version": version}).encode()
    assert client.post("/", form, CONTENT_TYPE="application/x-www-form-urlencoded").status == 200
    assert client.get("/simple/foo/", HTTP_ACCEPT="application/vnd.pypi.simple.v1+json").json()["files"][0]["yanked"]


@pytest.mark.parametrize(
    ("standing", "other"),
    [
        ("foo_bar-1.0.tar.gz", "Foo_Bar-1.0.tar.gz"),
        ("foo_bar-1.0.tar.gz", "foo-bar-1.0.tar.gz"),
        ("foo.bar-1.0.tar.gz", "foo_bar-1.0.tar.gz"),
        ("foo_bar-1.0-py3-none-any.whl", "Foo_Bar-1.0-py3-none-any.whl"),
    ],
)
def test_another_spelling_of_a_file_is_a_conflict(
    serve: Serve, root: Path, standing: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = {".whl": WHEEL_BYTES, ".gz": SDIST_BYTES}
    client = serve()
    assert client.upload(standing, content[Path(standing).suffix]).status == 200
    answer = client.upload(other, content[Path(other).suffix])
    assert (answer.status, set(tree(root))) == (409, {standing})
    assert "already exists" in answer.text and standing in answer.text
    os.utime(root / standing, (1_600_000_000, 1_600_000_000))
    with caplog.at_level(logging.WARNING):
        assert serve(overwrite=True).upload(other, content[Path(other).suffix]).status == 200
    assert any("another spelling" in message for message in caplog.messages)


def test_what_differs_in_more_than_spelling_is_another_file(client: Client, root: Path) -> None:
    names = [
        "foo_bar-1.0-py3-none-any.whl",
        "foo_bar-1.0-1-py3-none-any.whl",
        "foo_bar-1.0-py2-none-any.whl",
    ]
    assert [client.upload(name, WHEEL_BYTES).status for name in names] == [200] * 3
    for each in (".tar.gz", ".zip"):
        assert client.upload(*make_sdist("foo_bar", "1.0", format=each)).status == 200
    # Its name differs in a dash alone, and it is a post-release.
    assert client.upload(*make_sdist("foo_bar", "1-0")).status == 200
    assert len(tree(root)) == 6


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filename",
    [
        ".foo-1.0.zip",
        "-foo-1.0.zip",
        "foo 1.0.zip",
        "foö-1.0.zip",
        "foo-1.0.zip/",
        "foo-1.0.zip/..",
        "C:foo-1.0.zip",
        "..%252Ffoo-1.0.zip",
        "foo-1.0.zip\t",
        "foo-1.0.exe.bat",
        "foo-1.0.zip.asc",
        "foo-1.0.zip.yanked",
        "foo.zip",
        "foo-1.0.py",
        "f" * 200 + "-1.0.zip",
        "foo-1.0<script>.zip",
        "foo%2f-1.0.zip",
    ],
)
def test_a_name_that_is_no_distributions_is_refused(client: Client, root: Path, filename: str) -> None:
    answer = client.upload(filename, SDIST_BYTES)
    assert (answer.status, tree(root)) == (400, {})


def test_a_body_that_is_cut_off_leaves_nothing(client: Client, root: Path) -> None:
    body, kind = form({":action": "file_upload"}, WHEEL, WHEEL_BYTES)
    for length in (0, 40, 200, len(body) - 40, len(body) - 5):
        answer = client.post("/", body[:length], CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(body)))
        assert (answer.status, tree(root)) == (400, {})


@pytest.mark.parametrize("settings", [{"max_upload_size": 1000}])
def test_a_body_over_the_limit_is_refused_and_read(serve: Serve, root: Path, settings: dict[str, Any]) -> None:
    body, kind = form({":action": "file_upload"}, WHEEL, WHEEL_BYTES + b"x" * 2000)
    stream = io.BytesIO(body)
    answer = serve(**settings).request("POST", "/", body, CONTENT_TYPE=kind, **{"wsgi.input": stream})  # type: ignore[arg-type]
    assert (answer.status, tree(root), stream.read()) == (413, {}, b"")


@pytest.mark.parametrize(("environ", "is_read"), [
    ({"HTTP_EXPECT": "100-continue", "pypiserver.late_continue": True}, False),
    ({"HTTP_EXPECT": "100-Continue ", "pypiserver.late_continue": True}, False),
    ({"HTTP_EXPECT": "100-continue"}, True),
    ({"pypiserver.late_continue": True}, True),
])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/nowhere/at/all", "/RPC2"])
def test_a_body_that_waits_for_a_word_is_not_asked_for_without_need(
    serve: Serve, environ: dict[str, Any], is_read: bool, path: str
) -> None:
    body = io.BytesIO(bytes(5000))
    client = serve(auther=lambda user, password: False, authenticate="update,list")
    more = {"CONTENT_LENGTH": "5000", "CONTENT_TYPE": "multipart/form-data; boundary=b", "wsgi.input": body}
    answer = client.request("POST", path, **more, **environ)
    assert (answer.status in (401, 404), body.tell() > 0) == (True, is_read)


# -- signatures and attestations ---------------------------------------------------------------------------------------


def test_a_signature_is_stored_next_to_the_file_and_served(client: Client, root: Path) -> None:
    assert upload(client, WHEEL, WHEEL_BYTES, gpg_signature="sig\n").status == 200
    assert (root / f"{WHEEL}.asc").read_bytes() == b"sig\n"
    assert client.get(f"/packages/{WHEEL}.asc").body == b"sig\n"
    assert listed(client)[WHEEL]["gpg-sig"] is True


def test_a_signature_is_stored_with_its_file_or_not_at_all(client: Client, root: Path) -> None:
    assert upload(client, WHEEL, b"damaged", gpg_signature="sig").status == 400
    assert upload(client, WHEEL, WHEEL_BYTES, gpg_signature="s" * 300_000).status == 400
    folders(client)._operations = Faults("name" if has_unnamed(root) else "link").operations
    assert upload(client, WHEEL, WHEEL_BYTES, gpg_signature="sig").status == 503
    assert tree(root) == {}


# -- the other verbs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def release(client: Client, put: Put) -> Client:
    put(WHEEL, WHEEL_BYTES)
    put(f"{WHEEL}.asc", b"sig")
    put(f"deep/{SDIST}", SDIST_BYTES)
    put(*make_wheel("foo_bar", "1.1"))
    put(*make_wheel("foo", "1.0"))
    return client


def test_a_release_is_removed_with_all_its_files(release: Client, root: Path) -> None:
    answer = act(release, "remove_pkg", name="Foo.BAR", version="1.0.0")
    assert (answer.status, answer.text) == (200, "Removed 2 file(s) of Foo.BAR 1.0.0.\n")
    assert set(tree(root)) == {"deep", "foo_bar-1.1-py3-none-any.whl", "foo-1.0-py3-none-any.whl"}
    assert list(listed(release)) == ["foo_bar-1.1-py3-none-any.whl"]
    assert release.get(f"/packages/{WHEEL}").status == 404
    assert act(release, "remove_pkg", name="foo-bar", version="1.0").status == 404
    assert release.upload(WHEEL, OTHER_BYTES).status == 200


def test_a_release_is_removed_from_every_folder(serve: Serve, root: Path, tmp_path: Path, put: Put) -> None:
    second = tmp_path / "second"
    second.mkdir()
    put(WHEEL, WHEEL_BYTES)
    for name, content in ((WHEEL, OTHER_BYTES), (SDIST, SDIST_BYTES)):
        (second / name).write_bytes(content)
        os.utime(second / name, (1_600_000_000, 1_600_000_000))
    client = serve(roots=[root, second])
    assert set(listed(client)) == {WHEEL, SDIST}
    assert "Removed 3 file(s)" in act(client, "remove_pkg", name="foo-bar", version="1.0").text
    left = tree(root)
    assert (left.keys(), tree(second)) == ({".status", ".status/foo-bar"}, {})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": "foo-bar"}, 400),
        ({"version": "1.0"}, 400),
        ({"name": "foo-bar", "version": ""}, 400),
        ({"name": "foo-bar", "version": "9"}, 404),
        ({"name": "foo", "version": "1.1"}, 404),
        ({"name": "nothing", "version": "1.0"}, 404),
        ({"name": "f" * 4000, "version": "1" * 4000}, 404),
        ({"name": "../../etc", "version": "1.0"}, 404),
    ],
)
@pytest.mark.parametrize("action", ["remove_pkg", "yank", "unyank"])
def test_only_a_release_that_is_here_is_changed(
    release: Client, root: Path, action: str, fields: dict[str, str], status: int
) -> None:
    before = tree(root)
    answer = act(release, action, **fields)
    assert (answer.status, tree(root)) == (status, before)
    assert len(answer.text) < 500


def test_what_cannot_be_removed_is_named_and_the_rest_is_removed(release: Client, root: Path) -> None:
    # The first removal is the sdist's, in its own folder; the second finds the disk read-only.
    folders(release)._operations = Faults("unlink", errno.EROFS, at=0).operations
    answer = act(release, "remove_pkg", name="foo-bar", version="1.0")
    left = [name for name in (WHEEL, f"deep/{SDIST}") if name in tree(root)]
    assert answer.status == 403 and len(left) == 1
    assert left[0].rpartition("/")[2] in answer.text and "1 of 2 files" in answer.text
    assert len(listed(release)) == 2


def test_a_yank_never_removes_and_can_be_taken_back(release: Client, root: Path) -> None:
    answer = act(release, "yank", name="foo_bar", version="1.0", reason=" breaks\n\x1b[31m <b>everything</b>\n")
    assert (answer.status, answer.text) == (200, "Yanked 2 file(s) of foo_bar 1.0.\n")
    assert {name for name in tree(root) if name.endswith(".yanked")} == {f"{WHEEL}.yanked", f"deep/{SDIST}.yanked"}
    assert {name: file.get("yanked", False) for name, file in listed(release).items()} == {
        WHEEL: "breaks [31m <b>everything</b>",
        SDIST: "breaks [31m <b>everything</b>",
        "foo_bar-1.1-py3-none-any.whl": False,
    }
    assert 'data-yanked="breaks [31m &lt;b&gt;everything' in release.get("/simple/foo-bar/").text
    assert release.get(f"/packages/{WHEEL}").status == 200
    assert act(release, "unyank", name="foo-bar", version="1.0").text.startswith("Took back the yank of 2 file(s)")
    assert not any(name.endswith(".yanked") for name in tree(root))
    assert not any(file.get("yanked") for file in listed(release).values())


def test_one_file_can_be_yanked_without_a_reason(release: Client, root: Path) -> None:
    assert act(release, "yank", name="foo-bar", version="1.0", filename=WHEEL).status == 200
    assert (root / f"{WHEEL}.yanked").read_bytes() == b""
    assert {name: bool(file.get("yanked")) for name, file in listed(release).items()}[WHEEL]
    assert act(release, "yank", name="foo-bar", version="1.0", filename="foo-1.0-py3-none-any.whl").status == 404
    assert act(release, "unyank", name="foo-bar", version="1.0", filename=WHEEL).status == 200
    assert not (root / f"{WHEEL}.yanked").exists()


def test_a_reason_longer_than_any_page_wants_is_refused(release: Client, root: Path) -> None:
    before = tree(root)
    assert act(release, "yank", name="foo-bar", version="1.0", reason="x" * 10_000).status == 400
    assert tree(root) == before


@pytest.mark.parametrize("action", ["submit", "verify", "register"])
def test_a_registration_is_accepted_and_stores_nothing(client: Client, root: Path, action: str) -> None:
    assert (act(client, action, name="foo", version="1.0").status, tree(root)) == (200, {})


@pytest.mark.parametrize("filename", ["docs.zip", "foo-1.0.zip"])
def test_documentation_is_refused_with_the_reason(client: Client, root: Path, filename: str) -> None:
    answer = client.upload(filename, make_zip({"index.html": b""}), fields={":action": "doc_upload", "name": "foo"})
    assert (answer.status, tree(root)) == (400, {})
    assert answer.text.strip() == answer.reason


def test_a_form_without_a_file_may_be_urlencoded(release: Client, root: Path) -> None:
    kind = "application/x-www-form-urlencoded"
    assert release.post("/", b":action=remove_pkg&name=foo-bar&version=1.0", CONTENT_TYPE=kind).status == 200
    assert WHEEL not in tree(root)
    assert release.post("/", b"a=" + b"x" * 2_000_000, CONTENT_TYPE=kind).status == 400
    assert release.post("/", b"&".join([b"a=1"] * 2000), CONTENT_TYPE=kind).status == 400


@pytest.mark.parametrize("status", ["archived", "quarantined"])
def test_a_closed_project_takes_no_uploads(serve: Serve, root: Path, put: Put, status: str) -> None:
    put(".status/foo-bar", f"{status}\nno longer ours\n".encode())
    put(WHEEL, WHEEL_BYTES)
    client, before = serve(), tree(root)
    answer = client.upload(SDIST, SDIST_BYTES)
    assert (answer.status, tree(root)) == (403, before)
    assert f"foo-bar is {status} (no longer ours)" in answer.text


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EACCES, 403),
        (errno.EROFS, 403),
        (errno.EPERM, 403),
        (errno.ENOSPC, 507),
        (errno.EDQUOT, 507),
        (errno.EIO, 503),
    ],
    ids=lambda value: errno.errorcode.get(value, value),
)
@pytest.mark.parametrize("name", ["open", "write", "fsync"])
def test_a_disk_that_takes_nothing_is_said_and_left_as_it_was(
    client: Client, root: Path, put: Put, name: str, number: int, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    put(SDIST, SDIST_BYTES)
    before = tree(root)
    good, folders(client)._operations = folders(client)._operations, Faults(name, number).operations
    answer = upload(client, WHEEL, WHEEL_BYTES, gpg_signature="sig")
    assert (answer.status, tree(root)) == (status, before)
    assert answer.reason and str(root) not in answer.text
    assert os.strerror(number) in caplog.text and str(root) in caplog.text
    assert list(listed(client)) == [SDIST]
    folders(client)._operations = good
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200


@pytest.mark.parametrize("name", ["link", "replace", "fsync", "open"])
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_refused_upload_shows_nothing_now_or_later(
    serve: Serve, root: Path, put: Put, name: str, at: int, overwrite: bool
) -> None:
    if overwrite:
        put(WHEEL, OTHER_BYTES)
        put(f"{WHEEL}.asc", b"old")
    client = serve(overwrite=overwrite, disable_fallback=True)
    before, seen = tree(root), listed(client)
    faults = Faults(name, at=at)
    folders(client)._operations = faults.operations
    answer = upload(client, WHEEL, WHEEL_BYTES, gpg_signature="sig")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    if faults.happened():
        assert (answer.status, tree(root), listed(client)) == (503, before, seen)
    else:
        assert (answer.status, set(tree(root))) == (200, {WHEEL, f"{WHEEL}.asc"})


@pytest.fixture
def tainted() -> Iterator[dict[str, str]]:
    """Every field an upload may have, each with a marker of its own."""
    fields = """metadata_version summary description description_content_type author author_email maintainer home_page
        download_url license keywords classifiers platform requires_dist requires_python project_urls comment
        pyversion filetype provides_extra dynamic unknown_field"""
    names = fields.split()
    yield {name: f"taint-{name}-\r\n<script>" for name in names}


def test_no_field_of_a_form_gets_into_a_page_a_path_or_the_log(
    client: Client, root: Path, tainted: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="pypiserver"):
        answer = upload(client, WHEEL, WHEEL_BYTES, **tainted, name="foo-bar", version="1.0", gpg_signature="sig")
        bodies = [answer.body]
        for path in ("/", "/simple/", "/simple/foo-bar/", "/packages/", "/foo-bar/json", "/pypi/foo-bar/1.0/json"):
            bodies.append(client.get(path).body)
        bodies.append(client.get("/simple/foo-bar/", HTTP_ACCEPT=JSON).body)
        bodies.append(client.get(f"/packages/{WHEEL}.metadata").body)
        upload(client, SDIST, SDIST_BYTES, **tainted, name="other")
        act(client, "explode", **tainted)
    assert answer.status == 200
    assert not any(b"taint-" in body for body in bodies)
    assert not any("taint-" in str(key) or "taint-" in str(value) for key, value in tree(root).items())
    assert "taint-" not in caplog.text
