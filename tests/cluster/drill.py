"""Clients that continue while something fails: what they saw is counted, and every acknowledged upload is remembered.

A client does what pip, uv and twine do: a GET is tried again after a failure that may heal (a connection that ends, 429
and 5xx), with a pause that grows; an upload is not.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from tests.hostile import JSON_TYPE, Reply, ask, listed, sha256, upload, wheel

# pip and uv try five times and three times; with these pauses the last try is after 15 seconds.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass
class Seen:
    """What clients saw; a failure is `GET 502`, `POST ConnectionError` and the like."""

    answers: Counter[str] = field(default_factory=Counter)
    given_up: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, int]:
        return {what: count for what, count in self.answers.items() if what.split()[1] not in ("200", "409")}

    def __str__(self) -> str:
        total = sum(self.answers.values())
        return f"{total} requests, failures {self.failures}, given up {self.given_up}, slowest {self.slowest:.2f} s"


def fetch(url: str, path: str, **headers: str) -> Reply:
    """A GET that follows one redirect to another server, without telling it the password, as clients do it."""
    reply = ask(url, path, **headers)
    if reply.status != 302:
        return reply
    target = urlsplit(reply.headers["location"])
    headers.pop("Authorization", None)
    return ask(f"{target.scheme}://{target.netloc}", f"{target.path}?{target.query}", **headers)


def links(url: str, project: str) -> dict[str, str]:
    """File name and path of what the index shows of a project; in a bucket a path has the digest of the bytes."""
    page = f"/simple/{project}/"
    files = json.loads(ask(url, page, Accept=JSON_TYPE).body)["files"]
    return {file["filename"]: urljoin(page, file["url"]).partition("#")[0] for file in files}


def downloaded(url: str, project: str, filename: str, **headers: str) -> Reply:
    """The file as a client gets it who has read the page."""
    return fetch(url, links(url, project)[filename], **headers)


class Drill:
    """Getters and uploaders at one address, from `begin` to `end`."""

    def __init__(self, url: str, *, getters: int = 4, uploaders: int = 1, name: str = "drill") -> None:
        self.url = url
        self.seen = Seen()
        self._name = name
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._get_all_the_time) for _ in range(getters)]
        self._threads += [threading.Thread(target=self._upload_all_the_time, args=(at,)) for at in range(uploaders)]

    def begin(self) -> None:
        name, data = wheel(self._name, "0.1", filler=50_000)
        assert upload(self.url, name, data).status == 200
        self.seen.acknowledged[name] = sha256(data)
        for thread in self._threads:
            thread.start()

    def end(self) -> Seen:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self.seen

    def _note(self, method: str, answer: object, seconds: float) -> None:
        with self._lock:
            self.seen.answers[f"{method} {answer}"] += 1
            self.seen.slowest = max(self.seen.slowest, seconds)

    def _get_all_the_time(self) -> None:
        while not self._ending.is_set():
            # As an installer: the page, and the newest file on it, which must be what the page says.
            page = self.get(f"/simple/{self._name}/", Accept=JSON_TYPE)
            if page is None:
                continue
            file = json.loads(page)["files"][-1]
            body = self.get(urljoin(f"/simple/{self._name}/", file["url"]).partition("#")[0])
            if body is not None and sha256(body) != file["hashes"]["sha256"]:
                self.seen.wrong.append(file["filename"])

    def get(self, path: str, **headers: str) -> bytes | None:
        """What a client gets in the end; None when it has given up."""
        for pause in (*PAUSES, 0.0):
            began = time.monotonic()
            try:
                reply = fetch(self.url, path, **headers)
            except (OSError, http.client.HTTPException) as error:
                answer: object = type(error).__name__
            else:
                answer = reply.status
                if reply.status == 200:
                    self._note("GET", 200, time.monotonic() - began)
                    return reply.body
            self._note("GET", answer, time.monotonic() - began)
            if isinstance(answer, int) and answer < 500:
                break
            time.sleep(pause)
        with self._lock:
            self.seen.given_up.append(f"{path}: {answer}")
        return None

    def _upload_all_the_time(self, at: int) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            name, data = wheel(self._name, f"{at + 1}.{number}", filler=20_000)
            began = time.monotonic()
            try:
                answer: object = upload(self.url, name, data).status
            except (OSError, http.client.HTTPException) as error:
                answer = type(error).__name__
            self._note("POST", answer, time.monotonic() - began)
            if answer == 200:
                with self._lock:
                    self.seen.acknowledged[name] = sha256(data)
            time.sleep(0.05)


@contextmanager
def drilled(url: str, **options: int) -> Iterator[Drill]:
    """Clients that continue until the block ends."""
    drill = Drill(url, **options)
    drill.begin()
    try:
        yield drill
    finally:
        drill.end()


def assert_nothing_is_lost(seen: Seen, urls: Sequence[str], project: str = "drill") -> None:
    """Every acknowledged upload is known to every replica; nothing there is half, whichever one is asked for it."""
    assert seen.wrong == []
    pages = [listed(url, project) for url in urls]
    for shown in pages:
        assert {name: shown.get(name) for name in seen.acknowledged} == seen.acknowledged
    paths = links(urls[0], project)
    for number, (name, digest) in enumerate(pages[0].items()):
        assert sha256(fetch(urls[number % len(urls)], paths[name]).body) == digest, name
