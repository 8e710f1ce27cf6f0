"""The form of an upload while it is read: its fields in memory, its file in a staged temporary file.

**Invariants:** the body is read once, straight into the staged file; no field takes more memory than FIELDS says; what
was staged is discarded unless it was published.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import parse_qs

from ...access.guard import Permit
from ...backend.protocols import StagedFile
from ...distributions.attestations import MAX_CHARACTERS
from ...distributions.filename import FilenameParts, normalize, parse_filename
from ...errors import BadRequest, InvalidFilename, PypiServerError
from ...index.publish import PublishingService
from ...index.upload_checks import DIGEST_FIELDS, MAX_SIGNATURE_BYTES, Upload
from ...text import MAX_REASON
from ..http.multipart import Fields, Limits, boundary_of, multipart, read_form
from ..http.request_body import Body

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


class Form:
    """One upload form while it is read: its fields, and its file in a staged temporary file."""

    def __init__(self, intake: PublishingService, permit: Permit, limits: Limits) -> None:
        self._intake = intake
        self.permit = permit
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
        """Read the whole body; raises BadRequest and ContentTooLarge, and WantsBody where it is not to be read."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            parser = multipart(boundary_of(content_type), open_part=self._open_part, wanted=FIELDS, limits=self._limits)
            if body.is_pushed:
                raise body.wanted_by(ReceivedForm(self, parser))
            fields = read_form(body, parser)
        elif kind == "application/x-www-form-urlencoded":
            fields = _urlencoded(body)
        else:
            raise BadRequest(
                f"An upload is a form of type multipart/form-data; this was {kind[:60] or 'of no type'!r}. "
                "Upload with twine, uv publish, or curl -F content=@FILE."
            )
        self.take_fields(fields)

    def take_fields(self, fields: Mapping[str, list[str]]) -> None:
        """The first value of each field counts."""
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
        return Upload(self._dist, self._staged, self.permit, self.fields, signature or None)

    def _refuse_other_signature(self) -> None:
        """Raise BadRequest for a signature named after another file."""
        signed, dot, suffix = self._signature_name.rpartition(".")
        if not dot or suffix.lower() not in ("asc", "sig", "gpg") or signed == self._filename:
            return
        with contextlib.suppress(InvalidFilename):
            parse_filename(signed)
            raise BadRequest(f"The gpg_signature is named {self._signature_name!r}; the file is {self._filename!r}.")

    def release(self, action: str) -> tuple[str, str]:
        """The name and version the form is about; raises the refusal unless its sender may do this with it."""
        name, version = self.fields.get("name", ""), self.fields.get("version", "")
        if not name or not version:
            raise BadRequest("The form must give both the name and the version of the release.")
        self.permit.require(action, normalize(name))
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
            self._dist, self._staged = self._intake.stage(filename, self.permit)
        except InvalidFilename as error:
            # Documentation has a file of any name: only an upload needs a valid one.
            self._fault = error
            return _Nowhere()
        return self._staged


class ReceivedForm:
    """Receives a form's body in blocks, which its parser takes one by one."""

    def __init__(self, form: Form, parser: Fields) -> None:
        self.form = form
        self._parser = parser
        self._fault: Exception | None = None
        self._is_over = False
        next(parser)

    def take(self, data: bytes, /) -> bool:
        """Parse the next block; gives whether more is of use: nothing is after the first fault."""
        if data and not self._is_over:
            self._send(data)
        return not self._is_over

    def end(self, fault: PypiServerError | None, /) -> None:
        """The body is over; one that broke off is at fault, whatever else is."""
        if fault is not None:
            self._fault, self._is_over = fault, True
            self._parser.close()
        elif not self._is_over:
            self._send(b"")

    def refuse_faulty(self) -> None:
        """Raise what was wrong with the body."""
        if self._fault is not None:
            raise self._fault

    def discard(self) -> None:
        """Forget it, with the staged file."""
        self._parser.close()
        self.form.discard()

    def _send(self, data: bytes) -> None:
        try:
            self._parser.send(data)
        except StopIteration as end:
            self._is_over = True
            self.form.take_fields(end.value)
        except Exception as error:  # noqa: BLE001 - raised by refuse_faulty()
            self._fault, self._is_over = error, True


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


def _urlencoded(body: Body) -> dict[str, list[str]]:
    data = body.read_all(MAX_URLENCODED)
    if len(data) > MAX_URLENCODED:
        raise BadRequest("A form that carries no file may have 1 MiB; this one is larger.")
    try:
        return parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise BadRequest(f"The form cannot be read: {error}.") from None
