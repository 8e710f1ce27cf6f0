"""File names of distributions: which project, version and kind they name, and how files are sorted.

``packaging`` knows the names of today (PEP 427, PEP 625). The rules for yesterday's are here, one function for each
kind; each gives the parts or says why the name is none. The rule to keep: whatever the name, the answer is a DistFile
or InvalidFilename, in time linear in its length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from ..allowed_names import allowed_in_a_path
from ..bounded_cache import short_texts
from ..errors import InvalidFilename

SIDECARS = (".asc", ".yanked", ".provenance")
MAX_FILENAME = 255
MAX_UPLOADED_FILENAME = 200
_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")

_PROJECT = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]")
_VERSION = re.compile(r"[A-Za-z0-9._+!*-]+")
_UPLOADED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
# What follows the version: a build number and tags. A browser adds " (2)", a file manager " copy".
_TAGS = re.compile(r"[A-Za-z0-9._+!-]+")
# Name, version, an optional build number that starts with a digit, and the three tags; '-' divides, '_' is in names.
_WHEEL = re.compile(
    r"(?P<name>[^-].*?)-(?P<version>[0-9][^-]*)(?:-(?P<build>[0-9][^-]*))?"
    r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl",
    re.IGNORECASE,
)
_EGG = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-py(?P<python>[0-9.]+)(?:-(?P<platform>.+))?)?\.egg", re.IGNORECASE
)
_EXE_TAIL = re.compile(r"[.-](?:win32|win-amd64|win-arm32|win-arm64)(?:-py(?P<python>[0-9.]+))?$", re.IGNORECASE)
# What distutils wrote between version and ending of a bdist_dumb; the operating system's name may have a version.
_DUMB_TAIL = re.compile(
    r"[.-](?:linux|macosx|darwin|win|freebsd|openbsd|netbsd|solaris|sunos|aix|hp-ux|cygwin|mingw)"
    r"(?:-?[0-9][0-9.]*)?(?:[-_][a-z0-9_]+)*(?:-py(?P<python>[0-9.]+))?$",
    re.IGNORECASE,
)
# What is looked at of a name that can be cut in many ways.
MAX_CUTS = 16
# Where a version may begin in a legacy name, best sign first: dotted numbers, those after a v, then any number.
_LEGACY_VERSION = tuple(
    re.compile(sign, re.IGNORECASE) for sign in (r"-(?=[0-9]+\.[0-9])", r"-(?=v[0-9]+\.)", r"-(?=v?[0-9])")
)


class DistFile(NamedTuple):
    """What a file name says.

    ``project`` is the normal form (PEP 503) of ``name``; ``name`` and ``version`` are as the file name spells them, and
    a version may be empty. ``kind`` is ``bdist_wheel``, ``sdist``, ``bdist_egg``, ``bdist_wininst``, ``bdist_msi`` or
    ``bdist_dumb``, as upload forms call it, and so is ``pyversion``: ``py3``, ``2.7``, ``source`` or ``any``.
    ``others`` are the projects that it belongs to where its name is cut in another way, which its metadata decides.
    """

    filename: str
    project: NormalizedName
    name: str
    version: str
    kind: str
    pyversion: str
    others: tuple[NormalizedName, ...] = ()


class Sortable(Protocol):
    """What :func:`file_key` needs."""

    @property
    def version(self) -> str:
        """The version as the file name spells it."""

    @property
    def filename(self) -> str:
        """The file name."""


def normalize(name: str) -> NormalizedName:
    """The normal form of a project name (PEP 503)."""
    return _normalized(name)


# Strangers may ask for any name, and metadata and forms carry megabytes: what is longer than names usually are is
# worked out each time. Whoever reads many names reads them sorted, so that a few thousand are enough; a parsed version
# takes half a kilobyte. Together these memories take 6 MB at most.
REMEMBERED = 4096
MAX_REMEMBERED = 64
_normalized = short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)(canonicalize_name)


def _parsed(version: str) -> Version | None:
    """The version as PEP 440 reads it, None when it does not, or when no file name has room for it."""
    return _parsed_short(version) if len(version) <= MAX_FILENAME else None


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def _parsed_short(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None


def parse_filename(filename: str) -> DistFile:
    """Read a file name; raises InvalidFilename, whose reason says what is wrong with it."""
    if len(filename) > MAX_FILENAME or not allowed_in_a_path(filename) or "/" in filename or "\\" in filename:
        raise InvalidFilename(
            "its name is too long, or has characters no distribution's name has", filename=filename, kind="characters"
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
        raise InvalidFilename(
            "it lists wheel variants, which no client asks an index for yet", filename=filename, kind="variants"
        )
    raise InvalidFilename("its name has none of the endings of a distribution", filename=filename, kind="ending")


def projects_of(filename: str) -> tuple[NormalizedName, ...]:
    """The projects in normal form whose file may have that name, none when it is no distribution's."""
    try:
        dist = parse_filename(filename)
    except InvalidFilename:
        return ()
    return dist.project, *dist.others


