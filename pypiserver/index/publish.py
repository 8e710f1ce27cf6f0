"""Changes of packages: uploads, yanks and removals.

**Invariants:** a file is visible only after it was checked and is on disk; an existing file is replaced only if its
sender may overwrite; a refusal leaves storage as it was; a client that gets an answer can read the stored file at once.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
from collections.abc import Callable
from typing import NamedTuple

from packaging.utils import NormalizedName

from ..access.guard import Permit
from ..backend.backend import Backend
from ..backend.claims import claiming
from ..backend.protocols import StagedFile
from ..backend.stored_file import reason_of
from ..backend.writing import ValidatedUpload
from ..catalog import Digest
from ..distributions import metadata
from ..distributions.filename import (
    MAX_FILENAME,
    FilenameParts,
    as_filed,
    check_upload_filename,
    normalize,
    projects_of,
)
from ..distributions.filename_keys import spelling_key
from ..distributions.versions import same_version
from ..errors import BadRequest, Conflict, Forbidden, NotFound, PypiServerError, Unavailable
from ..model import File
from ..observability.audit_log import Change
from ..text import MAX_REASON
from .change_record import Recorder
from .owners import may_be_of_others, permitted
from .upload_checks import Upload, check_digests, check_form, read_back, sidecars_of

_LOG = logging.getLogger(__name__)


class Removed(NamedTuple):
    """How many files were removed, and whether the name is claimed now because they were the last ones."""

    files: int
    is_claimed: bool


class PublishingService:
    """Decides about changes; the backend's writer carries them out, and ``recorder`` is told of each one."""

    def __init__(self, backend: Backend, *, recorder: Recorder) -> None:
        self._catalog = backend.catalog
        self._query = backend.queries.query
        self._digester = backend.digester
        self._digests = backend.digests
        self._writer = backend.writer
        self._claims = backend.claims
        self._recorder = recorder

    def stage(self, filename: str, permit: Permit) -> tuple[FilenameParts, StagedFile]:
        """Begin an upload: the parts of its file name, and a staged file for its bytes.

        Raises InvalidFilename, Forbidden when the project takes no uploads, at all or from this sender, Unauthorized,
        and Unavailable.
        """
        dist = check_upload_filename(filename)
        # Where the metadata decides about the project, it is asked again.
        possible = [project for project in (dist.project, *dist.others) if permit.may("upload", project)]
        if not possible:
            permit.require("upload", dist.project)
        if not dist.others:
            self._refuse_archived(dist)
        self._recorder.check()
        may_replace = any(permit.may("overwrite", project) for project in possible)
        standing = self._writer.standing(filename) if may_replace else None
        return dist, self._writer.stage(standing, ("sha256", "md5", "blake2b-256", *self._extra()))

    def _extra(self) -> tuple[str, ...]:
        other = self._digester.other_algorithm()
        return (other,) if other and other not in ("md5",) else ()

    def add(self, upload: Upload) -> str:
        """Check a staged upload and make it visible; gives a sentence that says what was done.

        Raises BadRequest or InvalidDistribution for a faulty upload, Conflict when a file with its name has other
        bytes.
        """
        dist, permit = upload.dist, upload.permit
        if not dist.others:
            self._refuse_archived(dist)
            check_form(upload, dist)
        check_digests(upload)
        sidecars = sidecars_of(upload)
        raw = read_back(upload, dist)
        if dist.others:
            dist = metadata.decided(dist, raw)
            permit.require("upload", dist.project)
            self._refuse_archived(dist)
            check_form(upload, dist)
        standing = self._writer.standing(upload.filename)
        # A name that fits several projects may be that of another one's file.
        owners = {dist.project, standing.project if standing is not None else dist.project}
        if standing is None and self._query(lambda: may_be_of_others(upload.dist, permit, self._catalog.rows_of)):
            raise _exists(upload)
        overwrite = all(permit.may("overwrite", project) for project in owners)
        sha256 = upload.staged.hexdigest("sha256")
        if standing is not None:
            # Another server may have stored it a moment ago, and ended before it could report that.
            self._catalog.settle()
            if hmac.compare_digest(standing.sha256, sha256):
                return f"{upload.filename} is already here with the same bytes; nothing was changed."
            if not overwrite:
                raise _exists(upload)
            if standing.root != 0:
                raise Conflict(
                    f"{upload.filename} already exists in a folder that takes no uploads; remove it there first.",
                    kind="exists",
                    filename=upload.filename,
                    project=dist.project,
                )
        with contextlib.nullcontext() if overwrite else self._writer.claimed(dist):
            self._refuse_other_spelling(dist, permit)
            validated = ValidatedUpload(upload.staged, dist, self._digest(upload, dist, raw), sidecars, standing)
            self._publish(upload, validated, overwrite=overwrite)
        return f"{upload.filename} was stored."

    def _refuse_other_spelling(self, dist: FilenameParts, permit: Permit) -> None:
        """Refuse a file under two spellings (``Foo-1.0.zip``, ``foo-1.0.zip``): it confuses clients, and some disks.

        Raises Conflict, which names the other file to those who may list it, or logs a warning for a sender who may
        overwrite.
        """
        for filename in self._query(lambda: self._catalog.alike(dist)):
            if spelling_key(as_filed(filename, dist.project)) != spelling_key(dist):
                continue
            if not permit.may("overwrite", dist.project):
                other = filename if permit.may("list", dist.project) else "a file here"
                raise Conflict(
                    f"File already exists: {other} is another spelling of {dist.filename}. Give the new file "
                    "another version, or remove the old one first.",
                    kind="spelling",
                    filename=dist.filename,
                    project=dist.project,
                )
            _LOG.warning("%s is another spelling of %s; both are kept.", dist.filename, filename)

    def _digest(self, upload: Upload, dist: FilenameParts, raw: bytes | None) -> Digest:
        """What the catalog keeps of the file, whose core metadata are ``raw``."""
        staged, other = upload.staged, self._digester.other_algorithm()
        return self._digester.describe(
            dist, raw, sha256=staged.hexdigest("sha256"), other=staged.hexdigest(other) if other else None
        )

    def _publish(self, upload: Upload, validated: ValidatedUpload, *, overwrite: bool) -> None:
        sha256 = upload.staged.hexdigest("sha256")
        visible: list[str] = []

        def stored(path: str) -> None:
            visible.append(path)
            self._recorder.record(Change("upload", path, sha256))
            # The line about the request says that the file was uploaded.
            _LOG.debug("Stored %s (%d bytes).", path, upload.staged.size)

        try:
            self._writer.publish(validated, overwrite=overwrite, stored=stored)
        except Conflict:
            self._refuse_other_spelling(validated.dist, upload.permit)
            raise _exists(upload) from None
        except Unavailable:
            # The upload stays on record, because a client may have seen the file.
            for path in visible:
                self._recorder.record(Change("delete", path, sha256, "the upload was refused, as the catalog failed"))
            raise

    def _refuse_archived(self, dist: FilenameParts) -> None:
        status = self._query(lambda: self._catalog.project_state(dist.project)).status
        if status.status in ("archived", "quarantined"):
            because = f" ({status.reason})" if status.reason else ""
            raise Forbidden(
                f"The project {dist.project} is {status.status}{because} and takes no uploads.",
                kind=status.status,
                project=dist.project,
            )

    # -- removals and yanks --------------------------------------------------------------------------------------

    def release_files(self, name: str, version: str) -> list[File]:
        """Every file of one release, hidden duplicates included; raises NotFound when there is none."""
        normal = normalize(name)
        files = [file for file in self._query(lambda: self._rows_of(normal)) if same_version(file.version, version)]
        if not files:
            raise NotFound(
                f"There is no release {version!r} of a project {normal!r} here.", kind="release", project=normal
            )
        return files

    def _rows_of(self, normal: NormalizedName) -> list[File]:
        """The rows of a project, once its files whose names fit other projects too are read."""
        rows = self._catalog.rows_of(normal)
        if any(not row.sha256 and len(projects_of(row.filename)) > 1 for row in rows):
            self._digests.digest_project(normal)
            rows = self._catalog.rows_of(normal)
        return rows

    def remove(self, name: str, version: str, *, permit: Permit) -> Removed:
        """Remove every file of one release, in every folder.

        The name of a project that loses its last file stays ours: no other index is asked for it. When files cannot be
        removed, raises the first one's error after trying all of them; the message names each that remains.
        """

        def remove(file: File) -> None:
            self._writer.remove(file)
            _LOG.info("Removed %s.", file.path)

        files = self._permitted("delete", self._chosen(name, version, None), permit)
        project = normalize(name)
        with claiming(self._claims, project, files, lambda: self._query(lambda: self._rows_of(project))) as is_claimed:
            count = self._each("delete", files, remove)
        return Removed(count, is_claimed())

    def yank(self, name: str, version: str, *, permit: Permit, reason: str = "", filename: str | None = None) -> int:
        """Yank a release, or one of its files (PEP 592); gives the number of files.

        Raises BadRequest when the reason is longer than MAX_REASON characters, NotFound without such a file.
        """
        if len(reason) > MAX_REASON:
            raise BadRequest(
                f"A reason has at most {MAX_REASON} characters; this one has {len(reason)}.", kind="too-long"
            )
        text = reason_of(reason.strip())
        return self._each(
            "yank",
            self._permitted("yank", self._chosen(name, version, filename), permit),
            lambda file: self._writer.yank(file, text),
            reason=reason.strip(),
        )

    def unyank(self, name: str, version: str, *, permit: Permit, filename: str | None = None) -> int:
        """Undo a yank; gives the number of files. Raises NotFound without such a file."""
        files = self._permitted("yank", self._chosen(name, version, filename), permit)
        return self._each("unyank", files, self._writer.unyank)

    def _permitted(self, action: str, files: list[File], permit: Permit) -> list[File]:
        faulty = {fault.path for fault in self._query(lambda: self._catalog.faults_of(files[0].project))}
        return permitted(action, files, permit, faulty=faulty)

    def _each(self, action: str, files: list[File], change: Callable[[File], None], *, reason: str = "") -> int:
        """Change every file that can be changed, then raise for those that cannot; gives the number of files."""
        failures: list[PypiServerError] = []
        for file in files:
            try:
                self._recorder.check()
                change(file)
                self._recorder.record(Change(action, file.path, file.sha256, reason))
            except PypiServerError as error:
                failures.append(error)
            self._writer.refresh(file)
        if failures:
            done = f" ({len(files) - len(failures)} of {len(files)} files were done.)" if len(files) > 1 else ""
            raise failures[0].reworded(" ".join(map(str, failures)) + done) from failures[0]
        return len(files)

    def _chosen(self, name: str, version: str, filename: str | None) -> list[File]:
        if not name or not version:
            raise BadRequest("Give both the name and the version of the release.", kind="missing")
        if (
            max(len(name), len(version)) > MAX_FILENAME
        ):  # no name or version is longer than the file name that carries it
            raise NotFound(
                f"There is no release of {len(name)} characters' name and {len(version)} characters' version.",
                kind="release",
            )
        files = self.release_files(name, version)
        if filename is not None:
            files = [file for file in files if file.filename == filename]
            if not files:
                raise NotFound(
                    f"The release {version} of {normalize(name)} has no file {filename!r}.",
                    kind="file",
                    filename=filename,
                    project=normalize(name),
                )
        return files


def _exists(upload: Upload) -> Conflict:
    return Conflict(
        f"File already exists: {upload.filename} is here with other bytes. Give the new file another version, "
        f"or {upload.permit.how_to_overwrite}.",
        kind="exists",
        filename=upload.filename,
    )
