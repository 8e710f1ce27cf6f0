"""Changes of packages: uploads, yanks and removals.

**Invariants:** a file is visible only after it was checked and is on disk; an existing file is replaced only if
overwriting is on; a refusal leaves storage as it was; a client that gets an answer can read the stored file at once.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..backend.backend import Backend
from ..backend.hashing import update_from
from ..backend.protocols import StagedFile
from ..backend.writing import ValidatedUpload
from ..distributions import metadata
from ..distributions.attestations import provenance_of
from ..distributions.filename import (
    MAX_FILENAME,
    FilenameParts,
    as_filed,
    check_upload_filename,
    normalize,
    same_version,
    spelling_key,
)
from ..errors import BadRequest, Conflict, Forbidden, NotFound, PypiServerError, Unavailable
from ..model import File
from ..observability.audit_log import Change
from ..text import MAX_REASON

_LOG = logging.getLogger(__name__)
# form field -> hashlib algorithm. A digest is written as hex, in any case.
DIGEST_FIELDS = {"sha256_digest": "sha256", "md5_digest": "md5", "blake2_256_digest": "blake2b-256"}
# distutils of Python 3.8 to 3.11, and of setuptools up to 74, sends BLAKE2b-512 under the name of BLAKE2b-256.
WHOLE_BLAKE2 = 2 * hashlib.blake2b().digest_size
MAX_SIGNATURE_BYTES = 256 * 1024
# A name or version is no longer than the file name that carries it.
MAX_NAME = MAX_FILENAME


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload form (the legacy upload API): fields by name, the staged file, and the parts of its name.

    ``signature`` is the content of ``gpg_signature``, None without one.
    """

    dist: FilenameParts
    staged: StagedFile
    fields: Mapping[str, str] = field(default_factory=dict)
    signature: bytes | None = None

    @property
    def filename(self) -> str:
        """The file name that the client gave."""
        return self.dist.filename


class Recorder(Protocol):
    """Records changes, such as the audit log."""

    def check(self) -> None:
        """Raise Unavailable when a change could not be recorded now, so that it is not made."""

    def record(self, change: Change) -> None:
        """Record a change that was made."""


