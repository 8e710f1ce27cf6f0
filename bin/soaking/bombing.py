"""Bombs against a real server: each uploaded and copied into the folder, then every page that any client may ask for.

A bomb breaks a limit when a request takes more than five seconds and the server worked for half of them (one that
shares its machine waits for others), or more than fifteen in any case; when one process grows by more than 256 MiB
during a request (see :class:`~processes.Peak`), or keeps more than that above what it had at first; when a status is
5xx and neither 503 nor 507; when a good project's page is not 200; and when a process of the server dies.
"""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.figures import inject
from tests.hostile import JSON_TYPE, Reply, ask, upload, wheel
from tests.live_server import LiveServer

from . import bombs
from .bombs import Bomb
from .processes import LOGIN, Peak, is_alive, kibibytes, logins, serving, tree

SECONDS, MEBIBYTES = 5.0, 256.0
# What a request may wait for others on this machine, while the server itself does little.
WAITED_SECONDS = 15.0
# A request that takes longer is given up.
PATIENCE = 20.0
# Until a copy in the folder shows.
SHOWN_SECONDS = 15.0
# As a browser asks.
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
RIGHT_5XX = (503, 507)
NO_ANSWER = 0
SEARCH = b"""<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct>
<member><name>name</name><value><string>bomb</string></value></member></struct></value></param></params></methodCall>"""


@dataclass(frozen=True)
class Measured:
    """One request: what it was about, its status, and what it cost in seconds and MiB."""

    bomb: Bomb
    what: str
    status: int
    seconds: float
    one: float
    all: float
    wrong: str = ""
    cpu: float = 0.0

    @property
    def broken(self) -> str:
        """Which limit is broken; empty when none is."""
        reasons = [self.wrong] if self.wrong else []
        if self.status == NO_ANSWER:
            reasons.append("no answer")
        elif self.status >= 500 and self.status not in RIGHT_5XX:
            reasons.append(f"status {self.status}")
        if self.seconds > (SECONDS if self.cpu > SECONDS / 2 else WAITED_SECONDS):
            reasons.append(f"{self.seconds:.1f} s, CPU {self.cpu:.1f} s")
        if self.one > MEBIBYTES:
            reasons.append(f"{self.one:.0f} MiB")
        return ", ".join(reasons)


@dataclass
class Row:
    """What the bombs of one kind did."""

    kind: str
    bombs: set[int] = field(default_factory=set)
    seconds: float = 0.0
    one: float = 0.0
    all: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    worst: int = -1
    broken: int = 0

    def add(self, measured: Measured) -> None:
        self.bombs.add(measured.bomb.seed)
        self.statuses[measured.status] += 1
        self.broken += bool(measured.broken)
        # The worst is what comes nearest to a limit.
        before = max(self.seconds / SECONDS, self.one / MEBIBYTES)
        if self.worst < 0 or max(measured.seconds / SECONDS, measured.one / MEBIBYTES) > before:
            self.worst = measured.bomb.seed
        self.seconds, self.one = max(self.seconds, measured.seconds), max(self.one, measured.one)
        self.all = max(self.all, measured.all)


def surfaces(bomb: Bomb) -> dict[str, Callable[[str], Reply]]:
    """Every page that shows something of a package to any client."""

    def get(path: str, **headers: str) -> Callable[[str], Reply]:
        return lambda url: ask(url, path, timeout=PATIENCE, **headers)

    own = f"/simple/{bomb.project}/"
    return {
        "/": get("/", Accept=HTML),
        "/simple/": get("/simple/"),
        "/simple/ JSON": get("/simple/", Accept=JSON_TYPE),
        "/simple/NAME/": get(own, Accept=HTML),
        "/simple/NAME/ JSON": get(own, Accept=JSON_TYPE),
        "/pypi/NAME/json": get(f"/pypi/{bomb.project}/json"),
        "/pypi/NAME/1.0/json": get(f"/pypi/{bomb.project}/1.0/json"),
        "/project/NAME/": get(f"/project/{bomb.project}/", Accept=HTML),
        # Once more: what the first reader set going may be there now.
        "/project/NAME/ again": get(f"/project/{bomb.project}/", Accept=HTML),
        "/projects/": get("/projects/", Accept=HTML),
        "/projects/?q=": get("/projects/?q=bomb", Accept=HTML),
        "/packages/": get("/packages/"),
        "FILE.metadata": get(f"/packages/{bomb.filename}.metadata"),
        "RPC2": lambda url: ask(url, "/RPC2", method="POST", body=SEARCH, timeout=PATIENCE, Content_Type="text/xml"),
    }


