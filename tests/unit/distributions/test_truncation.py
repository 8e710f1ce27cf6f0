"""A file that is cut off is told from one that is whole, by its bytes alone."""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.distributions.filename import parse_filename
from pypiserver.distributions.truncation import is_whole
from tests.make_archives import make_sdist, make_wheel

from ..storage_contract import files
from ..waiting import eventually
from ..wsgi import Client

ARCHIVES = {
    "wheel": make_wheel("foo", "1.0"),
    "zip": make_sdist("foo", "1.0", format=".zip"),
    "gzip": make_sdist("foo", "1.0", format=".tar.gz"),
    "bzip2": make_sdist("foo", "1.0", format=".tar.bz2"),
    "xz": make_sdist("foo", "1.0", format=".tar.xz"),
}
every_archive = pytest.mark.parametrize(("name", "data"), ARCHIVES.values(), ids=ARCHIVES)


@every_archive
def test_a_whole_archive_is_whole(name: str, data: bytes) -> None:
    assert is_whole(io.BytesIO(data), parse_filename(name)) is True


@every_archive
@pytest.mark.parametrize("length", [2, 22, 100, -30, -1])
def test_a_cut_off_archive_is_not(name: str, data: bytes, length: int) -> None:
    assert is_whole(io.BytesIO(data[:length]), parse_filename(name)) is False


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("foo-1.0.win32.exe", b"MZ", id="installer"),
        pytest.param("foo-1.0.tar.gz", b"", id="nothing yet"),
        pytest.param(ARCHIVES["gzip"][0], ARCHIVES["gzip"][1] + b"\0" * 10, id="padding"),
        pytest.param(ARCHIVES["gzip"][0], ARCHIVES["gzip"][1] * 2, id="a second stream"),
    ],
)
def test_what_does_not_tell(name: str, data: bytes) -> None:
    assert is_whole(io.BytesIO(data), parse_filename(name)) is None


def test_a_stream_that_unpacks_to_very_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    name, data = ARCHIVES["gzip"]
    monkeypatch.setattr("pypiserver.distributions.truncation.MAX_UNPACKED", 100)
    assert is_whole(io.BytesIO(data), parse_filename(name)) is None


def with_a_hole(path: Path, data: bytes, at: int) -> None:
    """Write all but 128 KiB, which the file system then has no blocks for."""
    with path.open("wb") as file:
        file.write(data[:at])
        file.seek(at + 131_072)
        file.write(data[at + 131_072 :])
    os.utime(path, (1_600_000_000, 1_600_000_000))


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="the system does not tell holes")
@pytest.mark.parametrize("what", ["noise", "zeros"])
def test_a_wheel_with_a_part_that_was_never_written_is_not_listed(
    what: str, root: Path, serve: Callable[..., Client]
) -> None:
    """A downloader wrote the tail first and pauses; a sparse copy of zeros has holes too, and is whole."""
    noise = random.Random(1).randbytes(600_000)
    member = noise if what == "noise" else noise[:200_000] + bytes(300_000) + noise[:100_000]
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        for name, content in zip_members(make_wheel("foo", "1.0", extra_members={"foo.bin": member})[1]).items():
            archive.writestr(name, content)
    with_a_hole(root / "foo-1.0-py3-none-any.whl", stored.getvalue(), 262_144)
    client = serve(disable_fallback=True)
    answer = client.get("/simple/foo/")
    assert (answer.status, len(files(client))) == ((503, 0) if what == "noise" else (200, 1))
    assert what == "zeros" or "a part of it was never written" in answer.text


def zip_members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("suffix", [".aria2", ".st"])
def test_a_file_is_not_listed_while_a_downloader_says_that_it_is_not_whole(
    suffix: str, root: Path, serve: Callable[..., Client]
) -> None:
    name, data = ARCHIVES["wheel"]
    (root / name).write_bytes(data)
    (root / f"{name}{suffix}").write_bytes(b"pieces")
    client = serve(disable_fallback=True)
    answer = client.get("/simple/foo/")
    assert answer.status == 503 and answer.headers["retry-after"] == "2"
    assert f"{name} is still being downloaded" in answer.text
    (root / f"{name}{suffix}").unlink()
    assert eventually(lambda: client.get("/simple/foo/").status == 200)
    assert len(files(client)) == 1
