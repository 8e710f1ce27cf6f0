"""Packages copied between folders and buckets, in every combination."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.__main__ import main
from pypiserver.folder.copy_endpoint import FolderEndpoint
from tests.make_archives import make_sdist, make_wheel

from ..storage_contract import FOO, FOO_BYTES, OTHER_BYTES, address, files, world_of

OLD = 1_500_000_000
Copy = Callable[..., str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a bit of everything."""
    root = tmp_path / "source"
    (root / "below").mkdir(parents=True)
    (root / ".status").mkdir()
    (root / ".status" / "foo").write_text("deprecated\nold\n")
    (root / FOO).write_bytes(FOO_BYTES)
    (root / f"{FOO}.asc").write_bytes(b"signed")
    (root / f"{FOO}.yanked").write_bytes(b"a reason\n")
    name, data = make_sdist("bar", "1.0")
    (root / "below" / name).write_bytes(data)
    for number, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        os.utime(path, (OLD + number, OLD + number))
    return root


@pytest.fixture
def copy(capsys: pytest.CaptureFixture[str]) -> Copy:
    def copy(*words: str | Path, status: int = 0) -> str:
        assert main(["copy", *map(str, words)]) == status, capsys.readouterr()
        return capsys.readouterr().out

    return copy


def served(tmp_path: Path, place: str | Path) -> dict[str, object]:
    """What an index over a folder or bucket says of the two projects."""
    storage: dict[str, object] = {"roots": [place]} if isinstance(place, Path) else {"storage": place}
    home = tmp_path / f"catalog-of-{str(place).replace('/', '-')}"
    home.mkdir(exist_ok=True)
    found: dict[str, object] = {}
    with world_of(home, **storage) as world:
        client = world.client(downloads="stream") if isinstance(place, str) else world.client()
        for project in ("foo", "bar"):
            for file in files(client, project):
                body = client.get(address(file)).body
                signature = client.get(address(file) + ".asc").body if file["gpg-sig"] else b""
                found[file["filename"]] = {**file, "url": "", "body": body, "signature": signature}
        page = client.get("/simple/foo/", HTTP_ACCEPT="application/vnd.pypi.simple.v1+json").json()
        found["status"] = page.get("project-status")
        world.lose_catalog()
    return found


@pytest.mark.parametrize("through", [["bucket"], ["folder"], ["bucket", "bucket"], ["bucket", "folder", "bucket"]])
def test_an_index_is_the_same_after_it_was_copied(through: list[str], source: Path, tmp_path: Path, copy: Copy) -> None:
    before = served(tmp_path, source)
    assert set(before) == {FOO, "bar-1.0.tar.gz", "status"}
    place: str | Path = source
    for number, kind in enumerate(through):
        folder = tmp_path / f"{kind}-{number}"
        following = folder if kind == "folder" else f"file://{folder}"
        assert copy(place, following).startswith("2 files copied")
        place = following
    assert served(tmp_path, place) == before


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_second_run_copies_nothing_and_mends_times(kind: str, source: Path, tmp_path: Path, copy: Copy) -> None:
    folder = tmp_path / kind
    place = folder if kind == "folder" else f"file://{folder}"
    copy(source, place)
    if kind == "folder":
        os.utime(folder / FOO, (OLD + 900, OLD + 900))
        (folder / f"{FOO}.asc").unlink()
    assert copy(source, place).startswith("0 files copied (0 bytes), 2 were there, 0 left out.")
    assert served(tmp_path, place) == served(tmp_path, source)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_nothing_at_the_destination_is_changed(kind: str, source: Path, tmp_path: Path, copy: Copy) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / FOO).write_bytes(OTHER_BYTES)
    place = other
    if kind == "bucket":
        copy(other, f"file://{tmp_path}/bucket")
        place = f"file://{tmp_path}/bucket"  # type: ignore[assignment]
    report = json.loads(copy(source, place, "--json", status=1))
    assert (report["copied"], report["already"]) == (1, 0)
    assert [each["path"] for each in report["left_out"]] == [FOO]
    assert "with other bytes; it was left as it is" in report["left_out"][0]["reason"]
    kept = served(tmp_path, place)[FOO]
    assert isinstance(kept, dict) and kept["body"] == OTHER_BYTES


def test_what_would_not_be_served_is_left_out_and_named(source: Path, tmp_path: Path, copy: Copy) -> None:
    (source / "below" / FOO).write_bytes(OTHER_BYTES)
    (source / "notes.txt").write_bytes(b"")
    name, data = make_wheel("baz", "1.0")
    (source / name).write_bytes(data[:-30])
    shown = copy(source, f"file://{tmp_path}/bucket", status=1)
    assert f"left out below/{FOO}" not in shown, "the first by path is the one in below/, as it is for a server"
    assert f"left out {FOO}: " in shown and f": below/{FOO}" in shown
    assert "notes.txt" not in shown and "; 1 file is no package." in shown
    assert f"left out {name}: {name} is refused: " in shown


def test_what_is_no_package_is_no_reason_to_fail(source: Path, tmp_path: Path, copy: Copy) -> None:
    for name in ("README.txt", "foo-1.0-variants.json"):
        (source / name).write_bytes(b"")
    assert " 0 left out; 2 files are no packages.\n" in copy(source, f"file://{tmp_path}/bucket")


def test_an_interrupted_copy_continues(
    source: Path, tmp_path: Path, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        name, data = make_wheel("more", f"{number}.0")
        (source / name).write_bytes(data)
    real, calls = FolderEndpoint._item, iter(range(100))

    def dying(self: FolderEndpoint, *arguments: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)  # type: ignore[arg-type]

    url = f"file://{tmp_path}/bucket"
    with monkeypatch.context() as patched:
        patched.setattr("pypiserver.maintenance.copy.BATCH", 1)
        patched.setattr(FolderEndpoint, "_item", dying)
        assert main(["copy", str(source), url]) == 130
    assert copy(source, url).startswith("2 files copied")


def test_damage_on_the_way_is_noticed(source: Path, tmp_path: Path, copy: Copy) -> None:
    url = f"file://{tmp_path}/bucket"
    copy(source, url)
    stored = next((tmp_path / "bucket").rglob(FOO))
    stored.write_bytes(stored.read_bytes()[::-1])
    shown = copy(url, tmp_path / "back", status=1)
    assert "is refused: " in shown
    assert not (tmp_path / "back" / FOO).exists()
