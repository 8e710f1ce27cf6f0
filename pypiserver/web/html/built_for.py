"""For which platforms and Pythons the wheels of a release are built, in words, from the tags in their names (PEP 425).

**Invariants:** functions are pure; an unknown tag is shown as it is written; lists are bounded, because names of files
are untrusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...model import File

MAX_PLATFORMS = 30
_ARCHITECTURE = r"(?P<arch>[a-z0-9_]+)"
_PLATFORMS = (
    (re.compile(rf"(?:manylinux(?:1|2010|2014|_[0-9]+_[0-9]+)|linux)_{_ARCHITECTURE}"), "Linux {}"),
    (re.compile(rf"musllinux_[0-9]+_[0-9]+_{_ARCHITECTURE}"), "Linux {} (musl)"),
    (re.compile(rf"macosx_[0-9]+_[0-9]+_{_ARCHITECTURE}"), "macOS {}"),
    (re.compile(rf"ios_[0-9]+_[0-9]+_{_ARCHITECTURE}"), "iOS {}"),
    (re.compile(rf"android_[0-9]+_{_ARCHITECTURE}"), "Android {}"),
    (re.compile(rf"win_{_ARCHITECTURE}"), "Windows {}"),
)
_NAMED = {"any": "any platform", "win32": "Windows x86"}
_PYTHON = re.compile(r"(?P<kind>cp|pp|py)(?P<major>[23])(?P<minor>[0-9]*)")
_KINDS = {"cp": "", "py": "", "pp": "PyPy "}


def built_for(files: Iterable[File]) -> list[tuple[str, list[str]]]:
    """(platform, Pythons) of the wheels, platforms by name; empty if no wheel is built for a platform."""
    found: dict[str, set[tuple[tuple[int, int], str]]] = {}
    for file in files:
        for platform, python in _targets(file):
            if platform in found or len(found) < MAX_PLATFORMS:
                found.setdefault(platform, set()).add(python)
    if set(found) <= {_NAMED["any"]}:
        return []
    return [(platform, [text for _, text in sorted(pythons)]) for platform, pythons in sorted(found.items())]


def _targets(file: File) -> Iterator[tuple[str, tuple[tuple[int, int], str]]]:
    parts = file.filename.removesuffix(".whl").rsplit("-", 3)
    if file.kind != "bdist_wheel" or len(parts) != 4:
        return
    _, pythons, abis, platforms = parts
    for platform in platforms.split("."):
        for python in pythons.split("."):
            yield _platform(platform), _python(python, abis)


def _platform(tag: str) -> str:
    for pattern, text in _PLATFORMS:
        if match := pattern.fullmatch(tag):
            return text.format(match["arch"])
    return _NAMED.get(tag, tag)


def _python(tag: str, abis: str) -> tuple[tuple[int, int], str]:
    """A key to sort by, and the text: ``3.12``, ``3.13t`` without the lock, ``3.8+`` with the stable ABI."""
    match = _PYTHON.fullmatch(tag)
    if match is None or len(match["minor"]) > 3:
        return (99, 0), tag
    version = match["major"] + (f".{match['minor']}" if match["minor"] else "")
    is_free = re.fullmatch(r"cp[0-9]+t", abis) is not None
    more = "+" if "abi3" in abis or not match["minor"] or match["kind"] == "py" else "t" if is_free else ""
    more = "" if match["kind"] == "py" and not match["minor"] else more
    return (int(match["major"]), int(match["minor"] or 0)), f"{_KINDS[match['kind']]}{version}{more}"
