"""The releases of other indexes that a lock file or a file of requirements pins.

It reads ``pylock.toml`` (PEP 751), the locks of uv, Poetry and PDM, and requirements with ``==``.

**Invariants:** a file from outside is read up to a size, and gives a bounded number of releases; names come from our
own parser only; what cannot be read is counted and named, never left out in silence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import NormalizedName

from ..access.patterns import is_project
from ..distributions.filename import MAX_FILENAME, normalize
from ..distributions.versions import MAX_VERSION, parse_version
from ..errors import ConfigError
from ..text import cut, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 64 << 20
MAX_PINS = 50_000
MAX_FILES = 2000
_SHOWN = 80
# Sources that no index has: a package from one is not fetched through this server.
_ELSEWHERE = frozenset({"git", "url", "path", "directory", "file", "editable", "virtual", "vcs", "archive"})
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*(?P<rest>.*)")
_PIN = re.compile(r"===?\s*(?P<version>[^\s,;*]+)")
_WORDS = (".toml", ".lock", ".txt", ".in")


@dataclass(frozen=True, slots=True)
class Pin:
    """A release that is wanted: ``version`` is '' for any; ``files`` are the names of its files, if they are known."""

    project: NormalizedName
    version: str = ""
    files: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.project} {self.version}".rstrip()


@dataclass(frozen=True, slots=True)
class Pins:
    """What a file wants, and the entries of it that cannot be read."""

    pins: tuple[Pin, ...]
    unread: tuple[str, ...] = ()


def is_file_name(word: str) -> bool:
    """Whether a word means a file, not a project."""
    return "/" in word or "\\" in word or word.endswith(_WORDS)


def pin_of(spec: str) -> Pin:
    """The release that ``NAME`` or ``NAME==VERSION`` means; raises ConfigError."""
    pin = _pinned(spec)
    if pin is None:
        raise ConfigError(
            f"{printable(cut(spec, _SHOWN))!r} is not a project or release; write NAME, NAME==VERSION, or a lock file.",
            kind="value",
            setting="subject",
            value=spec,
        )
    return pin


def read_pins(path: Path) -> Pins:
    """What a lock file or a file of requirements pins; raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise _unusable(path, f"is larger than {MAX_BYTES >> 20} MiB")
    text = data.decode("utf-8-sig", "replace")
    found: dict[Pin, None] = {}
    unread: list[str] = []
    for each in _locked(path, text) if path.name.endswith((".toml", ".lock")) else _required(text):
        if isinstance(each, Pin):
            found.setdefault(each)
        else:
            unread.append(printable(cut(each, _SHOWN)))
        if len(found) + len(unread) > MAX_PINS:
            raise _unusable(path, f"pins more than {MAX_PINS:,} releases")
    return Pins(tuple(found), tuple(unread))


def _locked(path: Path, text: str) -> Iterator[Pin | str]:
    try:
        content = tomllib.loads(text)
    # Each nested bracket is a call of the parser.
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _unusable(path, f"is not TOML: {printable(cut(str(error), _SHOWN))}") from error
    entries = content.get("packages", content.get("package"))
    if not isinstance(entries, list):
        raise _unusable(path, "is no lock file: it has no [[package]] or [[packages]]")
    for entry in entries:
        if not isinstance(entry, dict):
            yield "an entry that is no table"
        elif not _is_elsewhere(entry):
            yield _pin(entry)


def _is_elsewhere(entry: Mapping[str, Any]) -> bool:
    """Whether a package comes from no index."""
    source = entry.get("source")
    if isinstance(source, dict):
        # uv has the kind as a key, Poetry as "type"; the type "legacy" is an index.
        return (
            bool(_ELSEWHERE & source.keys() - {"url"})
            or source.get("type") in _ELSEWHERE
            or ("url" in source and "type" not in source and "registry" not in source)
        )
    # PDM and PEP 751 have it at the package. PDM's files may have addresses, which is no reason.
    return bool(_ELSEWHERE & entry.keys())


def _pin(entry: Mapping[str, Any]) -> Pin | str:
    name, version = entry.get("name"), entry.get("version", "")
    if not isinstance(name, str) or not is_project(name):
        return f"the name {name!r}"
    if not isinstance(version, str) or len(version) > MAX_VERSION or not version.isprintable():
        return f"the version of {name}"
    files: list[str] = []
    for listed in (entry.get("files"), entry.get("wheels"), [entry.get("sdist")]):
        for each in listed[:MAX_FILES] if isinstance(listed, list) else ():
            if isinstance(each, dict) and (filename := _filename(each)):
                files.append(filename)
    return Pin(normalize(name), version, frozenset(files))


def _filename(entry: Mapping[str, Any]) -> str:
    """The name of a file in a lock, '' if it has none."""
    for key in ("filename", "file", "name"):
        name = entry.get(key)
        if isinstance(name, str) and 0 < len(name) <= MAX_FILENAME and "/" not in name:
            return name
    for key in ("url", "path"):
        address = entry.get(key)
        if isinstance(address, str):
            try:
                name = unquote(urlsplit(address).path.rpartition("/")[2])
            except ValueError:
                continue
            if 0 < len(name) <= MAX_FILENAME:
                return name
    return ""


def _required(text: str) -> Iterator[Pin | str]:
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        plain = re.sub(r"(?:^|\s)#.*", "", line.replace("\t", " ")).strip()
        # Options, and hashes after a requirement.
        if not plain or plain.startswith("-"):
            continue
        pin = _pinned(plain.partition(" --")[0])
        if pin is not None:
            yield pin
        elif " @ " not in plain and "://" not in plain and not plain.startswith((".", "/")):
            yield plain


def _pinned(text: str) -> Pin | None:
    """The pin of a requirement; one of any version without ``==``; None if it is no requirement of an index."""
    found = _REQUIREMENT.fullmatch(text.partition(";")[0].strip())
    if found is None or not is_project(found["name"]) or found["rest"][:1] not in ("", "=", "<", ">", "!", "~", "("):
        return None
    pin = _PIN.fullmatch(found["rest"].strip("() "))
    version = pin["version"] if pin is not None else ""
    if found["rest"].startswith("=") and (pin is None or len(version) > MAX_VERSION or parse_version(version) is None):
        return None
    return Pin(normalize(found["name"]), version)


def _unusable(path: Path, what: str) -> ConfigError:
    return ConfigError(f"The file {path} {what}.", kind="lock-file", setting="subject", value=path)
