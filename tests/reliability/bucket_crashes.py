"""Letting a process die before each step of a change, and looking at what it leaves."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.__main__ import main
from pypiserver.bucket import ownership
from tests.reliability import bucket_crash
from tests.reliability.bucket_crash import AFTER, BEFORE, CHANGES, NO_RIVALS, client_of
from tests.unit.storage_contract import address, files, post

KNOWN = {hashlib.sha256(data).hexdigest(): data for data in (BEFORE, AFTER)}
# A process that has imported everything and started nothing is what each one that dies begins as.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.reliability.bucket_crash"])
State = list[tuple[str, object]]


def die_at_every_step(change: str, home: Path, storage_of: Callable[[str], str]) -> int:
    """Do a change as often as it has steps, dying before each in turn; gives their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ownership, "CONFIRM_SECONDS", NO_RIVALS)
        return _die_at_every_step(change, home, storage_of)


def _die_at_every_step(change: str, home: Path, storage_of: Callable[[str], str]) -> int:
    words = home / "words"
    before, after = _prepared(change, home, storage_of("whole"), "whole"), None
    assert _child(change, home, storage_of("whole"), "whole", 0, words) == 0
    steps = words.read_text().splitlines()
    after = _state(storage_of("whole"), home / "whole.sqlite")
    assert before != after
    for number, step in enumerate(steps, start=1):
        name = f"{change}-{number}"
        storage, catalog = storage_of(name), home / f"{name}.sqlite"
        assert _prepared(change, home, storage, name) == before
        assert _child(change, home, storage, name, number, words) == -9, step
        # No one sees a half: neither with the catalog of before, nor with one made from what the bucket holds.
        assert _state(storage, catalog) in (before, after), step
        assert _state(storage, home / f"{name}-again.sqlite") in (before, after), step
        _do(change, storage, catalog)
        assert _state(storage, catalog) == after, step
        place = ["--storage", storage, "--catalog", str(catalog), "--config", "none"]
        assert main(["gc", "--yes", "--older-than", "0s", *place]) == 0
        assert main(["check", *place]) == 0, step
        assert _state(storage, catalog) == after, step
    return len(steps)


def _prepared(change: str, home: Path, storage: str, name: str) -> State:
    """Fill a bucket as it is before the change."""
    data = CHANGES[change][2]
    application, client = client_of(storage, home / f"{name}.sqlite")
    if data is not None:
        assert client.upload("foo-1.0-py3-none-any.whl", data).status == 200
    if change == "unyank":
        assert post(client, "yank", name="foo", version="1.0", reason="bad").status == 200
    client.get("/simple/")
    application.close()
    return _state(storage, home / f"{name}.sqlite")


def _child(change: str, home: Path, storage: str, name: str, step: int, words: Path) -> int:
    catalog = str(home / f"{name}.sqlite")
    process = FORKED.Process(target=bucket_crash.main, args=(dict(os.environ), storage, catalog, change, step, words))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -9)
    return process.exitcode


def _do(change: str, storage: str, catalog: Path) -> None:
    """What a client does that got no answer: the same again; what is gone already is 404."""
    do, settings, _ = CHANGES[change]
    application, client = client_of(storage, catalog, **settings)
    answer = do(client)
    assert answer.status == 200 or (change == "remove" and answer.status == 404), answer
    application.close()


def _state(storage: str, catalog: Path) -> State:
    """Digest and yank of what is listed, all of which can be downloaded."""
    application, client = client_of(storage, catalog)
    found: list[dict[str, Any]] = files(client)
    for file in found:
        answer = client.get(address(file))
        assert answer.body == KNOWN[file["hashes"]["sha256"]]
        assert client.get(address(file) + ".metadata").status == 200
        if file["gpg-sig"]:
            assert client.get(address(file) + ".asc").body == b"signed"
    application.close()
    return [(file["hashes"]["sha256"], file["yanked"]) for file in found]
