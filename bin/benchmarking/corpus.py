"""Folders of small valid packages, of any size, the same on every machine.

A corpus is made once per place and found again; making a million wheels with ``zipfile`` would take minutes, so the
archives are written by hand (stored members; a test of the server would notice a wrong one).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import struct
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

PER_PROJECT = 20
SDISTS_PER_PROJECT = 2
MANY = 2000  # files of the project "many"
MANY_FROM = 10_000
PROJECT = "project-0"
FILE = "project_0-1.0.0-py3-none-any.whl"
# Files that lie there for a while are settled; a server need not look whether they are still being copied.
AGE_SECONDS = 3600
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DATE = 0x5821  # 2024-01-01, as a zip archive says it


def make_corpus(folder: Path, size: int, *, nested: bool = False) -> Path:
    """A folder of ``size`` files, twenty of each project: eighteen wheels, two sdists; found when it is there.

    ``nested`` puts each project in a folder of its own. From 10,000 files on one project has 2,000 of them.
    """
    done = folder / ".complete"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    old = time.time() - AGE_SECONDS
    for project, filename, data in _files(size):
        place = folder / project if nested else folder
        if nested:
            place.mkdir(exist_ok=True)
        path = place / filename
        path.write_bytes(data)
        os.utime(path, (old, old))
    done.touch()
    return folder


def _files(size: int) -> Iterator[tuple[str, str, bytes]]:
    many = MANY if size >= MANY_FROM else 0
    for number in range(many):
        yield "many", *wheel("many", f"1.{number}.0")
    for number in range(size - many):
        project, minor = f"project_{number // PER_PROJECT}", number % PER_PROJECT
        make = sdist if minor >= PER_PROJECT - SDISTS_PER_PROJECT else wheel
        yield project, *make(project, f"1.{minor}.0")


def metadata(name: str, version: str, requires: tuple[str, ...] = ()) -> bytes:
    """The core metadata of one release."""
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}", "Summary: A package of the benchmark"]
    lines += ["Requires-Python: >=3.8", *[f"Requires-Dist: {each}" for each in requires]]
    return ("\n".join(lines) + "\n\nNothing is in it.\n").encode()


def wheel(name: str, version: str, requires: tuple[str, ...] = (), *, filler: int = 0) -> tuple[str, bytes]:
    """File name and bytes of a wheel that installs; ``filler`` adds this many bytes that do not compress."""
    info = f"{name}-{version}.dist-info"
    tag = b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = [(f"{name}.py", f"version = {version!r}\n".encode())]
    if filler:
        members.append((f"{name}.bin", os.urandom(filler)))
    members += [(f"{info}/METADATA", metadata(name, version, requires)), (f"{info}/WHEEL", tag)]
    record = "".join(f"{path},{_hash(body)},{len(body)}\n" for path, body in members) + f"{info}/RECORD,,\n"
    return f"{name}-{version}-py3-none-any.whl", _zip([*members, (f"{info}/RECORD", record.encode())])


def _hash(body: bytes) -> str:
    """As RECORD has it (PEP 376)."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


def sdist(name: str, version: str) -> tuple[str, bytes]:
    """File name and bytes of an sdist."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(f"{name}-{version}/PKG-INFO")
        body = metadata(name, version)
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
    return f"{name}-{version}.tar.gz", gzip.compress(buffer.getvalue(), 1, mtime=0)


def _zip(members: list[tuple[str, bytes]]) -> bytes:
    """A zip archive of stored members."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for path, body in members:
        name, crc, size = path.encode(), zlib.crc32(body), len(body)
        parts += [_LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, _DATE, crc, size, size, len(name), 0), name, body]
        directory += [
            _ENTRY.pack(b"PK\1\2", 20, 20, 0, 0, 0, _DATE, crc, size, size, len(name), 0, 0, 0, 0, 0o644 << 16, offset),
            name,
        ]
        offset += _LOCAL.size + len(name) + size
    entries = b"".join(directory)
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(entries), offset, 0)
    return b"".join(parts) + entries + end


def add_large_file(folder: Path, megabytes: int) -> Path:
    """A wheel of that size in the folder; found when it is there."""
    name = f"large_{megabytes}"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    if not path.exists():
        path.write_bytes(wheel(name, "1.0", filler=megabytes << 20)[1])
        old = time.time() - AGE_SECONDS
        os.utime(path, (old, old))
    return path


def add_token(folder: Path, others: int = 1000) -> tuple[str, Path]:
    """A token that may read, for a service, and the file with it and ``others``."""
    from pypiserver.access.token_record import Limits, mint, to_line

    made = [
        mint("user", Limits(("read",), is_service=True), seconds=None, now=time.time(), taken=())
        for _ in range(others + 1)
    ]
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{to_line(record)}\n" for record, _ in made))
    tokens.chmod(0o600)
    return made[0][1], tokens
