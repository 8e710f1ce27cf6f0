"""Faults of the catalog while readers ask for what is here and a fallback is on: none of them is ever sent there.

A fault is survived when, from its begin until half a minute after it was taken back, no name that is here is
redirected, not found or listed without a file that was acknowledged; when nothing is answered with 5xx but 503 and
507; when no process dies; when soon after it all is answered, taken and scanned again; and when the log tells of it.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.figures import inject
from tests.hostile import ask, wheel
from tests.live_server import LiveServer
from tests.reliability.disks import Disk, reason_against, serving_on_disk

from .faults import FAULTS
from .processes import end, is_alive, serving, tree
from .readers import PAUSE_SECONDS, WRONG, Known, Load, seconds_until
from .scenes import Fault, Scene

HEALED_SECONDS = 30.0
# A copied file shows after this many seconds, also when no event of the file system tells of it.
SHOWN_SECONDS = 15.0
# For what only some workers know, and some readers find.
SETTLED_SECONDS = 1.0
PROJECTS = 12
# What the server said last is shown with a fault that was not survived.
LAST_LINES = 40
# No server listens there; the tool never follows.
FALLBACK = "http://127.0.0.1:9/simple/"
LOGGED = re.compile(r"\b(?:WARNING|ERROR|CRITICAL)\b")
COLUMNS = ("requests", *WRONG, "unavailable", "no answer", "uploads acknowledged", "died")


@dataclass
class Outcome:
    """What one fault did: figures of the load, seconds until all was well again, lines in the log."""

    fault: Fault
    figures: Counter[str]
    healed: float = 0.0
    shown: float = 0.0
    logged: int = 0
    samples: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What went wrong; nothing when the fault was survived."""
        wrong = [f"{self.figures[name]} {name}" for name in WRONG if self.figures[name]]
        if self.figures["died"] > self.fault.kills:
            wrong.append(f"{self.figures['died']} processes died")
        if self.healed > HEALED_SECONDS:
            wrong.append(f"not well {HEALED_SECONDS:.0f} s after it")
        if self.shown > SHOWN_SECONDS:
            wrong.append(f"a copied file does not show {SHOWN_SECONDS:.0f} s after it")
        if (self.fault.told or self.figures["unavailable"]) and not self.logged:
            wrong.append("not a line in the log")
        return wrong


@dataclass
class Row:
    """The outcomes of one fault."""

    times: int = 0
    figures: Counter[str] = field(default_factory=Counter)
    healed: float = 0.0
    shown: float = 0.0
    logged: int = 0
    broken: int = 0

    def add(self, outcome: Outcome) -> None:
        self.times += 1
        self.figures += outcome.figures
        self.healed, self.shown = max(self.healed, outcome.healed), max(self.shown, outcome.shown)
        self.logged += outcome.logged
        self.broken += bool(outcome.broken)


@contextlib.contextmanager
def scene(home: Path, server: str, workers: int, *, disk: bool, chance: random.Random) -> Iterator[Scene]:
    """A server with a fallback whose catalog is alone in a folder, or on a disk of its own."""
    (home / "state").mkdir()
    options = ("-P", ".", "-a", ".", "--fallback-url", FALLBACK, "--catalog", home / "state" / "catalog.sqlite")
    if not disk:
        with serving(home, *options, server=server, workers=workers) as live:
            yield _scene(live, home, chance, None)
        return
    more = ("--workers", str(workers), "--access-log", "off")
    with serving_on_disk(home, *options, *more, disk="state", size="4m", server=server) as mounted:
        try:
            yield _scene(mounted.live, home, chance, mounted)
        finally:
            end(mounted.live)


def _scene(live: LiveServer, home: Path, chance: random.Random, disk: Disk | None) -> Scene:
    state = disk.inside if disk else home / "state"
    workers = [pid for pid in tree(live.process.pid) if pid != live.process.pid]
    return Scene(live, state, home / "packages", chance, disk, workers)


