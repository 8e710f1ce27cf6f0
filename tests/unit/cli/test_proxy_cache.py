"""``pypi-server proxy report``, ``prune`` and ``refresh``, on a cache that a server filled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_upstream import FakeUpstream, upstream

from ..commandline import Outcome, pypi_server
from ..waiting import eventually
from ..wsgi import Client

Run = Callable[..., Outcome]
SIZE = 100_000


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with upstream() as made:
        yield made


@pytest.fixture
def run(
    up: FakeUpstream,
    tmp_path: Path,
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setenv("PYPISERVER_FALLBACK_MODE", "cache")
    monkeypatch.setenv("PYPISERVER_CACHE_FOLDER", str(tmp_path / "cache"))
    monkeypatch.setenv("PYPISERVER_FALLBACK_URL", up.url)
    monkeypatch.setenv("PYPISERVER_ROOTS", str(root))
    return lambda *words: pypi_server(capsys, "proxy", *words)


def fetched(serve: Callable[..., Client], up: FakeUpstream, tmp_path: Path, *paths: str) -> None:
    client = serve(fallback_mode="cache", fallback_url=up.url, cache_folder=tmp_path / "cache")
    assert [client.get(path).status for path in paths] == [200] * len(paths)
    # A file is kept a moment after its client has it.
    names = {path.rpartition("/")[2] for path in paths}
    assert eventually(lambda: names <= {each.name for each in (tmp_path / "cache").rglob("*.whl")})
    client._application.close()  # type: ignore[attr-defined]


def report(run: Run) -> Any:
    outcome = run("report", "--json")
    assert outcome.status == 0
    return json.loads(outcome.out)


def test_without_a_cache_there_is_nothing_to_report(run: Run) -> None:
    assert run("report").status == 2


def test_a_report_has_sizes_and_what_an_index_no_longer_lists(
    serve: Callable[..., Client], run: Run, up: FakeUpstream, tmp_path: Path
) -> None:
    old, new = up.add_wheel("fern", "1.0", size=SIZE), up.add_wheel("fern", "2.0", size=SIZE)
    bad = up.add_wheel("moss", "1.0", size=SIZE)
    fetched(serve, up, tmp_path, old.path, new.path, bad.path)
    index = f"127-0-0-1-{up.port}"
    found = report(run)
    assert (found["files"], found["pages"], found["left"]) == (3, 2, [])
    assert found["indexes"] == {index: {"files": 3, "bytes": found["file_bytes"]}}
    assert "3 files" in run("report").out
    up.projects["fern"].files.remove(old)
    up.projects["moss"].status = "quarantined"
    up.modified = up.modified.replace(year=up.modified.year + 1)
    assert [run("refresh", name).status for name in ("Fern", "moss")] == [0, 0]
    left = [(each["file"], each["why"]) for each in report(run)["left"]]
    assert left == [(f"fern/{old.filename}", "gone"), (f"moss/{bad.filename}", "quarantined")]
    assert all(name in run("report").out for name in (old.filename, bad.filename))


def test_prune_deletes_what_was_not_used_for_longest(
    serve: Callable[..., Client], run: Run, up: FakeUpstream, tmp_path: Path
) -> None:
    files = [up.add_wheel("fern", version, size=SIZE) for version in ("1.0", "2.0", "3.0")]
    fetched(serve, up, tmp_path, *(each.path for each in files))
    before = report(run)
    pruned = json.loads(run("prune", "--to", str(before["file_bytes"] // 2), "--json").out)
    after = report(run)
    assert pruned["files"] == before["files"] - after["files"] > 0
    assert after["file_bytes"] <= before["file_bytes"] // 2
    assert run("prune").status == 0
    assert report(run)["files"] == after["files"]


def test_refresh_asks_now_and_only_for_what_may_be_asked_for(
    run: Run, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    up.add_wheel("fern", "1.0")
    monkeypatch.setenv("PYPISERVER_PRIVATE", "acme-*")
    assert json.loads(run("refresh", "fern", "--json").out)["versions"] == 1
    assert run("refresh", "acme-vault").status == 2
    assert run("refresh", "nothing").status == 2
    assert up.count("/simple/acme-vault/") == 0
    up.stop()
    monkeypatch.setenv("PYPISERVER_PRIVATE", "none-*")
    outcome = run("refresh", "fern", "--json")
    assert (outcome.status, json.loads(outcome.out)["detail"]) == (1, "upstream-unreachable")


@pytest.mark.parametrize("words", [["report", "x"], ["prune", "x"], ["refresh"], ["report", "--to", "1G"]])
def test_words_that_do_not_belong_are_refused(run: Run, words: list[str]) -> None:
    assert run(*words).status == 2
