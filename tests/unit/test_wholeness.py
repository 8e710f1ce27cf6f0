"""A file that is cut off is told from one that is whole, by its bytes alone."""

from __future__ import annotations

import io

import pytest

from pypiserver.distfile import parse_filename
from pypiserver.wholeness import is_whole
from tests.make_archives import make_sdist, make_wheel

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
    monkeypatch.setattr("pypiserver.wholeness.MAX_UNPACKED", 100)
    assert is_whole(io.BytesIO(data), parse_filename(name)) is None
