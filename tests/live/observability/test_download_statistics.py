"""Statistics of several workers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pypiserver.observability.download_statistics import Downloads
from tests.live.test_live_log import ask, wait_until
from tests.live.test_servers import OPEN, serving
from tests.unit.observability import test_download_statistics as unit
from tests.unit.observability.test_download_statistics import WHEEL, WHEEL_BYTES

pytestmark = pytest.mark.live
file = unit.file


@pytest.mark.parametrize("server", ["granian", "waitress"])
def test_downloads_of_all_workers_are_counted_when_the_server_ends(server: str, tmp_path: Path, file: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / WHEEL).write_bytes(WHEEL_BYTES)
    flags = ("--server", server, "--workers", "4" if server == "granian" else "1", "--stats", file)
    with serving(tmp_path, *flags, *OPEN) as live:
        for _ in range(40):
            ask(live, f"/packages/{WHEEL}")
        assert live.stop() == 0
    wait_until(lambda: Downloads(file).counts("foo-bar").total == 40)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT DISTINCT client FROM downloads").fetchall() == [("other",)]
    connection.close()
