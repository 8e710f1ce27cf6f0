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
from ..catalog import FAILURES
from ..distributions import filename
from ..distributions.filename import normalize, same_version
from ..errors import InvalidFilename, NotFound, Unavailable
from ..factory import build_backend
from ..model import File
from ..observability.audit_log import AuditLog, local_user, recorded
from ..observability.logging_setup import redacted
from ..settings.config import Config
from ..settings.parsers import hinting, nearest
from ..text import printable
from .output import Change, tell_changes
from .progress import progress
from .release import Selection


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
        with _changing(selection, backend, "yank", file, reason):
            backend.writer.yank(file, text)
        yield _changed("yank", backend, file)


def unyank(selection: Selection) -> Iterator[Change]:
    """Remove the yank mark."""
    backend = _backend(selection)
    for file in _chosen(backend, selection):
        if file.yanked is not None:
            with _changing(selection, backend, "unyank", file):
                backend.writer.unyank(file)
        yield _changed("unyank", backend, file, done=file.yanked is not None)


def delete(selection: Selection, *, yes: bool, purge: bool) -> Iterator[Change]:
    """Move the files to the trash, or delete them permanently; without ``yes`` only name them."""
    backend = _backend(selection)
    if yes and not purge:
        backend.trash.ensure()
    is_for_good = purge or not backend.trash.exists
    action, remove = ("delete", backend.writer.remove) if is_for_good else ("trash", backend.trash.move)
    for file in _chosen(backend, selection):
        if yes:
            with _changing(selection, backend, "delete", file):
                remove(file)
        yield _changed(action, backend, file, done=yes)


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
            with _recorded(selection, "restore", path, partial(trash.open, root, path)):
                trash.restore(root, path)
        found = True
        yield Change("restore", str(roots[root]), path, done=bool(selection.name))
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
        return chosen
    if not project:
        hint = hinting(nearest(normal, backend.inventory.projects(), 0.7))
        raise NotFound(f"There is no project {normal!r} in {_where(backend)}{hint}", project=normal)
    there = sorted({file.version for file in project}, key=filename.version_key)
    wanted = selection.file or f"{normal} {selection.version}"
    raise NotFound(
        f"There is no {wanted} in {_where(backend)}; of {normal} there is {', '.join(there)}.", project=normal
    )


def _where(backend: Backend) -> str:
    return " and ".join(map(str, backend.storage.roots))


def _changing(
    selection: Selection, backend: Backend, action: str, file: File, reason: str = ""
) -> AbstractContextManager[None]:
    read = partial(backend.inventory.open, file)
    return _recorded(selection, action, file.path, read, sha256=file.sha256, reason=reason)


def _recorded(
    selection: Selection, action: str, path: str, read: Callable[[], BinaryIO], *, sha256: str = "", reason: str = ""
) -> AbstractContextManager[None]:
    """Record a change of the file at ``path``, which ``read`` opens, in the audit log, if there is one."""
    file = selection.config.audit_log
    user = local_user() if file else ""
    log = AuditLog(file) if file else None
    return recorded(log, action, path, read=read, user=user, reason=reason, sha256=sha256)


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
