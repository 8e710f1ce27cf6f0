"""Ask a WSGI application as a server would, with the standard library's validator in between."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A client of an application; ``headers`` are sent with every request."""

    def __init__(self, application: Callable[..., Any], **headers: str) -> None:
        self._application = application
        self._headers = headers

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        return self.request("POST", path, body, **headers)

    def upload(
        self, filename: str, content: bytes, *, path: str = "/", fields: Mapping[str, str] | None = None, **headers: str
    ) -> Answer:
        body, kind = form({":action": "file_upload", **(fields or {})}, filename, content)
        return self.post(path, body, CONTENT_TYPE=kind, **headers)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode().decode("latin-1"),
            "SCRIPT_NAME": "",
            "QUERY_STRING": query,
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        if body or method == "POST":
            environ["CONTENT_LENGTH"] = str(len(body))
            environ["wsgi.input"] = io.BytesIO(body)
        environ.update({**self._headers, **headers})
        setup_testing_defaults(environ)
        seen: list[Any] = []

        def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
            seen[:] = [status, fields]
            return lambda data: None

        result = validator(self._application)(environ, start_response)
        try:
            content = b"".join(result)
        finally:
            result.close()
        status, fields = seen
        number, _, reason = status.partition(" ")
        return Answer(int(number), reason, {name.lower(): value for name, value in fields}, content)


def form(fields: Mapping[str, str], filename: str | None = None, content: bytes = b"") -> tuple[bytes, str]:
    """A multipart form as twine writes it; gives the body and its content type."""
    boundary = "f0rm-b0undary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if filename is not None:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
