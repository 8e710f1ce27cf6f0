"""Forms as clients send them, and what is listed afterwards."""

from __future__ import annotations

from typing import Any

from ...wsgi import Answer, Client, form

JSON = "application/vnd.pypi.simple.v1+json"


def listed(client: Client, project: str = "foo-bar") -> dict[str, Any]:
    answer = client.get(f"/simple/{project}/", HTTP_ACCEPT=JSON)
    return {file["filename"]: file for file in answer.json()["files"]} if answer.status == 200 else {}


def act(client: Client, action: str, **fields: str) -> Answer:
    body, kind = form({":action": action, **fields})
    return client.post("/", body, CONTENT_TYPE=kind)


def upload(client: Client, filename: str, content: bytes, **fields: str) -> Answer:
    """Upload with a part for a signature, which is a file, when one is given."""
    signature = fields.pop("gpg_signature", None)
    body, kind = form({":action": "file_upload", **fields}, filename, content)
    if signature is not None:
        boundary = b"--" + kind.rpartition("=")[2].encode()
        head = f'Content-Disposition: form-data; name="gpg_signature"; filename="{filename}.asc"'.encode()
        body = boundary + b"\r\n" + head + b"\r\n\r\n" + signature.encode() + b"\r\n" + body
    return client.post("/", body, CONTENT_TYPE=kind)
