"""What a form says is held against the bytes that came with it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.make_archives import core_metadata, make_sdist, make_wheel, make_zip

from ..faults import tree
from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0", summary="A foo")
SDIST, SDIST_BYTES = make_sdist("foo_bar", "1.0")
Serve = Callable[..., Client]


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve(disable_fallback=True)


# What is named is what the sender can correct.
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "other"}, "'other'"),
        ({"version": "1.1"}, "'1.1'"),
        ({"name": "x" * 4000, "version": "1" * 4000}, WHEEL),
        ({"sha256_digest": "0" * 64}, "sha256_digest"),
        ({"md5_digest": "0" * 32}, "md5_digest"),
        ({"blake2_256_digest": "0" * 64}, "blake2_256_digest"),
        ({"blake2_256_digest": "0" * 128}, "blake2_256_digest"),
        ({"sha256_digest": "short"}, "sha256_digest"),
        ({"md5_digest": "ü" * 32}, "md5_digest"),
        ({":action": "explode"}, "'explode'"),
        ({"protocol_version": "2"}, "protocol_version"),
        ({"protocol_version": "1.0"}, "protocol_version"),
        ({"protocol_version": "x" * 4000}, "protocol_version"),
        ({"attestations": "{}"}, "attestations"),
        ({"attestations": "[" * 100_000}, "attestations"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_by_name(
    client: Client, root: Path, fields: Mapping[str, str], named: str
) -> None:
    answer = client.upload(WHEEL, WHEEL_BYTES, fields=fields)
    assert (answer.status, tree(root)) == (400, {})
    assert named in answer.text and len(answer.text) < 2000
    assert answer.reason and len(answer.reason) <= 200


def test_digests_may_be_written_in_any_case_and_md5_in_base64(client: Client) -> None:
    md5 = hashlib.md5(WHEEL_BYTES)
    fields = {
        "sha256_digest": hashlib.sha256(WHEEL_BYTES).hexdigest().upper(),
        "md5_digest": base64.urlsafe_b64encode(md5.digest()).decode(),
        "blake2_256_digest": hashlib.blake2b(WHEEL_BYTES, digest_size=32).hexdigest(),
    }
    assert client.upload(WHEEL, WHEEL_BYTES, fields=fields).status == 200
    assert client.upload(WHEEL, WHEEL_BYTES, fields={**fields, "md5_digest": md5.hexdigest()}).status == 200


def test_the_blake2_digest_of_distutils_is_a_whole_one(client: Client, root: Path) -> None:
    """Python 3.8 to 3.11, and the distutils of setuptools up to 74, call hashlib.blake2b without a size."""
    fields = {"blake2_256_digest": hashlib.blake2b(WHEEL_BYTES).hexdigest()}
    other = {"blake2_256_digest": hashlib.blake2b(b"other").hexdigest()}
    assert (client.upload(WHEEL, WHEEL_BYTES, fields=other).status, tree(root)) == (400, {})
    assert client.upload(WHEEL, WHEEL_BYTES, fields=fields).status == 200


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        (WHEEL, b""),
        (WHEEL, WHEEL_BYTES[:-30]),
        (WHEEL, SDIST_BYTES),
        (SDIST, WHEEL_BYTES),
        (SDIST, SDIST_BYTES[:-200]),
        (WHEEL, make_wheel("foo_bar", "1.1")[1]),
        (WHEEL, make_wheel("foo_bar", "1.0", leave_out=["RECORD"])[1]),
        (WHEEL, make_wheel("foo_bar", "1.0", metadata=core_metadata("other", "1.0"))[1]),
        (WHEEL, make_wheel("foo_bar", "1.0", metadata=core_metadata("foo-bar", "1" * 5000))[1]),
        (WHEEL, make_wheel("foo_bar", "1.0", extra_members={"../../evil": b""})[1]),
        ("foo_bar-1.0.zip", make_zip({"foo_bar-1.0/PKG-INFO": core_metadata("foo_bar", "2.0")})),
        ("foo_bar-1.0.win32.exe", b"no installer"),
    ],
)
def test_an_archive_that_is_not_what_its_name_says_is_refused(
    client: Client, root: Path, filename: str, content: bytes
) -> None:
    answer = client.upload(filename, content)
    assert (answer.status, tree(root)) == (400, {})
    assert f"{filename} is refused" in answer.text


def attestation(filename: str = WHEEL, content: bytes = WHEEL_BYTES) -> dict[str, Any]:
    subject = {"name": filename, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], "predicate": None}
    return {
        "version": 1,
        "verification_material": {"certificate": "MIIC", "transparency_entries": [{}]},
        "envelope": {"statement": base64.b64encode(json.dumps(statement).encode()).decode(), "signature": "c2ln"},
    }


def test_attestations_are_stored_and_served_as_provenance(client: Client, root: Path) -> None:
    members = [attestation()]
    assert client.upload(WHEEL, WHEEL_BYTES, fields={"attestations": json.dumps(members)}).status == 200
    assert set(tree(root)) == {WHEEL, f"{WHEEL}.provenance"}
    answer = client.get(f"/packages/{WHEEL}.provenance")
    assert answer.headers["content-type"] == "application/vnd.pypi.integrity.v1+json"
    (bundle,) = answer.json()["attestation_bundles"]
    assert (answer.json()["version"], bundle["attestations"]) == (1, members)


@pytest.mark.parametrize("other", [attestation(SDIST), attestation(content=b"other")])
def test_attestations_of_another_file_are_refused(client: Client, root: Path, other: dict[str, Any]) -> None:
    answer = client.upload(WHEEL, WHEEL_BYTES, fields={"attestations": json.dumps([other])})
    assert (answer.status, tree(root)) == (400, {})
