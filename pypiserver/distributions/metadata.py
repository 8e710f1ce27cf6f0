"""Core metadata of a wheel or sdist: extracting it, and comparing it with the file name.

**Invariants:** an archive is hostile until read, so nothing is unpacked to disk and every size has a limit; the raw
bytes stay unchanged, because clients verify their hash; parsing them never fails; this module knows archives, not
storage.
"""

from __future__ import annotations

import io
import re
from typing import BinaryIO

from ..errors import InvalidDistribution
from . import archive_checks, filename
from .archive_limits import ArchiveFault, BadArchive
from .archive_reader import Contents, is_zip, read_contents
from .core_metadata import MAX_HEADERS, CoreMetadata, parse_metadata
from .filename import FilenameParts, normalize
from .truncation import refuse_unwritten
from .versions import same_version


def read_metadata(file: BinaryIO, dist: FilenameParts) -> bytes | None:
    """The raw METADATA or PKG-INFO of an open file; None for a kind without one, or an old sdist that lacks it.

    Raises InvalidDistribution when the archive cannot be read, is dangerous to unpack, or readers could read it
    differently, or a wheel has no METADATA, WHEEL or RECORD.
    """
    with _refusing(dist):
        return _sound(read_contents(file, dist))


def read_upload(file: BinaryIO, dist: FilenameParts) -> bytes | None:
    """Like :func:`read_metadata`; also raises InvalidDistribution when metadata and file name disagree."""
    with _refusing(dist):
        raw = _sound(read_contents(file, dist, is_thorough=True))
        for fault in _mislabelled(dist, raw):
            raise BadArchive(*fault)
        return raw


def refuse_holes(file: io.FileIO, size: int, dist: FilenameParts) -> None:
    """Raise InvalidDistribution when a part of an open file was never written (see :mod:`truncation`)."""
    with _refusing(dist):
        refuse_unwritten(file, size, dist)


def _sound(contents: Contents) -> bytes | None:
    for fault in contents.faults:
        raise BadArchive(*fault)
    return contents.raw


def decided(dist: FilenameParts, raw: bytes | None) -> FilenameParts:
    """The distribution with its name split as its metadata says, for a name that can be split in several ways."""
    if not dist.others:
        return dist
    core = parse_metadata(raw or b"")
    return filename.decided(dist, core.name, core.version)


def _mislabelled(dist: FilenameParts, raw: bytes | None) -> list[ArchiveFault]:
    return [] if raw is None else _disagreements(decided(dist, raw), parse_metadata(raw))


def _disagreements(dist: FilenameParts, core: CoreMetadata) -> list[ArchiveFault]:
    faults = {}
    if core.is_cut:
        faults["headers"] = f"its metadata has more than {MAX_HEADERS // 1024} kB of headers"
    if not core.name or not core.version:
        faults["nameless"] = "its metadata has no Name or no Version"
    else:
        if normalize(core.name) != dist.project:
            faults["name"] = f"its metadata says the name {core.name!r}, the file name says {dist.name!r}"
        if dist.version and not same_version(core.version, dist.version):
            faults["version"] = f"its metadata says the version {core.version!r}, the file name says {dist.version!r}"
    return [ArchiveFault(rule, reason, "mislabelled") for rule, reason in faults.items()]


def is_servable(raw: bytes, core: CoreMetadata, dist: FilenameParts) -> bool:
    """Whether clients may rely on the metadata without the file (PEP 658).

    They may for every wheel, and for an sdist with metadata 2.2 or later that marks no field that installers use as
    dynamic (PEP 643). Metadata that is not UTF-8 makes pip fail with a traceback, so it is not servable.
    """
    if not _is_utf_8(raw) or _disagreements(dist, core):
        return False
    if dist.kind == "bdist_wheel":
        return True
    if dist.kind != "sdist":
        return False
    numbers = re.fullmatch(r"(\d+)\.(\d+)", core.metadata_version)
    dynamic = {name.lower() for name in core.dynamic}
    is_static = not dynamic & {"name", "version", "requires-dist", "requires-python", "provides-extra"}
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (2, 2) and is_static


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def audit_archive(file: BinaryIO, dist: FilenameParts) -> list[ArchiveFault]:
    """Every fault of an open file, for ``check``."""
    try:
        raw, faults = read_contents(file, dist, is_thorough=True)
    except BadArchive as error:
        return [error.fault]
    found = [*_mislabelled(dist, raw), *faults]
    if raw is not None and not _is_utf_8(raw):
        reason = "its metadata is not UTF-8, so pip does not install a wheel with it"
        found.append(ArchiveFault("metadata-encoding", reason))
    if is_zip(dist):
        found += archive_checks.audit_zip(file, check_record=dist.kind == "bdist_wheel")
    return found


class _refusing:  # noqa: N801 - reads as a clause: with _refusing(dist)
    """Turns a BadArchive into an InvalidDistribution with the file name."""

    def __init__(self, dist: FilenameParts) -> None:
        self._dist = dist

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, BadArchive):
            rule, reason, fault_kind = error.fault
            raise InvalidDistribution(self._dist.filename, reason, kind=fault_kind, rule=rule) from error
