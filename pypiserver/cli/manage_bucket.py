"""The commands that look after a bucket: yank, unyank, delete, check, reindex, gc, and copy.

They change the bucket and its catalog as a server does, so they need the server's catalog (``--catalog``), and a server
that runs shows the change at once. The rules to keep: nothing is deleted without being asked for twice; what was done
is said file by file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TextIO

from ..backend.backend import Backend
from ..backend.upkeep import Orphan
from ..backend.writing import Writer
from ..distributions import filename
from ..distributions.filename import normalize, same_version
from ..errors import NotFound
from ..factory import build_backend, build_endpoint
from ..maintenance.copy import copy
from ..model import File
from ..observability import audit_log
from ..text import printable
from . import parser
from .output import Change, tell_changes, write_json
from .progress import progress


def run(command: Any, *, out: TextIO, err: TextIO) -> int:
    """Do one of these commands; gives the exit status."""
    handler: Callable[..., int] = _DO[type(command)]
    return handler(command, out=out, err=err)


def _complete(command: Any) -> Backend:
    """The bucket with a catalog that knows all of it; raises Unavailable when it does not."""
    backend = build_backend(command.config, is_serving=False)
    backend.inventory.check()
    return backend


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
        raise NotFound(f"There is no project {normal!r} in {command.root}.")
    there = sorted({file.version for file in project}, key=filename.version_key)
    wanted = command.file or f"{normal} {command.version}"
    raise NotFound(f"There is no {wanted} in {command.root}; of {normal} there is {', '.join(there)}.")


def _each(command: Any, action: str, change: Callable[[Writer, File], None]) -> Iterator[File]:
    """Change every file the command is about, with a line in the audit log, if there is one."""
    backend = _complete(command)
    log = audit_log.AuditLog(command.config.audit_log) if command.config.audit_log else None
    reason = command.reason.strip() if action == "yank" else ""
    for file in _chosen(backend, command):
        if log is not None:
            log.check()
        change(backend.writer, file)
        if log is not None:
            log.write(
                audit_log.Change(action, file.path, file.sha256, reason), user=audit_log.local_user(), address=None
            )
        yield file


def _yank(command: parser.Yank) -> Iterator[Change]:
    reason = command.reason.strip()
    text = f"{reason}\n".encode("utf-8", "surrogateescape") if reason else b""
    for file in _each(command, "yank", lambda writer, file: writer.yank(file, text)):
        yield Change("yank", str(command.root), file.filename)


def _unyank(command: parser.Unyank) -> Iterator[Change]:
    for file in _each(command, "unyank", lambda writer, file: writer.unyank(file)):
        yield Change("unyank", str(command.root), file.filename)


def _delete(command: parser.Delete) -> Iterator[Change]:
    if command.yes and not command.purge:
        build_backend(command.config, is_serving=False).trash.ensure()
    if command.yes:
        changed = _each(command, "delete", lambda writer, file: writer.remove(file))
    else:
        changed = iter(_chosen(_complete(command), command))
    for file in changed:
        yield Change("delete", str(command.root), file.filename, done=command.yes)


def _change(command: Any, *, out: TextIO, err: TextIO) -> int:
    tell_changes(_CHANGES[type(command)](command), out, as_json=command.json)
    if isinstance(command, parser.Delete) and not command.yes and not command.json:
        out.write("Nothing was changed; say --yes --purge to do it.\n")
    return 0


def _restore(command: parser.Restore, *, out: TextIO, err: TextIO) -> int:
    build_backend(command.config, is_serving=False).trash.paths()
    return 0


def _check(command: parser.Check, *, out: TextIO, err: TextIO) -> int:
    backend = _complete(command)
    with progress("checking", err) as tell:
        faults = list(backend.checker.run(progress=tell))
    if command.json:
        write_json({"faults": [asdict(fault) for fault in faults]}, out)
        return 1 if faults else 0
    for fault in faults:
        out.write(f"{printable(fault.path)} [{fault.kind}]: {printable(fault.message)}. {fault.advice}\n")
    out.write(f"{len(faults)} fault{'' if len(faults) == 1 else 's'} found.\n")
    return 1 if faults else 0


def _reindex(command: parser.Reindex, *, out: TextIO, err: TextIO) -> int:
    backend = build_backend(command.config, is_serving=False)
    began = time.monotonic()
    with progress("listing", err) as listed, progress("reading", err) as read:
        report = backend.reindexer.run(listed=listed, read=read)
    took = time.monotonic() - began
    if command.json:
        write_json({**asdict(report), "seconds": round(took, 3)}, out)
        return 0
    out.write(
        f"{_files(report.files)} in {command.config.storage}: {report.changed} new or changed, {report.gone} gone, "
        f"{report.skipped} left out, in {took:.1f} s.\n"
    )
    return 0


def _collect(command: parser.Collect, *, out: TextIO, err: TextIO) -> int:
    garbage = build_backend(command.config, is_serving=False).garbage
    orphans: Iterator[Orphan] = garbage.find(command.older_than)
    found = list(garbage.delete(orphans) if command.yes else orphans)
    size = sum(each.size for each in found)
    if command.json:
        report = {"deleted": command.yes, "bytes": size, "files": [each.path for each in found]}
        write_json(report, out)
        return 0
    for each in found:
        out.write(f"{'deleted' if command.yes else 'would delete'} {printable(each.path)} ({each.size} bytes)\n")
    out.write(
        f"{_files(len(found))}, {size} bytes.{'' if command.yes else ' Nothing was changed; say --yes to do it.'}\n"
    )
    return 0


def _copy(command: parser.Copy, *, out: TextIO, err: TextIO) -> int:
    source, destination = build_endpoint(command.source), build_endpoint(command.destination)
    with progress("copying", err) as tell:
        report = copy(source, destination, progress=tell)
    if command.json:
        left_out = [{"path": path, "reason": reason} for path, reason in report.left_out]
        write_json({**asdict(report), "left_out": left_out}, out)
        return 1 if report.left_out else 0
    for path, reason in report.left_out:
        out.write(f"left out {printable(path)}: {printable(reason)}\n")
    out.write(
        f"{_files(report.copied)} copied ({report.bytes} bytes), {report.already} were there, "
        f"{len(report.left_out)} left out.\n"
    )
    if isinstance(command.destination, str) and report.copied:
        out.write(f"A server that runs on {command.destination} sees them after: pypi-server reindex\n")
    return 1 if report.left_out else 0


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


_CHANGES: dict[type, Callable[[Any], Iterator[Change]]] = {
    parser.Yank: _yank,
    parser.Unyank: _unyank,
    parser.Delete: _delete,
}
_DO: dict[type, Callable[..., int]] = {
    **dict.fromkeys(_CHANGES, _change),
    parser.Restore: _restore,
    parser.Check: _check,
    parser.Reindex: _reindex,
    parser.Collect: _collect,
    parser.Copy: _copy,
}
