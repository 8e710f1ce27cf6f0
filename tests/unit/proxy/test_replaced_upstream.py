"""A file that its index replaces by another of the same name while the first one is on its way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile import eventually

from ..wsgi import Client
from .sites import FakeResponse, Site, remote

NAME = "raven-1.0.tar.gz"
OLD, NEW = os.urandom(300_000), os.urandom(300_000)


def sending(data: bytes, gate: threading.Event) -> FakeResponse:
    """Half of the data, and the rest once the gate is open."""

    def blocks() -> Iterator[bytes]:
        yield data[:150_000]
        gate.wait(30)
        yield data[150_000:]

    return FakeResponse(200, {"content-length": str(len(data))}, blocks)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def page_of(folder: Path, gate: threading.Event) -> Site:
    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        return (
            sending(OLD, gate)
            if "old" in url
            else FakeResponse(200, {"content-length": str(len(NEW))}, lambda: iter([NEW]))
        )

    return Site(folder, answer)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_client_of_the_new_file_gets_nothing_of_the_old_one(
    processes: int, tmp_path: Path, gate: threading.Event
) -> None:
    """Though this process, or another one, still fetches the former one."""
    sites = [page_of(tmp_path, gate) for _ in range(processes)]
    old = replace(remote(NAME, OLD), url="http://files.test/old", path=f"@pypi/raven/{NAME}")
    new = replace(remote(NAME, NEW), url="http://files.test/new", path=f"@pypi/raven/{NAME}")
    got: list[bytes] = []

    def first() -> None:
        got.append(Client(sites[0].application()).get(f"/packages/{old.path}").body)

    sites[0].add(old)
    thread = threading.Thread(target=first)
    thread.start()
    eventually(lambda: sites[0].client.asked)
    # The page changed meanwhile.
    sites[-1].add(new)
    answers = [Client(sites[-1].application()).get(f"/packages/{new.path}").body]
    gate.set()
    thread.join()
    assert answers == [NEW], "bytes of the file that was replaced"
    assert got == [OLD]
