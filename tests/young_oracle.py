"""What must not come out: no byte of a file that the rules about other indexes withhold, at any address.

An upstream has files that are too young, denied, of unknown age, or in quarantine, each with bytes that no other file
has; so have their metadata, signatures and attestations. Requests are those of the oracle of rights, for each project,
and addresses made of each file's own. No response may have one of these bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from tests import rights_oracle as oracle
from tests.fake_pages import FakeFile
from tests.fake_upstream import FakeUpstream
from tests.make_archives import make_sdist, make_wheel
from tests.rights_oracle import HEADERS, METHODS, PATHS, SPELLINGS, Ask, Send

SUFFIXES = ("", ".metadata", ".asc", ".provenance", ".yanked")
# Twice as many bytes in a row of a withheld file are always found in a response; no other file has them.
WINDOW = 12
NOISE = 3000
RANGES: dict[str, Mapping[str, str]] = {
    "first": {"Range": "bytes=0-3999"},
    "middle": {"Range": "bytes=700-1700"},
    "last": {"Range": "bytes=-2500"},
    "several": {"Range": "bytes=300-999,1200-1900"},
    "beyond": {"Range": "bytes=100-99999999"},
    "if-range": {"Range": "bytes=300-", "If-Range": "Thu, 01 Jan 2037 00:00:00 GMT"},
}


class Held(NamedTuple):
    """A file that must not come out: its project, its path below /packages/, and what would be refused by."""

    project: str
    path: str
    file: FakeFile
    rule: str


@dataclass
class World:
    """An upstream with files that are withheld, and some that are given out."""

    up: FakeUpstream
    second: FakeUpstream
    now: datetime
    held: list[Held] = field(default_factory=list)
    given: list[Held] = field(default_factory=list)
    windows: set[bytes] = field(default_factory=set)

    def add(self, project: str, version: str, rule: str, *, days: float | None, up: FakeUpstream | None = None) -> None:
        """A wheel and a source distribution, uploaded that many days ago, withheld by a rule ('': given out)."""
        index = up or self.up
        for make in (make_wheel, make_sdist):
            seed = f"{project} {version} {make.__name__}"
            filename = make(project, version)[0]
            secrets = {kind: _unique(f"{seed} {kind}") for kind in SUFFIXES[:4]}
            text = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: "
            secrets[""] = hashlib.shake_128(seed.encode()).digest(NOISE)
            data = secrets[""]
            if make is make_wheel:
                data = make_wheel(project, version, extra_members={f"{project}.bin": secrets[""]})[1]
                assert secrets[""] in data, "it was compressed"
            options: dict[str, Any] = {"path": f"/files/{filename}"} if up else {}
            file = index.add(
                project,
                filename,
                data,
                uploaded=None if days is None else self.now - timedelta(days=days),
                metadata=text.encode() + secrets[".metadata"] + b"\n" if make is make_wheel else None,
                provenance=b'{"version": 1, "attestation_bundles": [], "secret": "' + secrets[".provenance"] + b'"}',
                **options,
            )
            index.served[file.path + ".asc"] = secrets[".asc"]
            path = f"@second/{project}/{filename}" if up else file.path.removeprefix("/packages/")
            (self.held if rule else self.given).append(Held(project, path, file, rule))
            for secret in secrets.values() if rule else ():
                self.windows |= {secret[at : at + WINDOW] for at in range(len(secret) - WINDOW + 1)}

    def leaked(self, body: bytes) -> bool:
        """Whether a response has bytes of a withheld file."""
        return any(body[at : at + WINDOW] in self.windows for at in range(0, len(body) - WINDOW + 1, WINDOW))


def _unique(seed: str) -> bytes:
    """Bytes that are nowhere else, in letters and digits, which no page escapes."""
    return hashlib.shake_128(seed.encode()).hexdigest(NOISE // 2).encode()


def world(up: FakeUpstream, second: FakeUpstream) -> World:
    """Fill both indexes."""
    made = World(up, second, datetime.now(timezone.utc))
    made.add("raven", "1.0", "", days=40)
    made.add("raven", "2.0", "min-age", days=1)
    made.add("osprey", "1.0", "min-age", days=0.01)
    made.add("condor", "1.0", "deny-projects", days=40)
    made.add("heron", "1.0", "deny-projects", days=40)
    made.add("heron", "2.0", "", days=40)
    made.add("egret", "1.0", "min-age", days=None)
    made.add("stork", "1.0", "quarantined", days=40)
    made.add("lynx", "1.0", "min-age", days=1, up=second)
    # Own builds of it are here, and other versions may come in.
    made.add("kestrel", "1.0", "", days=40)
    made.add("kestrel", "2.0", "min-age", days=1)
    made.up.project("stork").status = "quarantined"
    made.up.project("stork").reason = "malware"
    return made


def settings(made: World, folder: Path) -> dict[str, Any]:
    """Keywords of an application that has these indexes behind it, and a folder ``packages``."""
    filename, data = make_wheel("kestrel", "3.0")
    (folder / "packages").mkdir(exist_ok=True)
    if not (folder / "packages" / filename).exists():
        (folder / "packages" / filename).write_bytes(data)
    for name, text in (("allow.txt", "# none\n"), ("deny.txt", "condor # malware\nheron<2 # old\n")):
        if not (folder / name).exists():
            (folder / name).write_text(text)
    return {
        "fallback_mode": "cache",
        "fallback_url": made.up.url,
        "upstream": [{"name": "second", "url": made.second.url, "projects": ["lynx"]}],
        "cache_folder": folder / "cache",
        "min_age": "7d",
        "allow": folder / "allow.txt",
        "deny_projects": folder / "deny.txt",
        "merge": "kestrel",
    }


def direct(held: Held) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """(method, target, headers) of requests that name the file by its right address, each to be refused."""
    for suffix in SUFFIXES[:4]:
        for method in ("GET", "HEAD"):
            yield method, f"/packages/{held.path}{suffix}", {}
    for more in (*RANGES.values(), *HEADERS.values()):
        yield "GET", f"/packages/{held.path}", more


def requests(made: World, *, every: int = 1, first: int = 0) -> Iterator[tuple[str, str, Mapping[str, str], bytes]]:
    """(method, target, headers, body) of all requests, or one in ``every``."""
    number = -1
    for each in _all(made):
        number += 1
        if number % every == first % every:
            yield each


def _all(made: World) -> Iterator[tuple[str, str, Mapping[str, str], bytes]]:
    for held in made.held:
        for method, target, headers in direct(held):
            yield method, target, headers, b""
        for ask in _addresses(held):
            yield from _forms(ask, held)
    for project in dict.fromkeys(held.project for held in made.held):
        for ask, spelling, path, headers, method in oracle.addresses():
            target, body, more = oracle.request(ask, project, SPELLINGS[spelling])
            yield method, PATHS[path](target), {**more, **HEADERS[headers]}, body


def _addresses(held: Held) -> Iterator[str]:
    """Addresses that may lead to a file: its own, those of other indexes' forms, and near misses."""
    name, path = held.file.filename, held.path
    index = path.partition("/")[0] if path.startswith("@") else "@pypi"
    for each in (
        path, name, f"{held.project}/{name}", f"{index}/{held.project}/{name}", f"@second/{held.project}/{name}",
        f"@127-0-0-1/{held.project}/{name}", path.upper(), path.title(), path.replace("-", "_"), f"./{path}",
        f"x/../{path}", f"{path}/", f"/{path}", f"cache/{path}", f"../cache/pypi/{held.project}/{name}",
        f".pages/{held.project}.json",
    ):  # fmt: skip
        for suffix in SUFFIXES:
            yield f"/packages/{each}{suffix}"
    yield f"/simple/{held.project}/{name}"
    yield f"/{path}"
    yield held.file.path


