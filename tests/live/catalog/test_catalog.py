"""One catalog that many threads make at the same time."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from pypiserver.catalog import (
    Catalog,
)
from tests.unit.catalog import test_catalog as unit

pytestmark = pytest.mark.live
catalog = unit.catalog


def test_many_may_make_a_catalog_at_the_same_time(tmp_path: Path) -> None:
    failures: list[sqlite3.Error] = []
    for number in range(20):
        path = tmp_path / f"{number}.sqlite"
        begin = threading.Barrier(6)

        def count(path: Path = path, begin: threading.Barrier = begin) -> None:
            catalog = Catalog(path, "roots")
            begin.wait()
            try:
                catalog.counts()
            except sqlite3.Error as error:
                failures.append(error)

        threads = [threading.Thread(target=count) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
