"""One reading of an archive for all: what readers could see differently is refused, what is harmless is taken."""

from __future__ import annotations

import builtins
import bz2
import email.message
import errno
import gzip
import io
import lzma
import random
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypiserver.distributions import archive_limits, archive_reader, decompression, metadata, tar_headers
from pypiserver.distributions import core_metadata as reader
from pypiserver.distributions.decompression import Unpacked
from pypiserver.distributions.filename import parse_filename
from pypiserver.errors import InvalidDistribution
from tests import odd_archives as odd
from tests.make_archives import core_metadata, make_egg, make_sdist, make_wheel
from tests.odd_archives import AMBIGUOUS, BOMBS, HARMLESS, PKG_INFO, Entry, header, member, wheel_entries, zipped
from tests.raising import raises

# At their full size, and those that take long to make or to refuse, they are for the security tests.
QUICK = {
    **{f"many {kind}": (odd.SDIST, odd.many(kind, 10)) for kind in (
        "long names", "records", "pax headers in a row", "one long line", "global headers that grow",
    )},
    **{kind: BOMBS[kind] for kind in ("a broken xz", "a dictionary of xz")},
}  # fmt: skip
METADATA = (".dist-info/METADATA", "/PKG-INFO")
KINDS = {
    **dict([make_wheel("foo", "1.0"), make_egg("foo", "1.0")]),
    **dict(make_sdist("foo", "1.0", format=ending) for ending in (".tar.gz", ".tar.bz2", ".tar.xz", ".zip")),
}


def scanned(name: str, data: bytes) -> bytes | None:
    return metadata.read_metadata(io.BytesIO(data), parse_filename(name))


def uploaded(name: str, data: bytes) -> bytes | None:
    return metadata.read_upload(io.BytesIO(data), parse_filename(name))


def audited(name: str, data: bytes) -> list[archive_limits.ArchiveFault]:
    return metadata.audit_archive(io.BytesIO(data), parse_filename(name))


@pytest.mark.parametrize("shape", [*AMBIGUOUS, *QUICK])
def test_what_readers_could_see_differently_is_refused_everywhere(shape: str) -> None:
    name, make = {**AMBIGUOUS, **QUICK}[shape]
    data = make()
    [(rule, reason, kind)] = audited(name, data)
    for read in (scanned, uploaded):
        with raises(InvalidDistribution, rule=rule, reason=reason, kind=kind):
            read(name, data)
    assert kind in ("unsafe", "corrupt")
    assert reason.isprintable() and len(reason) < 300


def test_other_bytes_behind_the_end_of_a_zip_archive_are_the_reason() -> None:
    """uv refuses them; pip does not look."""
    name, data = make_wheel("foo", "1.0")
    for behind in (b"\n", bytes(100) + b"x"):
        with raises(InvalidDistribution, rule="bytes-after"):
            scanned(name, data + behind)


@pytest.mark.parametrize("shape", HARMLESS)
def test_what_pip_and_uv_take_is_taken(shape: str) -> None:
    name, make = HARMLESS[shape]
    data = make()
    raw = scanned(name, data)
    assert raw == uploaded(name, data) and metadata.parse_metadata(raw or b"").version == "1.0"
    assert not [fault for fault in audited(name, data) if not fault.rule.startswith("record")]


@pytest.mark.parametrize("shape", QUICK)
def test_little_is_unpacked_and_kept_of_a_bomb_of_headers(shape: str) -> None:
    import tracemalloc

    name, make = QUICK[shape]
    data = io.BytesIO(make())
    tracemalloc.start()
    try:
        with pytest.raises(archive_limits.BadArchive):
            archive_reader.read_contents(data, parse_filename(name), is_thorough=True)
        # A stream of xz has a dictionary of 8 MiB.
        assert tracemalloc.get_traced_memory()[1] < (2 if shape.startswith("many") else 16) << 20
    finally:
        tracemalloc.stop()


