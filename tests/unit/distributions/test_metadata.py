"""Metadata out of real archives, and archives that are not what they should be."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import io
import struct
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.distributions import archive_limits, metadata
from pypiserver.distributions import core_metadata as reader
from pypiserver.distributions.core_metadata import valid_requires_python
from pypiserver.distributions.filename import parse_filename
from pypiserver.errors import InvalidDistribution
from tests.make_archives import (
    core_metadata,
    make_bdist_dumb,
    make_egg,
    make_sdist,
    make_tar,
    make_wheel,
    make_zip,
)
from tests.raising import raises

RAW = core_metadata("foo", "1.0")


def read(archive: tuple[str, bytes]) -> bytes | None:
    return metadata.read_metadata(io.BytesIO(archive[1]), parse_filename(archive[0]))


def check(archive: tuple[str, bytes]) -> None:
    dist, file = parse_filename(archive[0]), io.BytesIO(archive[1])
    metadata.read_upload(file, dist)


GOOD = [
    make_wheel("foo", "1.0"),
    *[make_sdist("foo", "1.0", format=ending) for ending in (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")],
    make_egg("foo", "1.0"),
    make_bdist_dumb("foo", "1.0"),
]


@pytest.mark.parametrize("archive", GOOD, ids=[name for name, _ in GOOD])
def test_metadata_comes_out_of_every_kind_and_a_good_file_passes(archive: tuple[str, bytes]) -> None:
    raw = read(archive)
    if "linux" in archive[0]:
        assert raw is None
    else:
        assert metadata.parse_metadata(raw or b"").name == "foo"
    check(archive)


def test_the_raw_bytes_are_those_in_the_wheel() -> None:
    raw = b"Metadata-Version: 2.1\r\nName: foo\r\nVersion: 1.0\r\n\r\n caf\xc3\xa9 \xff"
    assert read(make_wheel("foo", "1.0", metadata=raw)) == raw


def test_an_egg_that_is_a_script_is_read_too_but_no_wheel_is_one() -> None:
    name, data = make_egg("foo", "1.0")
    assert read((name, b"#!/bin/sh\n" + data)) == read((name, data))
    name, data = make_wheel("foo", "1.0")
    with raises(InvalidDistribution, rule="bytes-before"):
        read((name, b"#!/bin/sh\n" + data))


def test_a_stored_member_is_read_as_well_as_a_deflated_one() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in ("METADATA", "WHEEL", "RECORD"):
            archive.writestr(f"foo-1.0.dist-info/{name}", RAW)
    assert read(("foo-1.0-py3-none-any.whl", buffer.getvalue())) == RAW


def test_an_old_sdist_without_metadata_is_accepted() -> None:
    archive = ("foo-1.0.tar.gz", make_tar({"foo-1.0/setup.py": b""}))
    assert read(archive) is None
    check(archive)


# pip ends with a traceback when it decodes this, uv does not.
LATIN_1 = core_metadata("foo", "1.0", extra=["Author: caf\xe9"]).decode().encode("latin-1")


def replaced(field: str, value: bytes) -> bytes:
    return RAW.replace(field.encode(), value)


BAD = [
    pytest.param(make_wheel("foo", "1.0", leave_out=["METADATA"]), "metadata-missing", id="no METADATA"),
    pytest.param(make_wheel("foo", "1.0", leave_out=["RECORD"]), "metadata-missing", id="no RECORD"),
    pytest.param(make_wheel("foo", "1.0", leave_out=["WHEEL"]), "metadata-missing", id="no WHEEL"),
    pytest.param(make_wheel("foo", "1.0", metadata=core_metadata("bar", "1.0")), "name", id="other name"),
    pytest.param(make_wheel("foo", "1.0", metadata=core_metadata("foo", "2")), "version", id="other version"),
    pytest.param(make_wheel("foo", "1.0", metadata=b"nothing"), "nameless", id="no headers"),
    pytest.param(make_sdist("foo", "1.0", metadata=core_metadata("foo", "9")), "version", id="sdist version"),
    pytest.param(("foo-1.0-py3-none-any.whl", b""), "truncated", id="empty"),
    pytest.param(("foo-1.0-py3-none-any.whl", make_wheel("foo", "1.0")[1][:-40]), "truncated", id="cut off"),
    pytest.param(("foo-1.0.tar.gz", make_sdist("foo", "1.0")[1][:60]), "truncated", id="tar cut off"),
    pytest.param(("foo-1.0.tar.gz", b"no archive at all" * 99), "not-tar", id="no tar"),
    pytest.param(("foo-1.0.tar.gz", bytes(100)), "not-tar", id="zeros that are no block"),
    pytest.param(("foo-1.0.tar.bz2", bytes(1)), "not-tar", id="a zero"),
    pytest.param(("foo-1.0.tar.gz", gzip.compress(bytes(511))), "not-tar", id="packed zeros that are no block"),
    pytest.param(("foo-1.0.zip", make_zip({"../evil": b""})), "leads-out", id="zip leads out"),
    pytest.param(("foo-1.0.zip", make_zip({"/evil": b""})), "leads-out", id="zip absolute"),
    pytest.param(("foo-1.0.tar.gz", make_tar({"foo-1.0/../../evil": b""})), "leads-out", id="tar leads out"),
    pytest.param(("foo-1.0.win32.exe", b"#!/bin/sh"), "not-installer", id="no installer"),
]


@pytest.mark.parametrize(("archive", "rule"), BAD)
def test_a_bad_upload_is_refused_by_its_rule(archive: tuple[str, bytes], rule: str) -> None:
    with raises(InvalidDistribution, rule=rule, filename=archive[0]):
        check(archive)


def test_a_zip_bomb_is_refused_without_unpacking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller one than the real limit lets pass takes seconds less to make.
    monkeypatch.setattr("pypiserver.distributions.archive_limits.RATIO_FROM", 32 * 1024 * 1024)
    bomb = b"\0" * (8 * 1024 * 1024)
    members = {f"zeros-{number}": bomb for number in range(5)}
    name, data = make_wheel("foo", "1.0", extra_members=members)
    assert len(data) < 1_000_000
    with raises(InvalidDistribution, rule="too-large"):
        check((name, data))


def test_metadata_of_monstrous_size_is_refused() -> None:
    huge = RAW + b"x" * archive_limits.MAX_METADATA
    with raises(InvalidDistribution, rule="metadata-too-large"):
        read(make_wheel("foo", "1.0", metadata=huge))
    with raises(InvalidDistribution, rule="metadata-too-large"):
        read(make_sdist("foo", "1.0", metadata=huge))


def test_metadata_whose_size_is_a_lie_is_refused() -> None:
    name, data = make_wheel("foo", "1.0", metadata=RAW + b"y" * 1000)
    at = data.rfind(b"foo-1.0.dist-info/METADATA") - 46
    lie = data[: at + 24] + struct.pack("<L", 10) + data[at + 28 :]
    with raises(InvalidDistribution, rule="two-sizes"):
        read((name, lie))


def test_doubled_metadata_is_refused() -> None:
    buffer = io.BytesIO()
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("foo-1.0.dist-info/METADATA", RAW)
        archive.writestr("foo-1.0.dist-info/METADATA", RAW)
    with raises(InvalidDistribution, rule="metadata-twice"):
        read(("foo-1.0-py3-none-any.whl", buffer.getvalue()))


def test_every_header_is_read() -> None:
    raw = b"""Metadata-Version: 2.4
