"""Faults of an archive that can be read: members that are dangerous to unpack, and a wheel's RECORD that disagrees.

**Invariants:** every member is checked, none is unpacked to disk; a fault has a rule's word, and a sentence that
fits after "is refused: "; reading stops at the size limit (decompression bomb); one archive has a bounded
number of faults.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import posixpath
import re
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

from ..allowed_names import refused_in_an_archive
from .archive_limits import MAX_METADATA, ArchiveFault, BadArchive, Source, foreign, said, sane_size
from .tar_headers import DEVICES, LINKS, TarMember
from .zip_directory import ZipMember

MAX_SAID = 10
# Faults of one archive beyond this number are not listed.
MAX_FAULTS = 100
# Bytes; no path is longer (PATH_MAX).
MAX_LINK = 4096
# Stored, deflated, bzip2: decoders of other methods allocate as much memory as the archive says.
_METHODS = (0, 8, 12)
# Only a path that matches this can leave the folder it is unpacked to; most archives have no such name.
_MAY_LEAD_OUT = re.compile(r"^/|\.\.|[\\:\0]", re.MULTILINE)
_DRIVE = re.compile(r"[A-Za-z]:")


def zip_faults(members: Sequence[ZipMember]) -> list[ArchiveFault]:
    """Faults that make a zip archive dangerous to unpack: paths out of its folder, forbidden characters, its size."""
    names = [member.name for member in members]
    joined = "\n".join(names)
    faults = []
    if not joined.isascii() or len(joined.splitlines()) > len(names) or not joined.replace("\n", "").isprintable():
        faults += [fault for name in names for fault in _character_faults(name)]
    if _MAY_LEAD_OUT.search(joined):
        faults += [_leading_out("member", name) for name in names if _leads_out(name)]
    packed = sum(member.packed for member in members)
    unpacked = sum(member.unpacked for member in members)
    if unpacked > sane_size(packed):
        reason = f"its {packed} bytes would unpack to {unpacked}, more than any package"
        faults.insert(0, ArchiveFault("too-large", reason, "unsafe"))
    return faults[:MAX_FAULTS]


def _leads_out(path: str) -> bool:
    if not _MAY_LEAD_OUT.search(path):
        return False
    plain = path.replace("\\", "/")
    return plain.startswith("/") or ".." in plain.split("/") or _DRIVE.match(plain) is not None or "\0" in path


def _leading_out(what: str, name: str) -> ArchiveFault:
    return ArchiveFault("leads-out", f"its {what} {said(name)} leads out of its folder", "unsafe")


def _character_faults(name: str) -> list[ArchiveFault]:
    refused = refused_in_an_archive(name)
    if refused is None:
        return []
    return [ArchiveFault("character", f"its member {said(name)} has {refused} in its name", "unsafe")]


def tar_faults(member: TarMember) -> list[ArchiveFault]:
    """Faults that make a member of a tar archive dangerous to unpack."""
    faults = _character_faults(member.name)
    if _leads_out(member.name):
        faults.append(_leading_out("member", member.name))
    if member.kind in LINKS:
        base = posixpath.dirname(member.name) if member.kind == b"2" else ""
        if _leads_out(posixpath.normpath(posixpath.join(base, member.link))):
            faults.append(_leading_out("link", member.name))
    elif member.kind in DEVICES:
        faults.append(ArchiveFault("device", f"its member {said(member.name)} is a device", "unsafe"))
    return faults


def audit_zip(file: BinaryIO, *, check_record: bool) -> list[ArchiveFault]:
    """Every fault of a readable zip archive, one by one: names, links, checksums, and a wheel's RECORD.

    ``check_record`` compares the members with the RECORD (PEP 376, PEP 427).
    """
    faults: list[ArchiveFault] = []
    hashes: dict[str, tuple[str, int]] = {}
    record: bytes | None = None
    left = sane_size(file.seek(0, io.SEEK_END))
    source = Source(file)
    try:
        with foreign("stream", "it cannot be unpacked", source), zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                faults += _name_faults(archive, member)
                digest, size = _digest_member(archive, member, left)
                left -= size
                hashes[member.filename] = (digest, size)
                if member.filename.endswith(".dist-info/RECORD") and size <= MAX_METADATA:
                    record = archive.read(member)
    except BadArchive as error:
        return [*faults[:MAX_FAULTS], error.fault]
    if check_record and record is not None:
        faults += _few(_record_faults(record, hashes))
    return faults[:MAX_FAULTS]


def _name_faults(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> list[ArchiveFault]:
    faults: list[ArchiveFault] = []
    if member.compress_type not in _METHODS:
        raise BadArchive(
            "compression", f"its member {said(member.filename)} has a compression that not every reader knows"
        )
    if _is_link(member) and _link_leads_out(member.filename, archive.read(member)):
        faults.append(_leading_out("link", member.filename))
    return faults


def _few(faults: list[ArchiveFault]) -> list[ArchiveFault]:
    """The first faults and the number of the rest: one wrong RECORD has a fault for every member."""
    more = len(faults) - MAX_SAID
    if more <= 0:
        return faults
    return [*faults[:MAX_SAID], ArchiveFault("record", f"its RECORD disagrees with it in {more} more places")]


def _is_link(member: zipfile.ZipInfo) -> bool:
    """Whether Unix unpackers would create a link; the member's content is then the link's target."""
    return (member.external_attr >> 16) & 0o170000 == 0o120000 and member.file_size <= MAX_LINK


def _link_leads_out(path: str, target: bytes) -> bool:
    return _leads_out(posixpath.normpath(posixpath.join(posixpath.dirname(path), target.decode("utf-8", "replace"))))


def _digest_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with archive.open(member) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
            if size > most:
                raise BadArchive("too-large", "it unpacks to more than a package can have", "unsafe")
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode(), size


def _record_faults(record: bytes, hashes: dict[str, tuple[str, int]]) -> list[ArchiveFault]:
    """Disagreements of a wheel's RECORD (PEP 376, PEP 427) and its members; only sha256 rows are compared."""
    faults: list[ArchiveFault] = []
    listed: set[str] = set()
    try:
        rows = list(csv.reader(io.StringIO(record.decode("utf-8", "replace"))))
    except csv.Error as error:
        return [ArchiveFault("record", f"its RECORD cannot be read ({error})")]
    for row in rows:
        if not row:
            continue
        path, digest = row[0], row[1] if len(row) > 1 else ""
        listed.add(path)
        if path not in hashes:
            faults.append(ArchiveFault("record-member", f"its RECORD lists {said(path)}, which is not in it"))
        elif digest.startswith("sha256=") and digest.removeprefix("sha256=").rstrip("=") != hashes[path][0]:
            faults.append(ArchiveFault("record-hash", f"its member {said(path)} has another hash than its RECORD says"))
    for path in hashes:
        if path not in listed and not path.endswith(("/", "/RECORD", "/RECORD.jws", "/RECORD.p7s")):
            faults.append(ArchiveFault("record-row", f"its RECORD does not list {said(path)}"))
    return faults
