"""Core metadata out of a wheel or sdist, and what it says.

Knows archives (through :mod:`archives`), not storage. The rules to keep: an archive is hostile until read, so nothing
is extracted and every size has a limit; the raw bytes are handed on as they are, because clients verify their hash;
reading what they say never fails.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from . import archive_faults, archives
from .core_metadata import MAX_HEADERS, CoreMetadata, parse_metadata
from .distfile import DistFile, normalize, same_version
from .errors import InvalidDistribution
from .ziplayout import layout_faults

_ZIP_KINDS = frozenset({"bdist_wheel", "bdist_egg"})
# Installers and dumb archives begin with these bytes; more is not known about them.
_MAGIC = {"bdist_wininst": (b"MZ",), "bdist_msi": (b"\xd0\xcf\x11\xe0",)}


def read_metadata(file: BinaryIO, dist: DistFile) -> bytes | None:
    """The raw METADATA or PKG-INFO of an open file; None for a kind without one, or an old sdist that lacks it.

    Raises InvalidDistribution when the archive cannot be read, or a wheel has no METADATA.
    """
    with _refusing(dist):
        if dist.kind == "bdist_wheel":
            return archives.read_zip_member(file, _is_metadata, required="METADATA in its .dist-info folder")
        if dist.kind == "bdist_egg":
            return archives.read_zip_member(file, lambda path: path == "EGG-INFO/PKG-INFO")
        if dist.kind == "sdist" and dist.filename.lower().endswith(".zip"):
            return archives.read_zip_member(file, _is_pkg_info)
        if dist.kind == "sdist":
            return archives.read_tar_member(file, _is_pkg_info)
    return None


def _is_metadata(path: str) -> bool:
    folder, _, name = path.partition("/")
    return name == "METADATA" and folder.endswith(".dist-info")


def _is_pkg_info(path: str) -> bool:
    folder, _, name = path.removeprefix("./").partition("/")
    return name == "PKG-INFO" and bool(folder)


def check_archive(file: BinaryIO, dist: DistFile, *, raw: bytes | None) -> None:
    """What an upload must be before it is visible: an archive that opens, is no bomb, and is what its name says.

    ``raw`` is what :func:`read_metadata` gave. Raises InvalidDistribution.
    """
    with _refusing(dist):
        for _, fault in _structure(file, dist):
            raise archives.BadArchive(fault)
        for fault in _mislabelled(dist, raw):
            raise archives.BadArchive(fault)


def _structure(file: BinaryIO, dist: DistFile) -> list[archive_faults.Fault]:
    file.seek(0)
    if dist.kind in _MAGIC:
        is_installer = file.read(8).startswith(_MAGIC[dist.kind])
        return [] if is_installer else [("corrupt", "it does not begin as an installer does")]
    if dist.kind in _ZIP_KINDS or dist.filename.lower().endswith(".zip"):
        members = archives.zip_members(file)
        names = [member.filename for member in members]
        faults = archive_faults.zip_faults(members)
        faults += [("unsafe", fault) for fault in layout_faults(file, members)]
        if dist.kind == "bdist_wheel":
            infos = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
            if len(infos) != 1:
                faults.append(("corrupt", f"it must have one .dist-info folder, and has {len(infos)}"))
            wanted = [f"{info}/{name}" for info in infos for name in ("METADATA", "WHEEL", "RECORD")]
            faults += [("corrupt", f"it has no {name}") for name in wanted if name not in names]
        return faults
    return archive_faults.audit_tar(file)


def _mislabelled(dist: DistFile, raw: bytes | None) -> list[str]:
    """Where file name and metadata disagree."""
    return [] if raw is None else _disagreements(dist, parse_metadata(raw))


def _disagreements(dist: DistFile, core: CoreMetadata) -> list[str]:
    faults = []
    if core.is_cut:
        faults.append(f"its metadata has more than {MAX_HEADERS // 1024} kB of headers")
    if not core.name or not core.version:
        faults.append("its metadata has no Name or no Version")
    else:
        if normalize(core.name) != dist.project:
            faults.append(f"its metadata says the name {core.name!r}, the file name says {dist.name!r}")
        if dist.version and not same_version(core.version, dist.version):
            faults.append(f"its metadata says the version {core.version!r}, the file name says {dist.version!r}")
    return faults


def servable_metadata(raw: bytes | None, dist: DistFile) -> bool:
    """Whether clients may rely on the metadata without the file (PEP 658): every wheel's, and that of an sdist which
    is metadata 2.2 or later and marks nothing that installing depends on as dynamic (PEP 643).
    """
    return raw is not None and is_servable(parse_metadata(raw), dist)


def is_servable(core: CoreMetadata, dist: DistFile) -> bool:
    """The same of metadata that was read."""
    if _disagreements(dist, core):
        return False
    if dist.kind == "bdist_wheel":
        return True
    if dist.kind != "sdist":
        return False
    numbers = re.fullmatch(r"(\d+)\.(\d+)", core.metadata_version)
    dynamic = {name.lower() for name in core.dynamic}
    is_static = not dynamic & {"name", "version", "requires-dist", "requires-python", "provides-extra"}
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (2, 2) and is_static


def audit_archive(file: BinaryIO, dist: DistFile) -> list[tuple[str, str]]:
    """Every fault of an open file as (kind, sentence), for ``check``: corrupt, unsafe or mislabelled."""
    faults: list[tuple[str, str]] = []
    try:
        raw = read_metadata(file, dist)
        faults += [("mislabelled", fault) for fault in _mislabelled(dist, raw)]
        if dist.kind in _MAGIC:
            return faults + _structure(file, dist)
        if dist.kind in _ZIP_KINDS or dist.filename.lower().endswith(".zip"):
            faults += _structure(file, dist)
            return faults + archive_faults.audit_zip(file, check_record=dist.kind == "bdist_wheel")
        return faults + archive_faults.audit_tar(file)
    except (archives.BadArchive, InvalidDistribution) as error:
        return [*faults, ("corrupt", str(error).partition(": ")[2] or str(error))]


class _refusing:  # noqa: N801 - reads as a clause: with _refusing(dist)
    """Turns what archives finds into InvalidDistribution that names the file."""

    def __init__(self, dist: DistFile) -> None:
        self._dist = dist

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, archives.BadArchive):
            raise InvalidDistribution(f"{self._dist.filename} is refused: {error}") from error
