"""Uploads as twine sends them, with as little work on our side as can be."""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
import time

from .corpus import wheel
from .processes import Server, request

_BOUNDARY = "0123456789abcdef0123456789abcdef"
_numbers = itertools.count(1)


def form(filename: str, data: bytes) -> bytes:
    """The multipart body of an upload of a wheel or sdist."""
    name, version = filename.removesuffix(".tar.gz").split("-")[:2]
    fields = {
        ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.2", "name": name, "version": version,
        "filetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        "pyversion": "py3" if filename.endswith(".whl") else "source",
        "sha256_digest": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
    parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", data, b"\r\n"]
    return b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])


def upload(port: int, path: str, filename: str, data: bytes, *, login: tuple[str, str] | None = None) -> int:
    """Upload one file; gives the status."""
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    return request(port, path, method="POST", headers=headers, body=form(filename, data))[0]


def uploads_per_second(server: Server, *, seconds: float, at_once: int) -> float:
    """New small wheels uploaded to ``/`` by so many clients; raises RuntimeError when one is refused."""
    until = time.perf_counter() + seconds
    counts = [0] * at_once
    refused: list[int] = []

    def work(index: int) -> None:
        while time.perf_counter() < until and not refused:
            status = upload(server.port, "/", *wheel(f"upload_{next(_numbers)}", "1.0"))
            if status == 200:
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