def test_each_header_is_read_once_and_no_byte_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            read.append(len(data))
            return data

    headers: list[bytes] = []
    checked = tar_headers.is_header
    monkeypatch.setattr(tar_headers, "is_header", lambda block: headers.append(block) or checked(block))
    noise = random.Random(1).randbytes(3_000_000)
    data = odd.sdist(member("foo-1.0/a", noise), PKG_INFO, *[header(f"foo-1.0/{n}") for n in range(500)])()
    uploaded(odd.SDIST, data)
    with Counted(data) as file:
        read.clear()
        headers.clear()
        metadata.read_upload(file, parse_filename(odd.SDIST))
    assert len(headers) == 503
    assert sum(read) < len(data) + 70_000


def test_a_limit_holds_for_the_number_of_members_before_objects_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_headers, "MAX_MEMBERS", 50)
    made: list[object] = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: made.append(1))
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: made.append(1))
    with raises(InvalidDistribution, rule="too-many-members"):
        uploaded(odd.SDIST, odd.sdist(PKG_INFO, *[header("a")] * 60)())
    with raises(InvalidDistribution, rule="directory-too-large"):
        uploaded(odd.WHEEL, odd.many_members(300_000))
    assert made == []


def test_names_are_kept_as_bytes_and_only_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(archive_reader, "MAX_NAMES", 1 << 20, raising=False)
    wide = [odd.long_name(f"foo-1.0/{n:04}\U0001f600" + "a" * 3_000) + member("a") for n in range(1_500)]
    uploaded(odd.SDIST, odd.sdist(PKG_INFO, *wide[:300])())
    data = odd.sdist(PKG_INFO, *wide)()
    tracemalloc.start()
    try:
        with raises(InvalidDistribution, rule="names-too-long"):
            scanned(odd.SDIST, data)
        # As text each of these characters takes four bytes.
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("size", "said"), [(4 << 20, 4 << 20), (4 << 20, 1000)])
def test_a_member_that_may_end_early_is_not_unpacked_without_a_limit(
    monkeypatch: pytest.MonkeyPatch, size: int, said: int
) -> None:
    made: list[int] = []

    class Counted:
        def __init__(self, wbits: int) -> None:
            self._stream = original(wbits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            unpacked = self._stream.decompress(data, most)
            made.append(len(unpacked))
            return unpacked

    data = odd.unpacks_much(size, said)
    original = zlib.decompressobj
    monkeypatch.setattr(archive_limits, "RATIO_FROM", 1 << 20)
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    for read in (scanned, uploaded):
        with pytest.raises(InvalidDistribution):
            read(odd.WHEEL, data)
    assert sum(made) < 1 << 20


EXCEPTIONS = sorted(
    {
        each
        for each in vars(builtins).values()
        if isinstance(each, type) and issubclass(each, Exception) and not issubclass(each, (UnicodeError, Warning))
        and "Group" not in each.__name__
    },
    key=lambda each: each.__name__,
)  # fmt: skip
MORE = [zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, UnicodeError]


def raising(error: type[Exception]) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error("injected")

    return call


class Broken:
    """A decompressor that fails when it is used."""

    eof, needs_input, unused_data, unconsumed_tail = False, True, b"", b""

    def __init__(self, error: type[Exception]) -> None:
        self.decompress = raising(error)


FOREIGN: dict[str, tuple[str, Callable[[pytest.MonkeyPatch, type[Exception]], None]]] = {
    "zlib, made": ("foo-1.0.tar.gz", lambda patch, error: patch.setattr(zlib, "decompressobj", raising(error))),
    "zlib, used": ("foo-1.0.tar.gz", lambda patch, error: patch.setattr(
        zlib, "decompressobj", lambda *_: Broken(error))),
    "zlib in a zip": (odd.WHEEL, lambda patch, error: patch.setattr(zlib, "decompressobj", raising(error))),
    "bz2, made": ("foo-1.0.tar.bz2", lambda patch, error: patch.setattr(bz2, "BZ2Decompressor", raising(error))),
    "bz2, used": ("foo-1.0.tar.bz2", lambda patch, error: patch.setattr(
        bz2, "BZ2Decompressor", lambda: Broken(error))),
    "lzma, made": ("foo-1.0.tar.xz", lambda patch, error: patch.setattr(lzma, "LZMADecompressor", raising(error))),
    "lzma, used": ("foo-1.0.tar.xz", lambda patch, error: patch.setattr(
        lzma, "LZMADecompressor", lambda *_, **__: Broken(error))),
    "tarfile, opened": ("foo-1.0.tar.gz", lambda patch, error: patch.setattr(tarfile, "open", raising(error))),
    "tarfile, next": ("foo-1.0.tar.gz", lambda patch, error: patch.setattr(tarfile.TarFile, "next", raising(error))),
    "tarfile, read": ("foo-1.0.tar.gz", lambda patch, error: patch.setattr(
        tarfile.TarFile, "extractfile", raising(error))),
    "zipfile, opened": (odd.WHEEL, lambda patch, error: patch.setattr(zipfile, "ZipFile", raising(error))),
    "zipfile, listed": (odd.WHEEL, lambda patch, error: patch.setattr(zipfile.ZipFile, "infolist", raising(error))),
    "zipfile, read": (odd.WHEEL, lambda patch, error: patch.setattr(zipfile.ZipFile, "read", raising(error))),
}  # fmt: skip


@pytest.mark.parametrize("call", FOREIGN)
def test_whatever_a_library_raises_is_a_bad_archive(call: str) -> None:
    name, inject = FOREIGN[call]
    for error in [*EXCEPTIONS, *MORE]:
        with pytest.MonkeyPatch.context() as patch:
            inject(patch, error)
            with pytest.raises(InvalidDistribution, match="injected"):
                uploaded(name, KINDS[name])


@pytest.mark.parametrize("error", [*EXCEPTIONS, *MORE])
def test_whatever_packaging_raises_over_metadata_is_metadata_that_cannot_be_parsed(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    monkeypatch.setattr(reader, "SpecifierSet", raising(error))
    monkeypatch.setattr(reader.requirements, "Requirement", raising(error))
    # Texts that are not remembered.
    assert reader.valid_requires_python(f">=3, !={error.__name__}") is None
    text = f"bar>={error.__name__}"
    assert reader.parse_requirement(text).name == text


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken disk"), OSError("the store is away")])
def test_a_storage_that_fails_is_no_fault_of_the_archive(error: OSError) -> None:
    class Failing(io.BytesIO):
        left = 10_000

        def read(self, size: int | None = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise error
            return super().read(size)

    for name, data in KINDS.items():
        with Failing(data) as whole:
            metadata.read_upload(whole, parse_filename(name))
            reads = 10_000 - whole.left
        for number in range(reads):
            with Failing(data) as file:
                file.left = number
                with pytest.raises(OSError) as caught:
                    metadata.read_upload(file, parse_filename(name))
                assert caught.value is error


def test_headers_are_read_and_no_parts_are_made_of_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Name: foo\nVersion: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n"
    for depth in range(3_000):
        text += f"--{'a' * (depth + 1)}\nContent-Type: multipart/mixed; boundary={'a' * (depth + 2)}\n\n"
        if len(text) > 200_000:
            break
    made: list[object] = []
    original = email.message.Message.__init__
    monkeypatch.setattr(
        email.message.Message, "__init__", lambda self, *args, **more: made.append(1) or original(self, *args, **more)
    )
    core = metadata.parse_metadata(text.encode())
    assert (core.name, core.version, len(made)) == ("foo", "1.0", 0)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_lacks_its_end_is_refused_by_upload_and_scan_alike(name: str) -> None:
    data = KINDS[name]
    for missing in range(1, min(64, len(data))):
        for read in (scanned, uploaded):
            with pytest.raises(InvalidDistribution):
                read(name, data[:-missing])


def outcome(read: Callable[[str, bytes], bytes | None], name: str, data: bytes) -> tuple[bool, object]:
    try:
        return True, read(name, data)
    except InvalidDistribution as error:
        return False, error.reason


def by_library(name: str, data: bytes) -> bytes | None:
    """The metadata as a client finds it with the standard library, unpacked one member after the other."""
    members: dict[str, bytes] = {}
    if name.endswith((".whl", ".zip", ".egg")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Damage to other members of a zip is for its RECORD, and for ``check``.
            names = [path for path in archive.namelist() if path.endswith(METADATA)]
            members = {path: archive.read(path) for path in names}
            assert len(members) == len(names)
    else:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for each in tar:
                stream = tar.extractfile(each) if each.isreg() else None
                if stream is not None:
                    members[each.name] = stream.read()
    found = [data for path, data in members.items() if path.endswith(METADATA)]
    assert len(found) <= 1
    return found[0] if found else None


def tar_of(data: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.fileobj is not None
        archive.fileobj.seek(0)
        return archive.fileobj.read()


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid archive with some bytes changed, taken out, doubled or moved, before it was compressed or after."""
    name = draw(st.sampled_from(sorted(KINDS)))
    data = KINDS[name]
    packer: Callable[[bytes], bytes] = bytes
    if ".tar." in name and draw(st.booleans()):
        data = tar_of(data)
        packer = {"gz": gzip.compress, "z2": bz2.compress, "xz": lzma.compress}[name[-2:]]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 600)))
        piece = draw(st.sampled_from([b"", data[at:end] * 2, b"\0" * 512, b"PK\3\4", b"PK\5\6", PKG_INFO]) | st.binary(
            max_size=6
        ))  # fmt: skip
        data = data[:at] + piece + data[end if draw(st.booleans()) else at + len(piece) :]
    return name, packer(data)


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_accepted_by_upload_is_listed_by_a_scan_and_is_what_the_library_finds(archive: tuple[str, bytes]) -> None:
    name, data = archive
    by_upload, by_scan = outcome(uploaded, name, data), outcome(scanned, name, data)
    if by_upload[0]:
        assert by_upload == by_scan
        assert by_upload[1] == by_library(name, data)
    elif not by_scan[0]:
        assert by_upload == by_scan
    else:
        # What only an upload must not be is what ``check`` says of a file that is listed.
        assert by_upload[1] in [fault.reason for fault in audited(name, data)]


@settings(max_examples=50, deadline=None)
@given(damaged())
def test_work_is_bounded_by_the_input(archive: tuple[str, bytes]) -> None:
    name, data = archive

    class Counted(io.BytesIO):
        done = calls = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.done += len(data)
            self.calls += 1
            return data

    with Counted(data) as file:
        outcome(lambda *_: metadata.read_upload(file, parse_filename(name)), name, data)
        assert file.done < 12 * len(data) + 200_000 and file.calls < len(data) + 100


@given(st.binary(max_size=4000), st.sampled_from(["gz", "bz2", "xz", "plain"]), st.lists(st.integers(0, 700)))
def test_a_stream_is_unpacked_as_the_library_does(data: bytes, form: str, sizes: list[int]) -> None:
    if form == "plain":
        data = b"x" + data
    packed = {"gz": lambda: gzip.compress(data), "bz2": lambda: bz2.compress(data),
              "xz": lambda: lzma.compress(data), "plain": lambda: data}[form]()  # fmt: skip
    stream = Unpacked(io.BytesIO(packed), 1 << 20)
    at = 0
    for number, size in enumerate(sizes):
        taken = stream.skip(size) if number % 2 else len(stream.read(size))
        assert taken == min(size, len(data) - at)
        at += taken
        assert stream.position == at
    assert stream.read(1 << 20) == data[at:]


def test_a_dictionary_of_xz_is_not_made_however_large_it_says_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[object] = []
    made = lzma.LZMADecompressor
    monkeypatch.setattr(
        lzma, "LZMADecompressor", lambda *args, **more: limits.append(more.get("memlimit")) or made(*args, **more)
    )
    with pytest.raises(InvalidDistribution, match="emory"):
        uploaded("foo-1.0.tar.xz", odd.greedy_xz())
    assert limits == [decompression.XZ_MEMORY]


def test_a_wheel_of_many_folders_and_an_old_one_without_spelling_are_read() -> None:
    entries = wheel_entries(info="Foo-1.0.dist-info")
    assert uploaded("foo-1.0-py2.py3-none-any.whl", zipped([*entries, *[Entry(f"foo/{n}/") for n in range(300)]]))
    name, data = make_wheel("zope-interface", "3.0", metadata=core_metadata("zope.interface", "3.0"))
    assert uploaded(name, data) == core_metadata("zope.interface", "3.0")
