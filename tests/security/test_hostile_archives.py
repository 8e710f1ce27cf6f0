"""Archives that are made to harm whoever reads or unpacks them (P24, P36): refused, in bounded time and memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bin.soaking.processes import kibibytes
from pypiserver.distributions import filename, metadata
from pypiserver.distributions.truncation import is_whole
from pypiserver.errors import InvalidDistribution
from tests.figures import count
from tests.hostile import OPEN, ask, environ_for, every_server, leftovers, listed, serving, upload, visible
from tests.live_server import LiveServer
from tests.make_archives import core_metadata, make_sdist, make_wheel
from tests.odd_archives import AMBIGUOUS, BOMBS, HARMLESS
from tests.security.test_live import children_of
from tests.unit.wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
SDIST, SDIST_BYTES = make_sdist("foo", "1.0")
METADATA = "foo-1.0.dist-info/METADATA"
PKG_INFO = core_metadata("foo", "1.0")
MEBIBYTE = 1 << 20


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            if name in archive.namelist():
                with pytest.warns(UserWarning, match="Duplicate name"):
                    archive.writestr(name, data)
            else:
                archive.writestr(name, data)
    return stream.getvalue()


def wheel_with(*members: tuple[str, bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(WHEEL_BYTES)) as archive:
        return zipped(*((name, archive.read(name)) for name in archive.namelist()), *members)


def tarred(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=9) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(b"\0" * member.size))
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def giant(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def lying_zip() -> bytes:
    """A directory whose metadata member claims to unpack to four bytes less than it does."""
    at = WHEEL_BYTES.rfind(b"PK\x01\x02", 0, WHEEL_BYTES.rfind(METADATA.encode()))
    size = struct.unpack_from("<L", WHEEL_BYTES, at + 24)[0]
    return WHEEL_BYTES[: at + 24] + struct.pack("<L", size - 4) + WHEEL_BYTES[at + 28 :]


def renamed_in_front() -> bytes:
    """One name in the header before a member, another one in the directory: installers disagree which is meant."""
    old, new = b"foo-1.0.dist-info/RECORD", b"../../../../../etc/RECOR"
    at = WHEEL_BYTES.find(old)
    return WHEEL_BYTES[:at] + new + WHEEL_BYTES[at + len(old) :]


def hidden_member() -> bytes:
    """A member that whoever reads from the front finds, and whoever reads the directory does not."""
    directory = WHEEL_BYTES.index(b"PK\1\2")
    hidden = zipped(("foo.py", b"import os\n"))
    first = WHEEL_BYTES.index(b"PK\3\4", 4)
    extra = hidden[: hidden.index(b"PK\1\2")]
    data = WHEEL_BYTES[:first] + extra + WHEEL_BYTES[first:directory]
    entries = WHEEL_BYTES[directory:]
    at = entries.index(b"PK\1\2", 4)
    while at >= 0:
        offset = struct.unpack_from("<L", entries, at + 42)[0]
        entries = entries[: at + 42] + struct.pack("<L", offset + len(extra)) + entries[at + 46 :]
        at = entries.find(b"PK\1\2", at + 46)
    end = entries.index(b"PK\5\6")
    return data + entries[: end + 16] + struct.pack("<L", len(data)) + entries[end + 20 :]


def overlapping_bomb() -> bytes:
    """Fifield's bomb, in small: many entries of the directory share one compressed kernel."""
    kernel = zlib.compress(b"\0" * (40 * MEBIBYTE), 9)[2:-4]
    crc = zlib.crc32(b"\0" * (40 * MEBIBYTE))
    name = METADATA.encode()
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(kernel), 40 * MEBIBYTE, len(name), 0)
    data = local + name + kernel
    directory = b""
    for number in range(1000):
        name = METADATA.encode() if not number else b"f%d" % number
        sizes = (crc, len(kernel), 40 * MEBIBYTE)
        directory += (
            struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 33, *sizes, len(name), 0, 0, 0, 0, 0, 0) + name
        )
    return data + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(directory), len(data), 0)


HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "metadata twice": (WHEEL, lambda: wheel_with((METADATA, core_metadata("foo", "1.0", summary="other")))),
    "a member twice": (WHEEL, lambda: wheel_with(("a.py", b"1"), ("a.py", b"2"))),
    "absolute member": (WHEEL, lambda: wheel_with(("/etc/cron.d/x", b""))),
    "member that climbs": (WHEEL, lambda: wheel_with(("foo/../../x", b""))),
    "member of a drive": (WHEEL, lambda: wheel_with(("C:/x", b""))),
    "member that climbs by backslashes": (WHEEL, lambda: wheel_with(("foo\\..\\..\\x", b""))),
    "bomb of metadata": (WHEEL, lambda: zipped((METADATA, b"Name: foo\nVersion: 1.0\n" + b"\0" * (100 * MEBIBYTE)))),
    "bomb of a member": (WHEEL, lambda: wheel_with(("x", b"\0" * (200 * MEBIBYTE)))),
    "overlapping bomb": (WHEEL, overlapping_bomb),
    "another name in front": (WHEEL, renamed_in_front),
    "member that is not in the directory": (WHEEL, hidden_member),
    "directory that lies about a size": (WHEEL, lying_zip),
    "name of another project": (WHEEL, lambda: make_wheel("bar", "1.0")[1]),
    "another version": (WHEEL, lambda: make_wheel("foo", "2.0")[1]),
    "no metadata": (WHEEL, lambda: make_wheel("foo", "1.0", leave_out=["METADATA"])[1]),
    "no archive": (WHEEL, lambda: b"<html>404</html>"),
    "nothing": (WHEEL, lambda: b""),
    "a sdist under a wheel's name": (WHEEL, lambda: SDIST_BYTES),
    "cut off": (WHEEL, lambda: WHEEL_BYTES[:-30]),
    "sdist that climbs": (SDIST, lambda: tarred(("../x", b""), ("foo-1.0/PKG-INFO", PKG_INFO))),
    "absolute member of a sdist": (SDIST, lambda: tarred(("/x", b""), ("foo-1.0/PKG-INFO", PKG_INFO))),
    "link out of a sdist": (SDIST, lambda: tarred(link("foo-1.0/x", "../../etc"), ("foo-1.0/PKG-INFO", PKG_INFO))),
    "hard link out of a sdist": (SDIST, lambda: tarred(link("foo-1.0/x", "/etc/passwd", tarfile.LNKTYPE),
    ("foo-1.0/PKG-INFO", PKG_INFO))),
    "device in a sdist": (SDIST, lambda: tarred(link("foo-1.0/x", "", tarfile.CHRTYPE), ("foo-1.0/PKG-INFO",
    PKG_INFO))),
    "bomb before the metadata": (SDIST, lambda: tarred(giant("foo-1.0/a", 200 * MEBIBYTE))),
    "bomb behind the metadata": (SDIST, lambda: tarred(("foo-1.0/PKG-INFO", PKG_INFO), giant("foo-1.0/a",
    200 * MEBIBYTE))),
    "bomb of metadata in a sdist": (SDIST, lambda: tarred(giant("foo-1.0/PKG-INFO", 100 * MEBIBYTE))),
    "a wheel under a sdist's name": (SDIST, lambda: WHEEL_BYTES),
    "cut off sdist": (SDIST, lambda: SDIST_BYTES[:-20]),
}  # fmt: skip


@cache
def hostile(case: str) -> tuple[str, bytes]:
    """The name and the bytes of a hostile archive."""
    name, make = HOSTILE[case]
    return name, make()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_of_it_stays(serve: Serve, root: Path, case: str) -> None:
    name, data = hostile(case)
    began = time.process_time()
    answer = serve().upload(name, data)
    assert answer.status == 400, answer
    assert time.process_time() - began < 5
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("case", [case for case in HOSTILE if "bomb" in case])
def test_a_bomb_takes_no_memory(case: str) -> None:
    name, data = hostile(case)
    stream, dist = io.BytesIO(data), filename.parse_filename(name)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDistribution):
            metadata.read_upload(stream, dist)
        is_whole(stream, dist)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_put_there_by_hand_harms_no_other_file(serve: Serve, put: Put, case: str) -> None:
    name, data = hostile(case)
    put(name, data)
    put(*make_wheel("good", "1.0"))
    client = serve(disable_fallback=True)
    began = time.process_time()
    assert "good-1.0-py3-none-any.whl" in client.get("/simple/good/").text
    assert client.get("/simple/foo/").status in (200, 404, 503)
    assert client.get(f"/packages/{name}.metadata").status in (200, 404, 503)
    assert client.get("/pypi/foo/json").status in (200, 404, 503)
    assert client.get("/simple/good/").status == client.get("/health").status == 200
    assert time.process_time() - began < 5


