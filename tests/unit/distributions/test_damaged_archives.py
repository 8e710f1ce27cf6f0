"""A damaged file is judged in one way: what an upload takes is what a scan lists, in folders, buckets and copies."""

from __future__ import annotations

import functools
import hashlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.__main__ import main
from pypiserver.distributions import metadata
from pypiserver.distributions.filename import parse_filename
from pypiserver.distributions.truncation import is_whole
from pypiserver.errors import InvalidDistribution
from tests.make_archives import make_bdist_dumb, make_egg, make_sdist, make_wheel

from ..storage_contract import files as in_project
from ..storage_contract import world_of
from ..wsgi import Client

OLD = 1_500_000_000
ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


def kinds(version: str) -> dict[str, tuple[str, bytes]]:
    """One file of each kind."""
    return {
        ".whl": make_wheel("foo", version),
        ".egg": make_egg("foo", version),
        ".exe": (f"foo-{version}.win32.exe", b"MZ" + bytes(range(200))),
        ".msi": (f"foo-{version}.win32.msi", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(200)),
        "dumb": make_bdist_dumb("foo", version),
        **{ending: make_sdist("foo", version, format=ending) for ending in ENDINGS},
    }


def is_taken(read: Callable[..., object], name: str, data: bytes) -> bool:
    try:
        read(io.BytesIO(data), parse_filename(name))
    except InvalidDistribution:
        return False
    return True


KINDS = kinds("1.0")
PLACES = st.one_of(st.integers(0, 40), st.integers(-40, -1), st.integers(0, 4000))


@given(
    kind=st.sampled_from(sorted(KINDS)),
    how=st.sampled_from(["cut", "flip", "insert", "leave out", "append", "zero", "begin"]),
    at=PLACES,
    what=st.binary(min_size=1, max_size=40),
)
def test_upload_and_scan_take_the_same(kind: str, how: str, at: int, what: bytes) -> None:
    name, data = KINDS[kind]
    at = max(0, min(len(data) - 1, at if at >= 0 else len(data) + at))
    damaged = {
        "cut": data[:at],
        "flip": data[:at] + bytes([data[at] ^ (what[0] or 1)]) + data[at + 1 :],
        "insert": data[:at] + what + data[at:],
        "leave out": data[:at] + data[at + len(what) :],
        "append": data + what,
        "zero": data[:at] + bytes(len(data) - at),
        "begin": what + data,
    }[how]
    taken = is_taken(metadata.read_upload, name, damaged)
    assert is_taken(metadata.read_metadata, name, damaged) == taken
    if taken:
        assert is_whole(io.BytesIO(damaged), parse_filename(name)) is not False


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_what_lacks_its_checksum_or_has_another_is_refused(ending: str) -> None:
    """pip and uv install it, because they stop at the end of the tar archive and never look at the checksum."""
    name, data = KINDS[ending]
    trailer = {".tar.gz": 8, ".tar.bz2": 10, ".tar.xz": 32}[ending]
    for cut in range(1, trailer + 1):
        assert not is_taken(metadata.read_metadata, name, data[:-cut]), cut
    for at in {".tar.gz": range(-8, 0), ".tar.bz2": range(-9, -2), ".tar.xz": range(-12, 0)}[ending]:
        assert not is_taken(metadata.read_metadata, name, data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]), at


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: data,
    "cut by 1": lambda data: data[:-1],
    "cut by 8": lambda data: data[:-8],
    "half": lambda data: data[: len(data) // 2],
    "other checksum": lambda data: data[:-6] + bytes([data[-6] ^ 1]) + data[-5:],
    "NULs behind": lambda data: data + bytes(512),
    "text behind": lambda data: data + b"\nlast line\n",
}


@functools.cache
def damaged_files() -> dict[str, bytes]:
    """Every kind, damaged in every way, each of a release of its own; and archives that are odd from the start."""
    files = {}
    for number, damage in enumerate(DAMAGES.values()):
        for other, kind in enumerate(KINDS):
            name, data = kinds(f"{number}.{other}")[kind]
            files[name] = damage(data)
    files["foo-20-py3-none-any.whl"] = make_wheel("foo", "20", leave_out=["RECORD"])[1]
    files["foo-21.tar.gz"] = make_sdist("foo", "21", extra_members={"../out": b""})[1]
    files["foo-22.zip"] = make_sdist("foo", "22", format=".zip", extra_members={"../out": b""})[1]
    files["foo-23.tar.gz"] = make_sdist("foo", "23", extra_members={"foo-23/\x1b[2J": b""})[1]
    files["foo-30.tar.gz"] = make_sdist("foo", "30", extra_members={"foo-30/Icon\r": b""})[1]
    return files


def listed(client: Client) -> set[str]:
    return {file["filename"] for file in in_project(client)}


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, (OLD, OLD))
    return folder


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Those of the files that a server takes as uploads, which it lists at once."""
    home, files = tmp_path_factory.mktemp("uploads"), damaged_files()
    (home / "packages").mkdir()
    with world_of(home, roots=[home / "packages"]) as world:
        client = world.client(disable_fallback=True)
        statuses = {name: client.upload(name, data).status for name, data in files.items()}
        taken = {name for name, status in statuses.items() if status == 200}
        assert {status for name, status in statuses.items() if name not in taken} == {400}
        assert listed(client) == taken
    return taken


def test_an_upload_takes_what_is_whole(accepted: set[str]) -> None:
    *whole, last = [*list(damaged_files())[: len(KINDS)], list(damaged_files())[-1]]
    assert {*whole, last} <= accepted
    assert not {name for name in accepted if name.startswith(("foo-20", "foo-21", "foo-22", "foo-23"))}
    assert len(accepted) < len(damaged_files()) / 2


@pytest.mark.parametrize("place", ["folder", "bucket", "copied to a folder", "copied to a bucket"])
def test_a_fresh_catalog_lists_what_an_upload_takes(
    place: str, accepted: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = damaged_files()
    storage: dict[str, object] = {"roots": [tmp_path / "packages"]}
    if place == "bucket":
        for name, data in files.items():
            sha256 = hashlib.sha256(data).hexdigest()
            (tmp_path / "bucket/files" / sha256[:2] / sha256[2:4] / sha256).mkdir(parents=True, exist_ok=True)
            (tmp_path / "bucket/files" / sha256[:2] / sha256[2:4] / sha256 / name).write_bytes(data)
        storage = {"storage": f"file://{tmp_path}/bucket"}
    else:
        written(tmp_path / ("packages" if place == "folder" else "source"), files)
    if place.startswith("copied"):
        target = tmp_path / "packages" if place.endswith("folder") else f"file://{tmp_path}/bucket"
        storage = {"roots": [target]} if isinstance(target, Path) else {"storage": target}
        assert main(["copy", str(tmp_path / "source"), str(target)]) == 1
        said = capsys.readouterr().out
        assert {name for name in files if f"left out {name}: " in said} == files.keys() - accepted
    with world_of(tmp_path, **storage) as world:
        assert listed(world.client(disable_fallback=True)) == accepted
