"""The commands that look after a folder: yank, unyank, delete, restore, check and update.

They work on storage itself, so they need no running server; one that runs sees the change like any other. The rules to
keep: nothing is deleted without being asked for twice (``--yes``, ``--purge``); what was done is said file by file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from typing import Any, BinaryIO, TextIO

from ..backend.backend import Backend
from ..catalog import FAILURES
from ..distributions import filename
from ..distributions.filename import normalize, same_version
from ..errors import ConfigError, InvalidFilename, NotFound, Unavailable
from ..factory import build_backend
from ..model import File
from ..observability.audit_log import AuditLog, local_user, recorded
from ..observability.download_statistics import RECENT_DAYS, Downloads
from ..observability.logging_setup import redacted
from ..settings.config import Config, default_fallback_url
from ..text import printable
from ..upstream.private_names import read_private_names
from . import parser
from .output import Change, tell_changes, write_json
from .progress import progress
from .update import Options, newest_local, read_ignorelist, run_update


def run(command: Any, *, out: TextIO, err: TextIO) -> int:
    """Do one of these commands; gives the exit status."""
    handler: Callable[..., int] | None = _DO.get(type(command))
    if handler is None or (command.config.storage is not None and type(command) not in _ANYWHERE):
        from . import manage_bucket

        handler = manage_bucket.run
    try:
        return handler(command, out=out, err=err)
    except FAILURES as error:
        raise Unavailable(
            f"The catalog {_catalog_of(command.config)} cannot be used: {printable(str(error))}. See to it, or name "
            "another one with --catalog."
        ) from error


def _catalog_of(config: Config) -> str:
    """The catalog's place as it may be shown."""
    place = config.catalog or ""
    return redacted(printable(str(place).partition("?")[0])) if "://" in str(place) else printable(str(place))


def update(command: parser.Update, *, out: TextIO, err: TextIO) -> int:
    """``-U``: look for newer releases upstream, of everything but private names: these are told to nobody."""
    backend = build_backend(command.config, is_serving=False)
    private = read_private_names(command.config.private, command.config.private_file)
    files = [(dist, folder) for dist, folder in backend.inventory.local_files() if dist.project not in private]
    options = Options(
        index_url=command.index_url or default_fallback_url(),
        allow_unstable=command.allow_unstable,
        allow_sdist=command.allow_sdist,
        download_directory=command.download_directory,
        ignore=read_ignorelist(command.ignorelist_file) if command.ignorelist_file else frozenset(),
        execute=command.execute,
        as_json=command.json,
    )
    watched = out if out.isatty() and not command.json else err
    with progress("checking", watched) as tell:
        return run_update(newest_local(files), options, out=out, err=err, show=tell)


def _chosen(backend: Backend, command: Any) -> list[File]:
    """The files a command is about: a release, or one file; raises NotFound naming what there is."""
    normal = normalize(command.name)
    project = backend.inventory.files(normal)
    chosen = [
        file
        for file in project
        if (not command.version or same_version(file.version, command.version))
        and (not command.file or file.filename == command.file)
    ]
    if chosen:
        return chosen
    if not project:
        raise NotFound(f"There is no project {normal!r} in {backend.storage.roots[0]}.")
    there = sorted({file.version for file in project}, key=filename.version_key)
    wanted = command.file or f"{normal} {command.version}"
    raise NotFound(f"There is no {wanted} in {backend.storage.roots[0]}; of {normal} there is {', '.join(there)}.")


def _recorded(command: Any, action: str, path: str, read: Callable[[], BinaryIO]) -> AbstractContextManager[None]:
    """Around a change of the file at ``path``, which ``read`` opens: it goes into the audit log, if there is one."""
    file = command.config.audit_log
    user = local_user() if file else ""
    reason = command.reason.strip() if action == "yank" else ""
    log = AuditLog(file) if file else None
    return recorded(log, action, path, read=read, user=user, reason=reason)


def _changing(command: Any, backend: Backend, action: str, file: File) -> AbstractContextManager[None]:
    return _recorded(command, action, file.path, partial(backend.inventory.open, file))


def _change(command: Any, *, out: TextIO, err: TextIO) -> int:
    tell_changes(_CHANGES[type(command)](command), out, as_json=command.json)
    if isinstance(command, parser.Delete) and not command.yes and not command.json:
        out.write("Nothing was changed; say --yes to do it.\n")
    return 0


def _yank(command: parser.Yank) -> Iterator[Change]:
    backend = _backend(command)
    reason = command.reason.strip()
    for file in _chosen(backend, command):
        with _changing(command, backend, "yank", file):
            backend.writer.yank(file, _bytes(reason))
        yield _changed("yank", backend, file)


