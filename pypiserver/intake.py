"""Storing and taking back: uploads, yanks and removals.

The rules to keep: nothing is visible before it is checked and on disk; nothing that exists is changed unless
overwriting is on; a refusal leaves the folder as it was; whoever gets an answer can read what was stored at once.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import metadata
from .distfile import DistFile, check_upload_filename, normalize, same_version
from .errors import BadRequest, Conflict, Forbidden, NotFound
from .model import File
from .provenance import provenance_of
from .repository import Repository
from .storage import Staged

_LOG = logging.getLogger(__name__)
# form field -> hashlib algorithm. A digest is 128 or 256 bits as hex, in any case.
DIGEST_FIELDS = {"sha256_digest": "sha256", "md5_digest": "md5", "blake2_256_digest": "blake2b-256"}
MAX_SIGNATURE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload form (the legacy upload API): fields by name, the file already staged."""

    filename: str
    staged: Staged
    fields: Mapping[str, str] = field(default_factory=dict)
    signature: bytes | None = None


class Intake:
    """The write half of the repository; ``overwrite`` allows replacing files by others of the same name."""

    def __init__(self, repository: Repository, *, overwrite: bool) -> None:
        self.repository = repository
        self.overwrite = overwrite

    def stage(self, filename: str) -> Staged:
        """A hidden temporary file for an upload, in the folder where ``filename`` will stand."""
        dist = check_upload_filename(filename)
        self._refuse_archived(dist)
        standing = self._standing(filename)
        directory = ""
        if standing is not None and self.overwrite and standing.root == 0:
            directory = standing.path.rpartition("/")[0]
        return self.repository.folders.stage(directory, digests=("sha256", "md5", "blake2b-256", *self._extra()))

    def _extra(self) -> tuple[str, ...]:
        other = self.repository.digester.other_algorithm()
        return (other,) if other and other not in ("md5",) else ()

    def add(self, upload: Upload) -> str:
        """Check a staged upload and make it visible; gives a sentence that says what was done.

        Raises BadRequest or InvalidDistribution for what is wrong with it, Conflict when other bytes stand under its
        name.
        """
        dist = check_upload_filename(upload.filename)
        self._refuse_archived(dist)
        _check_form(upload, dist)
        _check_digests(upload)
        sidecars = _sidecars(upload)
        with upload.staged.reader() as stream:
            raw = metadata.read_metadata(stream, dist)
            metadata.check_archive(stream, dist, raw=raw)
        standing = self._standing(upload.filename)
        sha256 = upload.staged.hexdigest("sha256")
        if standing is not None:
            if hmac.compare_digest(standing.sha256, sha256):
                return f"{upload.filename} is already here with the same bytes; nothing was changed."
            if not self.overwrite:
                raise self._exists(upload.filename)
            if standing.root != 0:
                raise Conflict(
                    f"{upload.filename} already exists in a folder that takes no uploads; remove it there first."
                )
        self._publish(upload, dist, raw, sidecars)
        return f"{upload.filename} was stored."

    def _publish(self, upload: Upload, dist: DistFile, raw: bytes | None, sidecars: Mapping[str, bytes]) -> None:
        repository = self.repository
        digester = repository.digester
        sha256 = upload.staged.hexdigest("sha256")
        try:
            entry = upload.staged.publish(upload.filename, overwrite=self.overwrite, sidecars=sidecars)
        except Conflict:
            # Someone else's file of this name came first: with the same bytes that is what was asked for.
            repository.ask(lambda: repository.sync.refresh([(0, upload.filename)]))
            winner = self._standing(upload.filename)
            if winner is not None and hmac.compare_digest(winner.sha256, sha256):
                return
            raise self._exists(upload.filename) from None
        other = digester.other_algorithm()
        digest = digester.describe(dist, raw, sha256=sha256, other=upload.staged.hexdigest(other) if other else None)
        found = repository.sync.found(entry, dist)
        repository.ask(lambda: repository.catalog.add(found, digest))
        _LOG.info("Stored %s (%d bytes).", entry.path, entry.size)

    def _exists(self, filename: str) -> Conflict:
        return Conflict(
            f"File already exists: {filename} is here with other bytes. Give the new file another version, "
            "or let the server overwrite (-o)."
        )

    def _standing(self, filename: str) -> File | None:
        """The visible file of that name, digested."""
        repository = self.repository
        file = repository.ask(lambda: repository.catalog.file(filename))
        if file is not None and not file.sha256:
            project = file.project
            repository.ask(lambda: repository.digester.digest_project(project))
            file = repository.ask(lambda: repository.catalog.file(filename))
        return file

    def _refuse_archived(self, dist: DistFile) -> None:
        repository = self.repository
        _, status = repository.ask(lambda: repository.catalog.project_state(dist.project))
        if status.status in ("archived", "quarantined"):
            because = f" ({status.reason})" if status.reason else ""
            raise Forbidden(f"The project {dist.project} is {status.status}{because} and takes no uploads.")

    # -- taking back ---------------------------------------------------------------------------------------------

    def release_files(self, name: str, version: str) -> list[File]:
        """Every file of one release, hidden duplicates included; raises NotFound when there is none."""
        repository = self.repository
        normal = normalize(name)
        files = [
            file
            for file in repository.ask(lambda: repository.catalog.rows_of(normal))
            if same_version(file.version, version)
        ]
        if not files:
            raise NotFound(f"There is no release {version!r} of a project {normal!r} here.")
        return files

    def remove(self, name: str, version: str) -> int:
        """Remove every file of one release; gives their number."""
        if not name or not version:
            raise BadRequest("To remove a release, give both its name and its version.")
        files = self.release_files(name, version)
        for file in files:
            self.repository.folders.remove(file.root, file.path)
            _LOG.info("Removed %s.", file.path)
            self._refresh(file)
        return len(files)

    def yank(self, name: str, version: str, *, reason: str = "", filename: str | None = None) -> int:
        """Yank a release, or one of its files (PEP 592); gives the number of files."""
        files = self._chosen(name, version, filename)
        for file in files:
            self.repository.folders.write_sidecar(file.root, file.path, ".yanked", _text(reason))
            self._refresh(file)
        return len(files)

    def unyank(self, name: str, version: str, *, filename: str | None = None) -> int:
        """Take a yank back; gives the number of files."""
        files = self._chosen(name, version, filename)
        for file in files:
            self.repository.folders.remove_sidecar(file.root, file.path, ".yanked")
            self._refresh(file)
        return len(files)

    def _chosen(self, name: str, version: str, filename: str | None) -> list[File]:
        if not name or not version:
            raise BadRequest("Give both the name and the version of the release.")
        files = self.release_files(name, version)
        if filename is not None:
            files = [file for file in files if file.filename == filename]
            if not files:
                raise NotFound(f"The release {version} of {normalize(name)} has no file {filename!r}.")
        return files

    def _refresh(self, file: File) -> None:
        repository = self.repository
        repository.ask(lambda: repository.sync.refresh([(file.root, file.path)]))


