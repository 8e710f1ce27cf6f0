"""Reading the metadata of a distribution, the only reader for checks, pages and downloads.

Installers differ in how they find a member, and systems in which names are the same file. **Invariants:** the archive
is read once; metadata is the bytes that every known reader finds, or the archive is refused with the reason; the result
is compared with that of zipfile and tarfile.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple

from . import archive_checks
from .archive_limits import ArchiveFault, BadArchive, Source, foreign, parts_of, said, sane_size
from .decompression import Unpacked
from .filename import FilenameParts, normalize
from .tar_headers import BLOCK, FOLDER, LINKS, REGULAR, TarMember, walk_tar
from .zip_consistency import check_layout, has_mark, read_member
from .zip_directory import ZIP_TAIL, ZipMember, read_directory

_ZIP_ENDINGS = (".whl", ".egg", ".zip")
# Installers begin with these bytes; nothing else of them is checked.
_MAGIC = {"bdist_wininst": b"MZ", "bdist_msi": b"\xd0\xcf\x11\xe0"}
_INFO = ".dist-info"
_IN_INFO = ("METADATA", "WHEEL", "RECORD")
_FOLDED = {name.casefold(): name for name in _IN_INFO}
# Only archives with at most this many members are compared with zipfile, which is slow.
_MOST_COMPARED = 20_000
# No tool writes more copies of one PKG-INFO.
_MOST_ALIKE = 8
_MORE_THAN_ONE = "it has more than one metadata member"
# Bytes of all member names of a tar archive together: 100,000 of 335 each.
MAX_NAMES = 32 * 1024 * 1024


class Contents(NamedTuple):
    """The raw METADATA or PKG-INFO, None for a kind without one or an old sdist that lacks it; and the faults.

    A file with ``faults`` can be read but is refused: pip and uv do not install it, or it is dangerous.
    """

    raw: bytes | None
    faults: list[ArchiveFault]


def read_contents(file: BinaryIO, dist: FilenameParts, *, is_thorough: bool = False) -> Contents:
    """Read an open distribution; raises BadArchive when it cannot be read, or when readers would disagree.

    ``is_thorough`` also compares archives of the plainest form with zipfile.
    """
    with foreign("stream", "it cannot be read", passing=(OSError,)):
        if dist.kind in _MAGIC:
            file.seek(0)
            is_installer = file.read(8).startswith(_MAGIC[dist.kind])
            fault = ArchiveFault("not-installer", "it does not begin like an installer")
            return Contents(None, [] if is_installer else [fault])
        if is_zip(dist):
            return _read_zip(file, dist, is_thorough)
        return _read_tar(file, dist)


def is_zip(dist: FilenameParts) -> bool:
    """Whether a file of this name is a zip archive."""
    return dist.filename.lower().endswith(_ZIP_ENDINGS)


def _read_zip(file: BinaryIO, dist: FilenameParts, is_thorough: bool) -> Contents:
    directory, members = read_directory(file)
    check_layout(file, directory, members, may_be_script=dist.kind == "bdist_egg")
    _check_doubles(members)
    wanted = _in_zip(dist, members)
    raw = read_member(file, wanted[0]) if wanted else None
    for member in wanted[1:]:
        if read_member(file, member) != raw:
            raise BadArchive("metadata-twice", _MORE_THAN_ONE, "unsafe")
    if len(members) <= _MOST_COMPARED and (is_thorough or not directory.is_plain):
        _compare_with_zipfile(file, members, wanted, raw)
    faults = archive_checks.zip_faults(members)
    if dist.kind == "bdist_wheel":
        names = {member.name for member in members}
        info = wanted[0].name.partition("/")[0]
        missing = [f"{info}/{name}" for name in _IN_INFO if f"{info}/{name}" not in names]
        faults += [ArchiveFault("metadata-missing", f"it has no {path}") for path in missing]
    return Contents(raw, faults)


def _check_doubles(members: Sequence[ZipMember]) -> None:
    """Refuse two members of one path with different bytes: the reader's order decides which one is installed."""
    names = [member.name for member in members]
    joined = "\n".join(names)
    if len(set(names)) == len(names) and not any(odd in joined for odd in ("\\", "./", "//")):
        return
    first: dict[str, ZipMember] = {}
    for member in members:
        name = member.name
        if "\\" in name or "./" in name or "//" in name:
            name = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
        other = first.setdefault(name, member)
        if other is not member and (other.crc, other.unpacked) != (member.crc, member.unpacked):
            raise BadArchive("member-twice", f"it has the member {said(name)} twice, with different bytes", "unsafe")