Name: foo
Version: 1.0
Summary: A foo
Home-page: UNKNOWN
Author-email: a@b.example
License-Expression: MIT
Requires-Python: >=3.8
Requires-Dist: bar>=1
Requires-Dist: baz ; extra == "x"
Provides-Extra: x
Classifier: A :: B
Project-URL: Docs, https://docs.example/
Description-Content-Type: text/markdown

# Foo
"""
    assert metadata.parse_metadata(raw) == metadata.CoreMetadata(
        metadata_version="2.4",
        name="foo",
        version="1.0",
        summary="A foo",
        author_email="a@b.example",
        license_expression="MIT",
        requires_python=">=3.8",
        requires_dist=("bar>=1", 'baz ; extra == "x"'),
        provides_extra=("x",),
        classifiers=("A :: B",),
        project_urls=("Docs, https://docs.example/",),
        description_content_type="text/markdown",
        description="# Foo\n",
    )


@given(st.binary(max_size=300))
def test_reading_metadata_never_fails(raw: bytes) -> None:
    metadata.parse_metadata(raw)


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=8))
def test_a_damaged_wheel_is_read_or_refused(junk: bytes, at: int, patch: bytes) -> None:
    name, data = make_wheel("foo", "1.0")
    for damaged in (junk, data[:at] + patch + data[at + len(patch) :], data[: len(data) - at]):
        try:
            check((name, damaged))
        except InvalidDistribution:
            continue


@given(st.binary(max_size=200), st.integers(0, 250), st.binary(max_size=8))
def test_a_damaged_sdist_is_read_or_refused(junk: bytes, at: int, patch: bytes) -> None:
    name, data = make_sdist("foo", "1.0")
    for damaged in (junk, data[:at] + patch + data[at + len(patch) :], data[: len(data) - at]):
        try:
            check((name, damaged))
        except InvalidDistribution:
            continue


@pytest.mark.parametrize(
    ("text", "valid"),
    [(">=3.8", ">=3.8"), ("", None), (None, None), (">3.5.*", None), ("nonsense", None), (">=3.8,\n <4", ">=3.8, <4")],
)
def test_requires_python_is_kept_only_if_it_can_be_parsed(text: str | None, valid: str | None) -> None:
    assert valid_requires_python(text) == valid


@pytest.mark.parametrize(
    ("archive", "servable"),
    [
        pytest.param(make_wheel("foo", "1.0"), True, id="wheel"),
        pytest.param(make_wheel("foo", "1.0", metadata=core_metadata("bar", "1.0")), False, id="mislabelled wheel"),
        pytest.param(make_sdist("foo", "1.0", metadata_version="2.2"), True, id="static sdist"),
        pytest.param(make_sdist("foo", "1.0", metadata_version="2.1"), False, id="old sdist"),
        pytest.param(
            make_sdist(
                "foo",
                "1.0",
                metadata=core_metadata("foo", "1.0", metadata_version="2.2", extra=["Dynamic: Requires-Dist"]),
            ),
            False,
            id="dynamic sdist",
        ),
        pytest.param(
            make_sdist(
                "foo",
                "1.0",
                metadata=core_metadata("foo", "1.0", metadata_version="2.2", extra=["Dynamic: Description"]),
            ),
            True,
            id="sdist with a dynamic description",
        ),
        pytest.param(make_egg("foo", "1.0"), False, id="egg"),
        pytest.param(make_wheel("foo", "1.0", metadata=LATIN_1), False, id="wheel in Latin-1"),
    ],
)
def test_metadata_is_offered_only_where_clients_may_rely_on_it(archive: tuple[str, bytes], servable: bool) -> None:
    raw = read(archive) or b""
    assert metadata.is_servable(raw, metadata.parse_metadata(raw), parse_filename(archive[0])) is servable


def tar_with(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return buffer.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def audit(archive: tuple[str, bytes]) -> list[archive_limits.ArchiveFault]:
    return metadata.audit_archive(io.BytesIO(archive[1]), parse_filename(archive[0]))


@pytest.mark.parametrize("archive", GOOD, ids=[name for name, _ in GOOD])
def test_an_audit_of_a_good_file_is_empty(archive: tuple[str, bytes]) -> None:
    assert audit(archive) == []


def tampered() -> tuple[str, bytes]:
    name, _ = make_wheel("foo", "1.0")
    record = b"foo.py,sha256=AAAA,1\ngone.py,,\nfoo-1.0.dist-info/METADATA,,\nfoo-1.0.dist-info/RECORD,,\n"
    info = "foo-1.0.dist-info"
    members = {
        "foo.py": b"x",
        f"{info}/METADATA": RAW,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\n",
        f"{info}/RECORD": record,
    }
    return name, make_zip(members)


AUDITED = [
    pytest.param(
        tampered(),
        [("record-hash", "corrupt"), ("record-member", "corrupt"), ("record-row", "corrupt")],
        id="RECORD",
    ),
    pytest.param(
        make_wheel("foo", "1.0", metadata=core_metadata("bar", "1.0")),
        [("name", "mislabelled")],
        id="mislabelled",
    ),
    pytest.param(
        ("foo-1.0.tar.gz", tar_with(link("foo-1.0/a", "../../etc"))),
        [("leads-out", "unsafe")],
        id="link out",
    ),
    pytest.param(("foo-1.0.tar.gz", tar_with(link("foo-1.0/a", "b"))), [], id="link inside"),
    pytest.param(("foo-1.0.zip", make_zip({"a\x1b[2J": b""})), [("character", "unsafe")], id="control characters"),
    pytest.param(("foo-1.0.tar.gz", b"nothing"), [("not-tar", "corrupt")], id="no tar"),
]


def test_a_record_that_fits_nothing_does_not_flood_the_report() -> None:
    name, data = make_wheel("foo", "1.0", extra_members={f"foo/{number}.py": b"" for number in range(500)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members["foo-1.0.dist-info/RECORD"] = b"foo-1.0.dist-info/RECORD,,\n"
    found = audit((name, make_zip(members)))
    assert len(found) == 11
    assert (found[-1].rule, found[-1].kind, "493" in found[-1].reason) == ("record", "corrupt", True)


@pytest.mark.parametrize(("archive", "expected"), AUDITED)
def test_an_audit_names_every_fault(archive: tuple[str, bytes], expected: list[tuple[str, str]]) -> None:
    assert [(fault.rule, fault.kind) for fault in audit(archive)] == expected


PIECES = st.sampled_from(
    [
        *("Name: foo", "name:bar", "Summary:  x y ", " more", "\tmore", "       |more", "Keywords:", "From x", ": x"),
        *(
            "no header",
            "",
            "Content-Type: multipart/mixed; boundary=x",
            "--x",
            "\x0b",
            "\u2028x",
            "é: x",
            "X é",
            "a\rb",
        ),
        *(" ", "Version : 1", "License: UNKNOWN", "Project-URL: a, b", "Classifier: A", "Classifier: B", "Dynamic: x"),
    ]
)


@given(st.lists(PIECES, max_size=6), st.sampled_from(["", "\n", "\n\n", "\n\nbody\n", "\n\n\nbody", "\r\n\r\nx"]))
def test_headers_and_body_are_those_that_the_standard_library_reads(pieces: list[str], end: str) -> None:
    text = "\n".join(pieces) + end
    message = email.parser.HeaderParser(policy=email.policy.compat32).parsestr(text)
    theirs: dict[str, list[str]] = {}
    for name, value in message.items():
        theirs.setdefault(name.lower().replace("-", "_"), []).append(" ".join(value.split()))
    core = metadata.parse_metadata(text.encode())
    for name in ("name", "summary", "keywords", "license"):
        first = theirs.get(name, [""])[0]
        assert " ".join(getattr(core, name).split()) == _shown(first), (name, text)
    for name, field in (("classifier", "classifiers"), ("project_url", "project_urls"), ("dynamic", "dynamic")):
        assert [" ".join(each.split()) for each in getattr(core, field)] == [
            _shown(each) for each in theirs.get(name, [])
        ]
    if "From x" not in pieces and not theirs.get("description"):
        assert core.description.split() == str(message.get_payload()).split()


def _shown(value: str) -> str:
    """What of a header's value is shown: not UNKNOWN, and no bar that continued it."""
    return "" if value == "UNKNOWN" else value.replace(" |more", " more")


@pytest.mark.parametrize("failure", [SyntaxError, RecursionError, ValueError, MemoryError, KeyError])
def test_whatever_packaging_raises_a_requirement_is_shown_as_it_is(
    failure: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its oldest release that we take, 24.0, evaluates the text of a marker as Python does."""

    def fail(text: str) -> None:
        raise failure(text)

    monkeypatch.setattr(reader.requirements, "Requirement", fail)
    monkeypatch.setattr(reader, "SpecifierSet", fail)
    assert reader.parse_requirement("foo  >= 1") == reader.Requirement("foo >= 1")
    assert reader.valid_requires_python(f">=3.{failure.__name__}") is None


@pytest.mark.parametrize(
    "text", ["foo; 'a\0' == extra", "1.0 ===a,b", "foo; " + "(" * 400 + "extra == 'a'" + ")" * 400]
)
def test_a_requirement_that_a_release_of_packaging_fails_at_is_all_name(text: str) -> None:
    assert reader.parse_requirement(text).name in (" ".join(text.split()), "foo")
