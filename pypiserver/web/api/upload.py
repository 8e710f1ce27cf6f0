"""The legacy upload API: a multipart POST becomes an Upload value, and the table of ``:action`` verbs.

**Invariants:** the body is read once, straight into the staged file; clients show a refusal from the reason phrase or
from the body, so both contain it; success is exactly 200, and a POST is never redirected.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import bottle

from ...backend.protocols import StagedFile
from ...distributions.attestations import MAX_CHARACTERS
from ...distributions.filename import FilenameParts, parse_filename
from ...errors import BadRequest, InvalidFilename, PypiServerError
from ...index.publish import DIGEST_FIELDS, MAX_SIGNATURE_BYTES, PublishingService, Upload
from ...server.expect_continue import is_waiting
from ...text import MAX_REASON
from ..http.multipart import Limits, boundary_of, parse_multipart
from ..http.request_body import Body
from ..http.responses import text

# The fields we read, with the most bytes of each: what is refused anyway is not read whole first. Other fields are
# skipped, such as a description of megabytes, which the file contains in better form.
FIELDS: Mapping[str, int] = {
    **dict.fromkeys((":action", "protocol_version", "name", "version", "filename", *DIGEST_FIELDS), 4096),
    "reason": 4 * (MAX_REASON + 1),
    "attestations": MAX_CHARACTERS + 1,
    "gpg_signature": MAX_SIGNATURE_BYTES + 1,
}
# The only version of the upload API.
PROTOCOL = "1"
MAX_URLENCODED = 1024 * 1024
# A refused client reads the response only after it sends its whole body: read and discard up to this many bytes.
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0


class Uploads:
    """Handler of every POST that is not XML."""

    def __init__(self, intake: PublishingService, *, max_bytes: int, max_form_bytes: int) -> None:
        self._intake = intake
        self._max_bytes = max_bytes
        self._limits = Limits(all_field_bytes=max_form_bytes)
        self._verbs: dict[str, Callable[[Form], str]] = {
            "file_upload": self._store,
            "remove_pkg": self._remove,
            "yank": self._yank,
            "unyank": self._unyank,
            "submit": _accept,
            "verify": _accept,
            "register": _accept,
            "doc_upload": _refuse_documentation,
        }

    def post(self) -> bottle.HTTPResponse:
        """``POST``: read the form and do what its ``:action`` says."""
        environ = bottle.request.environ
        try:
            body = Body(environ, self._max_bytes)
        except PypiServerError:
            drain_body(environ)
            raise
        form = Form(self._intake, self._limits)
        try:
            form.read(body, environ.get("CONTENT_TYPE", ""))
            form.refuse_other_protocol()
            action = form.fields.get(":action") or ("file_upload" if form.has_file or form.other_field else "")
            verb = self._verbs.get(action)
            if verb is None:
                known = ", ".join(self._verbs)
                raise BadRequest(f"The form's :action {action[:40]!r} is none of {known}.")
            return text(verb(form))
        except PypiServerError:
            if body.is_begun or not is_waiting(environ):
                drain(body)
            raise
        finally:
            form.discard()

    def _store(self, form: Form) -> str:
        return self._intake.add(form.upload())

    def _remove(self, form: Form) -> str:
        name, version = form.release()
        return f"Removed {self._intake.remove(name, version)} file(s) of {name} {version}."

    def _yank(self, form: Form) -> str:
        name, version = form.release()
        reason = form.fields.get("reason", "")
        count = self._intake.yank(name, version, reason=reason, filename=form.fields.get("filename") or None)
        return f"Yanked {count} file(s) of {name} {version}."

    def _unyank(self, form: Form) -> str:
        name, version = form.release()
        count = self._intake.unyank(name, version, filename=form.fields.get("filename") or None)
        return f"Took back the yank of {count} file(s) of {name} {version}."


class Form:
    """One upload form while it is read: its fields, and its file in a staged temporary file."""

    def __init__(self, intake: PublishingService, limits: Limits) -> None:
        self._intake = intake
        self._limits = limits
        self.fields: dict[str, str] = {}
        self.has_file = False
        # The first field with a file that is not a field of an upload.
        self.other_field = ""
        self._filename = ""
        self._dist: FilenameParts | None = None
        self._staged: StagedFile | None = None
        self._fault: PypiServerError | None = None
        self._signature: _Limited | None = None
        self._signature_name = ""

    def read(self, body: Body, content_type: str) -> None:
        """Read the whole body; raises BadRequest and ContentTooLarge."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            fields = parse_multipart(
                body, boundary_of(content_type), open_part=self._open_part, wanted=FIELDS, limits=self._limits
            )
        elif kind == "application/x-www-form-urlencoded":
            fields = _urlencoded(body)
        else:
            raise BadRequest(
                f"An upload is a form of type multipart/form-data; this was {kind[:60] or 'of no type'!r}. "
                "Upload with twine, uv publish, or curl -F content=@FILE."
            )
        self.fields = {name: values[0] for name, values in fields.items() if values}

    def refuse_other_protocol(self) -> None:
        """Raise BadRequest for a later version of the upload protocol; a client that names none means the first."""
        protocol = self.fields.get("protocol_version", "").strip() or PROTOCOL
        if protocol != PROTOCOL:
            raise BadRequest(f"The form's protocol_version is not known here; there is {PROTOCOL}.")

    def upload(self) -> Upload:
        """The file with its fields; raises the fault that its name had when it arrived."""
        if self._fault is not None:
            raise self._fault
        if self._staged is None and self.other_field:
            raise BadRequest(
                f"The form has a file in its field {self.other_field[:40]!r}; an upload belongs in the field 'content'."
            )
        if self._staged is None or self._dist is None:
            raise BadRequest("The form has no file: its content field is missing, or carries no file name.")
        # curl -F gpg_signature='<FILE' sends the signature as a field without a file name.
        self._refuse_other_signature()
        signature = bytes(self._signature.data if self._signature else self.fields.get("gpg_signature", "").encode())
        return Upload(self._dist, self._staged, self.fields, signature or None)

    def _refuse_other_signature(self) -> None:
        """Raise BadRequest for a signature named after another file."""
        signed, dot, suffix = self._signature_name.rpartition(".")
        if not dot or suffix.lower() not in ("asc", "sig", "gpg") or signed == self._filename:
            return
        with contextlib.suppress(InvalidFilename):
            parse_filename(signed)
            raise BadRequest(f"The gpg_signature is named {self._signature_name!r}; the file is {self._filename!r}.")

    def release(self) -> tuple[str, str]:
        """The name and version the form is about."""
        name, version = self.fields.get("name", ""), self.fields.get("version", "")
        if not name or not version:
            raise BadRequest("The form must give both the name and the version of the release.")
        return name, version

    def discard(self) -> None:
        """Delete the staged file unless it was published."""
        if self._staged is not None:
            self._staged.discard()

    def _open_part(self, field: str, filename: str) -> StagedFile | _Limited | _Nowhere:
        if field == "gpg_signature":
            self._signature_name = filename
            self._signature = _Limited(MAX_SIGNATURE_BYTES)
            return self._signature
        if field != "content" or self.has_file:
            if field == "content":
                raise BadRequest("The form has more than one content field; upload one file at a time.")
            self.other_field = self.other_field or field
            return _Nowhere()
        self.has_file = True
        self._filename = filename
        try:
            self._dist, self._staged = self._intake.stage(filename)
        except InvalidFilename as error:
            # Documentation has a file of any name: only an upload needs a valid one.
            self._fault = error
            return _Nowhere()
        return self._staged