def _in_zip(dist: FilenameParts, members: Sequence[ZipMember]) -> list[ZipMember]:
    """The metadata members, all of one size and checksum; raises BadArchive when readers could disagree."""
    if dist.kind == "bdist_wheel":
        return [_in_wheel(dist, members)]
    if dist.kind == "bdist_egg":
        found = [member for member in members if parts_of(member.name) == ["egg-info", "pkg-info"]]
        is_right: Callable[[str], bool] = "EGG-INFO/PKG-INFO".__eq__
    elif dist.kind == "sdist":
        found = [member for member in members if _is_pkg_info(member.name)]
        is_right = _is_plain_pkg_info
    else:
        return []
    # Some tools wrote it twice; every reader then takes the same bytes.
    if len(found) > _MOST_ALIKE or len({(member.crc, member.unpacked) for member in found}) > 1:
        raise BadArchive("metadata-twice", _MORE_THAN_ONE, "unsafe")
    for member in found:
        _check_spelling(member.name, is_right)
    return found


def _check_spelling(name: str, is_right: Callable[[str], bool]) -> None:
    if not is_right(name):
        raise BadArchive("metadata-spelling", f"its member {said(name)} is metadata for some readers only", "unsafe")


def _is_pkg_info(name: str) -> bool:
    """Whether this path is FOLDER/PKG-INFO on any system."""
    if not _may_be_info(name):
        return False
    parts = parts_of(name)
    return len(parts) == 2 and parts[1] == "pkg-info" and not name.endswith("/")


def _may_be_info(name: str) -> bool:
    return "info" in name or not name.isascii() or "info" in name.lower()


def _is_plain_pkg_info(name: str) -> bool:
    """Whether this is FOLDER/PKG-INFO, with an optional leading ./, which tar writes for a folder '.'."""
    while name.startswith("./"):
        name = name[2:]
    folder, _, last = name.partition("/")
    return last == "PKG-INFO" and folder not in ("", ".", "..") and "\\" not in folder


def _in_wheel(dist: FilenameParts, members: Sequence[ZipMember]) -> ZipMember:
    """METADATA in the only .dist-info folder (PEP 427), on every system."""
    infos: set[str] = set()
    found: list[ZipMember] = []
    others = []
    for member in members:
        name = member.name
        if not _may_be_info(name):
            continue
        folder, _, rest = name.partition("/")
        if rest in _IN_INFO and folder in infos:
            # The correct spelling, as in nearly all wheels.
            found += [member] if rest == "METADATA" else []
            continue
        parts = parts_of(name)
        if parts and parts[0].endswith(_INFO):
            infos.add(folder)
            others.append((member, parts))
        elif parts and parts[0].endswith(".data") and len(parts) > 2 and _is_info_of(dist, parts[1:-1]):
            raise BadArchive(
                "metadata-replaced", f"its member {said(name)} replaces its metadata when it is installed", "unsafe"
            )
    if len(infos) > 1:
        raise BadArchive("dist-info-count", f"it must have one .dist-info folder, and has {len(infos)}", "unsafe")
    for info in infos:
        found += _in_info(dist, info, others)
    if len(found) > 1:
        raise BadArchive("metadata-twice", _MORE_THAN_ONE, "unsafe")
    if not found:
        raise BadArchive("metadata-missing", "it has no METADATA in its .dist-info folder")
    return found[0]


def _in_info(dist: FilenameParts, info: str, others: Sequence[tuple[ZipMember, list[str]]]) -> list[ZipMember]:
    """METADATA among members of the .dist-info folder with an unusual spelling."""
    if not info.endswith(_INFO) or not _is_info_of(dist, [info]):
        raise BadArchive("dist-info-name", f"its .dist-info folder {said(info)} is not that of its file name", "unsafe")
    found = []
    for member, parts in others:
        special = _FOLDED.get(parts[1]) if len(parts) == 2 else None
        if special and member.name != f"{info}/{special}":
            raise BadArchive(
                "metadata-spelling", f"its member {said(member.name)} is {special} for some readers", "unsafe"
            )
        if special == "METADATA":
            found.append(member)
    return found


def _is_info_of(dist: FilenameParts, folders: Sequence[str]) -> bool:
    """Whether one of these is the .dist-info folder of the project (clients compare normalized names)."""
    for folder in folders:
        stem = folder[: -len(_INFO)] if folder.casefold().endswith(_INFO) else ""
        if stem and dist.project in (normalize(stem.partition("-")[0]), normalize(stem.rpartition("-")[0])):
            return True
    return False


