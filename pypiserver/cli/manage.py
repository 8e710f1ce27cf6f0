"""Changes the packages in folders or a bucket: yank, unyank, delete, restore; and checks them.

The functions work on storage itself, so they need no running server; a running one sees the change like any other.

**Invariants:** nothing is deleted without a confirmation (``--yes``, ``--purge``); every change is reported file by
file, and recorded in the audit log, if there is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO, Protocol, TextIO

from ..backend.backend import Backend
from ..backend.checks import Fault
from ..backend.claims import claiming
from ..catalog import FAILURES
from ..distributions import filename, filename_keys, versions
from ..distributions.filename import normalize
from ..distributions.versions import same_version
from ..errors import InvalidFilename, NotFound, Unavailable
from ..factory.backends import build_backend
from ..model import File
from ..observability import audit_log
from ..observability.clean_lines import redacted
from ..settings.config import Config
from ..settings.suggestions import hinting, nearest
from ..text import printable
from .output import Change, tell_changes
from .progress import progress
from .release import Selection

# The newest versions, of which a message names as many.
MOST_NAMED = 10


class _Reported(Protocol):
    @property
    def config(self) -> Config: ...

    @property
    def json(self) -> bool: ...


def tell(changes: Iterable[Change], command: _Reported, out: TextIO) -> int:
    """Carry out the changes, report each, and return their number."""
    with catalog_failures(command.config):
        return tell_changes(changes, out, as_json=command.json)


@contextlib.contextmanager
def catalog_failures(config: Config) -> Iterator[None]:
    """Name the catalog that cannot be used; raises Unavailable."""
    try:
        yield
    except FAILURES as error:
        raise Unavailable(
            f"The catalog {_catalog_of(config)} cannot be used: {printable(str(error))}. See to it, or name "
            "another one with --catalog."
        ) from error


def yank(selection: Selection, reason: str) -> Iterator[Change]:
    """Mark the files as yanked."""
    backend = _backend(selection)
    # The bytes as typed, also in a terminal without UTF-8: an editor would write the same.
    text = f"{reason}\n".encode("utf-8", "surrogateescape") if reason else b""
    for file in _chosen(backend, selection):
        change = audit_log.Change("yank", file.path, file.sha256, reason)
        with _recorded(selection, change, partial(backend.inventory.open, file)):
            backend.writer.yank(file, text)
        yield _changed("yank", backend, file)


def unyank(selection: Selection) -> Iterator[Change]:
    """Remove the yank mark."""
    backend = _backend(selection)
    for file in _chosen(backend, selection):
        if file.yanked is not None:
            change = audit_log.Change("unyank", file.path, file.sha256)
            with _recorded(selection, change, partial(backend.inventory.open, file)):
                backend.writer.unyank(file)
        yield _changed("unyank", backend, file, done=file.yanked is not None)


def delete(selection: Selection, *, yes: bool, purge: bool) -> Iterator[Change]:
    """Move the files to the trash, or delete them permanently; without ``yes`` only name them."""
    backend = _backend(selection)
    if yes and not purge:
        backend.trash.ensure()
    is_for_good = purge or not backend.trash.exists
    action, remove = ("delete", backend.writer.remove) if is_for_good else ("trash", backend.trash.move)
    project = normalize(selection.name)
    chosen = _chosen(backend, selection)
    if not yes:
        yield from (_changed(action, backend, file, done=False) for file in chosen)
        return
    with claiming(backend.claims, project, chosen, partial(backend.inventory.files, project)) as is_claimed:
        for file in chosen:
            change = audit_log.Change("delete", file.path, file.sha256)
            with _recorded(selection, change, partial(backend.inventory.open, file)):
                remove(file)
            yield _changed(action, backend, file)
    if is_claimed():
        yield Change("claim", str(backend.storage.roots[chosen[0].root]), project)


def claims(selection: Selection) -> Iterator[Change]:
    """Release the name of a deleted project; without a name, list the names."""
    backend = _backend(selection)
    place, normal = str(backend.storage.roots[0]), normalize(selection.name)
    if not selection.name:
        yield from (Change("claim", place, name, done=False) for name in sorted(backend.claims.all()))
    elif backend.claims.release(normal):
        yield Change("unclaim", place, normal)
    else:
        raise NotFound(
            f"The name {normal} is not that of a deleted project in {_where(backend)}; see `pypi-server unclaim`.",
            project=normal,
        )


def confirmation(config: Config) -> str:
    """The flags that confirm a deletion."""
    return "--yes" if build_backend(config, is_serving=False).trash.exists else "--yes --purge"


def restore(selection: Selection) -> Iterator[Change]:
    """Move the files back from the trash; without a name, list the trash."""
    backend = _backend(selection)
    roots, trash = backend.storage.roots, backend.trash
    found = False
    for root, path in trash.paths():
        if selection.name:
            if not _is_meant(path, selection, normalize(selection.name)):
                continue
            with _recorded(selection, audit_log.Change("restore", path, sha256=""), partial(trash.open, root, path)):
                trash.restore(root, path)
        found = True
        yield Change("restore", str(roots[root]), path, done=bool(selection.name))
    if selection.name and found:
        backend.claims.release(normalize(selection.name))
    if selection.name and not found:
        normal = normalize(selection.name)
        hint = "`pypi-server restore` lists it" if trash.paths() else "it is empty"
        raise NotFound(f"The trash of {_where(backend)} holds no such file of {normal}; {hint}.", project=normal)


def check(config: Config, err: TextIO) -> tuple[list[Fault], int]:
    """Read every file; returns the faults, and how many files were read."""
    read = 0

    def count(done: int, total: int) -> None:
        nonlocal read
        read = max(read, done)
        tell_checked(done, total)

    backend = build_backend(config, is_serving=config.storage is None)
    backend.inventory.check()
    with progress("reading the folders", err) as tell_read:
        backend.indexer.scan_once(progress=tell_read)
    with progress("checking", err) as tell_checked:
        faults = list(backend.checker.run(progress=count))
    backend.catalog.close()
    return faults, read


def _backend(selection: Selection) -> Backend:
    """The backend of the packages; raises Unavailable unless it knows all of them."""
    backend = build_backend(selection.config, is_serving=False)
    backend.inventory.check()
    return backend


def _chosen(backend: Backend, selection: Selection) -> list[File]:
    """The files that a command is about: a release, or one file; raises NotFound, which names what exists."""
    normal = normalize(selection.name)
    project = backend.inventory.files(normal)
    chosen = [
        file
        for file in project
        if (not selection.version or same_version(file.version, selection.version))
        and (not selection.file or file.filename == selection.file)
    ]
    if chosen:
        return sorted(chosen, key=filename_keys.file_key)
    if not project:
        hint = hinting(nearest(normal, backend.inventory.projects(), 0.7))
        raise NotFound(f"There is no project {normal!r} in {_where(backend)}{hint}", project=normal)
    there = sorted({file.version for file in project}, key=versions.version_key)
    wanted = selection.file or f"{normal} {selection.version}"
    older = f"{len(there) - MOST_NAMED} older ones and " if len(there) > MOST_NAMED else ""
    verb = "are" if older else "is"
    named = older + ", ".join(there[-MOST_NAMED:])
    raise NotFound(f"There is no {wanted} in {_where(backend)}; of {normal} there {verb} {named}.", project=normal)


def _where(backend: Backend) -> str:
    return " and ".join(map(str, backend.storage.roots))


def _recorded(
    selection: Selection, change: audit_log.Change, read: Callable[[], BinaryIO]
) -> AbstractContextManager[None]:
    """Record a change of the file that ``read`` opens in the audit log, if there is one."""
    file = selection.config.audit_log
    user = audit_log.local_user() if file else ""
    return audit_log.recorded(audit_log.AuditLog(file) if file else None, change, read=read, user=user)


def _is_meant(path: str, selection: Selection, normal: str) -> bool:
    """Whether the file in the trash is of the release, or the one file, that the command names."""
    try:
        dist = filename.as_filed(path.rpartition("/")[2], normal)
    except InvalidFilename:
        return False  # a user put it there by hand
    if dist.project != normal or (selection.version and not same_version(dist.version, selection.version)):
        return False
    return not selection.file or dist.filename == selection.file


def _changed(action: str, backend: Backend, file: File, *, done: bool = True) -> Change:
    return Change(action, str(backend.storage.roots[file.root]), backend.inventory.label(file), done=done)


def _catalog_of(config: Config) -> str:
    """The catalog's place, without secrets."""
    place = config.catalog or ""
    return redacted(printable(str(place).partition("?")[0])) if "://" in str(place) else printable(str(place))
