"""pip, uv and twine at work, over and over, until the block ends; each run is one of the real program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients.environments import MissingPythonError, ensure
from tests.clients.harness import PASSWORD, USER, Client, installed
from tests.hostile import sha256, wheel

TWINE = ("twine", "upload", "--non-interactive", "--disable-progress-bar")


@dataclass
class Runs:
    """How often each client did what it was told, what the others said, and what was acknowledged (by digest)."""

    good: dict[str, int] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [
            f"{name} {count} good, {len(self.failed.get(name, []))} failed, slowest {self.slowest[name]:.1f} s"
            for name, count in self.good.items()
        ]
        return "; ".join(parts)


def client(name: str, home: Path) -> Client:
    try:
        return Client(name, ensure(name), home)
    except MissingPythonError as missing:
        pytest.skip(str(missing))


class Workers:
    """The loops: two that install `demo`, with pip and with uv, and one that uploads with twine."""

    def __init__(self, home: Path, url: str) -> None:
        self._home, self._url = home, url
        self._ending = threading.Event()
        self.runs = Runs()
        for name in ("pip", "uv", "twine"):
            (home / name).mkdir(parents=True)
        self._pip, self._uv, self._twine = (client(name, home / name) for name in ("pip", "uv", "twine"))

    def loops(self) -> list[Callable[[], None]]:
        return [
            lambda: self._over_and_over("pip", self._install(self._pip, "--no-cache-dir")),
            lambda: self._over_and_over("uv", self._install(self._uv, "--no-cache")),
            lambda: self._over_and_over("twine", self._upload),
        ]

    def end(self) -> None:
        self._ending.set()

    def _over_and_over(self, name: str, once: Callable[[int], str]) -> None:
        self.runs.good[name], self.runs.slowest[name] = 0, 0.0
        number = 0
        while not self._ending.is_set():
            number += 1
            began = time.monotonic()
            fault = once(number)
            self.runs.slowest[name] = max(self.runs.slowest[name], time.monotonic() - began)
            if fault:
                self.runs.failed.setdefault(name, []).append(fault)
            else:
                self.runs.good[name] += 1

    def _install(self, tool: Client, *options: str) -> Callable[[int], str]:
        def once(number: int) -> str:
            target = self._home / f"{tool.name}-{number}"
            words = ("--target", target, "--index-url", f"{self._url}/simple/", *options, "demo")
            done = tool.run(*tool.installer, *words, status=None)
            return "" if done.returncode == 0 and installed(target) == {"demo": "1.0"} else done.stdout

        return once

    def _upload(self, number: int) -> str:
        name, data = wheel("tide", f"1.{number}", filler=50_000)
        path = self._home / name
        path.write_bytes(data)
        login = ("--repository-url", f"{self._url}/", "-u", USER, "-p", PASSWORD)
        done = self._twine.run(*TWINE, *login, path, status=None)
        if done.returncode == 0:
            self.runs.acknowledged[name] = sha256(data)
            return ""
        return done.stdout


@contextmanager
def working(home: Path, url: str) -> Iterator[Runs]:
    """Clients that continue until the block ends, each run to its end."""
    workers = Workers(home, url)
    with ThreadPoolExecutor(3) as pool:
        going = [pool.submit(loop) for loop in workers.loops()]
        try:
            yield workers.runs
        finally:
            workers.end()
            for each in going:
                each.result()
