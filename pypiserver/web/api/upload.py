"""The legacy upload API: the table of ``:action`` verbs of a POST, and what each does.

**Invariants:** clients show a refusal from the reason phrase or from the body, so both contain it; success is exactly
200, and a POST is never redirected.
"""

from __future__ import annotations

from collections.abc import Callable

import bottle

from ...access.guard import Access, Permit
from ...deferred import RECEIVED
from ...distributions.filename import normalize
from ...errors import BadRequest, PypiServerError
from ...index.publish import PublishingService
from ...request_info import PRINCIPAL
from ...server.expect_continue import is_waiting
from ..http.draining import drain_body, let_finish
from ..http.multipart import Limits
from ..http.request_body import Body
from ..http.responses import text
from .upload_form import Form, ReceivedForm


class Uploads:
    """Handler of every POST that is not XML; ``access`` says what its sender may do with a project."""

    def __init__(self, intake: PublishingService, access: Access, *, max_bytes: int, max_form_bytes: int) -> None:
        self._intake = intake
        self._access = access
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
        received = environ.get(RECEIVED)
        if isinstance(received, ReceivedForm):
            form = received.form
        else:
            form = Form(self._intake, Permit(self._access, environ[PRINCIPAL]), self._limits)
        try:
            if isinstance(received, ReceivedForm):
                received.refuse_faulty()
            else:
                form.read(body, environ.get("CONTENT_TYPE", ""))
            form.refuse_other_protocol()
            action = form.fields.get(":action") or ("file_upload" if form.has_file or form.other_field else "")
            verb = self._verbs.get(action)
            if verb is None:
                known = ", ".join(self._verbs)
                raise BadRequest(f"The form's :action {action[:40]!r} is none of {known}.")
            return text(verb(form))
        except PypiServerError:
            if body.is_begun or received is not None or not is_waiting(environ):
                let_finish(environ, body)
            raise
        finally:
            form.discard()

    def _store(self, form: Form) -> str:
        return self._intake.add(form.upload())

    def _remove(self, form: Form) -> str:
        name, version = form.release("delete")
        removed = self._intake.remove(name, version, permit=form.permit)
        said = f"Removed {removed.files} file(s) of {name} {version}."
        if not removed.is_claimed:
            return said
        normal = normalize(name)
        return f"{said} No other index is asked for {normal}, unless you release the name: pypi-server unclaim {normal}"

    def _yank(self, form: Form) -> str:
        name, version = form.release("yank")
        reason = form.fields.get("reason", "")
        filename = form.fields.get("filename") or None
        count = self._intake.yank(name, version, permit=form.permit, reason=reason, filename=filename)
        return f"Yanked {count} file(s) of {name} {version}."

    def _unyank(self, form: Form) -> str:
        name, version = form.release("yank")
        count = self._intake.unyank(name, version, permit=form.permit, filename=form.fields.get("filename") or None)
        return f"Took back the yank of {count} file(s) of {name} {version}."


def _accept(form: Form) -> str:
    return "Accepted: a package is registered by uploading its first file."


def _refuse_documentation(form: Form) -> str:
    raise BadRequest("Documentation is not stored here; upload the package's files only.")
