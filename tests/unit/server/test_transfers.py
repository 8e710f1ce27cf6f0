"""What a server that is told to end waits for is counted in every process, and forgotten with a process that died."""

from __future__ import annotations

import gc
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from pypiserver.server.transfers import MOST_PROCESSES, Transfers, UnderWay
from pypiserver.web.http.file_body import FileSection

FORM = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "multipart/form-data; boundary=x"}
GET = {"REQUEST_METHOD": "GET"}


def ask(transfers: Transfers, environ: dict[str, Any], give: Callable[[], Iterable[bytes]]) -> Iterable[bytes]:
    return transfers.counted(lambda _, __: give())(environ, lambda *_: None)


@pytest.mark.parametrize(
    ("under_way", "said"),
    [
        (UnderWay(), ""),
        (UnderWay(1, 0), "1 upload"),
        (UnderWay(2, 1), "2 uploads and 1 download"),
        (UnderWay(0, 3), "3 downloads"),
    ],
)
def test_what_is_under_way_in_words(under_way: UnderWay, said: str) -> None:
    assert str(under_way) == said


def test_an_upload_counts_until_it_is_answered_or_fails() -> None:
    transfers, seen = Transfers(), []

    def give() -> list[bytes]:
        seen.append(transfers.count())
        raise ValueError

    with pytest.raises(ValueError):
        ask(transfers, FORM, give)
    assert (seen, transfers.count()) == ([UnderWay(1, 0)], UnderWay())


def test_a_download_counts_until_it_is_closed_and_keeps_its_type() -> None:
    transfers = Transfers()
    file = io.BytesIO(b"content")
    body = FileSection(file, 0, 7)
    assert ask(transfers, GET, lambda: body) is body
    assert transfers.count() == UnderWay(0, 1)
    body.close()
    body.close()
    assert (transfers.count(), file.closed) == (UnderWay(), True)


def test_a_download_that_nobody_closes_counts_no_more_once_it_is_forgotten() -> None:
    transfers = Transfers()
    ask(transfers, GET, lambda: FileSection(io.BytesIO(b"content"), 0, 7))
    gc.collect()
    assert transfers.count() == UnderWay()


@pytest.mark.parametrize("environ", [GET, {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "text/xml"}])
def test_a_page_does_not_count(environ: dict[str, Any]) -> None:
    transfers = Transfers()
    ask(transfers, environ, lambda: [b"page"])
    assert not any(transfers._table)


def test_a_body_that_cannot_be_followed_is_left_alone() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"block"

    transfers, body = Transfers(), blocks()
    assert ask(transfers, GET, lambda: body) is body
    assert transfers.count() == UnderWay()


def test_more_processes_than_places_serve_uncounted() -> None:
    transfers = Transfers()
    for at in range(0, len(transfers._table), 3):
        transfers._table[at] = os.getppid()
    with transfers.upload():
        assert transfers.count() == UnderWay()
    assert len(transfers._table) == 3 * MOST_PROCESSES