class PublishingService:
    """Decides about changes; ``overwrite`` allows an upload to replace a file of the same name.

    The backend's writer carries out the changes; ``recorder`` is told of each one.
    """

    def __init__(self, backend: Backend, *, overwrite: bool, recorder: Recorder) -> None:
        self._catalog = backend.catalog
        self._query = backend.queries.query
        self._digester = backend.digester
        self._writer = backend.writer
        self.overwrite = overwrite
        self._recorder = recorder

    def stage(self, filename: str) -> tuple[FilenameParts, StagedFile]:
        """Begin an upload: the parts of its file name, and a staged file for its bytes.

        Raises InvalidFilename, Forbidden when the project takes no uploads, and Unavailable.
        """
        dist = check_upload_filename(filename)
        if not dist.others:
            self._refuse_archived(dist)
        self._recorder.check()
        standing = self._writer.standing(filename) if self.overwrite else None
        digests = ("sha256", "md5", "blake2b-256", *self._extra())
        return dist, self._writer.stage(standing, digests)

    def _extra(self) -> tuple[str, ...]:
        other = self._digester.other_algorithm()
        return (other,) if other and other not in ("md5",) else ()

    def add(self, upload: Upload) -> str:
        """Check a staged upload and make it visible; gives a sentence that says what was done.

        Raises BadRequest or InvalidDistribution for a faulty upload, Conflict when a file with its name has other
        bytes.
        """
        dist = upload.dist
        if not dist.others:
            self._refuse_archived(dist)
            _check_form(upload, dist)
        _check_digests(upload)
        sidecars = _sidecars(upload)
        raw = _read_back(upload, dist)
        if dist.others:
            dist = metadata.decided(dist, raw)
            self._refuse_archived(dist)
            _check_form(upload, dist)
        standing = self._writer.standing(upload.filename)
        sha256 = upload.staged.hexdigest("sha256")
        if standing is not None:
            # Another server may have stored it a moment ago, and ended before it could report that.
            self._catalog.settle()
            if hmac.compare_digest(standing.sha256, sha256):
                return f"{upload.filename} is already here with the same bytes; nothing was changed."
            if not self.overwrite:
                raise self._exists(upload.filename)
            if standing.root != 0:
                raise Conflict(
                    f"{upload.filename} already exists in a folder that takes no uploads; remove it there first.",
                    kind="exists",
                    filename=upload.filename,
                    project=dist.project,
                )
        with contextlib.nullcontext() if self.overwrite else self._writer.claimed(dist):
            self._refuse_other_spelling(dist)
            self._publish(upload, dist, raw, sidecars, standing)
        return f"{upload.filename} was stored."

    def _refuse_other_spelling(self, dist: FilenameParts) -> None:
        """Refuse a file under two spellings (``Foo-1.0.zip``, ``foo-1.0.zip``): it confuses clients, and some disks.

        Raises Conflict, or logs a warning if overwriting is on.
        """
        for filename in self._query(lambda: self._catalog.alike(dist)):
            if spelling_key(as_filed(filename, dist.project)) != spelling_key(dist):
                continue
            if not self.overwrite:
                raise Conflict(
                    f"File already exists: {filename} is another spelling of {dist.filename}. Give the new file "
                    "another version, or remove the old one first.",
                    kind="spelling",
                    filename=dist.filename,
                    project=dist.project,
                )
            _LOG.warning("%s is another spelling of %s; both are kept.", dist.filename, filename)

    def _publish(
        self,
        upload: Upload,
        dist: FilenameParts,
        raw: bytes | None,
        sidecars: Mapping[str, bytes],
        standing: File | None,
    ) -> None:
        sha256 = upload.staged.hexdigest("sha256")
        other = self._digester.other_algorithm()
        digest = self._digester.describe(
            dist, raw, sha256=sha256, other=upload.staged.hexdigest(other) if other else None
        )
        checked = ValidatedUpload(upload.staged, dist, digest, sidecars, standing)

        visible: list[str] = []

        def stored(path: str) -> None:
            visible.append(path)
            self._recorder.record(Change("upload", path, sha256))
            # The line about the request says that the file was uploaded.
            _LOG.debug("Stored %s (%d bytes).", path, upload.staged.size)

        try:
            self._writer.publish(checked, overwrite=self.overwrite, stored=stored)
        except Conflict:
            self._refuse_other_spelling(dist)
            raise self._exists(upload.filename) from None
        except Unavailable:
            # The upload stays on record, because a client may have seen the file.
            for path in visible:
                self._recorder.record(Change("delete", path, sha256, "the upload was refused, as the catalog failed"))
            raise

    def _exists(self, filename: str) -> Conflict:
        return Conflict(
            f"File already exists: {filename} is here with other bytes. Give the new file another version, "
            "or let the server overwrite (-o).",
            kind="exists",
            filename=filename,
        )

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
        files = [
            file for file in self._query(lambda: self._catalog.rows_of(normal)) if same_version(file.version, version)
        ]
        if not files:
            raise NotFound(
                f"There is no release {version!r} of a project {normal!r} here.", kind="release", project=normal
            )
        return files

    def remove(self, name: str, version: str) -> int:
        """Remove every file of one release, in every folder; gives their number.

        When files cannot be removed, raises the first one's error after trying all of them; the message names each
        that remains.
        """

        def remove(file: File) -> None:
            self._writer.remove(file)
            _LOG.info("Removed %s.", file.path)

        return self._each("delete", self._chosen(name, version, None), remove)

    def yank(self, name: str, version: str, *, reason: str = "", filename: str | None = None) -> int:
        """Yank a release, or one of its files (PEP 592); gives the number of files.

        Raises BadRequest when the reason is longer than MAX_REASON characters, NotFound without such a file.
        """
        if len(reason) > MAX_REASON:
            raise BadRequest(
                f"A reason has at most {MAX_REASON} characters; this one has {len(reason)}.", kind="too-long"
            )
        text = _text(reason)
        return self._each(
            "yank",
            self._chosen(name, version, filename),
            lambda file: self._writer.yank(file, text),
            reason=reason.strip(),
        )

    def unyank(self, name: str, version: str, *, filename: str | None = None) -> int:
        """Undo a yank; gives the number of files. Raises NotFound without such a file."""
        return self._each("unyank", self._chosen(name, version, filename), self._writer.unyank)

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
        if max(len(name), len(version)) > MAX_NAME:
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


