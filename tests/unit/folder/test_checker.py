"""``pypi-server check``: a folder with one example of every fault, and the same words in the server's log."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sqlite3
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.checks import ADVICE
from pypiserver.backend.digester import Digester
from pypiserver.backend.stored_file import StoredFile
from pypiserver.catalog import Catalog
from pypiserver.errors import Unavailable
from pypiserver.folder.checker import FolderChecker
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from pypiserver.text import printable
from tests.make_archives import core_metadata, make_egg, make_sdist, make_tar, make_wheel, make_zip

from ..commandline import pypi_server
from ..conftest import OLD
from ..wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
Fingerprint = tuple[str, str, str]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has every odd sort of file and name")


def link(name: str, target: str) -> bytes:
    """A tar archive with a link in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)
    return buffer.getvalue()


def zip_link(name: str, target: str) -> bytes:
    """A zip archive with a link in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
    return buffer.getvalue()


def padded_record(name: str, version: str) -> tuple[str, bytes]:
    """A wheel whose RECORD pads its digests, as some tools do."""
    filename, data = make_wheel(name, version)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    record = f"{name}-{version}.dist-info/RECORD"
    members[record] = re.sub(rb"(sha256=[^,]*)", rb"\1=", members[record])
    return filename, make_zip(members)


def false_record(name: str, version: str) -> tuple[str, bytes]:
    """A wheel whose RECORD says what is not so."""
    filename, _ = make_wheel(name, version)
    info = f"{name}-{version}.dist-info"
    record = f"{name}.py,sha256=AAAA,1\ngone.py,,\n{info}/METADATA,,\n{info}/RECORD,,\n"
    members = {
        f"{name}.py": b"x",
        f"{info}/METADATA": core_metadata(name, version),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\n",
        f"{info}/RECORD": record.encode(),
    }
    return filename, make_zip(members)


def damaged(archive: tuple[str, bytes]) -> tuple[str, bytes]:
    """A wheel with a flipped byte in the middle of a member."""
    name, data = archive
    at = data.index(b".py") + 5
    return name, data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


# What no one takes for a package; the server skips it, and it is no fault.
OTHERS = {"README.txt": b"hello", "x-1.0-variants.json": b"{}"}
SKIPPED = {
    "some_wheel.whl": b"",
    "setup.exe": b"MZ",
    "lonely-1.0.zip.asc": b"",
}
WHEEL = make_wheel("foo", "1.0")
GOOD = [
    WHEEL,
    make_wheel("foo", "1.1", requires_python=">=3.8"),
    make_sdist("foo", "1.0"),
    make_egg("foo", "1.0"),
    padded_record("padded", "1.0"),
    ("inside-1.0.tar.gz", link("inside-1.0/a", "b")),
    ("zipped_inside-1.0.zip", zip_link("zipped_inside-1.0/a", "b")),
]
# (file, what it holds, its faults as (kind, a name or value that is said)).
CONTENT: list[tuple[str, bytes, list[tuple[str, str]]]] = [
    (
        "mislabelled-1.0-py3-none-any.whl",
        make_wheel("mislabelled", "1.0", metadata=core_metadata("bar", "2.0"))[1],
        [("mislabelled", "'bar'"), ("mislabelled", "'2.0'")],
    ),
    ("mislabelled_sdist-1.0.tar.gz", make_sdist("mislabelled_sdist", "3.0")[1], [("mislabelled", "'3.0'")]),
    ("cutoff-1.0.tar.gz", make_sdist("cutoff", "1.0")[1][:-40], [("corrupt", "")]),
    ("notar-1.0.tar.bz2", b"junk" * 500, [("corrupt", "")]),
    ("nozip-1.0.zip", b"junk" * 50, [("corrupt", "")]),
    (*damaged(make_wheel("damaged", "1.0")), [("corrupt", "")]),
    (
        *false_record("recorded", "1.0"),
        [("corrupt", "'recorded.py'"), ("corrupt", "'gone.py'"), ("corrupt", "'recorded-1.0.dist-info/WHEEL'")],
    ),
    (*make_wheel("unfinished", "1.0", leave_out=["RECORD"]), [("corrupt", "unfinished-1.0.dist-info/RECORD")]),
    ("nometa-1.0-py3-none-any.whl", make_zip({"a.py": b""}), [("corrupt", "METADATA")]),
    ("dots-1.0.zip", make_zip({"../evil": b""}), [("unsafe", "'../evil'")]),
    (
        "tardots-1.0.tar.gz",
        make_tar({"tardots-1.0/../../evil": b""}),
        [("unsafe", "'tardots-1.0/../../evil'")],
    ),
    ("linked-1.0.tar.gz", link("linked-1.0/a", "../../etc"), [("unsafe", "'linked-1.0/a'")]),
    ("ziplinked-1.0.zip", zip_link("ziplinked-1.0/a", "/etc/passwd"), [("unsafe", "'ziplinked-1.0/a'")]),
    ("controls-1.0.zip", make_zip({"controls-1.0/a\x1b[2J": b""}), [("unsafe", "'controls-1.0/a\\x1b[2J'")]),
    ("separators-1.0.zip", make_zip({"separators-1.0/a\u2028b": b""}), [("unsafe", "(U+2028)")]),
    (
        "legacy-2012b-brainbot.zip",
        make_sdist("legacy", "2012b-brainbot", format=".zip")[1],
        [("version", "'2012b-brainbot'")],
    ),
    (*make_wheel("pythons", "1.0", requires_python=">3.5.*"), [("requires-python", "'>3.5.*'")]),
    ("installer-1.0.win32.exe", b"#!/bin/sh", [("corrupt", "")]),
    ("renamed-1.0-py3-none-any.whl", make_wheel("bar", "2.0")[1], [("unsafe", "'bar-2.0.dist-info'")]),
]
# The server lists nothing that it would not take as an upload, but what is mislabelled.
NOT_LISTED = [
    "unfinished-1.0-py3-none-any.whl",
    "dots-1.0.zip",
    "tardots-1.0.tar.gz",
    "linked-1.0.tar.gz",
    "controls-1.0.zip",
    "separators-1.0.zip",
    "installer-1.0.win32.exe",
    "renamed-1.0-py3-none-any.whl",
    "cutoff-1.0.tar.gz",
    "notar-1.0.tar.bz2",
    "nozip-1.0.zip",
    "nometa-1.0-py3-none-any.whl",
]


@pytest.fixture
def faulty(put: Put, root: Path, tmp_path: Path) -> Path:
    """A second root; the first is full of faults."""
    for name, data in GOOD:
        put(name, data)
    for name, data in [*OTHERS.items(), *SKIPPED.items(), *(each[:2] for each in CONTENT)]:
        put(name, data)
    put(".status/foo", b"nonsense\n")
    put("nested/FOO-1.0.tar.gz", make_sdist("foo", "1.0")[1])
    os.mkfifo(root / "fifo-1.0.zip")
    (root / "linkout-1.0.zip").symlink_to("/etc/hostname")
    (root / "dangling-1.0.zip").symlink_to("nowhere")
    (root / "loop-1.0.zip").symlink_to("loop-1.0.zip")
    (root / "folder").symlink_to(tmp_path)
    (root / "evil\x1b[2J-1.0.zip").write_bytes(b"")
    (root / os.fsdecode(b"caf\xe9-1.0.zip")).write_bytes(b"")
    second = tmp_path / "second"
    second.mkdir()
    for path, data in ((WHEEL[0], WHEEL[1]), ("two/foo-1.1.0-py3-none-any.whl", make_wheel("foo", "1.1.0")[1])):
        (second / path).parent.mkdir(exist_ok=True)
        (second / path).write_bytes(data)
        os.utime(second / path, (OLD, OLD))
    return second


def expected(root: Path, second: Path) -> list[tuple[str, str, str, str]]:
    """(folder, path, kind, a name or value that is said) of every fault."""
    odd = ("fifo-1.0.zip", "linkout-1.0.zip", "folder", "evil\\x1b[2J-1.0.zip", "caf\\xe9-1.0.zip")
    rows = [(root, path, "skipped", "") for path in (*odd, *SKIPPED)]
    rows += [(root, f"{name}-1.0.zip", "skipped", "(") for name in ("dangling", "loop")]
    rows += [(root, path, kind, named) for path, _, faults in CONTENT for kind, named in faults]
    rows += [
        (root, ".status/foo", "status", "quarantined"),
        (root, "nested/FOO-1.0.tar.gz", "duplicate", f" foo-1.0.tar.gz in {root}"),
        (second, WHEEL[0], "duplicate", f"{WHEEL[0]} in {root}"),
        (second, "two/foo-1.1.0-py3-none-any.whl", "duplicate", f" foo-1.1-py3-none-any.whl in {root}"),
    ]
    return [(str(folder), path, kind, named) for folder, path, kind, named in rows]


def found(text: str) -> list[dict[str, str]]:
    value: Any = json.loads(text)["faults"]
    return list(value)


@linux
def test_every_fault_is_named_once_with_what_to_do(
    faulty: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "check.sqlite"
    outcome = pypi_server(capsys, "check", root, faulty, "--json", "--catalog", catalog, "--log-stream", "none")
    assert (outcome.status, outcome.err) == (1, "")
    faults = found(outcome.out)
    seen = [(each["folder"], printable(each["path"]), each["kind"], each["message"]) for each in faults]
    wanted = expected(root, faulty)
    assert sorted(row[:3] for row in seen) == sorted(row[:3] for row in wanted)
    for *fault, named in wanted:
        assert any(named in message for *other, message in seen if other == fault), (fault, named)
    assert all(each["advice"] == ADVICE[each["kind"]] for each in faults)


@linux
def test_the_table_says_the_same_in_lines(
    faulty: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--catalog", tmp_path / "check.sqlite", "--log-stream", "none")
    report = pypi_server(capsys, "check", root, faulty, "--json", *options).out
    faults, checked = found(report), json.loads(report)["checked"]
    outcome = pypi_server(capsys, "check", root, faulty, *options)
    *lines, last = outcome.out.splitlines()
    assert (outcome.status, last) == (1, f"{len(faults)} faults found in {checked} files.")
    headings = [line for line in lines if not line.startswith("  ")]
    kinds = sorted({each["kind"] for each in faults})
    assert [line.partition(":")[0] for line in headings] == kinds
    assert all(ADVICE[kind] in line for kind, line in zip(kinds, headings, strict=True))
    rows = [f"  {printable(each['path'])} in {each['folder']}: {each['message']}" for each in faults]
    assert sorted(line for line in lines if line.startswith("  ")) == sorted(rows)
    alone = pypi_server(capsys, "check", faulty, *options)
    assert (alone.status, alone.out) == (0, "0 faults found in 2 files.\n")


@linux
def test_the_server_says_the_same_words_when_it_skips(
    faulty: Path,
    root: Path,
    tmp_path: Path,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--json", "--catalog", tmp_path / "check.sqlite", "--log-stream", "none")
    faults = found(pypi_server(capsys, "check", root, faulty, *options).out)
    with caplog.at_level(logging.WARNING):
        client = serve(roots=[root, faulty], disable_fallback=True)
        for name in ("foo", *(path.partition("-")[0] for path in NOT_LISTED)):
            client.get(f"/simple/{name}/")
    messages = [printable(message) for message in caplog.messages if message.startswith("Skipped ")]
    listed = client.get("/packages/").text
    for fault in faults:
        path, folder = printable(fault["path"]), fault["folder"]
        is_shadowed = folder == str(faulty) and path == WHEEL[0]
        is_skipped = fault["kind"] in ("skipped", "status") or path in NOT_LISTED or is_shadowed
        if path.endswith(".asc"):
            continue  # a signature without its file is nothing the server ever lists
        about = [message for message in messages if message.startswith(f"Skipped {path} in {folder}: ")]
        assert len(about) == is_skipped, path
        assert all(message.endswith(printable(fault["message"])) for message in about)
        assert (f">{path}<" in listed) == (not is_skipped or path == WHEEL[0]), path


def test_a_sound_folder_has_no_fault(put: Put, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in GOOD:
        put(name, data)
    put(f"{WHEEL[0]}.yanked", b"")
    put(".status/foo", b"deprecated\nuse bar\n")
    options = ("--catalog", tmp_path / "check.sqlite")
    assert pypi_server(capsys, "check", root, *options) == (
        0, f"0 faults found in {len(GOOD)} files.\n", ""
    )  # fmt: skip
    outcome = pypi_server(capsys, "check", "--json", root, *options)
    assert (outcome.status, json.loads(outcome.out)) == (0, {"checked": len(GOOD), "faults": []})


def test_a_row_of_the_catalog_that_is_not_of_these_bytes_is_named(
    put: Put, root: Path, tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    put(*make_sdist("foo", "1.0", format=".zip"))
    catalog = tmp_path / "shared.sqlite"
    client = serve(catalog=catalog)
    assert client.get("/simple/foo/").status == 200
    client._application.close()  # type: ignore[attr-defined]
    # As a bad disk would do it: other bytes, the same size, times and inode.
    path = root / "foo-1.0.zip"
    other = make_sdist("foo", "1.0", format=".zip")[1].replace(b"setup", b"setuq")
    with path.open("r+b") as file:
        file.write(other)
    os.utime(path, (OLD, OLD))
    with contextlib.closing(sqlite3.connect(catalog)) as database, database:
        database.execute("UPDATE file SET ctime_ns = ?", (path.stat().st_ctime_ns,))
    outcome = pypi_server(capsys, "check", root, "--catalog", catalog, "--json")
    rows = [(each["path"], each["kind"], each["message"], each["advice"]) for each in found(outcome.out)]
    advice = f"Delete the catalog {catalog}; the server builds it again."
    assert (outcome.status, rows[0]) == (
        1,
        ("foo-1.0.zip", "catalog", "its bytes are not those the catalog knows", advice),
    )


class OneBadFile(Folders):
    """Folders with one file that no one lets us open, or read."""

    failure: Exception

    def open(self, root: int, path: str) -> tuple[Any, StoredFile]:
        if path.startswith("bad"):
            raise self.failure
        return super().open(root, path)


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Unavailable("The file is shut."), " (The file is shut.)"),
        (OSError(5, "Input/output error"), " (Input/output error)"),
    ],
    ids=["open", "read"],
)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_checked(
    put: Put, root: Path, failure: Exception, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(*make_sdist("bad", "1.0"))
    put("worse-1.0.zip", b"junk")
    folders, catalog = OneBadFile([root]), Catalog(None, "x")
    folders.failure = failure
    # In the order of the file system.
    found = FolderChecker(folders, catalog).run(progress=lambda done, total: None)
    faults = sorted(found, key=lambda fault: str(fault.path))
    assert [(fault.path, fault.kind) for fault in faults] == [
        ("bad-1.0.tar.gz", "unreadable"),
        ("worse-1.0.zip", "corrupt"),
    ]
    sentence = faults[0].message
    assert sentence.endswith(cause)
    # The server says so too, and once, however often it tries.
    FolderScanner(folders, catalog).scan()
    digester = Digester(folders, catalog, hash_algo=None)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            digester.digest_project("bad")
            catalog.retry_unreadable()
    assert caplog.messages == [f"Skipped bad-1.0.tar.gz in {root}: {sentence}"]
    caplog.clear()
    digester.digest_project("worse")
    assert [message.count("worse-1.0.zip") for message in caplog.messages] == [1]


def test_a_missing_folder_is_a_mistake(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = pypi_server(capsys, "check", root, tmp_path / "nowhere", "--catalog", tmp_path / "c.sqlite")
    assert (outcome.status, outcome.out) == (2, "")
    assert f"'{tmp_path / 'nowhere'}'" in outcome.err and outcome.err.count("\n") == 1


def test_progress_counts_every_file(put: Put, root: Path) -> None:
    for name, data in GOOD:
        put(name, data)
    steps: list[tuple[int, int]] = []
    list(FolderChecker(Folders([root]), Catalog(None, "x")).run(progress=lambda *step: steps.append(step)))
    assert steps == [(number, len(GOOD)) for number in range(1, len(GOOD) + 1)]


def test_a_check_changes_nothing(put: Put, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in [*GOOD, ("bad-1.0.zip", b"junk")]:
        put(name, data)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}
    pypi_server(capsys, "check", root, "--catalog", tmp_path / "c.sqlite", "--log-stream", "none")
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}
    assert after == before