@dataclass
class Bombing:
    """A server, the bombs that were sent to it, and what they cost."""

    server: str = "granian"
    workers: int = 1
    rows: dict[str, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def run(self, seeds: Iterator[int], is_over: Callable[[], bool]) -> None:
        """Send the bombs of these seeds until it is over; a server that was harmed is replaced by a new one."""
        while not is_over():
            with tempfile.TemporaryDirectory(prefix="soak-") as home, self._serving(Path(home)) as target:
                for seed in seeds:
                    if not target.try_one(seed) or is_over():
                        break
                else:
                    return

    @contextlib.contextmanager
    def _serving(self, home: Path) -> Iterator[Target]:
        options = ("-P", logins(home), "-a", "update", "--disable-fallback", "--catalog", home / "catalog.sqlite")
        with serving(home, *options, server=self.server, workers=self.workers) as live:
            assert upload(live.url, *wheel("good"), Authorization=LOGIN).status == 200
            yield Target(self, live, home / "packages")

    def add(self, measured: Measured) -> bool:
        """Keep what was measured; False when it breaks a limit."""
        bomb = measured.bomb
        self.rows.setdefault(bomb.kind, Row(bomb.kind)).add(measured)
        self.figures["requests about bombs"] += 1
        if measured.broken:
            self.failures.append(
                f"{bomb.kind}, seed {bomb.seed}, {len(bomb.data):,} bytes, {measured.what}: {measured.broken}"
            )
        return not measured.broken

    def table(self) -> str:
        """A line for each kind, the worst first."""
        head = f"{'kind':38} {'bombs':>5} {'worst s':>8} {'MiB':>6} {'all':>6} {'broken':>6} {'seed':>10}  statuses"
        rows = sorted(
            self.rows.values(), key=lambda row: (-row.broken, -max(row.seconds / SECONDS, row.one / MEBIBYTES))
        )
        lines = [
            f"{row.kind:38} {len(row.bombs):5} {row.seconds:8.2f} {row.one:6.0f} {row.all:6.0f} {row.broken:6} "
            f"{row.worst:10}  {' '.join(f'{status}:{number}' for status, number in sorted(row.statuses.items()))}"
            for row in rows
        ]
        return "\n".join([head, *lines])


@dataclass
class Target:
    """A running server that bombs are sent to."""

    bombing: Bombing
    live: LiveServer
    folder: Path

    def __post_init__(self) -> None:
        ask(self.live.url, "/simple/good/")
        self.processes = tree(self.live.process.pid)
        self.first = {pid: kibibytes(pid, "VmRSS") for pid in self.processes}

    def try_one(self, seed: int) -> bool:
        """Upload a bomb and copy it; False when the server was harmed and should not be asked any more."""
        inject("bomb")
        self.bombing.figures["bombs"] += 1
        uploaded, copied = bombs.make(seed, prefix="bombu"), bombs.make(seed, prefix="bombc")
        try:
            return self._upload(uploaded) and self._copy(copied) and self._keeps_little(copied)
        finally:
            for bomb in (uploaded, copied):
                (self.folder / bomb.filename).unlink(missing_ok=True)

    def _upload(self, bomb: Bomb) -> bool:
        measured = self._measure(
            bomb,
            "upload",
            lambda url: upload(url, bomb.filename, bomb.data, timeout=PATIENCE, Authorization=LOGIN),
        )
        stored = measured.status == 200
        self.bombing.figures["bombs stored" if stored else "bombs refused"] += 1
        return self.bombing.add(measured) and self._neighbor(bomb) and (not stored or self._ask_all(bomb, "uploaded"))

    def _copy(self, bomb: Bomb) -> bool:
        """Copy it, and a good package behind it, which shows when the bomb has been read."""
        behind, data = wheel(f"behind-{bomb.seed}")

        def shown(url: str) -> Reply:
            began = time.monotonic()
            while (reply := ask(url, f"/simple/behind-{bomb.seed}/", timeout=PATIENCE)).status != 200:
                if time.monotonic() - began > SHOWN_SECONDS:
                    return reply
                time.sleep(0.05)
            return reply

        partial = self.folder / f".{bomb.filename}.part"
        partial.write_bytes(bomb.data)
        partial.rename(self.folder / bomb.filename)
        (self.folder / behind).write_bytes(data)
        measured = self._measure(bomb, "a copy behind it shows", shown, right=(200,))
        (self.folder / behind).unlink()
        return self.bombing.add(measured) and self._ask_all(bomb, "copied") and self._neighbor(bomb)

    def _ask_all(self, bomb: Bomb, how: str) -> bool:
        return all(
            self.bombing.add(self._measure(bomb, f"{how}: {what}", question))
            for what, question in surfaces(bomb).items()
        )

    def _neighbor(self, bomb: Bomb) -> bool:
        """A good project is shown whatever lies next to it."""
        question = partial(ask, path="/simple/good/", timeout=PATIENCE)
        return self.bombing.add(self._measure(bomb, "a good project", question, right=(200,)))

    def _keeps_little(self, bomb: Bomb) -> bool:
        """What the processes keep of all bombs so far."""
        kept = max(kibibytes(pid, "VmRSS") - before for pid, before in self.first.items()) / 1024
        self.bombing.figures["MiB kept by a process at most"] = max(
            self.bombing.figures["MiB kept by a process at most"], int(kept)
        )
        if kept > MEBIBYTES:
            self.bombing.failures.append(
                f"{bomb.kind}, seed {bomb.seed}: a process keeps {kept:.0f} MiB of bombs so far"
            )
        return kept <= MEBIBYTES

    def _measure(
        self,
        bomb: Bomb,
        what: str,
        question: Callable[[str], Reply],
        *,
        right: tuple[int, ...] = (),
    ) -> Measured:
        status = NO_ANSWER
        with Peak(self.live.process.pid) as peak, contextlib.suppress(OSError, http.client.HTTPException):
            status = question(self.live.url).status
        wrong = [] if not right or status in right else [f"status {status}"]
        if dead := [pid for pid in self.processes if not is_alive(pid)]:
            wrong.append(f"{len(dead)} of {len(self.processes)} processes died")
        return Measured(bomb, what, status, peak.seconds, peak.one, peak.all, ", ".join(wrong), peak.cpu)
