"""Change the packages in folders: yank, unyank, delete, restore, check; and the list of what is there.

They work on storage itself, so they need no running server; one that runs sees the change like any other.

Invariants: nothing is deleted without being asked for twice (``--yes``, ``--purge``); what was done is said file by
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TextIO

from ..backend.checks import Fault
from ..backend.stored_file import Entry
from ..distributions import filename, metadata
from ..distributions.filename import DistFile, normalize, same_version
from ..errors import ConfigError, InvalidFilename, NotFound, PypiServerError
from ..factory import build_repository
from ..folder.checker import Audit
from ..folder.storage import Folders
from ..folder.trash import FOLDER as TRASH
from ..native_names import native
from ..observability.audit_log import AuditLog, local_user, recorded
from ..settings.config import Config
from ..upstream.private_names import read_private_names
from .output import Change
from .progress import counted, progress
from .release import Selection

# How to say that a deletion is meant.
CONFIRM = "--yes"


def distributions(folders: Folders) -> Iterable[tuple[Entry, DistFile]]:
    """Every distribution file in the folders, straight from storage."""
    for entry in folders.scan().entries:
        if not entry.path.endswith(filename.SIDECARS):
            try:
                dist = filename.parse_filename(entry.path.rpartition("/")[2])
            except InvalidFilename:
                continue
            yield entry, _decided(folders, entry, dist) if dist.others else dist


def _decided(folders: Folders, entry: Entry, dist: DistFile) -> DistFile:
    """The distribution with its name cut as its metadata says; as it is usual when that cannot be read."""
    try:
        with folders.open(entry.root, entry.path)[0] as stream:
            return metadata.decided(dist, metadata.read_metadata(stream, dist))
    except (PypiServerError, OSError):
        return dist


def local_packages(config: Config) -> list[tuple[DistFile, Path]]:
    """The files in the folders, and where each is; private names are left out, these are told to nobody."""
    if config.storage is not None:
        raise ConfigError(
            "-U looks at folders; copy the bucket into one first: pypi-server copy URL DIR.",
            kind="contradiction",
            setting="storage",
        )
    folders = Folders([Path(root).absolute() for root in config.roots])
    private = read_private_names(config.private, config.private_file)
    return [
        (dist, (folders.roots[entry.root] / native(entry.path)).parent)
        for entry, dist in distributions(folders)
        if dist.project not in private
    ]


def _chosen(folders: Folders, command: Selection) -> list[Entry]:
    """The files a command is about: a release, or one file; raises NotFound naming what there is."""
    normal = normalize(command.name)
    project = [(entry, dist) for entry, dist in distributions(folders) if dist.project == normal]
    chosen = [
        entry
        for entry, dist in project
        if (not command.version or same_version(dist.version, command.version))
        and (not command.file or dist.filename == command.file)
    ]
    if chosen:
        return sorted(chosen)
    if not project:
        raise NotFound(f"There is no project {normal!r} in {folders.roots[0]}.")
    there = sorted({dist.version for _, dist in project}, key=filename.version_key)
    wanted = command.file or f"{normal} {command.version}"
    raise NotFound(f"There is no {wanted} in {folders.roots[0]}; of {normal} there is {', '.join(there)}.")


def _recorded(
    command: Selection, action: str, folder: Path, path: str, reason: str = ""
) -> AbstractContextManager[None]:
    """Around a change of the file at ``path``, now in ``folder``: it goes into the audit log, if there is one."""
    file = command.config.audit_log
    user = local_user() if file else ""
    log = AuditLog(file) if file else None
    return recorded(log, action, path, read=lambda: (folder / path).open("rb"), user=user, reason=reason)


def yank(command: Selection, reason: str) -> Iterator[Change]:
    """Mark the files as yanked."""
    folders = _folders(command.root)
    for entry in _chosen(folders, command):
        with _recorded(command, "yank", folders.roots[entry.root], entry.path, reason):
            folders.write_sidecar(entry.root, entry.path, ".yanked", _bytes(reason))
        yield _changed("yank", folders, entry)


def unyank(command: Selection) -> Iterator[Change]:
    """Remove the mark."""
    folders = _folders(command.root)
    for entry in _chosen(folders, command):
        with _recorded(command, "unyank", folders.roots[entry.root], entry.path):
            folders.remove_sidecar(entry.root, entry.path, ".yanked")
        yield _changed("unyank", folders, entry)


def delete(command: Selection, *, yes: bool, purge: bool) -> Iterator[Change]:
    """Move the files to the trash, or remove them for good; without ``yes`` only name them."""
    folders = _folders(command.root)
    action, remove = ("delete", folders.remove) if purge else ("trash", folders.trash)
    for entry in _chosen(folders, command):
        if yes:
            with _recorded(command, "delete", folders.roots[entry.root], entry.path):
                remove(entry.root, entry.path)
        yield _changed(action, folders, entry, done=yes)


def restore(command: Selection) -> Iterator[Change]:
    """Bring the files back from the trash; without a name, list it."""
    folders = _folders(command.root)
    found = False
    for root, path in folders.list_trash():
        if command.name:
            if not _is_meant(path, command, normalize(command.name)):
                continue
            with _recorded(command, "restore", folders.roots[root] / TRASH, path):
                folders.restore(root, path)
        found = True
        yield Change("restore", str(folders.roots[root]), path, done=bool(command.name))
    if command.name and not found:
        normal = normalize(command.name)
        raise NotFound(f"The trash of {folders.roots[0]} holds no such file of {normal}; `restore DIR` lists it.")


def _is_meant(path: str, command: Selection, normal: str) -> bool:
    """Whether the file in the trash is of the release, or the one file, that the command names."""
    try:
        dist = filename.as_filed(path.rpartition("/")[2], normal)
    except InvalidFilename:
        return False  # somebody put it there by hand
    if dist.project != normal or (command.version and not same_version(dist.version, command.version)):
        return False
    return not command.file or dist.filename == command.file


def _changed(action: str, folders: Folders, entry: Entry, *, done: bool = True) -> Change:
    return Change(action, str(folders.roots[entry.root]), entry.path, done=done)


def check(config: Config, err: TextIO) -> list[Fault]:
    """Read everything in the folders, and name what is wrong."""
    repository = build_repository(config)
    assert isinstance(repository.folders, Folders), "a bucket has a check of its own"  # noqa: S101
    with progress("reading the folders", err) as tell:
        repository.watch.scan_once(counted=partial(counted, tell=tell))
    with progress("checking", err) as tell:
        faults = list(Audit(repository.folders, repository.catalog).run(progress=tell))
    repository.catalog.connections.close()
    return faults


def _bytes(reason: str) -> bytes:
    """The reason as it was typed, also in a terminal that speaks no UTF-8: what an editor would have written."""
    return f"{reason}\n".encode("utf-8", "surrogateescape") if reason else b""


def _folders(root: Path | str) -> Folders:
    folders = Folders([Path(root).absolute()])
    folders.check()
    return folders
