"""Which kinds of files of another index come in: formats, platforms, Pythons, sizes.

**Invariants:** functions are pure; what a name does not say for certain is no reason to let a file in, but a size that
the index does not give is none to withhold it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..access.patterns import Matcher
from ..upstream.values import RemoteFile, Upstream

# The words of ``formats``, and the kinds of files that they mean.
FORMATS = {
    "wheel": "bdist_wheel", "sdist": "sdist", "egg": "bdist_egg", "wininst": "bdist_wininst", "msi": "bdist_msi",
    "dumb": "bdist_dumb",
}  # fmt: skip
# The words of ``platforms``, and the tags that they mean (PEP 425, PEP 600, PEP 656); any other word is a tag.
PLATFORMS = {
    "linux": ("linux*", "manylinux*"),
    "musl": ("musllinux*",),
    "windows": ("win32", "win-*"),
    "macos": ("macosx*",),
    "ios": ("ios*",),
    "android": ("android*",),
    "freebsd": ("freebsd*",),
    "pyodide": ("pyodide*", "emscripten*"),
}
_PYTHON = re.compile(r"(?P<kind>[a-z]+)(?P<major>[0-9])_?(?P<minor>[0-9]*)")
# A Python in ``pythons``: a version such as 3.12, or a tag such as cp312.
_WORD = re.compile(r"(?P<kind>cp|pp|py|)(?P<major>[0-9])\.?(?P<minor>[0-9]{0,3})")
_EGG_PYTHON = re.compile(r"-py(?P<major>[0-9])\.?(?P<minor>[0-9]*)(?:-(?P<platform>.+))?\.egg$", re.IGNORECASE)
_EXE = re.compile(
    r"[.-](?P<platform>win32|win-[a-z0-9]+)(?:-py(?P<major>[0-9])\.?(?P<minor>[0-9]*))?\.(?:exe|msi)$", re.I
)
# Kind (cp, pp, py ...), major and minor version.
_Python = tuple[str, int, "int | None"]


class _Tags(NamedTuple):
    """What a name says: its Pythons, its platforms as normalized tags, and whether it is for the stable ABI."""

    pythons: tuple[_Python, ...]
    platforms: tuple[str, ...]
    is_stable: bool = False


def broken_limit(upstream: Upstream, file: RemoteFile) -> tuple[str, str] | None:
    """The rule of the index that keeps the file out, and why, as the end of a sentence; None if it comes in."""
    if upstream.formats and file.kind not in {FORMATS.get(word, word) for word in upstream.formats}:
        return "formats", f"only {_words(upstream.formats)} files of {upstream.name} are given out"
    limit = upstream.max_file_size
    if limit is not None and file.size is not None and file.size > limit:
        return "max-file-size", f"it has {file.size:,} bytes, and at most {limit:,} are given out"
    if (upstream.platforms or upstream.pythons) and file.kind != "sdist":
        tags = _tags(file)
        if upstream.platforms and not _is_for_platform(tags, upstream.platforms):
            return "platforms", f"only files for {_words(upstream.platforms)} are given out"
        if upstream.pythons and not any(_is_for_python(tags, word) for word in upstream.pythons):
            return "pythons", f"only files for Python {_words(upstream.pythons)} are given out"
    return None


def _words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _is_for_platform(tags: _Tags, words: tuple[str, ...]) -> bool:
    matches = _platforms(words)
    return any(tag == "any" or matches(tag) for tag in tags.platforms)


@functools.lru_cache(maxsize=64)
def _platforms(words: tuple[str, ...]) -> Matcher:
    return Matcher(pattern for word in words for pattern in PLATFORMS.get(word, (_tag(word),)))


def _is_for_python(tags: _Tags, word: str) -> bool:
    wanted = _WORD.fullmatch(word)
    if wanted is None:
        matches = Matcher((word,))
        return any(kind == "py" or matches(f"{kind}{major}{minor or ''}") for kind, major, minor in tags.pythons)
    python = _numbers(wanted["kind"], wanted["major"], wanted["minor"])
    return any(_fits(each, python, is_stable=tags.is_stable) for each in tags.pythons)


def _fits(tag: _Python, wanted: _Python, *, is_stable: bool) -> bool:
    """Whether a tag is for this Python: ``py`` tags and the stable ABI are for later ones too (PEP 425)."""
    (kind, major, minor), (of_kind, of_major, of_minor) = tag, wanted
    if major != of_major or (kind != "py" and of_kind in ("cp", "pp") and kind != of_kind):
        return False
    if minor is None or of_minor is None:
        return True
    return minor <= of_minor if kind == "py" or (kind == "cp" and is_stable) else minor == of_minor


def _tags(file: RemoteFile) -> _Tags:
    if file.kind == "bdist_wheel":
        parts = file.filename[: -len(".whl")].rsplit("-", 3)
        if len(parts) == 4:
            named = (_PYTHON.fullmatch(tag.lower()) for tag in parts[1].split("."))
            pythons = tuple(_numbers(each["kind"], each["major"], each["minor"]) for each in named if each)
            return _Tags(pythons, tuple(map(_tag, parts[3].split("."))), "abi3" in parts[2].split("."))
    if file.kind == "bdist_egg" and (found := _EGG_PYTHON.search(file.filename)):
        return _Tags((_numbers("cp", found["major"], found["minor"]),), (_tag(found["platform"] or "any"),))
    if file.kind in ("bdist_wininst", "bdist_msi"):
        exe = _EXE.search(file.filename)
        python = (_numbers("cp", exe["major"], exe["minor"]),) if exe and exe["major"] else ()
        return _Tags(python, (_tag(exe["platform"]) if exe else "win32",))
    return _Tags((), ())


def _numbers(kind: str, major: str, minor: str) -> _Python:
    return kind, int(major), int(minor[:3]) if minor else None


def _tag(word: str) -> str:
    return word.lower().replace("_", "-").replace(".", "-")