def test_a_good_archive_is_taken(serve: Serve) -> None:
    client = serve()
    assert client.upload(WHEEL, WHEEL_BYTES).status == client.upload(SDIST, SDIST_BYTES).status == 200


# A gigabyte of headers is made and packed only once for all servers.
@cache
def odd(shape: str) -> tuple[str, bytes]:
    name, make = {**AMBIGUOUS, **BOMBS, **HARMLESS}[shape]
    return name, make()


def peak(live: LiveServer) -> int:
    """The most memory that each process of a server ever took, together, in bytes."""
    return sum(kibibytes(pid, "VmHWM") for pid in children_of(live.process.pid)) * 1024


def cpu_seconds(live: LiveServer) -> float:
    """Seconds that the processes of a server worked: how long that takes depends on who else works."""
    ticks = 0
    for pid in children_of(live.process.pid):
        # One that ends meanwhile is not counted.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@every_server
def test_what_readers_take_in_two_ways_and_bombs_are_refused_with_a_reason(tmp_path: Path, server: str) -> None:
    with serving(tmp_path, *OPEN, server=server) as live:
        for shape in HARMLESS:
            name, data = odd(shape)
            assert upload(live.url, name, data, timeout=60).status in (200, 409), shape
        stored = visible(tmp_path / "packages")
        for shape in (*AMBIGUOUS, *BOMBS):
            odd(shape)
        before = peak(live)
        for shape in (*AMBIGUOUS, *BOMBS):
            name, data = odd(shape)
            began = cpu_seconds(live)
            reply = upload(live.url, name, data, timeout=120)
            assert reply.status == 400 and b" is refused: " in reply.body, (shape, reply)
            assert cpu_seconds(live) - began < 5, shape
            count("hostile archives sent to live servers")
        assert peak(live) - before < 256 * MEBIBYTE, (before, peak(live))
        assert visible(tmp_path / "packages") == stored and leftovers(tmp_path / "packages") == []


def next_to_each_other(folder: Path) -> dict[str, str]:
    """Every such archive in a folder, under names that go together; what shape each is."""
    shapes = {}
    for number, shape in enumerate((*AMBIGUOUS, *BOMBS), 1):
        name, data = odd(shape)
        # The build tag of a wheel may differ, and the name of an sdist is in no folder of it that clients look for.
        name = name.replace("-py3", f"-{number}-py3") if name.endswith(".whl") else name.replace("foo", f"foo{number}")
        (folder / name).write_bytes(data)
        shapes[name] = shape
    return shapes


@every_server
def test_such_an_archive_in_a_folder_is_hidden_and_check_says_why(tmp_path: Path, server: str) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    good, data = make_wheel("foo", "1.0")
    (folder / good).write_bytes(data)
    with serving(tmp_path, *OPEN, server=server) as live:
        assert list(listed(live.url, "foo")) == [good]
        before = peak(live)
        shapes = next_to_each_other(folder)
        time.sleep(3)
        assert list(listed(live.url, "foo")) == [good]
        for name, shape in shapes.items():
            project = name.partition("-")[0]
            if project != "foo":
                began = cpu_seconds(live)
                assert ask(live.url, f"/simple/{project}/", timeout=120).status == 503, shape
                assert cpu_seconds(live) - began < 5, shape
        assert ask(live.url, "/health").status == 200
        # 84 files are read by the background as well, two at a time and more.
        assert peak(live) - before < 256 * MEBIBYTE, (before, peak(live))
        assert [shape for name, shape in shapes.items() if f"Skipped {name} in" not in live.output] == []
    command = [sys.executable, "-m", "pypiserver", "check", folder, "--json", "--catalog", tmp_path / "check.sqlite"]
    done = subprocess.run(command, env=environ_for("granian", tmp_path), capture_output=True, text=True, timeout=300)
    named = {fault["path"]: fault["message"] for fault in json.loads(done.stdout)["faults"]}
    assert {name: named.get(name) for name in shapes if not named.get(name)} == {}
    assert good not in named
