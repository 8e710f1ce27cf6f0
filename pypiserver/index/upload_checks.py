"""An upload form, held against the bytes that came with it.

**Invariants:** each check is a function of the upload that raises, and changes nothing; what a form does not say is not
checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..access.guard import Permit
from ..backend.hashing import update_from
from ..backend.protocols import StagedFile
from ..distributions import metadata
from ..distributions.attestations import provenance_of
from ..distributions.filename import MAX_FILENAME, FilenameParts, normalize
from ..distributions.versions import same_version
from ..errors import BadRequest, Unavailable

# form field -> hashlib algorithm. A digest is written as hex, in any case.
DIGEST_FIELDS = {"sha256_digest": "sha256", "md5_digest": "md5", "blake2_256_digest": "blake2b-256"}
# distutils of Python 3.8 to 3.11, and of setuptools up to 74, sends BLAKE2b-512 under the name of BLAKE2b-256.
WHOLE_BLAKE2 = 2 * hashlib.blake2b().digest_size
MAX_SIGNATURE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload form (the legacy upload API): fields by name, the staged file, and the parts of its name.

    ``permit`` says what its sender may do. ``signature`` is the content of ``gpg_signature``, None without one.
    """

    dist: FilenameParts
    staged: StagedFile
    permit: Permit
    fields: Mapping[str, str] = field(default_factory=dict)
    signature: bytes | None = None

    @property
    def filename(self) -> str:
        """The file name that the client gave."""
        return self.dist.filename


def read_back(upload: Upload, dist: FilenameParts) -> bytes | None:
    """The core metadata in the staged archive; raises InvalidDistribution when it does not match the file name."""
    try:
        with upload.staged.reader() as stream:
            return metadata.read_upload(stream, dist)
    except OSError as error:
        raise _unreadable(upload, error) from error


def check_form(upload: Upload, dist: FilenameParts) -> None:
    """Raise BadRequest unless name and version of the form, where they are given, are those of the file name."""
    faults = []
    name, version = upload.fields.get("name", ""), upload.fields.get("version", "")
    if name and normalize(name) != dist.project:
        faults.append(f"the form's name is {name[:MAX_FILENAME]!r}, the file's is {dist.name!r}")
    if version and not same_version(version, dist.version):
        faults.append(f"the form's version is {version[:MAX_FILENAME]!r}, the file's is {dist.version!r}")
    if faults:
        raise BadRequest(
            f"{upload.filename} does not fit its form: {'; '.join(faults)}.",
            kind="mislabelled",
            filename=upload.filename,
            project=dist.project,
        )


def check_digests(upload: Upload) -> None:
    """Raise BadRequest when a digest of the form is not that of the staged bytes."""
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


def sidecars_of(upload: Upload) -> dict[str, bytes]:
    """What the form brings for files next to the package, by suffix; raises BadRequest for what is unfit."""
    sidecars: dict[str, bytes] = {}
    if upload.signature:
        if len(upload.signature) > MAX_SIGNATURE_BYTES:
            raise BadRequest("The gpg_signature is larger than 256 KiB.", kind="too-long", filename=upload.filename)
        sidecars[".asc"] = upload.signature
    attestations = upload.fields.get("attestations", "").strip()
    if attestations:
        sidecars[".provenance"] = provenance_of(attestations, upload.filename, upload.staged.hexdigest("sha256"))
    return sidecars
