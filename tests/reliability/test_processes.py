"""Several processes on one folder: one winner of each name, and everyone reads what was written (P9, P11, P39)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.figures import count, inject
from tests.hostile import OPEN, ask, eventually, listed, serving, sha256, upload, visible, wheel

ROUNDS = 50


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def urls_of(kind: str, stack: ExitStack, home: Path) -> list[str]:
    """The addresses under which one folder is served."""
    catalog = home / "catalog.sqlite"
    if kind == "gunicorn with four workers":
        live = stack.enter_context(serving(home, *OPEN, "--catalog", catalog, "--workers", "4", server="gunicorn"))
        return [live.url]
    if kind == "granian with two workers":
        return [stack.enter_context(serving(home, *OPEN, "--catalog", catalog, "--workers", "2")).url]
    count, shared = {"two servers": (2, True), "four servers": (4, True), "two servers, two catalogs": (2, False)}[kind]
    servers = ("granian", "waitress")
    return [
        stack.enter_context(
            serving(
                home, *OPEN, "--catalog", catalog if shared else home / f"{number}.sqlite", server=servers[number % 2]
            )
        ).url
        for number in range(count)
    ]


SHARED = ("two servers", "four servers", "granian with two workers", "gunicorn with four workers")


@pytest.mark.parametrize("kind", [*SHARED, "two servers, two catalogs"])
def test_of_many_writers_of_one_name_exactly_one_wins(kind: str, tmp_path: Path, stack: ExitStack) -> None:
    urls = urls_of(kind, stack, tmp_path)
    folder = tmp_path / "packages"
    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            rivals = [wheel("contested", f"{number}.0", filler=100 + rival) for rival in range(4)]
            replies = list(pool.map(upload, (urls * 4)[:4], *zip(*rivals, strict=True)))
            assert sorted(reply.status for reply in replies) == [200, 409, 409, 409], number
            count("races of four for one name")
            ((name, winner),) = [rivals[at] for at in range(4) if replies[at].status == 200]
            assert (folder / name).read_bytes() == winner
            if kind in SHARED:
                # Whoever answers next, it shows what was just acknowledged.
                for url in urls:
                    assert listed(url, "contested")[name] == sha256(winner)
    assert len(visible(folder)) == ROUNDS


@pytest.mark.parametrize("kind", SHARED)
def test_of_two_spellings_uploaded_together_one_is_stored(kind: str, tmp_path: Path, stack: ExitStack) -> None:
    urls = urls_of(kind, stack, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            rivals = [wheel(name, f"{number}.0") for name in ("a_b", "A_B", "a.b", "A.b")]
            replies = list(pool.map(upload, (urls * 4)[:4], *zip(*rivals, strict=True)))
            assert sorted(reply.status for reply in replies) == [200, 409, 409, 409], number
            count("races of four spellings of one file")
    assert len(visible(tmp_path / "packages")) == ROUNDS


@pytest.mark.parametrize("kind", SHARED)
def test_everyone_reads_what_was_just_written_and_removed(kind: str, tmp_path: Path, stack: ExitStack) -> None:
    urls = urls_of(kind, stack, tmp_path)
    for number in range(15):
        name, data = wheel("seen", f"{number}.0")
        assert upload(urls[number % len(urls)], name, data).status == 200
        for url in urls * 2:
            assert listed(url, "seen").get(name) == sha256(data)
            assert ask(url, f"/packages/{name}").body == data
        if number % 3 == 2:
            body = f":action=remove_pkg&name=seen&version={number}.0".encode()
            kind_ = "application/x-www-form-urlencoded"
            assert ask(urls[-1], "/", method="POST", body=body, Content_Type=kind_).status == 200
            for url in urls * 2:
                assert name not in listed(url, "seen")
                assert ask(url, f"/packages/{name}").status == 404


def test_with_a_catalog_of_its_own_each_sees_the_other_soon(tmp_path: Path, stack: ExitStack) -> None:
    first, second = urls_of("two servers, two catalogs", stack, tmp_path)
    name, data = wheel("seen")
    assert upload(first, name, data).status == 200
    eventually(lambda: listed(second, "seen") == {name: sha256(data)})


def test_another_process_continues_scanning_when_the_one_that_did_is_killed(tmp_path: Path, stack: ExitStack) -> None:
    catalog = tmp_path / "catalog.sqlite"
    lives = [stack.enter_context(serving(tmp_path, *OPEN, "--catalog", catalog, server="waitress")) for _ in range(2)]
    lives[0].process.kill()
    inject("kill -9 of the process that scans")
    name, data = wheel("late")
    (tmp_path / "packages" / name).write_bytes(data)
    eventually(lambda: listed(lives[1].url, "late") == {name: sha256(data)}, seconds=30)
