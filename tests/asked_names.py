"""Which names other indexes hear of: every request that the table of routes can take, and what a fake index saw.

All the names exist at the other index, so each request for one of them is seen there if it gets so far.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pypiserver
from pypiserver.distributions.filename import normalize
from tests import rights_oracle as oracle
from tests.fake_upstream import FakeUpstream, upstream
from tests.make_archives import make_wheel
from tests.unit.wsgi import Client

# May be asked for.
PUBLIC = "fern-public"
# Must not be, each for another reason.
PRIVATE, CLAIMED, DENIED, HIDDEN, OURS = "acme-vault", "gone-tools", "bad-fern", "secret-fern", "our-fern"
SILENT = (PRIVATE, CLAIMED, DENIED, HIDDEN, OURS)
RIGHTS = "everyone read,upload,delete,yank * !secret-*\nroot all *\n"


@dataclass
class Asking:
    """A server in this process that asks a fake index."""

    client: Client
    up: FakeUpstream
    count: int = 0

    def send(self, name: str, *, every: int = 1, first: int = 0) -> None:
        """Send every request that can name this project, or every n-th of them."""
        for number, (ask, spelling, path, headers, method) in enumerate(oracle.addresses()):
            if number % every != first % every or "{" not in ask.path + ask.body:
                continue
            target, body, more = oracle.request(ask, name, oracle.SPELLINGS[spelling])
            fields = {**more, **oracle.HEADERS[headers]}
            environ = {f"HTTP_{key.upper().replace('-', '_')}": value for key, value in fields.items()}
            if (kind := environ.pop("HTTP_CONTENT_TYPE", None)) is not None:
                environ["CONTENT_TYPE"] = kind
            target = oracle.PATHS[path](target)
            asked, _, query = target.partition("?")
            decoded = unquote_to_bytes(asked).decode("utf-8", "replace")
            self.client.request(method, decoded + (f"?{query}" if query else ""), body, RAW_URI=target, **environ)
            self.count += 1

    def heard(self, name: str) -> list[str]:
        """The requests at the fake index that have this name in any spelling."""
        return heard(self.up, name)


def heard(up: FakeUpstream, name: str) -> list[str]:
    """The requests at a fake index that have this name in any spelling."""
    return [each.path for each in up.seen if name in normalize(unquote(unquote(each.path)))]


def fill(up: FakeUpstream) -> None:
    """Give all the names to a fake index."""
    for name in (PUBLIC, *SILENT):
        for version in ("1.0", "1.1"):
            up.add_wheel(name, version)
            up.add_sdist(name.replace("-", "_"), version)


def settle(folder: Path) -> dict[str, object]:
    """Make the packages, rights and lists of a server; returns its settings."""
    root = folder / "packages"
    (root / ".status").mkdir(parents=True)
    (root / ".status" / CLAIMED).write_text("private\n")
    filename, data = make_wheel(OURS, "1.0")
    (root / filename).write_bytes(data)
    rights, denied = folder / "rights", folder / "denied"
    rights.write_text(RIGHTS)
    denied.write_text(f"{DENIED}\n")
    return {"rights": rights, "deny_projects": denied, "private": "acme-*", "cache_folder": folder / "cache"}


@contextmanager
def asking(folder: Path, **settings: Any) -> Iterator[Asking]:
    """A server with a cache, whose other index has all of these projects."""
    options = settle(folder)
    with upstream() as up:
        fill(up)
        application: Any = pypiserver.app(
            roots=[folder / "packages"],
            catalog=folder / "catalog.sqlite",
            auther=lambda user, password: True,
            fallback_mode="cache",
            fallback_url=up.url,
            log_stream="none",
            **{**options, **settings},
        )
        try:
            application.survey()
            yield Asking(Client(application), up)
        finally:
            application.close()


def basic(user: str) -> str:
    """The header of a user."""
    return "Basic " + base64.b64encode(f"{user}:x".encode()).decode()
