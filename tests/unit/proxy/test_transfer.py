"""Bytes on their way: what is held back, and what happens when they can be kept nowhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.cache_store import Progress
from pypiserver.deferred import Interrupted
from pypiserver.errors import StorageFull, Unavailable
from pypiserver.proxy.transfer import HELD_BYTES, WINDOW_BYTES, Transfer

from .sites import UPSTREAM, FakeResponse, Site, remote, run_threads, whole
from .test_files import settled, visible

BLOCK = 50_000
DATA = os.urandom(6_000_000)
SHA256 = "0" * 64


class Growing:
    """A growing file in memory that takes ``most`` bytes."""

    def __init__(self, most: int = 1 << 60) -> None:
        self.data = bytearray()
        self.most = most
        self.told: list[Progress | None] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> int:
        fits = data[: self.most - len(self.data)]
        self.data += fits
        if len(fits) < len(data):
            raise StorageFull("full")
        return len(data)

    def read_at(self, offset: int, count: int) -> bytes:
        return bytes(self.data[offset : offset + count])

    def tell(self, progress: Progress | None) -> None:
        self.told.append(progress)

    def discard(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_the_last_bytes_are_held_back_until_they_are_checked() -> None:
    transfer, growing = Transfer(expected=SHA256, patience=1), Growing()
    transfer.begin(growing, 200_000)
    seen = []
    for at in range(0, 200_000, BLOCK):
        transfer.add(DATA[at : at + BLOCK])
        seen.append(transfer.available)
    assert seen == [50_000, 100_000, 200_000 - HELD_BYTES, 200_000 - HELD_BYTES]
    transfer.finish("00", None)
    assert (transfer.available, growing.told[-1]) == (
        200_000,
        Progress(200_000, 200_000, is_whole=True, expected=SHA256),
    )
    assert b"".join(transfer.body(150_000, 40_000)) == DATA[150_000:190_000]


@pytest.mark.parametrize(("is_held", "total"), [(True, 200_000), (False, None)])
def test_without_a_hash_or_a_length_all_is_held_back(is_held: bool, total: int | None) -> None:
    transfer = Transfer(expected="" if is_held else SHA256, patience=1)
    transfer.begin(Growing(), total)
    transfer.add(DATA[:200_000])
    assert (transfer.available, transfer.is_ready(0)) == (0, False)
    with pytest.raises(Unavailable):
        transfer.check()
    transfer.finish("00", None)
    assert (transfer.available, transfer.total) == (200_000, 200_000)


def write_all(transfer: Transfer, data: bytes = DATA) -> list[Any]:
    troubles = [transfer.add(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    transfer.finish("00", None)
    return [each for each in troubles if each is not None]


@pytest.mark.parametrize("most", [0, 1_234_567, len(DATA) - 10])
def test_a_file_that_cannot_be_kept_reaches_its_readers(most: int) -> None:
    transfer = Transfer(expected=SHA256, patience=5)
    transfer.begin(Growing(most), len(DATA))
    bodies = [transfer.body(start, len(DATA) - start) for start in (0, 0, 1_000_000)]
    writer = threading.Thread(target=write_all, args=(transfer,))
    writer.start()
    got = run_threads(3, lambda number: b"".join(bodies[number]))
    writer.join()
    assert got == [DATA, DATA, DATA[1_000_000:]]
    for each in bodies:
        each.close()


def test_memory_is_bounded_by_the_slowest_reader() -> None:
    transfer = Transfer(expected=SHA256, patience=5)
    transfer.begin(None, len(DATA))
    slow, fast = transfer.body(0, len(DATA)), transfer.body(0, len(DATA))
    writer = threading.Thread(target=write_all, args=(transfer,))
    writer.start()
    first = next(slow)
    for _ in range(20):
        if fast._at + BLOCK < transfer.available:
            next(fast)
        time.sleep(0.001)
        assert sum(map(len, transfer._memory)) <= WINDOW_BYTES
    rest = threading.Thread(target=lambda: list(fast))
    rest.start()
    assert first + b"".join(slow) == DATA
    rest.join()
    writer.join()


def test_a_reader_that_takes_nothing_is_left_behind() -> None:
    transfer = Transfer(expected=SHA256, patience=0.2)
    transfer.begin(None, len(DATA))
    stuck, other = transfer.body(0, len(DATA)), transfer.body(0, len(DATA))
    writer = threading.Thread(target=write_all, args=(transfer,))
    writer.start()
    assert b"".join(other) == DATA
    writer.join()
    with pytest.raises(Interrupted):
        list(stuck)


def test_without_readers_what_cannot_be_kept_ends() -> None:
    transfer = Transfer(expected=SHA256, patience=0.01)
    transfer.begin(None, len(DATA))
    with pytest.raises(StorageFull):
        write_all(transfer)


def test_what_must_be_checked_first_cannot_be_passed_on() -> None:
    transfer = Transfer(expected="", patience=1)
    transfer.begin(Growing(10), len(DATA))
    with pytest.raises(StorageFull):
        transfer.add(DATA)


def test_a_new_reader_comes_too_late_for_what_is_gone() -> None:
    transfer = Transfer(expected=SHA256, patience=1)
    transfer.begin(None, len(DATA))
    body = transfer.body(0, len(DATA))
    for at in range(0, 1_200_000, BLOCK):
        while transfer.available > body._at:
            next(body)
        transfer.add(DATA[at : at + BLOCK])
    assert (transfer.can_begin(0), transfer.can_begin(1_150_000)) == (False, True)


# -- two processes, which are two caches here --------------------------------------------------------------------------


def both(folder: Path, answer: Any, **shared: Any) -> tuple[Site, Site, Any]:
    first, second = (Site(folder, answer, **shared) for _ in range(2))
    second.client.asked = first.client.asked
    file = remote("raven-1.0.tar.gz", DATA)
    first.add(file)
    second.add(file)
    return first, second, file


@pytest.mark.parametrize("keep", [True, False])
def test_two_processes_and_fifty_clients_ask_once(tmp_path: Path, keep: bool) -> None:
    gate = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield DATA[:BLOCK]
        gate.wait(10)
        for at in range(BLOCK, len(DATA), BLOCK):
            yield DATA[at : at + BLOCK]

    first, second, file = both(
        tmp_path, lambda url, headers: FakeResponse(200, {"content-length": str(len(DATA))}, blocks), keep=keep
    )
    begun = threading.Barrier(51)

    def ask(number: int) -> bool:
        transfer = (first, second)[number % 2].files.transfer(file, UPSTREAM)
        begun.wait(10)
        body = transfer.body(0, len(DATA))
        data = b"".join(body)
        body.close()
        return data == DATA

    opener = threading.Thread(target=lambda: (begun.wait(10), time.sleep(0.05), gate.set()))
    opener.start()
    assert run_threads(50, ask) == [True] * 50
    opener.join()
    settled(first)
    settled(second)
    assert len(first.client.asked) == 1
    assert visible(tmp_path) == ({"pypi/raven/raven-1.0.tar.gz"} if keep else set())


def test_the_other_process_gets_the_error_or_asks_itself(tmp_path: Path) -> None:
    gate = threading.Event()
    responses = [FakeResponse(503), whole(DATA)]

    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        gate.wait(10)
        return responses.pop(0)

    first, second, file = both(tmp_path, answer)
    transfers = [site.files.transfer(file, UPSTREAM) for site in (first, second)]
    gate.set()
    settled(first)
    settled(second)
    assert sorted(each.is_whole for each in transfers) == [False, True]


def test_the_readers_of_the_other_process_are_cut_with_the_fetch(tmp_path: Path) -> None:
    wrong = DATA[:-1] + b"x"
    gate = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield wrong[:-100]
        gate.wait(10)
        yield wrong[-100:]

    first, second, file = both(tmp_path, lambda url, headers: FakeResponse(200, {}, blocks))
    bodies = [site.files.transfer(file, UPSTREAM).body(0, len(DATA)) for site in (first, second)]
    got = [next(each) for each in bodies]
    gate.set()
    for each, start in zip(bodies, got, strict=True):
        taken = [start]
        with pytest.raises(Interrupted):
            taken.extend(each)
        assert sum(map(len, taken)) <= len(DATA) - HELD_BYTES
    settled(first)
    settled(second)
    assert visible(tmp_path) == set()