def decided(dist: DistFile, name: str, version: str) -> DistFile:
    """The distribution as its metadata says it is to be cut; as it is when that says nothing about its name."""
    project = _normalized(name) if name else ""
    fitting = [each for each in _cuts(dist) if each.project == project] if dist.others else []
    return next((each for each in fitting if same_version(each.version, version)), (*fitting, dist)[0])._replace(
        others=()
    )


def as_filed(filename: str, project: str) -> DistFile:
    """Read the name of a file that is known to belong to a project; raises InvalidFilename."""
    return decided(parse_filename(filename), project, "")


def _cuts(dist: DistFile) -> Iterator[DistFile]:
    """Every way to cut the name of an sdist, the usual one first."""
    yield dist
    stem = _stem(dist.filename)
    for match in itertools.islice(_LEGACY_VERSION[-1].finditer(stem), MAX_CUTS):
        name, version = stem[: match.start()], stem[match.end() :]
        if name != dist.name and _project(name) is not None and _is_version(version):
            yield _dist(dist.filename, name, version, kind=dist.kind, pyversion=dist.pyversion)


def check_upload_filename(filename: str) -> DistFile:
    """Read the name of an uploaded file, more strictly than one that somebody copied; raises InvalidFilename."""
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


def version_key(version: str) -> tuple[Any, ...]:
    """A key that sorts versions as PEP 440 does, unparseable ones lowest, equal ones by their text: never by chance."""
    parsed = _parsed(version)
    return (0, version) if parsed is None else (1, parsed, version)


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def release_key(version: str) -> tuple[Any, ...]:
    """A key that sorts versions as :func:`version_key` does, every final one after all others."""
    return (is_final(version), *version_key(version))


def file_key(file: Sortable) -> tuple[Any, ...]:
    """A key that sorts files by version, then by name."""
    return (*version_key(file.version), file.filename)


def canonical_version(version: str) -> str:
    """What all spellings of one version have in common: the normal form of PEP 440; a legacy one in lower case.

    A wheel's or egg's ``_`` stands for the ``-`` it cannot have.
    """
    parsed = _parsed(version) or _parsed(version.replace("_", "-"))
    return version.lower().replace("_", "-") if parsed is None else canonicalize_version(str(parsed))


def same_version(one: str, other: str) -> bool:
    """Whether two spellings mean one version."""
    return one == other or canonical_version(one) == canonical_version(other)


def is_standard(version: str) -> bool:
    """Whether the version is one that PEP 440 knows."""
    return _parsed(version) is not None


def folded(filename: str) -> str:
    """What all file names have in common that differ in case and in ``-``, ``_`` and ``.`` alone."""
    return filename.lower().replace("_", "-").replace(".", "-")


def spelling_key(dist: DistFile) -> tuple[str, ...]:
    """What all spellings of one file have in common: project, version, kind, and what follows them in its name."""
    rest = dist.filename.lower()
    for part in (dist.name.lower(), dist.version.lower()):
        rest = rest.replace(part, "", 1)
    return dist.project, canonical_version(dist.version), dist.kind, rest.replace("_", "-")


