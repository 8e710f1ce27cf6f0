"""Metrics of other indexes: what was fetched from them, what was given from the cache, and how large that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypiserver.observability import metrics
from tests.fake_upstream import FakeFile, FakeUpstream, upstream
from tests.hostile import eventually

from ..wsgi import Client
from .test_metrics import Values, parsed

Serve = Callable[..., Client]
INDEX = "127-0-0-1"


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(metrics.FOLDER, raising=False)


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with upstream() as made:
        yield made


@pytest.fixture
def client(serve: Serve, up: FakeUpstream, tmp_path: Path) -> Client:
    cache = {"fallback_mode": "cache", "fallback_url": up.url, "cache_folder": tmp_path / "cache"}
    return serve(metrics=True, stall_timeout=5, **cache)


def values(client: Client) -> Values:
    found = parsed(client.get("/metrics").text)
    counts = {key: value for key, value in found.items() if not key[0].endswith("created")}
    # Without the port, which is another one in each test.
    return {
        (name, *(INDEX if INDEX in label else label for label in labels)): value
        for (name, *labels), value in counts.items()
        if name.startswith("proxy_")
    }


def test_fetches_are_counted_by_result_and_bytes(client: Client, up: FakeUpstream) -> None:
    file = up.add_wheel("raven", "1.0", size=100_000)
    assert client.get(file.path).body == file.data
    assert client.get("/simple/crow/").status == 404
    up.spoil("*/finch/*", status=500)
    assert client.get("/simple/finch/").status == 503
    up.spoil("*/moss/*", status=403)
    assert client.get("/simple/moss/").status == 503
    found = values(client)
    assert found[("proxy_fetches_total", INDEX, "ok")] == 2
    assert found[("proxy_fetches_total", INDEX, "missing")] == 1
    assert found[("proxy_fetches_total", INDEX, "failed")] == 1
    assert found[("proxy_fetches_total", INDEX, "refused")] == 1
    assert len(file.data) < found[("proxy_fetched_bytes_total", INDEX)] < len(file.data) + 10_000


def is_given(client: Client, file: FakeFile) -> bool:
    """Whether the client has the whole file: an answer may be a failure, or end early."""
    try:
        answer = client.get(file.path)
    except Exception as error:  # noqa: BLE001 - what a server does with it is not the matter here
        assert "ended early" in str(error)
        return False
    return answer.status == 200 and answer.body == file.data


def test_what_cannot_be_used_is_counted(client: Client, up: FakeUpstream) -> None:
    wrong, cut = up.add_wheel("raven", "1.0"), up.add_wheel("crow", "1.0", size=200_000)
    wrong.claimed = "0" * 64
    assert client.get(wrong.path).status == 502
    up.spoil(cut.path, cut_after=100_000)
    client.get(f"{cut.path}.metadata")
    assert not is_given(client, cut)
    eventually(lambda: values(client).get(("proxy_wrong_files_total", INDEX)) == 1)
    assert values(client)[("proxy_fetches_total", INDEX, "unusable")] == 1
    up.stop()
    assert client.get("/simple/finch/").status == 503
    assert values(client)[("proxy_fetches_total", INDEX, "failed")] == 1


def test_what_is_given_from_the_cache_is_counted(client: Client, up: FakeUpstream) -> None:
    file = up.add_wheel("raven", "1.0", size=50_000)
    tries = 0

    def given() -> tuple[float, float]:
        """Bytes that were fetched for clients, and bytes of the cache."""
        nonlocal tries
        tries += 1
        assert client.get(file.path).body == file.data
        found = values(client)
        fetched, hit = (found.get(("proxy_response_bytes_total", INDEX, result), 0) for result in ("fetched", "hit"))
        assert fetched + hit == tries * len(file.data)
        return fetched, hit

    # It is kept a moment after the first client has it.
    eventually(lambda: given()[1] >= len(file.data))
    assert given()[0] >= len(file.data)


def test_the_cache_is_as_large_as_what_is_in_it(client: Client, up: FakeUpstream, tmp_path: Path) -> None:
    file = up.add_wheel("raven", "1.0", size=50_000)
    assert client.get(file.path).body == file.data
    eventually(lambda: any((tmp_path / "cache").rglob(file.filename)))
    assert len(file.data) < values(client)[("proxy_cache_bytes",)] < len(file.data) + 10_000


def test_without_a_cache_nothing_says_how_large_it_is(serve: Serve, up: FakeUpstream, tmp_path: Path) -> None:
    client = serve(
        metrics=True, fallback_mode="proxy", fallback_url=up.url, cache_folder=tmp_path / "cache", stall_timeout=5
    )
    client.get("/simple/raven/")
    assert ("proxy_cache_bytes",) not in values(client)
    assert values(serve(metrics=True)) == {}
