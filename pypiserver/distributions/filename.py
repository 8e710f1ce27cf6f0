"""File names of distributions: the project, version and kind that they name.

``packaging`` parses current names (PEP 427, PEP 625). The rules for legacy names are here, one function for each kind.
**Invariants:** for any name, the result is a DistFile or InvalidFilename, in time linear in its length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from packaging.utils import NormalizedName, canonicalize_name

from ..allowed_names import allowed_in_a_path
from ..bounded_cache import short_texts
from ..errors import InvalidFilename
from .versions import MAX_REMEMBERED, REMEMBERED, parse_version, same_version

# What people put next to a file; a bucket has more.
SIDECARS = (".asc", ".yanked", ".provenance")
MAX_FILENAME = 255
MAX_UPLOADED_FILENAME = 200
_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")

# What packages end with, also those of other systems and of long ago.
_PACKAGES = (*_ARCHIVES, ".whl", ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg", ".tar", ".tar.z", ".tar.zst", ".pybi")

_PROJECT = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]")
_VERSION = re.compile(r"[A-Za-z0-9._+!*-]+")
_UPLOADED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
# The build number and tags after the version. A browser adds " (2)", a file manager " copy".
_TAGS = re.compile(r"[A-Za-z0-9._+!-]+")
# Name, version, an optional build number that starts with a digit, and the three tags, separated by '-'.
_WHEEL = re.compile(
    r"(?P<name>[^-].*?)-(?P<version>[0-9][^-]*)(?:-(?P<build>[0-9][^-]*))?"
    r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl",
    re.IGNORECASE,
)
_EGG = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-py(?P<python>[0-9.]+)(?:-(?P<platform>.+))?)?\.egg", re.IGNORECASE
)
_EXE_TAIL = re.compile(r"[.-](?:win32|win-amd64|win-arm32|win-arm64)(?:-py(?P<python>[0-9.]+))?$", re.IGNORECASE)
# The platform that distutils wrote between version and ending of a bdist_dumb; it may include a system version.
_DUMB_TAIL = re.compile(
    r"[.-](?:linux|macosx|darwin|win|freebsd|openbsd|netbsd|solaris|sunos|aix|hp-ux|cygwin|mingw)"
    r"(?:-?[0-9][0-9.]*)?(?:[-_][a-z0-9_]+)*(?:-py(?P<python>[0-9.]+))?$",
    re.IGNORECASE,
)
_PLAIN_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc|\.post|\.dev)[0-9]+)?")
# At most this many ways to split an ambiguous name are tried.
MAX_CUTS = 16
# Patterns of where a version begins in a legacy name, best first: dotted numbers, those after a v, then any number.
_LEGACY_VERSION = tuple(
    re.compile(sign, re.IGNORECASE) for sign in (r"-(?=[0-9]+\.[0-9])", r"-(?=v[0-9]+\.)", r"-(?=v?[0-9])")
)


NO_ENDING = "its name has none of the endings of a distribution"
OTHER_ENDING = "no client of a Python package index installs a package with its ending"
VARIANTS = "it lists wheel variants, which no client asks an index for yet"
# The rules that files break which are not meant as packages.
NOT_MEANT = frozenset({NO_ENDING, VARIANTS})


def is_meant_as_package(filename: str) -> bool:
    """Whether a file that is none looks like a distribution: ``README.txt`` does not."""
    return filename.lower().endswith(_PACKAGES)


class FilenameParts(NamedTuple):
    """The parts of a file name.

    ``project`` is the normal form (PEP 503) of ``name``; ``name`` and ``version`` are in the file name's spelling, and
    the version may be empty. ``kind`` is ``bdist_wheel``, ``sdist``, ``bdist_egg``, ``bdist_wininst``, ``bdist_msi`` or
    ``bdist_dumb``, as in upload forms; so is ``pyversion``: ``py3``, ``2.7``, ``source`` or ``any``. ``others`` are the
    projects that it would belong to if its name were split differently; its metadata decides.
    """

    filename: str
    project: NormalizedName
    name: str
    version: str
    kind: str
    pyversion: str
    others: tuple[NormalizedName, ...] = ()


def normalize(name: str) -> NormalizedName:
    """The normal form of a project name (PEP 503)."""
    return _normalized(name)


def normalize_once(name: str) -> NormalizedName:
    """The same without remembering it: for lists of many names."""
    return canonicalize_name(name)


_normalized = short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)(canonicalize_name)


def parse_filename(filename: str) -> FilenameParts:
    """Parse a file name; raises InvalidFilename, whose ``reason`` says what is wrong with it."""
    if len(filename) > MAX_FILENAME or not allowed_in_a_path(filename) or "/" in filename or "\\" in filename:
        raise InvalidFilename(
            "its name is too long, or has characters that no distribution has", filename=filename, kind="characters"
        )
    lower = filename.lower()
    if lower.endswith(".whl"):
        return _wheel(filename)
    for ending in _ARCHIVES:
        if lower.endswith(ending):
            return _archive(filename, filename[: -len(ending)])
    if lower.endswith(".egg"):
        return _egg(filename)
    if lower.endswith((".exe", ".msi")):
        return _installer(filename, "bdist_wininst" if lower.endswith(".exe") else "bdist_msi")
    if lower.endswith("-variants.json"):
        raise InvalidFilename(VARIANTS, filename=filename, kind="variants")
    raise InvalidFilename(
        OTHER_ENDING if is_meant_as_package(filename) else NO_ENDING, filename=filename, kind="ending"
    )


def projects_of(filename: str) -> tuple[NormalizedName, ...]:
    """The projects, in normal form, that a file of that name may belong to; none if it is not a distribution."""
    try:
        dist = parse_filename(filename)
    except InvalidFilename:
        return ()
    return dist.project, *dist.others


def decided(dist: FilenameParts, name: str, version: str) -> FilenameParts:
    """The distribution with its name split as in its metadata (``name``, ``version``); unchanged if none matches."""
    if not dist.others:
        return dist
    project = _normalized(name) if name else ""
    fitting = [each for each in _cuts(dist) if each.project == project]
    return next((each for each in fitting if same_version(each.version, version)), (*fitting, dist)[0])._replace(
        others=()
    )


def as_filed(filename: str, project: str) -> FilenameParts:
    """Parse the name of a file that is known to belong to a project; raises InvalidFilename."""
    return decided(parse_filename(filename), project, "")


def _cuts(dist: FilenameParts) -> Iterator[FilenameParts]:
    """Every way to split the name of an sdist, the usual one first."""
    yield dist
    stem = _stem(dist.filename)
    for match in itertools.islice(_LEGACY_VERSION[-1].finditer(stem), MAX_CUTS):
        name, version = stem[: match.start()], stem[match.end() :]
        if name != dist.name and _project(name) is not None and _is_version(version):
            yield _dist(dist.filename, name, version, kind=dist.kind, pyversion=dist.pyversion)


def check_upload_filename(filename: str) -> FilenameParts:
    """Parse the name of an uploaded file, more strictly than :func:`parse_filename`; raises InvalidFilename."""
    if len(filename) > MAX_UPLOADED_FILENAME or not _UPLOADED.fullmatch(filename):
        raise InvalidFilename(
            f"The file name {filename[:60]!r} cannot be stored: it must begin with a letter or digit, have only "
            "letters, digits and . _ - + ! in it, and at most 200 characters.",
            filename=filename,
            kind="characters",
        )
    try:
        dist = parse_filename(filename)
    except InvalidFilename as error:
        raise error.reworded(f"The file {filename!r} cannot be stored: {error.reason}.") from None
    if not dist.version:
        reason = "its name has no version"
        message = f"The file {filename!r} cannot be stored: {reason}."
        raise InvalidFilename(message, filename=filename, kind="no-version", reason=reason)
    return dist


def _dist(filename: str, name: str, version: str, *, kind: str, pyversion: str) -> FilenameParts:
    project = _project(name)
    if project is None:
        rule = "... is not a project name"
        raise InvalidFilename(f"{name!r} is not a project name", filename=filename, kind="project-name", rule=rule)
    if not _is_version(version):
        raise InvalidFilename(
            f"{version!r} is not a version", filename=filename, kind="version", rule="... is not a version"
        )
    return FilenameParts(filename, project, name, version, kind, pyversion)


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def _project(name: str) -> NormalizedName | None:
    project = canonicalize_name(name)
    return project if _PROJECT.fullmatch(project) else None


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def _is_version(version: str) -> bool:
    return not version or _VERSION.fullmatch(version) is not None


def _wheel(filename: str) -> FilenameParts:
    # packaging.utils.parse_wheel_filename refuses old names with dots, and costs ten times as much: it makes every tag.
    parts = filename[:-4].split("-")
    is_plain = len(parts) == 5 and "" not in parts and "0" <= parts[1][0] <= "9"
    if is_plain and _TAGS.fullmatch(filename, len(parts[0]) + len(parts[1]) + 2):
        # The same result as the regular expression's in all but the oldest names, in half the time.
        return _dist(filename, parts[0], parts[1], kind="bdist_wheel", pyversion=parts[2])
    match = _WHEEL.fullmatch(filename)
    if match is None or not _TAGS.fullmatch(filename, match.end("version") + 1):
        raise _not_of_form(filename, "it is not a wheel name", "NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl (PEP 427)")
    return _dist(filename, match["name"], match["version"], kind="bdist_wheel", pyversion=match["python"])


def _egg(filename: str) -> FilenameParts:
    match = _EGG.fullmatch(filename)
    if match is None or not _TAGS.fullmatch(match["platform"] or "any"):
        raise _not_of_form(filename, "it is not an egg name", "NAME-VERSION[-pyX.Y[-PLATFORM]].egg")
    # Eggs have '_' for each '-' in name and version.
    return _dist(filename, match["name"], match["version"], kind="bdist_egg", pyversion=match["python"] or "any")


def _installer(filename: str, kind: str) -> FilenameParts:
    stem = filename[:-4]
    tail = _EXE_TAIL.search(stem)
    name, version = _split(stem[: tail.start()] if tail else stem)
    if not version:
        rule = "it is not an installer of a Python package"
        raise _not_of_form(filename, rule, "NAME-VERSION.PLATFORM[-pyX.Y].exe or .msi")
    return _dist(filename, name, version, kind=kind, pyversion=(tail and tail["python"]) or "any")


def _not_of_form(filename: str, rule: str, form: str) -> InvalidFilename:
    return InvalidFilename(f"{rule}: {form}", filename=filename, kind="form", rule=rule)


def _archive(filename: str, stem: str) -> FilenameParts:
    """A source distribution, or a bdist_dumb if a platform follows the version."""
    plain, _, last = stem.rpartition("-")
    if plain and "-" not in plain and _PLAIN_VERSION.fullmatch(last):
        # Of the form of PEP 625 there is one way to split it; the same result in a third of the time.
        return _dist(filename, plain, last, kind="sdist", pyversion="source")
    tail = _DUMB_TAIL.search(stem)
    if tail:
        name, version = _split(stem[: tail.start()])
        if version:
            return _dist(filename, name, version, kind="bdist_dumb", pyversion=tail["python"] or "any")
    name, version = _split(stem)
    dist = _dist(filename, name, version, kind="sdist", pyversion="source")
    if stem.count("-") < 2 or len(_LEGACY_VERSION[-1].findall(stem)) < 2:
        return dist
    return dist._replace(
        others=tuple(dict.fromkeys(each.project for each in _cuts(dist) if each.project != dist.project))
    )


def _stem(filename: str) -> str:
    lower = filename.lower()
    return filename[: -len(next(ending for ending in _ARCHIVES if lower.endswith(ending)))]


def _split(stem: str) -> tuple[str, str]:
    """Name and version of a legacy stem; the version is empty if there is none.

    PEP 625 separates them at the last dash. Older names have dashes in the name, in the version, or in both: the
    longest suffix that is a valid version wins, if it has a dot; without a dot, the last that looks like one, as in
    ``plot-3d-20240101``; then the first.
    """
    name, dash, last = stem.rpartition("-")
    if dash and "-" not in name and parse_version(last):
        return name, last
    for sign in _LEGACY_VERSION:
        match = sign.search(stem)
        if match:
            if "." not in stem[match.end() :] and sign.match(f"-{last}"):
                return name, last
            return stem[: match.start()], stem[match.end() :]
    if dash and parse_version(last):
        return name, last
    return stem, ""
