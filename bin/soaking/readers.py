"""Readers and an uploader that keep asking for what is here, and count every answer that is not right."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.hostile import JSON_TYPE, Reply, sha256, upload, wheel

READERS = 8
# A connection stays with one worker, so each is given up soon.
REQUESTS_EACH = 20
PAUSE_SECONDS = 0.004
UPLOAD_SECONDS = 0.15
REDIRECTS = (301, 302, 303, 307, 308)
# What never happens to a name that is here.
WRONG = ("redirects", "not found", "not listed", "other bytes", "wrong status")


@dataclass(frozen=True)
class Question:
    """A request for a file that is here, in one of the ways in which clients ask."""

    project: str
    filename: str
    digest: str
    way: str

    @property
    def path(self) -> str:
        paths = {"file": f"/packages/{self.filename}", "legacy": f"/pypi/{self.project}/json"}
        return paths.get(self.way, f"/simple/{self.project}/")

    @property
    def accept(self) -> str:
        return JSON_TYPE if self.way == "json" else "text/html"

    def outcome(self, status: int, body: bytes) -> str:
        """What an answer counts as; empty when it is right, or says that it cannot be given now."""
        if status in (503, 507):
            return "unavailable"
        if status != 200:
            return "redirects" if status in REDIRECTS else "not found" if status == 404 else "wrong status"
        if self.way == "file":
            return "" if sha256(body) == self.digest else "other bytes"
        if self.way == "html":
            return "" if f">{self.filename}</a>".encode() in body else "not listed"
        try:
            return "" if self.filename in filenames(json.loads(body)) else "not listed"
        except (ValueError, KeyError, TypeError):
            return "other bytes"


def filenames(page: dict[str, Any]) -> list[str]:
    """The files on a page of a project, in the JSON of today or of old."""
    files = page["files"] if "files" in page else [file for each in page["releases"].values() for file in each]
    return [file["filename"] for file in files]


WAYS = ("json", "json", "html", "file", "legacy")


@dataclass
class Known:
    """What is here: uploads that were acknowledged, and files that were shown once."""

    files: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, project: str, filename: str, data: bytes) -> None:
        self.files.append((project, filename, hashlib.sha256(data).hexdigest()))

    def question(self, chance: random.Random, way: str = "") -> Question:
        """About any file, half of the time about one of the newest."""
        files = self.files[-10:] if chance.random() < 0.5 else self.files
        return Question(*chance.choice(files), way or chance.choice(WAYS))


@dataclass
class Load:
    """Readers, each of which waits ``pause`` seconds between requests, and one uploader; ``figures`` grow meanwhile."""

    url: str
    known: Known
    seed: int
    pause: float = PAUSE_SECONDS
    figures: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._read, args=(at,), daemon=True) for at in range(READERS)]
        self._threads.append(threading.Thread(target=self._upload, daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def count(self, figure: str, what: object = "") -> None:
        with self._lock:
            self.figures[figure] += 1
            if figure in WRONG and len(self.samples) < 50:
                self.samples.append(f"{figure}: {what}")

    def judge(self, question: Question, status: int, body: bytes) -> str:
        """Count an answer."""
        outcome = question.outcome(status, body)
        self.count("requests")
        if outcome:
            self.count(outcome, (status, question.way, question.filename, body[:120]))
        return outcome

    def _read(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        while not self._over.is_set():
            connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=40)
            try:
                for _ in range(REQUESTS_EACH):
                    if self._over.wait(self.pause):
                        return
                    question = self.known.question(chance)
                    connection.request("GET", question.path, headers={"Accept": question.accept})
                    answer = connection.getresponse()
                    self.judge(question, answer.status, answer.read())
                    if answer.will_close:
                        break
            except (OSError, http.client.HTTPException):
                self.count("no answer")
                self._over.wait(0.05)
            finally:
                connection.close()

    def upload_one(self, chance: random.Random) -> Reply | None:
        """Upload a new file; what is acknowledged is known from then on."""
        with self._lock:
            self._number += 1
            number = self._number
        project = f"up-{number}" if chance.random() < 0.5 else f"shared-{number % 7}"
        filename, data = wheel(project, f"{number}.0")
        try:
            reply = upload(self.url, filename, data, timeout=60)
        except (OSError, http.client.HTTPException):
            self.count("uploads without an answer")
            return None
        if reply.status == 200:
            self.known.add(project, filename, data)
            self.count("uploads acknowledged")
        elif reply.status in (503, 507):
            self.count("uploads put off")
        else:
            self.count("wrong status", (reply.status, "upload", reply.body[:200]))
        return reply

    def _upload(self) -> None:
        chance = random.Random(f"{self.seed} uploads")
        while not self._over.wait(UPLOAD_SECONDS):
            self.upload_one(chance)


def seconds_until(question: object, *, limit: float) -> float:
    """How long it takes until something is true; infinite when it takes longer than ``limit`` seconds."""
    began = time.monotonic()
    while not question():  # type: ignore[operator]
        if time.monotonic() - began > limit:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - began
