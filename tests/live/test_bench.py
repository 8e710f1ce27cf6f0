"""The benchmark, run with little."""

from __future__ import annotations

import importlib
import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit import test_bench as unit

pytestmark = pytest.mark.live
bench = unit.bench


@pytest.mark.skipif(importlib.util.find_spec("granian") is None, reason="granian is not installed")
def test_the_log_that_is_measured_has_lines_of_those_requests_alone_that_ask_for_one(
    bench: Any, tmp_path: Path
) -> None:
    targets, processes = bench("targets"), bench("processes")
    folder = bench("corpus").make_corpus(tmp_path / "flat", 40)
    asked = (("/simple/", targets.LOGGED), ("/health", targets.UNLOGGED), ("/", {}), ("/packages/", targets.LOGGED))
    with targets.logged().start(targets.Corpus(folder, tmp_path, 40)) as server:
        for path, headers in asked:
            assert processes.request(server.port, path, headers=headers)[0] == 200
        end, lines = time.monotonic() + 15, []
        while len(lines) < 2 and time.monotonic() < end:
            time.sleep(0.02)
            lines = [line for line in (tmp_path / "access.log").read_text().splitlines() if '"GET /' in line]
    assert ["/simple/" in line for line in lines] == [True, False]
    assert '"GET /packages/" 200 ' in lines[1]
