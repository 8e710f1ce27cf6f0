"""Another index as the operator names it, and what a page of it says about a project.

**Invariants:** the values are immutable, so threads share them; a file's name, project and place here come from our own
parser, never from the page; nothing in them contains a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packaging.utils import NormalizedName

from ..access.patterns import Patterns
from ..model import ACTIVE, ProjectStatus

ALL = Patterns(("*",))


@dataclass(frozen=True, slots=True)
class Upstream:
    """Another index. Indexes are asked in order; the first that has a project answers alone.

    ``name`` (a-z, 0-9 and ``-``) names its folder in the cache; ``url`` is the address of its simple page, without
    credentials, with a slash at the end. It is asked for ``projects`` only. A response whose status is in ``missing``
    says that the project is not there. ``hosts`` are the further origins (``https://host:port``) that may have private
    addresses, because the operator names them. ``min_age`` is in seconds, None for the setting of the server;
    ``unknown_age`` says what happens to files without an upload time: ``withhold``, or ``first-seen``, which counts
    from when the page was first seen with the file. The last four restrict its files, empty or None for no limit.
    """

    name: str
    url: str
    projects: Patterns = ALL
    missing: frozenset[int] = frozenset({404, 410})
    hosts: frozenset[str] = frozenset()
    min_age: float | None = None
    unknown_age: str = "withhold"
    formats: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    max_file_size: int | None = None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the page of another index.

    ``url`` is where it is fetched from (absolute, no credentials); ``path`` is its place below ``/packages/`` here:
    PyPI's own (``2/2/60 hexadecimal digits/filename``) where ``url`` has that form, else
    ``@upstream/project/filename``. ``version`` is in the file name's spelling, ``kind`` as in ``FilenameParts``.
    ``size`` is bytes, ``uploaded_ns`` nanoseconds since the epoch; both are None if the page does not say. ``hashes``
    are (algorithm, lower-case hex) of those hashlib has, best first. ``first_seen_ns`` is when a page of ours first had
    it. ``has_metadata`` says that the index serves its metadata (PEP 658), ``metadata_sha256`` is '' if the page does
    not give the hash. ``provenance`` is the URL of its provenance (PEP 740), '' for none.
    """

    filename: str
    project: NormalizedName
    version: str
    kind: str
    upstream: str
    url: str
    path: str
    size: int | None = None
    hashes: tuple[tuple[str, str], ...] = ()
    uploaded_ns: int | None = None
    first_seen_ns: int = 0
    requires_python: str | None = None
    yanked: str | None = None
    has_metadata: bool = False
    metadata_sha256: str = ""
    provenance: str = ""
    has_signature: bool = False

    @property
    def sha256(self) -> str:
        """Its SHA-256 as lower-case hex, '' if the page does not say."""
        return next((value for name, value in self.hashes if name == "sha256"), "")


class Referable:
    """What a weak reference may refer to (a dataclass with slots has no place for one before Python 3.11)."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class RemotePage(Referable):
    """What an index says about one project, reduced to the fields we know.

    ``url`` is the address of the page after redirects. ``etag`` and ``last_modified`` are its validators, '' for none.
    ``max_age`` is how long the index says that the page is fresh (seconds), None if it does not say. ``last_serial`` is
    the serial reported to mirrors, 0 for none. ``dropped`` is the number of rows that were no file of this project.
    """

    project: NormalizedName
    upstream: str
    url: str
    files: tuple[RemoteFile, ...] = ()
    versions: tuple[str, ...] = ()
    status: ProjectStatus = field(default=ACTIVE)
    etag: str = ""
    last_modified: str = ""
    max_age: int | None = None
    last_serial: int = 0
    dropped: int = 0
