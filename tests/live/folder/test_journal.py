"""A journal that loses events."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.folder.journal import Journal, LostError
from tests.unit.folder import test_journal as unit
from tests.unit.folder.test_journal import Put

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")]
begun = unit.begun
known = unit.known


def test_events_that_are_lost_are_no_silence(begun: Callable[..., Journal], root: Path, put: Put) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 20_000:
        pytest.skip("it would take too many")
    names = begun()
    places = [put("a", b"x"), root / "b"]
    for number in range(most + 1):
        places[number % 2].rename(places[1 - number % 2])
    with pytest.raises(LostError):
        names.read()