@dataclass
class Session:
    """One server under load, and the faults that are made to it."""

    scene: Scene
    load: Load

    @classmethod
    def begin(cls, scene: Scene, seed: int, *, pause: float = PAUSE_SECONDS) -> Session:
        """Put packages there, and see that the fallback is on."""
        load = Load(scene.live.url, Known(), seed, pause)
        for number in range(PROJECTS):
            filename, data = wheel(f"here-{number}")
            (scene.packages / filename).write_bytes(data)
            load.known.add(f"here-{number}", filename, data)
        session = cls(scene, load)
        assert session.seconds_until_well() < HEALED_SECONDS, scene.live.output[-2000:]
        assert ask(scene.live.url, "/simple/nowhere/").headers.get("location", "").startswith(FALLBACK)
        load.figures.clear()
        load.samples.clear()
        return session

    def play(self, fault: Fault) -> Outcome:
        """Make a fault, take it back, and wait until all is well."""
        inject(f"catalog: {fault.name}")
        before, lines, samples = self.load.figures.copy(), len(self.scene.live.lines), len(self.load.samples)
        processes = tree(self.scene.live.process.pid)
        self.scene.workers = [pid for pid in processes if pid != self.scene.live.process.pid]
        undo = None
        try:
            undo = fault.make(self.scene)
        except (OSError, sqlite3.Error) as error:
            # A file went while it was cut, or what an earlier fault left is no database.
            fault = replace(fault, told=False)
            self.load.count("not made", error)
        time.sleep(fault.seconds)
        if undo is not None:
            undo()
        healed = self.seconds_until_well()
        shown = self.seconds_until_shown() if healed < HEALED_SECONDS else 0.0
        time.sleep(SETTLED_SECONDS)
        outcome = Outcome(fault, self.load.figures - before, healed, shown)
        outcome.figures["died"] = sum(not is_alive(pid) for pid in processes)
        outcome.logged = sum(bool(LOGGED.search(line)) for line in self.scene.live.lines[lines:])
        outcome.samples = self.load.samples[samples:]
        if outcome.broken:
            outcome.samples[2:] = self.scene.live.lines[-LAST_LINES:]
        return outcome

    def seconds_until_well(self) -> float:
        """Until whichever worker is asked shows what is here, and a file is taken and is in the catalog's file."""
        chance = random.Random(self.load.seed)

        def well() -> bool:
            try:
                return all(self._is_shown(chance) for _ in range(24)) and self._is_taken(chance) and self._is_kept()
            except (OSError, http.client.HTTPException):
                return False

        return seconds_until(well, limit=HEALED_SECONDS)

    def _is_shown(self, chance: random.Random) -> bool:
        question = self.load.known.question(chance)
        reply = ask(self.scene.live.url, question.path, Accept=question.accept)
        return self.load.judge(question, reply.status, reply.body) == "" and reply.status == 200

    def _is_taken(self, chance: random.Random) -> bool:
        reply = self.load.upload_one(chance)
        return reply is not None and reply.status == 200

    def _is_kept(self) -> bool:
        """Whether the newest file is in the catalog that other processes read, and not in the memory of one."""
        filename = self.load.known.files[-1][1]
        # SQLite follows the link to a disk that only the server sees.
        return self.scene.disk is not None or any(has(path, filename) for path in self.scene.databases())

    def seconds_until_shown(self) -> float:
        """Until a file that is copied now shows: the folders are scanned still."""
        project = f"copied-{time.time_ns()}"
        filename, data = wheel(project)
        (self.scene.packages / filename).write_bytes(data)

        def shown() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return ask(self.scene.live.url, f"/simple/{project}/").status == 200
            return False

        seconds = seconds_until(shown, limit=SHOWN_SECONDS)
        if seconds < SHOWN_SECONDS:
            self.load.known.add(project, filename, data)
        return seconds


def has(database: Path, filename: str) -> bool:
    """Whether there is a row for a file in a database, which is not changed by looking."""
    question = "SELECT 1 FROM file WHERE filename = ?"
    address = f"{database.as_uri()}?mode=ro"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
        return connection.execute(question, (filename,)).fetchone() is not None
    return False


def lost(known: Known, packages: Path) -> list[str]:
    """Acknowledged files that are not in the folder."""
    return [filename for _, filename, _ in known.files if not (packages / filename).exists()]


@dataclass
class Chaos:
    """Servers, one after the other, and what faults did to them."""

    server: str = "granian"
    workers: int = 1
    seed: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    _todo: list[Fault] = field(default_factory=list)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Go through the faults until it is over; a server that did not get well is replaced by a new one."""
        chance = random.Random(self.seed)
        while not is_over():
            self._todo = [each for each in self._todo if self._can_be_made(each)] or self._all(chance)
            on_disk = self._todo[0].needs_disk
            with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as home:
                self._session(Path(home), chance, is_over, on_disk=on_disk)

    def _all(self, chance: random.Random) -> list[Fault]:
        """Every fault that can be made here, in any order; those that need a disk follow each other."""
        able = [each for each in FAULTS if self._can_be_made(each)]
        return sorted(chance.sample(able, len(able)), key=lambda fault: fault.needs_disk)

    def _can_be_made(self, fault: Fault) -> bool:
        if (fault.needs_workers and self.workers == 1) or (fault.needs_supervisor and self.server == "waitress"):
            return False
        return not fault.needs_disk or not reason_against()

    def _session(self, home: Path, chance: random.Random, is_over: Callable[[], bool], *, on_disk: bool) -> None:
        with scene(home, self.server, self.workers, disk=on_disk, chance=chance) as found:
            session = Session.begin(found, chance.randrange(1 << 30))
            with session.load:
                while self._todo and self._todo[0].needs_disk == on_disk and not is_over():
                    outcome = session.play(self._todo.pop(0))
                    self.add(outcome)
                    if outcome.broken:
                        break
            for name in lost(session.load.known, found.packages):
                self.failures.append(f"lost: {name}")

    def add(self, outcome: Outcome) -> None:
        name = outcome.fault.name
        self.rows.setdefault(name, Row()).add(outcome)
        self.figures["faults of the catalog under load"] += 1
        self.figures["faults that could not be made"] += outcome.figures["not made"]
        self.figures["requests under faults of the catalog"] += outcome.figures["requests"]
        self.figures["redirects of names that are here"] += outcome.figures["redirects"]
        self.figures["uploads acknowledged under them"] += outcome.figures["uploads acknowledged"]
        if outcome.broken:
            where = f"{self.server} with {self.workers} workers, seed {self.seed}"
            self.failures.append(f"{name} ({where}): {', '.join(outcome.broken)} {outcome.samples[:2]}")
            self.failures += [f"    {line}" for line in outcome.samples[2:]]

    def table(self) -> str:
        """A line for each fault, the worst first."""
        return table(self.rows)


def table(rows: dict[str, Row]) -> str:
    """A line for each fault, the worst first."""
    head = f"{'fault':30} {'times':>5} {'broken':>6} {'well s':>6} {'new s':>6} {'log':>5} " + " ".join(
        f"{name.replace('uploads acknowledged', 'uploads'):>12}" for name in COLUMNS
    )
    lines = [
        f"{name:30} {row.times:5} {row.broken:6} {row.healed:6.1f} {row.shown:6.1f} {row.logged:5} "
        + " ".join(f"{row.figures[column]:12}" for column in COLUMNS)
        for name, row in sorted(rows.items(), key=lambda each: -each[1].broken)
    ]
    return "\n".join([head, *lines])