def _read_back(upload: Upload, dist: FilenameParts) -> bytes | None:
    """The core metadata in the staged archive; raises InvalidDistribution when it does not match the file name."""
    try:
        with upload.staged.reader() as stream:
            return metadata.read_upload(stream, dist)
    except OSError as error:
        raise _unreadable(upload, error) from error


def _text(reason: str) -> bytes:
    return (reason.strip() + "\n").encode() if reason.strip() else b""


def _check_form(upload: Upload, dist: FilenameParts) -> None:
    """Raise BadRequest unless name and version of the form, where they are given, are those of the file name."""
    faults = []
    name, version = upload.fields.get("name", ""), upload.fields.get("version", "")
    if name and normalize(name) != dist.project:
        faults.append(f"the form's name is {name[:MAX_NAME]!r}, the file's is {dist.name!r}")
    if version and not same_version(version, dist.version):
        faults.append(f"the form's version is {version[:MAX_NAME]!r}, the file's is {dist.version!r}")
    if faults:
        raise BadRequest(
            f"{upload.filename} does not fit its form: {'; '.join(faults)}.",
            kind="mislabelled",
            filename=upload.filename,
            project=dist.project,
        )


def _check_digests(upload: Upload) -> None:
    for name, algorithm in DIGEST_FIELDS.items():
        given = upload.fields.get(name, "").strip()
        is_whole = algorithm == "blake2b-256" and len(given) == WHOLE_BLAKE2
        if given and not _is_digest(given, _whole_blake2(upload) if is_whole else upload.staged.digest(algorithm)):
            raise BadRequest(
                f"{upload.filename}: the {name} of the form is not that of the bytes that arrived.",
                kind="altered",
                filename=upload.filename,
            )


def _whole_blake2(upload: Upload) -> bytes:
    """The BLAKE2b-512 of the upload, read again: it is too rare to be computed for every upload."""
    try:
        with upload.staged.reader() as stream:
            digest: bytes = update_from(hashlib.blake2b(), stream).digest()
    except OSError as error:
        raise _unreadable(upload, error) from error
    return digest


def _unreadable(upload: Upload, error: OSError) -> Unavailable:
    return Unavailable(
        f"{upload.filename} could not be read back ({error.strerror or error}).",
        kind="unreadable",
        filename=upload.filename,
    )


def _is_digest(given: str, digest: bytes) -> bool:
    if len(given) == 2 * len(digest):
        return hmac.compare_digest(given.lower().encode("ascii", "replace"), digest.hex().encode())
    # The documentation of the upload API describes md5_digest as URL-safe base64.
    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return hmac.compare_digest(given.rstrip("=").encode("ascii", "replace"), encoded)


def _sidecars(upload: Upload) -> dict[str, bytes]:
    sidecars: dict[str, bytes] = {}
    if upload.signature:
        if len(upload.signature) > MAX_SIGNATURE_BYTES:
            raise BadRequest("The gpg_signature is larger than 256 KiB.", kind="too-long", filename=upload.filename)
        sidecars[".asc"] = upload.signature
    attestations = upload.fields.get("attestations", "").strip()
    if attestations:
        sidecars[".provenance"] = provenance_of(attestations, upload.filename, upload.staged.hexdigest("sha256"))
    return sidecars
