"""What log and metrics say of requests for what other indexes have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_upstream import upstream

from ...folder.test_indexer import eventually
from ...wsgi import Client

Serve = Callable[..., Client]


def counts(client: Client) -> dict[tuple[str, str], float]:
    text = client._application.exposition().decode()  # type: ignore[attr-defined]
    found = re.findall(r'proxy_requests_total\{index="(.*?)",result="(.*?)"\} (\S+)', text)
    return {(index, result): float(count) for index, result, count in found}


def test_requests_are_counted_by_index_and_result(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    denied = tmp_path / "denied"
    denied.write_text("bad\n")
    with upstream() as up:
        file, other, bad = up.add_wheel("fern", "1.0"), up.add_wheel("fern", "2.0"), up.add_wheel("bad", "1.0")
        table = [{"name": "near", "url": up.url}]
        settings = {"fallback_mode": "cache", "upstream": table, "cache_folder": tmp_path / "cache", "metrics": True}
        client = serve(**settings, fallback_url=up.url, deny_projects=denied, log_stream="none")
        for path, status in (
            ("/simple/fern/", 200), ("/simple/fern/", 200), (file.path, 200), (file.path, 200), (bad.path, 403),
            (f"{file.path}.metadata", 200), ("/simple/nothing/", 404), ("/packages/nothing-1.0.zip", 404),
        ):  # fmt: skip
            assert client.get(path).status == status, path
            if path == file.path:
                # It gets its name a moment after its first reader has it.
                eventually(lambda: any((tmp_path / "cache").rglob(file.filename)))
        up.stop()
        assert client.get("/simple/moss/").status == 503
        assert client.get(other.path).status in (502, 503)
        assert counts(client) == {
            ("near", "hit"): 3.0,
            ("near", "fetched"): 2.0,
            ("any", "withheld"): 1.0,
            ("any", "unavailable"): 2.0,
        }