def _forms(target: str, held: Held) -> Iterator[tuple[str, str, Mapping[str, str], bytes]]:
    """One address in each spelling, form of the path, with each set of headers and each method."""
    name = held.file.filename
    for spell in SPELLINGS.values():
        yield "GET", target.replace(name, spell(name)), {}, b""
    for shape in PATHS.values():
        yield "GET", shape(target), {}, b""
    for more in (*RANGES.values(), *HEADERS.values()):
        yield "GET", target, more, b""
    for method in METHODS:
        yield method, target, {}, b""


def leaks(send: Send, made: World, *, every: int = 1, first: int = 0) -> tuple[int, list[str]]:
    """How many requests were sent, and those whose response has bytes of a withheld file."""
    found, count = [], 0
    for method, target, headers, body in requests(made, every=every, first=first):
        reply = send(method, target, headers, body)
        count += 1
        if made.leaked(reply.body):
            found.append(f"{method} {target} {dict(headers)}: {reply.status}")
    return count, found


def unrefused(send: Send, made: World, *, only: Callable[[Held], bool] = lambda held: True) -> list[str]:
    """The requests for a withheld file at its own address that were not refused with 403."""
    return [
        f"{method} {target} {dict(headers)}: {reply.status}"
        for held in filter(only, made.held)
        for method, target, headers in direct(held)
        if not (reply := send(method, target, headers, b"")).status.startswith("403")
    ]


__all__ = ["Ask", "Held", "World", "direct", "leaks", "requests", "settings", "unrefused", "world"]
