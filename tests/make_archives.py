"""Real distributions in memory, for tests: what build tools would have written, or what they should not have."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

# A fixed time keeps the bytes the same from one call to the next.
_DATE = (2020, 1, 1, 0, 0, 0)


def core_metadata(
    name: str,
    version: str,
    *,
    metadata_version: str = "2.1",
    requires_python: str | None = None,
    requires_dist: Iterable[str] = (),
    summary: str = "",
    extra: Iterable[str] = (),
    description: str = "",
) -> bytes:
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}"]
    if summary:
        lines.append(f"Summary: {summary}")
    if requires_python is not None:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires_dist]
    lines += extra
    return ("\n".join(lines) + "\n\n" + description).encode()


def make_wheel(
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    requires_dist: Iterable[str] = (),
    summary: str = "",
    metadata: bytes | None = None,
    metadata_version: str = "2.1",
    extra_members: Mapping[str, bytes] | None = None,
    leave_out: Iterable[str] = (),
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:
    """An installable wheel (PEP 427) with a true RECORD; ``leave_out`` names members of .dist-info to omit."""
    stem = name.replace("-", "_").replace(".", "_")
    info = f"{stem}-{version}.dist-info"
    if metadata is None:
        metadata = core_metadata(
            name, version, metadata_version=metadata_version, requires_python=requires_python,
            requires_dist=requires_dist, summary=summary,
        )  # fmt: skip
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    members = {f"{stem}.py": f"version = {version!r}\n".encode(), **(extra_members or {})}
    members.update({f"{info}/METADATA": metadata, f"{info}/WHEEL": wheel})
    record = "".join(f"{path},{_record_hash(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    for left_out in leave_out:
        del members[f"{info}/{left_out}"]
    return f"{stem}-{version}-{tag}.whl", make_zip(members)


def make_sdist(
    name: str,
    version: str,
    *,
    format: str = ".tar.gz",
    metadata: bytes | None = None,
    metadata_version: str = "2.2",
    extra_members: Mapping[str, bytes] | None = None,
) -> tuple[str, bytes]:
    """A source distribution that setuptools can build."""
    stem = f"{name}-{version}"
    if metadata is None:
        metadata = core_metadata(name, version, metadata_version=metadata_version)
    module = name.replace("-", "_").replace(".", "_")
    setup = f"from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules=[{module!r}])\n"
    members = {
        f"{stem}/PKG-INFO": metadata,
        f"{stem}/setup.py": setup.encode(),
        f"{stem}/{module}.py": f"version = {version!r}\n".encode(),
        **(extra_members or {}),
    }
    data = make_zip(members) if format == ".zip" else make_tar(members, format)
    return stem + format, data


def make_egg(name: str, version: str, *, python: str = "3.6") -> tuple[str, bytes]:
    """An egg as bdist_egg writes it."""
    stem = name.replace("-", "_")
    members = {
        f"{stem}.py": f"version = {version!r}\n".encode(),
        "EGG-INFO/PKG-INFO": core_metadata(name, version, metadata_version="1.0"),
        "EGG-INFO/SOURCES.txt": b"",
        "EGG-INFO/top_level.txt": f"{stem}\n".encode(),
        "EGG-INFO/zip-safe": b"\n",
    }
    return f"{stem}-{version}-py{python}.egg", make_zip(members)


def make_bdist_dumb(name: str, version: str) -> tuple[str, bytes]:
    """A bdist_dumb: files as they would lie in the file system."""
    return f"{name}-{version}.linux-x86_64.tar.gz", make_tar({f"./usr/lib/{name}.py": b""}, ".tar.gz")


def make_zip(members: Mapping[str, bytes]) -> bytes:
    """A zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            info = zipfile.ZipInfo(path, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def make_tar(members: Mapping[str, bytes], format: str = ".tar.gz") -> bytes:
    """A tar archive of these members, compressed as its ending says."""
    modes = {".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tar.xz": "xz"}
    mode = modes[format.lower()]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w" if mode == "gz" else f"w:{mode}", encoding="utf-8") as archive:  # type: ignore[call-overload]
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0) if mode == "gz" else buffer.getvalue()


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
