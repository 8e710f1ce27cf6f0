"""Many threads and processes that give one name to a file."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.backend import name_lock
from pypiserver.backend.name_lock import claimed
from pypiserver.errors import Conflict, PypiServerError, Unavailable
from pypiserver.folder.staged import Staged
from pypiserver.folder.storage import Folders
from tests.unit.faults import Faults
from tests.unit.folder import test_staged as unit
from tests.unit.folder.test_staged import NAME, contents, staged

pytestmark = pytest.mark.live
kind = unit.kind


def _race(count: int, each: Callable[[int], None]) -> list[object]:
    """What each of so many threads ended with, started together."""
    outcomes: list[object] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            each(number)
            outcomes[number] = "stored"
        except PypiServerError as error:
            outcomes[number] = type(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("number", [0, errno.EPERM, errno.ENOTSUP], ids=["links", "EPERM", "ENOTSUP"])
def test_of_many_writers_one_wins_with_its_own_signature(tmp_path: Path, number: int) -> None:
    operations = Faults("link" if number else "", number).operations
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()

        def store(writer: int, folder: Path = folder) -> None:
            sidecars = {".asc": b"%d" % writer}
            staged(folder, b"%d" % writer, operations).publish(NAME, overwrite=False, sidecars=sidecars)

        outcomes = _race(8, store)
        assert sorted(map(str, outcomes)) == sorted(["stored", *[str(Conflict)] * 7])
        winner = b"%d" % outcomes.index("stored")
        assert contents(folder) == {NAME: winner, f"{NAME}.asc": winner}


WRITER = """
import sys
from pathlib import Path
from pypiserver.errors import Conflict
from pypiserver.folder.staged import Staged
root, name, writer, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3].encode(), int(sys.argv[4])
sys.stdin.readline()
for number in range(rounds):
    upload = Staged(root, str(number), digests=()).open()
    upload.write(writer)
    try:
        upload.publish(name, overwrite=False, sidecars={".asc": writer})
        print(number)
    except Conflict:
        upload.discard()
"""


def test_of_many_processes_one_wins_each_round(tmp_path: Path) -> None:
    rounds = 30
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), NAME, str(writer), str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writer in range(4)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [writer.communicate()[0].split() for writer in writers]
    assert sorted((number for each in won for number in each), key=int) == [str(number) for number in range(rounds)]
    for writer, numbers in enumerate(won):
        for number in numbers:
            assert contents(tmp_path / number) == dict.fromkeys((NAME, f"{NAME}.asc"), str(writer).encode())


def test_many_who_overwrite_leave_one_file_with_its_own_signature(tmp_path: Path) -> None:
    def store(writer: int) -> None:
        sidecars = {".asc": b"%d" % writer} if writer % 2 else {}
        staged(tmp_path, b"%d" % writer).publish(NAME, overwrite=True, sidecars=sidecars)

    for _ in range(10):
        assert _race(8, store) == ["stored"] * 8
        found = contents(tmp_path)
        writer = found.pop(NAME)
        assert found == ({f"{NAME}.asc": writer} if int(writer) % 2 else {})


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_a_claim_that_another_program_keeps_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(name_lock, "CLAIM_SECONDS", 0.2)
    folders = Folders([tmp_path])
    (tmp_path / NAME).write_bytes(b"old")
    with claimed(tmp_path / NAME):
        (claim,) = tmp_path.glob(".upload-*.claim")
    failures: list[PypiServerError] = []

    def change(number: int) -> None:
        try:
            if number:
                folders.remove(0, NAME)
            else:
                staged = Staged(tmp_path, "", digests=("sha256",)).open()
                staged.write(b"new")
                staged.publish(NAME, overwrite=True, sidecars={})
        except PypiServerError as error:
            failures.append(error)

    with claim.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threads = [threading.Thread(target=change, args=(number,), daemon=True) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert [thread.is_alive() for thread in threads] == [False, False]
    assert [type(failure) for failure in failures] == [Unavailable, Unavailable]
    assert all("another program has held the claim" in str(failure) for failure in failures)
    assert (tmp_path / NAME).read_bytes() == b"old"
