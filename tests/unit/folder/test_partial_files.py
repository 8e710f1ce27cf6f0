"""Files that may still be growing, and those that vanished: what is remembered of them, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.backend.stored_file import StoredFile
from pypiserver.distributions.filename import parse_filename
from pypiserver.folder.partial_files import FORGET_SECONDS, MANY, Missing, PartialFileTracker
from pypiserver.folder.storage import Folders

from .scanned_folders import NOW


class Counting(float):
    """A number that counts how often something is compared with it."""

    times = 0

    def __gt__(self, other: float) -> bool:
        Counting.times += 1
        return super().__gt__(other)


def test_many_files_that_are_copied_at_once_are_looked_through_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing, dist, count = (
        PartialFileTracker(Folders([tmp_path]), lambda: NOW),
        parse_filename("foo-1.0.tar.gz"),
        5 * MANY,
    )
    monkeypatch.setattr(growing, "_is_whole", lambda entry, dist: False)
    monkeypatch.setattr("pypiserver.folder.partial_files.FORGET_SECONDS", Counting(FORGET_SECONDS))
    for number in range(count):
        entry = StoredFile(0, f"{number}/foo-1.0.tar.gz", 1, int(NOW * 1e9), number)
        assert growing.has(entry, dist, None)
    assert 0 < Counting.times < 3 * count


def test_what_no_one_comes_back_to_is_not_remembered_without_end() -> None:
    now = 0.0
    missing = Missing(lambda: now)
    for number in range(3000):
        mark = missing.note((0, str(number)))
        assert not missing.is_gone((0, str(number)), mark)
        now += 1.0
    assert len(missing._since) <= FORGET_SECONDS + 1
    # One that vanishes for the second time counts again.
    assert not missing.is_gone((0, "2999"), missing.note((0, "2999")))
    assert not missing.is_gone((0, "2998"), 1)
