"""Pages of other indexes as files: what an index said about a project, when, and which files it no longer has.

A file is one JSON object: the version of the form, the SHA-256 of the bytes of ``kept``, and ``kept``.

**Invariants:** a file that is cut, damaged, of another form, or of another index or project counts as not kept; unknown
fields are ignored, so a newer version of this program may add some; no file contains a password.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from packaging.utils import NormalizedName

from ..model import ProjectStatus
from ..upstream.values import RemoteFile, RemotePage

FORM = 1
_HEAD = b'{"form":1,"sha256":"%s","kept":'
_TAIL = b"}\n"
_HEAD_BYTES = len(_HEAD) - 2 + 64
# At most this many files that an index no longer has are remembered, the last ones first.
MAX_FORMER = 2000


@dataclass(frozen=True, slots=True)
class KeptPage:
    """What an index said about a project.

    ``checked`` is when it last said so (seconds since the epoch), ``source`` the address of the index then. ``after``
    names the indexes before it that said then that they do not have the project. ``former`` are files that were on its
    page, the last to leave it first. ``is_gone`` says that the index no longer has the project: the page is its last.
    ``stamp`` identifies the bytes in its file, '' if there are none, ``written`` is ``checked`` in them; neither is
    compared.
    """

    page: RemotePage
    checked: float
    source: str
    after: tuple[str, ...] = ()
    former: tuple[RemoteFile, ...] = ()
    is_gone: bool = False
    stamp: str = field(default="", compare=False)
    written: float = field(default=0.0, compare=False)


def encode(kept: KeptPage) -> tuple[bytes, KeptPage]:
    """The bytes of its file, and the same value with their stamp."""
    page = kept.page
    said = {
        "checked": kept.checked,
        "source": kept.source,
        "after": list(kept.after),
        "is_gone": kept.is_gone,
        "page": {
            "project": page.project,
            "upstream": page.upstream,
            "status": page.status.status,
            "reason": page.status.reason,
            "versions": list(page.versions),
            "files": [_row(file) for file in page.files],
            **{name: getattr(page, name) for name in _PAGE if getattr(page, name) is not None},
        },
        "former": [_row(file) for file in kept.former],
    }
    body = json.dumps(said, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    stamp = hashlib.sha256(body).hexdigest()
    return b"".join((_HEAD % stamp.encode(), body, _TAIL)), replace(kept, stamp=stamp, written=kept.checked)


def stamp_of(data: bytes) -> str:
    """The stamp that the bytes of a file claim to have, '' for a file of another form."""
    head = data[:_HEAD_BYTES]
    start = _HEAD.index(b"%s")
    return head[start : start + 64].decode("ascii", "replace") if head[:start] == _HEAD[:start] else ""


def decode(data: bytes, upstream: str, project: NormalizedName) -> KeptPage | None:
    """The page in these bytes; None if they are not what was written for this index and project."""
    stamp = stamp_of(data)
    body = data[_HEAD_BYTES : -len(_TAIL)]
    is_whole = data[:_HEAD_BYTES] == _HEAD % stamp.encode() and data.endswith(_TAIL)
    if not is_whole or hashlib.sha256(body).hexdigest() != stamp:
        return None
    try:
        return _read(json.loads(body), upstream, project, stamp)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _read(said: Mapping[str, Any], upstream: str, project: NormalizedName, stamp: str) -> KeptPage:
    told = said["page"]
    if (told["project"], told["upstream"]) != (project, upstream):
        raise ValueError("of another project or index")

    def files(rows: list[Mapping[str, Any]]) -> tuple[RemoteFile, ...]:
        return tuple(_file(row, upstream, project) for row in rows)

    page = RemotePage(
        project,
        upstream,
        status=ProjectStatus(_as(told["status"], str), _as(told["reason"], str)),
        versions=tuple(_as(each, str) for each in told["versions"]),
        files=files(told["files"]),
        **{name: _as(told[name], kind) for name, kind in _PAGE.items() if name in told},
    )
    return KeptPage(
        page,
        checked=float(said["checked"]),
        written=float(said["checked"]),
        source=_as(said["source"], str),
        after=tuple(_as(each, str) for each in said["after"]),
        former=files(said["former"]),
        is_gone=_as(said["is_gone"], bool),
        stamp=stamp,
    )


# The fields with their types; those of a file that have their default are left out.
_PAGE: dict[str, type] = {
    "url": str,
    "etag": str,
    "last_modified": str,
    "max_age": int,
    "last_serial": int,
    "dropped": int,
}
_FILE: dict[str, type] = {
    "filename": str,
    "version": str,
    "kind": str,
    "url": str,
    "path": str,
    "size": int,
    "uploaded_ns": int,
    "first_seen_ns": int,
    "requires_python": str,
    "yanked": str,
    "has_metadata": bool,
    "metadata_sha256": str,
    "provenance": str,
    "has_signature": bool,
}
_DEFAULTS = {each.name: each.default for each in fields(RemoteFile)}
_values = operator.attrgetter(*_FILE)
_FIELDS = tuple((name, _DEFAULTS[name]) for name in _FILE)


def _row(file: RemoteFile) -> dict[str, object]:
    row: dict[str, object] = {
        name: value for (name, default), value in zip(_FIELDS, _values(file), strict=True) if value != default
    }
    if file.hashes:
        row["hashes"] = dict(file.hashes)
    return row


def _file(row: Mapping[str, Any], upstream: str, project: NormalizedName) -> RemoteFile:
    said = {name: _as(row[name], kind) for name, kind in _FILE.items() if name in row}
    hashes = tuple((name, _as(value, str)) for name, value in row.get("hashes", {}).items())
    return RemoteFile(project=project, upstream=upstream, hashes=hashes, **said)


def _as(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a field is no {kind.__name__}")
    return value
