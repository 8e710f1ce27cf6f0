"""Uploads as twine sends them, with as little work on our side as can be."""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
import time
from pathlib import Path

from .corpus import wheel
from .processes import Server, request
from .targets import Upload

_BOUNDARY = "0123456789abcdef0123456789abcdef"
BLOCK = 1 << 20
_numbers = itertools.count(1)


def _around(filename: str, digest: str) -> tuple[bytes, bytes]:
    """What is before and after the file in the multipart body of an upload of a wheel or sdist."""
    name, version = filename.removesuffix(".tar.gz").split("-")[:2]
    fields = {
        ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.2", "name": name, "version": version,
        "filetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        "pyversion": "py3" if filename.endswith(".whl") else "source",
        "sha256_digest": digest,
    }  # fmt: skip
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
    parts += [head, "Content-Type: application/octet-stream\r\n\r\n"]
    return "".join(parts).encode(), f"\r\n--{_BOUNDARY}--\r\n".encode()


def upload(port: int, path: str, filename: str, data: bytes, *, login: tuple[str, str] | None = None) -> int:
    """Upload one file; gives the status."""
    head, tail = _around(filename, hashlib.sha256(data).hexdigest())
    return request(port, path, method="POST", headers=_headers(login), body=head + data + tail)[0]


def upload_file(port: int, path: str, file: Path, *, login: tuple[str, str] | None = None) -> int:
    """Upload a file of any size as it is read; gives the status."""
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(BLOCK):
            digest.update(block)
        head, tail = _around(file.name, digest.hexdigest())
        stream.seek(0)
        length = {"Content-Length": str(len(head) + file.stat().st_size + len(tail))}
        body = itertools.chain([head], iter(lambda: stream.read(BLOCK), b""), [tail])
        return request(port, path, method="POST", headers={**_headers(login), **length}, body=body)[0]


def _headers(login: tuple[str, str] | None) -> dict[str, str]:
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    return headers


def uploads_per_second(server: Server, to: Upload, *, seconds: float, at_once: int) -> float:
    """New small wheels uploaded by this many clients; raises RuntimeError when one is refused."""
    until = time.perf_counter() + seconds
    counts = [0] * at_once
    refused: list[int] = []

    def work(index: int) -> None:
        while time.perf_counter() < until and not refused:
            status = upload(server.port, to.path, *wheel(f"upload_{next(_numbers)}", "1.0"), login=to.login)
            if status in (200, 201):
                counts[index] += 1
            else:
                refused.append(status)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(at_once)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise RuntimeError(f"{server.name} refuses an upload with {refused[0]}")
    return sum(counts) / (time.perf_counter() - began)
