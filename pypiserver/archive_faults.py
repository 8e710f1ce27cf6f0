"""What is wrong with an archive, or dangerous for whoever unpacks it: every member is looked at, none is written.

The rules to keep: a fault is a kind (``unsafe`` or ``corrupt``) and a sentence that fits after "is refused: "; what
unpacks to more than a package can have is not read to its end.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import posixpath
import tarfile
import zipfile
from collections import Counter
from typing import BinaryIO

from .archives import MAX_MEMBERS, MAX_METADATA, TAR_ERRORS, ZIP_ERRORS, BadArchive, open_tar, sane_size, zip_members

MAX_UNPACKED = 64 * 1024**3
MAX_SAID = 10
# No path is longer.
MAX_LINK = 4096

Fault = tuple[str, str]


def zip_faults(members: list[zipfile.ZipInfo]) -> list[Fault]:
    """What makes a zip archive dangerous to unpack: doubled names, ways out of its folder, too much in it."""
    names = Counter(member.filename for member in members)
    faults = [("corrupt", f"it has the member {name!r} twice") for name, count in names.items() if count > 1]
    faults += [("unsafe", f"its member {name!r} leads out of its folder") for name in names if _leads_out(name)]
    packed = sum(member.compress_size for member in members)
    unpacked = sum(member.file_size for member in members)
    if unpacked > min(MAX_UNPACKED, sane_size(packed)):
        faults.append(("unsafe", f"its {packed} bytes say they unpack to {unpacked}, which no package does"))
    return faults


def _leads_out(path: str) -> bool:
    plain = path.replace("\\", "/")
    return plain.startswith("/") or ".." in plain.split("/") or ":" in plain.split("/")[0] or "\0" in path


def audit_tar(file: BinaryIO) -> list[Fault]:
    """Every fault of a tar archive as (kind, sentence)."""
    faults: list[Fault] = []
    try:
        with open_tar(file, MAX_UNPACKED) as archive:
            for number, member in enumerate(archive):
                if number > MAX_MEMBERS:
                    raise BadArchive(f"it has more than {MAX_MEMBERS} members")
                faults += _tar_member_faults(member)
    except BadArchive as error:
        faults.append(("unsafe", str(error)))
    except TAR_ERRORS as error:
        faults.append(("corrupt", f"it is no tar archive that can be read ({error})"))
    return faults


def _tar_member_faults(member: tarfile.TarInfo) -> list[Fault]:
    faults: list[Fault] = []
    if _leads_out(member.name):
        faults.append(("unsafe", f"its member {member.name!r} leads out of its folder"))
    if not member.name.isprintable():
        faults.append(("unsafe", f"its member {member.name!r} has control characters in its name"))
    if member.issym() or member.islnk():
        base = posixpath.dirname(member.name) if member.issym() else ""
        if _leads_out(posixpath.normpath(posixpath.join(base, member.linkname))):
            faults.append(("unsafe", f"its link {member.name!r} leads out of its folder"))
    elif member.isdev():
        faults.append(("unsafe", f"its member {member.name!r} is a device"))
    return faults


def audit_zip(file: BinaryIO, *, check_record: bool) -> list[Fault]:
    """Every fault of a zip archive's members as (kind, sentence): names, links, checksums, and a wheel's RECORD."""
    members = zip_members(file)
    faults: list[Fault] = []
    hashes: dict[str, tuple[str, int]] = {}
    record: bytes | None = None
    try:
        with zipfile.ZipFile(file) as archive:
            for member in members:
                if not member.filename.isprintable():
                    faults.append(("unsafe", f"its member {member.filename!r} has control characters in its name"))
                if _is_link(member) and _link_leads_out(member.filename, archive.read(member)):
                    faults.append(("unsafe", f"its link {member.filename!r} leads out of its folder"))
                digest, size = _digest_member(archive, member)
                hashes[member.filename] = (digest, size)
                if member.filename.endswith(".dist-info/RECORD") and size <= MAX_METADATA:
                    record = archive.read(member)
    except BadArchive as error:
        return [*faults, ("unsafe", str(error))]
    except ZIP_ERRORS as error:
        return [*faults, ("corrupt", f"it cannot be unpacked ({error})")]
    if check_record and record is not None:
        faults += _few(_record_faults(record, hashes))
    return faults


def _few(faults: list[Fault]) -> list[Fault]:
    """The first of many: one wrong RECORD has a fault for every member."""
    more = len(faults) - MAX_SAID
    return (
        faults
        if more <= 0
        else [*faults[:MAX_SAID], ("corrupt", f"its RECORD disagrees with it in {more} more places")]
    )


def _is_link(member: zipfile.ZipInfo) -> bool:
    """Whether Unix unpackers would make a link of it; what such a member holds is the link's target."""
    return (member.external_attr >> 16) & 0o170000 == 0o120000 and member.file_size <= MAX_LINK


def _link_leads_out(path: str, target: bytes) -> bool:
    return _leads_out(posixpath.normpath(posixpath.join(posixpath.dirname(path), target.decode("utf-8", "replace"))))


def _digest_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with archive.open(member) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
            if size > sane_size(member.compress_size):
                raise BadArchive("it unpacks to more than a package can have")
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode(), size


def _record_faults(record: bytes, hashes: dict[str, tuple[str, int]]) -> list[Fault]:
    """Where a wheel's RECORD (PEP 376, PEP 427) and its members disagree; only sha256 rows can be compared."""
    faults: list[Fault] = []
    listed: set[str] = set()
    try:
        rows = list(csv.reader(io.StringIO(record.decode("utf-8", "replace"))))
    except csv.Error as error:
        return [("corrupt", f"its RECORD cannot be read ({error})")]
    for row in rows:
        if not row:
            continue
        path, digest = row[0], row[1] if len(row) > 1 else ""
        listed.add(path)
        if path not in hashes:
            faults.append(("corrupt", f"its RECORD lists {path!r}, which is not in it"))
        elif digest.startswith("sha256=") and digest.removeprefix("sha256=") != hashes[path][0]:
            faults.append(("corrupt", f"its member {path!r} has another hash than its RECORD says"))
    for path in hashes:
        if path not in listed and not path.endswith(("/", "/RECORD", "/RECORD.jws", "/RECORD.p7s")):
            faults.append(("corrupt", f"its RECORD does not list {path!r}"))
    return faults
