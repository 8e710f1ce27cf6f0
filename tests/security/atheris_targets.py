"""Targets for atheris, which looks for inputs that reach new branches: ``atheris_targets.py TARGET [OPTION...]``.

Run by bin/soak where atheris is installed; nothing here is collected by pytest. A target raises what it must not.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["pypiserver"]):
    from pypiserver.access import password_hashes
    from pypiserver.access.authentication import parse_basic
    from pypiserver.distributions import filename as distfile
    from pypiserver.distributions import metadata
    from pypiserver.distributions.core_metadata import packed
    from pypiserver.distributions.truncation import is_whole
    from pypiserver.errors import PypiServerError
    from pypiserver.formats import negotiation
    from pypiserver.web.api import xmlrpc
    from pypiserver.web.http import conditional, multipart
    from tests.shelf import Shelf


class Sink:
    def write(self, data: bytes) -> int:
        return len(data)


def filename(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(PypiServerError):
        dist = distfile.check_upload_filename(text)
        assert dist.filename == text and text.isascii() and "/" not in text and not text.startswith(".")
    with contextlib.suppress(PypiServerError):
        distfile.parse_filename(text)


def stored_hash(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        entry = password_hashes.read_entry(data.decode("utf-8", "replace"))
        assert entry.milliseconds < 10_000


def credentials(data: bytes) -> None:
    with contextlib.suppress(PypiServerError):
        user, _ = parse_basic("Basic " + data.decode("latin-1"))
        assert ":" not in user


def accept(data: bytes) -> None:
    text = data.decode("latin-1")
    with contextlib.suppress(PypiServerError):
        negotiation.negotiate(text, None)
    negotiation.accepts_encoding(text, ("gzip",))
    conditional.is_not_modified(text, '"a"')


def form(data: bytes) -> None:
    with contextlib.suppress(PypiServerError):
        parser = multipart.multipart(b"x", open_part=lambda name, filename: Sink())
        multipart.read_form(io.BytesIO(b"--x\r\n" + data), parser)


def call(data: bytes) -> None:
    with contextlib.suppress(PypiServerError):
        assert b"methodResponse" in xmlrpc.handle(data, Shelf([("foo", "1.0", "A foo")]))


def core_metadata(data: bytes) -> None:
    packed(metadata.parse_metadata(data))


def archive(data: bytes) -> None:
    for name in ("foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"):
        dist = distfile.parse_filename(name)
        stream = io.BytesIO(data)
        with contextlib.suppress(PypiServerError):
            metadata.read_upload(stream, dist)
        is_whole(io.BytesIO(data), dist)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "filename": filename,
    "htpasswd": stored_hash,
    "credentials": credentials,
    "accept": accept,
    "multipart": form,
    "xmlrpc": call,
    "metadata": core_metadata,
    "archive": archive,
}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