def _unyank(command: parser.Unyank) -> Iterator[Change]:
    backend = _backend(command)
    for file in _chosen(backend, command):
        with _changing(command, backend, "unyank", file):
            backend.writer.unyank(file)
        yield _changed("unyank", backend, file)


def _delete(command: parser.Delete) -> Iterator[Change]:
    backend = _backend(command)
    action, remove = ("delete", backend.writer.remove) if command.purge else ("trash", backend.trash.move)
    for file in _chosen(backend, command):
        if command.yes:
            with _changing(command, backend, "delete", file):
                remove(file)
        yield _changed(action, backend, file, done=command.yes)


def _restore(command: parser.Restore) -> Iterator[Change]:
    backend = _backend(command)
    roots, trash = backend.storage.roots, backend.trash
    found = False
    for root, path in trash.paths():
        if command.name is not None:
            if not _is_meant(path, command, normalize(command.name)):
                continue
            with _recorded(command, "restore", path, partial(trash.open, root, path)):
                trash.restore(root, path)
        found = True
        yield Change("restore", str(roots[root]), path, done=command.name is not None)
    if command.name is not None and not found:
        normal = normalize(command.name)
        raise NotFound(f"The trash of {roots[0]} holds no such file of {normal}; `restore DIR` lists it.")


def _is_meant(path: str, command: parser.Restore, normal: str) -> bool:
    """Whether the file in the trash is of the release, or the one file, that the command names."""
    try:
        dist = filename.as_filed(path.rpartition("/")[2], normal)
    except InvalidFilename:
        return False  # somebody put it there by hand
    if dist.project != normal or (command.version and not same_version(dist.version, command.version)):
        return False
    return not command.file or dist.filename == command.file


def _changed(action: str, backend: Backend, file: File, *, done: bool = True) -> Change:
    return Change(action, str(backend.storage.roots[file.root]), backend.inventory.label(file), done=done)


def _check(command: parser.Check, *, out: TextIO, err: TextIO) -> int:
    backend = build_backend(command.config)
    with progress("reading the folders", err) as tell:
        backend.indexer.scan_once(progress=tell)
    with progress("checking", err) as tell:
        faults = list(backend.checker.run(progress=tell))
    backend.catalog.close()
    if command.json:
        write_json({"faults": [asdict(fault) for fault in faults]}, out)
        return 1 if faults else 0
    for fault in faults:
        where = fault.path if len(command.roots) == 1 else f"{fault.path} in {fault.folder}"
        out.write(f"{printable(where)} [{fault.kind}]: {printable(fault.message)}. {fault.advice}\n")
    out.write(f"{len(faults)} fault{'' if len(faults) == 1 else 's'} found.\n")
    return 1 if faults else 0


def _bytes(reason: str) -> bytes:
    """The reason as it was typed, also in a terminal that speaks no UTF-8: what an editor would have written."""
    return f"{reason}\n".encode("utf-8", "surrogateescape") if reason else b""


def _stats(command: parser.Stats, *, out: TextIO, err: TextIO) -> int:
    if command.config.stats is None:
        raise ConfigError(
            "It is not said where downloads are counted; give the file of the server with --stats FILE.",
            kind="missing",
            setting="stats",
        )
    downloads = Downloads(command.config.stats, makes=False)
    if command.name is None:
        rows = downloads.projects()
        if command.json:
            found = [{"project": name, "total": total, "recent": recent} for name, total, recent in rows]
            write_json({"projects": found}, out)
        else:
            out.writelines(f"{total:>10} {recent:>10}  {name}\n" for name, total, recent in rows)
        return 0
    counts = downloads.counts(normalize(command.name))
    if command.json:
        write_json(asdict(counts), out)
        return 0
    out.write(f"{counts.project}: {counts.total} downloads, {counts.recent} in the last {RECENT_DAYS} days\n")
    for title, values in (("version", counts.versions), ("client", counts.clients)):
        out.writelines(f"{count:>10}  {title} {printable(value)}\n" for value, count in values.items())
    return 0


def _backend(command: Any) -> Backend:
    backend = build_backend(command.config, is_serving=False)
    backend.inventory.check()
    return backend


# Those that have nothing to do with where packages are.
_ANYWHERE = (parser.Stats,)
_CHANGES: dict[type, Callable[[Any], Iterator[Change]]] = {
    parser.Yank: _yank,
    parser.Unyank: _unyank,
    parser.Delete: _delete,
    parser.Restore: _restore,
}
_DO: dict[type, Callable[..., int]] = {
    **dict.fromkeys(_CHANGES, _change),
    parser.Check: _check,
    parser.Stats: _stats,
}
