"""Change the packages in a bucket: yank, unyank, delete, check.

They change the bucket and its catalog as a server does, so they need the server's catalog (``--catalog``), and a server
that runs shows the change at once.

Invariants: nothing is deleted without being asked for twice; what was done is said file by file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TextIO

from ..backend.checks import Fault
from ..bucket.backend import BucketParts
from ..bucket.checker import BucketAudit
from ..bucket.object_store import Objects, require
from ..bucket.storage import Bucket
from ..bucket.writer import BucketWriter
from ..distributions import filename
from ..distributions.filename import normalize, same_version
from ..errors import ConfigError, NotFound, Unavailable
from ..factory import bucket_repository, build_bucket
from ..maintenance.copy_endpoints import BucketEnd
from ..model import File
from ..observability import audit_log
from ..settings.config import Config
from .output import Change
from .progress import progress
from .release import Selection

# How to say that a deletion is meant.
CONFIRM = "--yes --purge"


def _complete(config: Config) -> BucketParts:
    """The bucket with a catalog that knows all of it; raises Unavailable when it does not."""
    parts = build_bucket(config, is_serving=False)
    if not parts.catalog.is_complete():
        raise Unavailable(
            f"The catalog {parts.catalog.connections.place()} does not know {config.storage} yet. Name the "
            "catalog of the server with --catalog, or run pypi-server reindex first."
        )
    return parts


def _chosen(parts: BucketParts, command: Selection) -> list[File]:
    """The files a command is about: a release, or one file; raises NotFound naming what there is."""
    normal = normalize(command.name)
    project = parts.catalog.rows_of(normal)
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


def _each(
    command: Selection, action: str, change: Callable[[BucketWriter, File], None], reason: str = ""
) -> Iterator[File]:
    """Change every file the command is about, with a line in the audit log, if there is one."""
    parts = _complete(command.config)
    log = audit_log.AuditLog(command.config.audit_log) if command.config.audit_log else None
    writer = parts.writer(bucket_repository(command.config, parts))
    for file in _chosen(parts, command):
        if log is not None:
            log.check()
        change(writer, file)
        if log is not None:
            log.write(
                audit_log.Change(action, file.path, file.sha256, reason), user=audit_log.local_user(), address=None
            )
        yield file


def yank(command: Selection, reason: str) -> Iterator[Change]:
    """Mark the files as yanked."""
    text = f"{reason}\n".encode("utf-8", "surrogateescape") if reason else b""
    for file in _each(command, "yank", lambda writer, file: writer.yank(file, text), reason):
        yield Change("yank", str(command.root), file.filename)


def unyank(command: Selection) -> Iterator[Change]:
    """Remove the mark."""
    for file in _each(command, "unyank", lambda writer, file: writer.unyank(file)):
        yield Change("unyank", str(command.root), file.filename)


def delete(command: Selection, *, yes: bool, purge: bool) -> Iterator[Change]:
    """Remove the files for good; without ``yes`` only name them."""
    if yes and not purge:
        raise ConfigError(
            "A bucket has no trash: what is deleted is gone. Say --yes --purge if that is meant.",
            kind="contradiction",
            setting="purge",
        )
    if yes:
        changed = _each(command, "delete", lambda writer, file: writer.remove(file))
    else:
        changed = iter(_chosen(_complete(command.config), command))
    for file in changed:
        yield Change("delete", str(command.root), file.filename, done=yes)


def restore(command: object) -> Iterator[Change]:
    """There is no trash; raises ConfigError."""
    raise ConfigError(
        "A bucket has no trash. Upload the file again; or, where the store keeps versions of objects, bring the object "
        "back with the store's own tools and run pypi-server reindex.",
        kind="no-trash",
    )


def check(config: Config, err: TextIO) -> list[Fault]:
    """Read everything in the bucket, and name what is wrong."""
    parts = _complete(config)
    with progress("checking", err) as tell:
        return list(BucketAudit(parts.bucket, parts.catalog).run(progress=tell))


def endpoint(url: str) -> BucketEnd:
    """The bucket to copy from or to."""
    require()
    return BucketEnd(Bucket(Objects(url)))
