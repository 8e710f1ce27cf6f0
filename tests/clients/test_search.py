"""`pip search`, which three generations of pip still bring: names and summaries, at every address they ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.harness import GetClient, Serve
from tests.clients.samples import fill

PIPS = ["pip", "pip20", "pip9"]


@pytest.mark.parametrize("name", PIPS)
@pytest.mark.parametrize("path", ["", "/", "/pypi", "/RPC2"], ids=["origin", "slash", "pypi", "RPC2"])
def test_search_shows_name_version_and_summary(
    path: str, name: str, client: GetClient, serve: Serve, packages: Path
) -> None:
    fill(packages)
    server = serve()
    found = client(name).pip("search", "--index", server.url + path, "demo").stdout
    # 9.0 is for a Python no one has, but it is the newest release all the same.
    assert [" ".join(line.split()) for line in found.splitlines() if line.startswith("demo")] == [
        "demo (9.0) - shows what nobody can run",
        "demo-helper (1.5) - helps more",
    ]


@pytest.mark.parametrize("name", PIPS)
def test_search_looks_into_summaries(name: str, client: GetClient, serve: Serve, packages: Path) -> None:
    fill(packages)
    server = serve()
    found = client(name).pip("search", "--index", server.url, "nobody").stdout
    assert [line.split()[0] for line in found.splitlines() if line.startswith("demo")] == ["demo"]


@pytest.mark.parametrize("name", PIPS)
def test_search_without_result_ends_with_23(name: str, client: GetClient, serve: Serve, packages: Path) -> None:
    fill(packages)
    server = serve()
    client(name).pip("search", "--index", server.url, "nothing-like-it", status=23)
