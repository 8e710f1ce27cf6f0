"""Whatever a power cut takes that was not synced, an acknowledged change holds, and no half file is seen (P1, P5)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.figures import inject
from tests.hostile import OPEN, ask, environ_for, upload, wheel
from tests.live_server import LiveServer, pypi_server, running
from tests.reliability.power_cut import CALLS, Disk, calls_of, last_answers
from tests.unit.wsgi import form

NAME, DATA = wheel("durable", filler=300_000)
_, OTHER = wheel("durable", filler=200_000)
Sizes = dict[str, int]


def signed(live: LiveServer) -> int:
    body, kind = form({":action": "file_upload", "gpg_signature": "a signature"}, NAME, OTHER)
    return ask(live.url, "/", method="POST", body=body, Content_Type=kind, timeout=60).status


def action(name: str) -> Callable[[LiveServer], int]:
    def post(live: LiveServer) -> int:
        body = f":action={name}&name=durable&version=1.0".encode()
        kind = "application/x-www-form-urlencoded"
        return ask(live.url, "/", method="POST", body=body, Content_Type=kind, timeout=60).status

    return post


# What is done in turn, and how large each file then is; nothing is left of one of 0 bytes.
STEPS: list[tuple[Callable[[LiveServer], int], Sizes]] = [
    (lambda live: upload(live.url, NAME, DATA, timeout=60).status, {NAME: len(DATA)}),
    (lambda live: upload(live.url, *wheel("second"), timeout=60).status, {NAME: len(DATA)}),
    (signed, {NAME: len(OTHER), f"{NAME}.asc": len(b"a signature")}),
    (lambda live: upload(live.url, NAME, DATA, timeout=60).status, {NAME: len(DATA), f"{NAME}.asc": 0}),
    (action("remove_pkg"), {NAME: 0, f"{NAME}.asc": 0}),
]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("server", ["granian", "waitress"])
def test_what_was_acknowledged_survives_a_power_cut_after_any_call(server: str, tmp_path: Path) -> None:
    packages, trace = tmp_path / "packages", tmp_path / "trace"
    packages.mkdir()
    serve = pypi_server("--server", server, *OPEN, "--overwrite", packages)
    command = ["strace", "-f", "-y", "-s", "200", "-o", trace, "-e", f"trace={CALLS}", *serve]
    with running(command, environ=environ_for(server, tmp_path), cwd=tmp_path) as live:
        assert [step(live) for step, _ in STEPS] == [200] * len(STEPS)
        # strace lets go of a server when it is told to end; both must be told.
        os.killpg(live.process.pid, signal.SIGTERM)
        live.process.wait(30)
    calls = list(calls_of(trace.read_text(errors="replace")))
    answers = last_answers(calls, len(STEPS))
    disk, promised = Disk(packages), Sizes()
    for at, (name, arguments, result) in enumerate(calls):
        disk.apply(name, arguments, result)
        # After this call, the power is cut.
        assert not [found for found, inode in disk.visible() if not inode.is_whole()], (at, name, arguments)
        if at in answers:
            promised = STEPS[answers.index(at)][1]
            sizes = {found: disk.kept[found].synced if found in disk.kept else 0 for found in promised}
            assert sizes == promised, (at, answers.index(at))
        if answers[0] <= at <= answers[-2]:
            # What replaces a file leaves no moment without it.
            assert NAME in disk.kept and NAME in disk.names, (at, name, arguments)
    inject("power cut", len(calls))
    assert promised == STEPS[-1][1]
    assert len(calls) > 50