def _text(reason: str) -> bytes:
    return (reason.strip() + "\n").encode() if reason.strip() else b""


def _check_form(upload: Upload, dist: DistFile) -> None:
    """The form's name and version must be those of the file name; a client that leaves them out is believed."""
    faults = []
    name, version = upload.fields.get("name", ""), upload.fields.get("version", "")
    if name and normalize(name) != dist.project:
        faults.append(f"the form's name is {name!r}, the file's is {dist.name!r}")
    if version and not same_version(version, dist.version):
        faults.append(f"the form's version is {version!r}, the file's is {dist.version!r}")
    if faults:
        raise BadRequest(f"{upload.filename} does not fit its form: {'; '.join(faults)}.")


def _check_digests(upload: Upload) -> None:
    for name, algorithm in DIGEST_FIELDS.items():
        given = upload.fields.get(name, "").strip()
        if given and not _is_digest(given, upload.staged.digest(algorithm)):
            raise BadRequest(f"{upload.filename}: the {name} of the form is not that of the bytes that arrived.")


def _is_digest(given: str, digest: bytes) -> bool:
    if len(given) == 2 * len(digest):
        return hmac.compare_digest(given.lower().encode("ascii", "replace"), digest.hex().encode())
    # The documentation of the upload API speaks of URL-safe base64 for md5_digest.
    import base64

    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return hmac.compare_digest(given.rstrip("=").encode("ascii", "replace"), encoded)


def _sidecars(upload: Upload) -> dict[str, bytes]:
    sidecars: dict[str, bytes] = {}
    if upload.signature:
        if len(upload.signature) > MAX_SIGNATURE_BYTES:
            raise BadRequest("The gpg_signature is larger than 256 KiB.")
        sidecars[".asc"] = upload.signature
    attestations = upload.fields.get("attestations", "").strip()
    if attestations:
        sidecars[".provenance"] = provenance_of(attestations, upload.filename, upload.staged.hexdigest("sha256"))
    return sidecars