class _Limited:
    """A small part that is kept in memory."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: bytes) -> int:
        if len(self.data) + len(data) > self._limit:
            raise BadRequest(f"The gpg_signature is larger than {self._limit // 1024} KiB.")
        self.data += data
        return len(data)


class _Nowhere:
    """Discards a part that no upload needs."""

    def write(self, data: bytes) -> int:
        return len(data)


def drain(body: Body, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Read what a refused client still sends, within bounds, so that it reads the response."""
    until = clock() + DRAIN_SECONDS
    left = DRAIN_BYTES
    try:
        while left > 0 and clock() < until and (data := body.read(min(left, 256 * 1024))):
            left -= len(data)
    except (PypiServerError, OSError):
        return


def drain_body(environ: Mapping[str, Any]) -> None:
    """Drain a request whose body is still unread; do nothing for a client that waits for "100 Continue" before it
    sends.
    """
    if is_waiting(environ):
        return
    with contextlib.suppress(PypiServerError):
        drain(Body(environ, 1 << 62))


def _urlencoded(body: Body) -> dict[str, list[str]]:
    data = bytearray()
    while block := body.read(64 * 1024):
        data += block
        if len(data) > MAX_URLENCODED:
            raise BadRequest("A form that carries no file may have 1 MiB; this one is larger.")
    try:
        return parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise BadRequest(f"The form cannot be read: {error}.") from None


def _accept(form: Form) -> str:
    return "Accepted: a package is registered by uploading its first file."


def _refuse_documentation(form: Form) -> str:
    raise BadRequest("Documentation is not stored here; upload the package's files only.")
