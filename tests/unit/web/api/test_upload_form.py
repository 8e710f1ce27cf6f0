"""The form of an upload: what clients of all ages send is read, and takes no more memory than it may."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.errors import ContentTooLarge
from pypiserver.web.api.upload_form import FIELDS
from pypiserver.web.http.multipart import boundary_of
from tests.make_archives import make_sdist, make_wheel
from tests.multipart_forms import parse_multipart

from ...faults import tree
from ...wsgi import Answer, Client, form
from .forms import act, listed, upload

WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0", summary="A foo")
SDIST, SDIST_BYTES = make_sdist("foo_bar", "1.0")
Serve = Callable[..., Client]


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve(disable_fallback=True)


def test_the_file_may_come_before_the_fields(client: Client, root: Path) -> None:
    content = form({}, WHEEL, WHEEL_BYTES)[0].rpartition(b"--f0rm")[0]
    fields, kind = form({":action": "file_upload", "name": "foo-bar", "md5_digest": "0" * 32})
    assert client.post("/", content + fields, CONTENT_TYPE=kind).status == 400
    fields, kind = form({":action": "file_upload", "name": "foo-bar"})
    assert client.post("/", content + fields, CONTENT_TYPE=kind).status == 200
    assert set(tree(root)) == {WHEEL}


def test_a_form_of_bare_line_feeds_is_understood(client: Client) -> None:
    body, kind = form({":action": "submit", "name": "foo", "version": "1.0"})
    assert client.post("/", body.replace(b"\r\n", b"\n"), CONTENT_TYPE=kind + "; charset=utf-8").status == 200


def test_a_form_of_twenty_thousand_fields_and_a_long_description_is_stored(client: Client, root: Path) -> None:
    fields = {f"classifiers{number}": "x" for number in range(20_000)}
    assert upload(client, WHEEL, WHEEL_BYTES, **fields, description="d" * 1_000_000).status == 200
    assert set(tree(root)) == {WHEEL}


def test_fields_no_one_asks_for_take_no_memory(client: Client) -> None:
    fields = {f"f{number}": "\N{GRINNING FACE}" + "d" * 1_000_000 for number in range(12)}
    body, kind = form({":action": "file_upload", **fields}, WHEEL, WHEEL_BYTES)
    client.get("/simple/")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        stream = io.BytesIO(body)
        own = tracemalloc.get_traced_memory()[0] - before
        answer = client.request("POST", "/", CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(body)), **{"wsgi.input": stream})  # type: ignore[arg-type]
        used = tracemalloc.get_traced_memory()[1] - before - own
    finally:
        tracemalloc.stop()
    assert answer.status == 200
    assert used < 8 * 1024 * 1024


def test_the_body_may_be_chunked(client: Client) -> None:
    body, kind = form({":action": "file_upload"}, WHEEL, WHEEL_BYTES)
    chunked: dict[str, Any] = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    chunked["wsgi.input"] = io.BytesIO(body)
    answer = client.request("POST", "/", body, CONTENT_LENGTH="", CONTENT_TYPE=kind, **chunked)
    assert answer.status == 200
    assert list(listed(client)) == [WHEEL]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/form-data", "multipart/mixed"])
def test_what_is_no_form_is_told_what_an_upload_is(client: Client, root: Path, kind: str) -> None:
    answer = client.post("/", b"hello", CONTENT_TYPE=kind)
    assert (answer.status, tree(root)) == (400, {})
    assert "multipart/form-data" in answer.text


def test_a_form_without_a_file_or_with_two_is_refused(client: Client, root: Path) -> None:
    assert "no file" in act(client, "file_upload", content="x").text
    body, kind = form({}, WHEEL, WHEEL_BYTES)
    twice = body.rpartition(b"--f0rm")[0] + body
    answer = client.post("/", twice, CONTENT_TYPE=kind)
    assert (answer.status, tree(root)) == (400, {})


@pytest.mark.parametrize("fields", [{":action": "file_upload"}, {}])
def test_a_file_in_another_field_is_told_the_right_one(client: Client, root: Path, fields: dict[str, str]) -> None:
    body, kind = form(fields, WHEEL, WHEEL_BYTES)
    answer = client.post("/", body.replace(b'name="content"', b'name="file"'), CONTENT_TYPE=kind)
    assert (answer.status, tree(root)) == (400, {})
    assert "'file'" in answer.text and "'content'" in answer.text


@pytest.mark.parametrize("sent", [f"dist/{WHEEL}", rf"C:\dist\{WHEEL}", WHEEL.replace("_", "%5F"), f"..%2F{WHEEL}"])
def test_a_file_may_be_named_with_its_folder_or_percent_encoded(client: Client, root: Path, sent: str) -> None:
    assert client.upload(sent, WHEEL_BYTES).status == 200
    assert list(tree(root)) == [WHEEL]


def test_a_signature_may_come_without_a_file_name(client: Client) -> None:
    client.upload(WHEEL, WHEEL_BYTES, fields={"gpg_signature": "sig"})
    assert client.get(f"/packages/{WHEEL}.asc").body == b"sig"


def test_the_protocol_may_be_named_or_left_out(client: Client) -> None:
    for version in ("1", ""):
        assert client.upload(WHEEL, WHEEL_BYTES, fields={"protocol_version": version}).status == 200


@pytest.mark.parametrize("action", ["remove_pkg", "yank", "submit"])
def test_no_action_of_another_protocol_is_done(client: Client, root: Path, action: str) -> None:
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    answer = act(client, action, name="foo-bar", version="1.0", protocol_version="2")
    assert (answer.status, list(tree(root))) == (400, [WHEEL])


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("name", [f"{SDIST}.asc", "other-1.0.tar.gz.asc", f"{SDIST}.sig", f"dist/{SDIST}.ASC"])
def test_a_signature_of_another_file_is_refused_with_its_file(
    client: Client, root: Path, name: str, is_first: bool
) -> None:
    answer = signed(client, name, is_first=is_first)
    assert (answer.status, tree(root)) == (400, {})
    assert WHEEL in answer.text and name.rpartition("/")[2] in answer.text


@pytest.mark.parametrize("name", [f"{WHEEL}.asc", f"dist/{WHEEL}.asc", f"{WHEEL}.sig", "signature.asc", "-", "sig"])
def test_a_signature_may_have_a_name_of_no_file(client: Client, root: Path, name: str) -> None:
    assert signed(client, name).status == 200
    assert (root / f"{WHEEL}.asc").read_bytes() == b"sig\n"


def signed(client: Client, name: str, *, is_first: bool = False) -> Answer:
    body, kind = form({":action": "file_upload"}, WHEEL, WHEEL_BYTES)
    signature, _ = form({}, name, b"sig\n")
    parts = [body, signature.replace(b'name="content"', b'name="gpg_signature"')]
    whole = b"".join(each.rpartition(b"--f0rm")[0] for each in (reversed(parts) if is_first else parts))
    return client.post("/", whole + b"--f0rm-b0undary--\r\n", CONTENT_TYPE=kind)


@pytest.mark.parametrize("name", ["name", "version", "filename", "reason", "attestations", "sha256_digest"])
def test_a_field_is_kept_no_further_than_it_may_be(client: Client, name: str) -> None:
    """Each character of more than two bytes makes all of them take four: 16 MiB of fields took 76."""
    body, kind = form({name: "x" * 3_900_000 + "\N{GRINNING FACE}"}, WHEEL, WHEEL_BYTES)
    assert client.post("/", body, CONTENT_TYPE=kind).status == 413
    stream = io.BytesIO(body)
    tracemalloc.start()
    try:
        with pytest.raises(ContentTooLarge):
            parse_multipart(stream, boundary_of(kind), open_part=lambda field, filename: io.BytesIO(), wanted=FIELDS)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 3 * 1024 * 1024


def test_of_a_field_that_comes_again_and_again_the_first_is_kept() -> None:
    body = b"".join(b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n%03d\r\n' % n for n in range(999))
    fields = parse_multipart(
        io.BytesIO(body + b"--b--\r\n"), b"b", open_part=lambda field, filename: io.BytesIO(), wanted={"name": 3}
    )
    assert fields == {"name": ["000"]}
