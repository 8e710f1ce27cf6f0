"""Killing a server in the middle of uploads, and counting what is left: used by the tests and by bin/soak."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.figures import inject
from tests.hostile import OPEN, serving, sha256, wheel
from tests.unit.wsgi import form

WRITERS = 8


@dataclass
class Ledger:
    """What was sent and what was acknowledged, by file name with its sha256."""

    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    kills: int = 0

    def lost(self, folder: Path) -> list[str]:
        """Acknowledged files that are not there, or not as they were sent."""
        return [name for name, digest in self.acknowledged.items() if digest_of(folder / name) != digest]

    def damaged(self, folder: Path) -> list[str]:
        """Visible files that no one sent, or not so."""
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        return [path.name for path in found if self.sent.get(path.name) != digest_of(path)]


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()) if path.exists() else ""


def is_acknowledged(url: str, name: str, data: bytes) -> bool:
    """Whether an upload's answer began with 200: that counts, even when the server dies before it has sent the rest."""
    body, kind = form({":action": "file_upload"}, name, data)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("POST", "/", body=body, headers={"Content-Type": kind, "Connection": "close"})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException):
        connection.close()
        return False
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer.read()
    connection.close()
    return answer.status == 200


def kill_in_the_middle(
    home: Path, ledger: Ledger, *, uploads: int, chance: random.Random, server: str = "granian"
) -> None:
    """Start a server, let writers upload to it, and kill it with all its processes at a random moment."""
    folder = home / "packages"
    folder.mkdir(exist_ok=True)
    todo = [(ledger.kills, number) for number in range(uploads)]
    stop_after = len(ledger.acknowledged) + chance.randrange(uploads // 10, uploads - WRITERS)
    lock = threading.Lock()
    over = threading.Event()

    def write(url: str) -> None:
        while not over.is_set():
            with lock:
                if not todo:
                    return
                round_, number = todo.pop()
                name, data = wheel(f"crash-{round_}", f"{number}.0", filler=chance.choice((0, 2_000, 50_000, 300_000)))
                ledger.sent[name] = sha256(data)
            if is_acknowledged(url, name, data):
                with lock:
                    ledger.acknowledged[name] = ledger.sent[name]

    with serving(home, *OPEN, "--catalog", home / "catalog.sqlite", server=server) as live:
        writers = [threading.Thread(target=write, args=(live.url,)) for _ in range(WRITERS)]
        for writer in writers:
            writer.start()
        while len(ledger.acknowledged) < stop_after and any(writer.is_alive() for writer in writers):
            time.sleep(0.005)
        time.sleep(chance.random() * 0.03)
        os.killpg(live.process.pid, signal.SIGKILL)
        inject("kill -9 in the middle of uploads")
        over.set()
        for writer in writers:
            writer.join()
        live.process.wait()
        ledger.kills += 1
