"""No other index hears of a name that is ours, denied or hidden: 100,000 requests, counted at the index."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import asked_names
from tests import rights_oracle as oracle
from tests.asked_names import PUBLIC, SILENT, asking, basic
from tests.fake_upstream import upstream
from tests.figures import count as counted
from tests.hostile import SERVERS, serving
from tests.unit.web.test_asked_names import ODD_METHODS

ENOUGH = 100_000
# Every n-th request is sent to a real server.
EVERY = 29


@ODD_METHODS
def test_all_requests_inside_of_a_process(tmp_path: Path) -> None:
    with asking(tmp_path) as server:
        users = [{}, {"HTTP_AUTHORIZATION": basic("mia")}, {"HTTP_AUTHORIZATION": "Basic ???"}]
        turn = 0
        while server.count < ENOUGH:
            server.client._headers = users[turn % len(users)]
            for name in SILENT:
                server.send(name)
            turn += 1
        counted("requests for names that no other index may hear of", server.count)
        assert [server.heard(name) for name in SILENT] == [[]] * len(SILENT)
        server.client._headers = {}
        server.send(PUBLIC, every=97)
        assert server.heard(PUBLIC)


@pytest.mark.parametrize("kind", SERVERS)
def test_requests_to_a_real_server(kind: str, tmp_path: Path) -> None:
    with upstream() as up:
        asked_names.fill(up)
        options = asked_names.settle(tmp_path)
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        with serving(
            tmp_path, "--fallback-mode", "cache", "--fallback-url", up.url, *flags, "-P", ".", server=kind
        ) as live:
            count = 0
            for number, (ask, spelling, path, headers, method) in enumerate(oracle.addresses()):
                if number % EVERY or "{" not in ask.path:
                    continue
                for name in SILENT:
                    target, body, more = oracle.request(ask, name, oracle.SPELLINGS[spelling])
                    connection = http.client.HTTPConnection(urlsplit(live.url).netloc, timeout=60)
                    connection.request(
                        method,
                        oracle.PATHS[path](target),
                        body=body or None,
                        headers={"Connection": "close", **more, **oracle.HEADERS[headers]},
                    )
                    connection.getresponse().read()
                    connection.close()
                    count += 1
            assert count > 500
            assert [asked_names.heard(up, name) for name in SILENT] == [[]] * len(SILENT)
