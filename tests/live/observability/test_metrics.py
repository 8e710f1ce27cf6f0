"""Metrics of servers with several workers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.test_live_log import WITH_WORKERS, ask, wait_until
from tests.live.test_servers import OPEN, serving
from tests.live_server import DIRECT
from tests.unit.observability import test_metrics as unit
from tests.unit.observability.test_metrics import Values, parsed

pytestmark = pytest.mark.live
one_process = unit.one_process


def scraped(url: str) -> Values:
    with DIRECT.open(f"{url}/metrics", timeout=20) as answer:
        return parsed(answer.read().decode())


def count(url: str) -> float:
    return scraped(url).get(("requests_total", "GET", "/simple/", "200"), 0.0)


@pytest.mark.parametrize("server", WITH_WORKERS)
def test_four_workers_are_added_up_whichever_is_asked(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--server", server, "--workers", "4", "--metrics", "--log-stream", "none", *OPEN) as live:
        asked = 0

        def several_have_answered() -> bool:
            """Each of them makes the page once; one that is quick may take a whole round."""
            nonlocal asked
            with ThreadPoolExecutor(8) as pool:
                asked += len(list(pool.map(lambda _: ask(live, "/simple/"), range(60))))
            # A worker tells a moment after it has answered.
            wait_until(lambda: count(live.url) == asked)
            return scraped(live.url)["page_cache_requests_total", "miss"] > 1

        wait_until(several_have_answered)
        assert {count(live.url) for _ in range(20)} == {float(asked)}
        found = scraped(live.url)
        assert (found["files",], found["page_cache_requests_total", "miss"] > 1) == (0.0, True)
        assert 0 <= found["scan_age_seconds",] < 60


@pytest.mark.parametrize("server", ["granian", "waitress"])
def test_they_can_have_an_address_of_their_own(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--server", server, "--metrics-address", "127.0.0.1:0", *OPEN) as live:
        found = re.search(r"metrics: +(http://[\d.:]+)/metrics\n", live.output)
        assert found
        ask(live, "/simple/")
        wait_until(lambda: count(found[1]) == 1)
        with DIRECT.open(live.url + "/health") as answer:
            assert answer.status == 200
        assert scraped(found[1])["projects",] == 0.0
