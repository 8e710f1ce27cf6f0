"""Says which releases of other indexes a server gives out, and by which rule and line it withholds the others.

**Invariants:** the answer is that of the server: the same pages, the same policy, at one moment; an index that cannot
be asked is reported, never taken for one that has no such project.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from packaging.utils import NormalizedName

from ..distributions.versions import canonical_version
from ..errors import NotFound, PypiServerError
from ..proxy.file_rules import OF_TIME
from ..proxy.list_text import ListLine
from ..proxy.policy import Policy
from ..proxy.values import Offered, Withheld
from ..proxy.withheld_files import json_of
from ..text import printable
from ..upstream.addresses import origin as origin_of
from ..upstream.errors import allowing
from ..upstream.values import RemoteFile, Upstream
from .lock_files import Pin, Pins
from .output import count_of, write_json

# Pages that are not kept are asked for this many at a time.
ASKING = 8
# This many entries that cannot be read are named.
UNREAD = 10
LISTS = frozenset({"deny-projects", "allow-projects"})


class Index(Protocol):
    """Where projects of other indexes come from."""

    def project(self, name: NormalizedName, *, revalidate: bool = False) -> Offered:
        """What they offer under a name; raises NotFound, Unavailable."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What a server does with a release: ``state`` is given-out, refused, partly, own, absent or unknown.

    ``files`` are given out, ``withheld`` are not; ``reason`` is a sentence, '' if all is given out. ``exceptions`` are
    the lines without which some files would be withheld; ``blocked`` are servers of files (``https://host:port``) that
    are not asked, because no setting names them and they have no public address.
    """

    pin: Pin
    state: str
    index: str = ""
    files: tuple[RemoteFile, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    reason: str = ""
    exceptions: tuple[ListLine, ...] = field(default=())
    blocked: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether a build may fail by it: nothing is given out, or something is too young, denied or not allowed.

        Kinds of files that an index is not asked for, such as source distributions, fail no build that has others.
        """
        rules = {each.rule for each in self.withheld}
        return self.state == "refused" or bool(self.blocked) or bool(rules & (OF_TIME | LISTS))


@dataclass(frozen=True, slots=True)
class Server:
    """What a server would ask: other indexes, the rules about them, whether a name is its own, and which
    server of files it would not ask.
    """

    index: Index
    policy: Policy
    is_own: Callable[[NormalizedName], bool] = field(default=lambda name: False)
    blocked_origin: Callable[[Upstream, str], str] = field(default=lambda upstream, url: "")


def explain(pins: Iterable[Pin], server: Server, *, now: float | None = None) -> Iterator[Explained]:
    """Each release, in the order of the pins."""
    moment = time.time() if now is None else now
    with ThreadPoolExecutor(ASKING, "explain") as pool:
        yield from pool.map(lambda pin: _explained(pin, server, moment), pins)


def _explained(pin: Pin, server: Server, now: float) -> Explained:
    index, policy = server.index, server.policy
    try:
        if server.is_own(pin.project):
            return Explained(pin, "own", reason="It is a project of this server, which no rule withholds.")
        refusal = policy.refusal_of(pin.project)
        if refusal is not None:
            return Explained(pin, "refused", reason=refusal.reason)
        offered = index.project(pin.project)
    except NotFound as error:
        return Explained(pin, "absent", reason=error.public)
    except PypiServerError as error:
        return Explained(pin, "unknown", reason=str(error))
    upstream, page = offered.upstream, offered.page
    left: list[RemoteFile] = []
    withheld: list[Withheld] = []
    exceptions: dict[ListLine, None] = {}
    for file in page.files:
        if not _is_wanted(pin, file):
            continue
        found = policy.refusal(upstream, file, now, status=page.status)
        if found is not None:
            withheld.append(found)
            continue
        left.append(file)
        line = policy.exception(upstream, file, now)
        if line is not None:
            exceptions.setdefault(line)
    state = "partly" if left and withheld else "refused" if withheld else "given-out" if left else "absent"
    reason = withheld[0].reason if withheld else "" if left else f"The index {upstream.name} has no such release."
    blocked = {server.blocked_origin(upstream, origin) for origin in {origin_of(file.url) for file in left}}
    return Explained(
        pin,
        state,
        upstream.name,
        tuple(left),
        tuple(withheld),
        reason,
        tuple(exceptions),
        tuple(sorted(blocked - {""})),
    )


def _is_wanted(pin: Pin, file: RemoteFile) -> bool:
    if pin.files:
        return file.filename in pin.files
    return not pin.version or canonical_version(file.version) == canonical_version(pin.version)


def tell(found: Sequence[Explained], pins: Pins, out: TextIO) -> None:
    """Tell people, releases that are given out in full only as a number."""
    for each in found:
        out.writelines(f"{line}\n" for line in _lines(each))
    out.writelines(f"not read  {words}\n" for words in pins.unread[:UNREAD])
    states = Counter(each.state for each in found)
    told = [f"{count} {state.replace('-', ' ')}" for state, count in states.items()]
    told += [f"{len(pins.unread)} not read"] if pins.unread else []
    out.write(f"{len(found)} {'release' if len(found) == 1 else 'releases'}: {', '.join(told) or 'nothing'}\n")


def _lines(each: Explained) -> Iterator[str]:
    """What is told of a release."""
    if each.state not in ("given-out", "own"):
        total = len(each.files) + len(each.withheld)
        yield f"{each.state}  {each.pin}" + (f", {len(each.withheld)} of {count_of(total)}" if each.withheld else "")
        for reason in dict.fromkeys(one.reason for one in each.withheld) or (each.reason,):
            yield f"  {printable(reason)}"
    for origin in each.blocked:
        yield f"blocked  {each.pin}"
        yield f"  Its files are at {printable(origin)}, which has no public address. {allowing(origin, each.index)}"
    for line in each.exceptions:
        end = "always" if line.until is None else f"until the end of {line.until} (UTC)"
        yield f"excepted  {each.pin}, {end}"
        yield f"  {printable(line.reason)} (line {line.number} of the exceptions)"


def tell_json(found: Sequence[Explained], pins: Pins, out: TextIO) -> None:
    """Tell programs everything."""
    write_json({"releases": [_data(each) for each in found], "unread": list(pins.unread)}, out)


def _data(each: Explained) -> dict[str, Any]:
    return {
        "project": each.pin.project,
        "version": each.pin.version,
        "state": each.state,
        "index": each.index,
        "reason": each.reason,
        "files": [file.filename for file in each.files],
        "withheld": [{**row, "line": one.line or None} for one in each.withheld for row in json_of([one])],
        "blocked": list(each.blocked),
        "exceptions": [
            {"line": line.number, "text": str(line), "reason": line.reason, "until": str(line.until or "") or None}
            for line in each.exceptions
        ],
    }