def is_final(version: str) -> bool:
    """Whether the version is a PEP 440 one that is no pre-release or development release."""
    parsed = _parsed(version)
    return parsed is not None and not parsed.is_prerelease


def _dist(filename: str, name: str, version: str, *, kind: str, pyversion: str) -> DistFile:
    project = _project(name)
    if project is None:
        rule = "... is no project name"
        raise InvalidFilename(f"{name!r} is no project name", filename=filename, kind="project-name", rule=rule)
    if not _is_version(version):
        raise InvalidFilename(f"{version!r} is no version", filename=filename, kind="version", rule="... is no version")
    return DistFile(filename, project, name, version, kind, pyversion)


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def _project(name: str) -> NormalizedName | None:
    project = canonicalize_name(name)
    return project if _PROJECT.fullmatch(project) else None


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def _is_version(version: str) -> bool:
    return not version or _VERSION.fullmatch(version) is not None


def _wheel(filename: str) -> DistFile:
    # packaging.utils.parse_wheel_filename refuses old names with dots, and costs ten times as much: it makes every tag.
    parts = filename[:-4].split("-")
    is_plain = len(parts) == 5 and "" not in parts and "0" <= parts[1][0] <= "9"
    if is_plain and _TAGS.fullmatch(filename, len(parts[0]) + len(parts[1]) + 2):
        # What the expression finds in all but the oldest names, in half of its time.
        return _dist(filename, parts[0], parts[1], kind="bdist_wheel", pyversion=parts[2])
    match = _WHEEL.fullmatch(filename)
    if match is None or not _TAGS.fullmatch(filename, match.end("version") + 1):
        raise _not_of_form(filename, "it is no wheel name", "NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl (PEP 427)")
    return _dist(filename, match["name"], match["version"], kind="bdist_wheel", pyversion=match["python"])


def _egg(filename: str) -> DistFile:
    match = _EGG.fullmatch(filename)
    if match is None or not _TAGS.fullmatch(match["platform"] or "any"):
        raise _not_of_form(filename, "it is no egg name", "NAME-VERSION[-pyX.Y[-PLATFORM]].egg")
    # Eggs write '_' where name or version had '-'.
    return _dist(filename, match["name"], match["version"], kind="bdist_egg", pyversion=match["python"] or "any")


def _installer(filename: str, kind: str) -> DistFile:
    stem = filename[:-4]
    tail = _EXE_TAIL.search(stem)
    name, version = _split(stem[: tail.start()] if tail else stem)
    if not version:
        rule = "it is no installer of a Python package"
        raise _not_of_form(filename, rule, "NAME-VERSION.PLATFORM[-pyX.Y].exe or .msi")
    return _dist(filename, name, version, kind=kind, pyversion=(tail and tail["python"]) or "any")


def _not_of_form(filename: str, rule: str, form: str) -> InvalidFilename:
    return InvalidFilename(f"{rule}: {form}", filename=filename, kind="form", rule=rule)


def _archive(filename: str, stem: str) -> DistFile:
    """A source distribution, or a bdist_dumb when a platform stands after the version."""
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
    """Name and version of a legacy stem, the version empty when there is none.

    PEP 625 puts them apart at the last dash. Older names have dashes in the name, in the version, or in both: the
    longest rest that PEP 440 knows as a version wins, if it has a dot; where there is no dot, the last that looks like
    one, as in ``plot-3d-20240101``; then the first.
    """
    name, dash, last = stem.rpartition("-")
    if dash and "-" not in name and _parsed(last):
        return name, last
    for sign in _LEGACY_VERSION:
        match = sign.search(stem)
        if match:
            if "." not in stem[match.end() :] and sign.match(f"-{last}"):
                return name, last
            return stem[: match.start()], stem[match.end() :]
    if dash and _parsed(last):
        return name, last
    return stem, ""