def _compare_with_zipfile(
    file: BinaryIO, members: Sequence[ZipMember], wanted: Sequence[ZipMember], raw: bytes | None
) -> None:
    """A self-test: what pip reads by zipfile is what was read here."""
    source = Source(file)
    with foreign("not-zip", "it is not a readable zip archive", source), zipfile.ZipFile(source) as archive:
        names = [info.orig_filename for info in archive.infolist()]
        same = names == [member.name for member in members]
        if not same or any([archive.read(member.name) != raw for member in wanted]):  # noqa: C419 - StopIteration stays
            raise BadArchive("zipfile-disagrees", "Python's zipfile reads it in another way", "unsafe")


def _read_tar(file: BinaryIO, dist: FilenameParts) -> Contents:
    size = file.seek(0, io.SEEK_END)
    _refuse_zip_behind(file, size)
    stream = Unpacked(file, sane_size(size))
    links: dict[bytes, int] = {}
    # As text a name takes up to four times as much.
    names: list[bytes] = []
    length = 0
    faults: list[ArchiveFault] = []
    found: tuple[TarMember, bytes] | None = None

    def is_wanted(member: TarMember) -> bool:
        return dist.kind == "sdist" and _is_pkg_info(member.name) and member.kind != FOLDER

    for member, data in walk_tar(stream, is_wanted):
        if data is not None:
            _check_spelling(member.name, _is_plain_pkg_info)
            if member.kind not in REGULAR:
                raise BadArchive(
                    "metadata-not-a-file", f"its member {said(member.name)} is not a regular file", "unsafe"
                )
            if found is not None and found[1] != data:
                raise BadArchive("metadata-twice", _MORE_THAN_ONE, "unsafe")
            found = (member, data)
        path = "/".join(parts_of(member.name)).encode("utf-8", "surrogateescape")
        length += len(path)
        if length > MAX_NAMES:
            raise BadArchive(
                "names-too-long", f"the names of its members take more than {MAX_NAMES >> 20} MiB", "unsafe"
            )
        if member.kind in LINKS:
            links[path] = links.get(path, 0) + 1
        names.append(path)
        faults += archive_checks.tar_faults(member)
        del faults[archive_checks.MAX_FAULTS :]
    if links:
        _check_links(links, names)
    if found is not None:
        _compare_with_tarfile(*found)
    return Contents(found[1] if found else None, faults)


def _check_links(links: dict[bytes, int], names: list[bytes]) -> None:
    """Refuse a member that unpacks through a link, or over one: some readers write it to another place."""
    names.sort()
    for link, count in links.items():
        at = bisect_left(names, link)
        if names[at + count : at + count + 1] == [link] or count > 1:
            raise BadArchive(
                "link-twice", f"its member {_said(link)} is a link, and another member has the same path", "unsafe"
            )
        below = bisect_left(names, link + b"/")
        if below < len(names) and names[below].startswith(link + b"/"):
            raise BadArchive("through-a-link", f"its member {_said(names[below])} is unpacked through a link", "unsafe")


def _said(path: bytes) -> str:
    return said(path.decode("utf-8", "surrogateescape"))


def _refuse_zip_behind(file: BinaryIO, size: int) -> None:
    """Refuse a zip archive at the end of a tar archive: pip looks for zip before tar."""
    file.seek(max(0, size - ZIP_TAIL))
    if file.read(ZIP_TAIL)[:-18].find(b"PK\x05\x06") >= 0 and has_mark(file, 0, size, (b"PK\x01\x02",)):
        raise BadArchive("tar-and-zip", "it is a tar archive for some readers and a zip archive for others", "unsafe")


def _compare_with_tarfile(member: TarMember, data: bytes) -> None:
    """Self-test: tarfile finds the same metadata in these headers."""
    alone = io.BytesIO(member.headers + data + bytes(-len(data) % BLOCK + 2 * BLOCK))
    with (
        foreign("not-tar", "it is not a readable tar archive"),
        tarfile.open(fileobj=alone, mode="r:", encoding="utf-8", errors="surrogateescape") as archive,
    ):
        first = archive.next()
        stream = archive.extractfile(first) if first is not None and first.isreg() else None
        if stream is None or first is None or first.name != member.name or stream.read() != data:
            raise BadArchive("tarfile-disagrees", "Python's tarfile reads it differently", "unsafe")
