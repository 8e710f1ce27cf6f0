"""The lists of names of other indexes: what may be asked of them."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pypiserver import supervisor
from pypiserver.distributions.filename import normalize
from pypiserver.errors import NotFound, Unavailable
from pypiserver.proxy.known_names import KnownNames
from pypiserver.upstream.errors import Unreachable
from pypiserver.upstream.values import Upstream

from .indexes import START, Answer, Index, World

UP = Upstream("up", "https://up.example/simple/")
DAY = 86_400
JSON = "application/vnd.pypi.simple.v1+json"


class Pieces(Answer):
    """A response in pieces."""

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        size = 1000
        for start in range(0, len(self.body), size):
            yield self.body[start : start + size]


@dataclass
class Lists:
    """An index that has a list."""

    body: bytes = b""
    content_type: str = JSON
    etag: str = '"1"'
    status: int = 200
    asked: int = 0
    conditional: int = 0
    is_down: bool = False
    validators: list[Mapping[str, str]] = field(default_factory=list)

    def has(self, *names: str) -> None:
        self.body = json.dumps(
            {"meta": {"api-version": "1.4"}, "projects": [{"name": each} for each in names]}
        ).encode()
        self.etag = f'"{hash(names)}"'

    @contextmanager
    def get(self, upstream: Upstream, url: str, *, headers: Mapping[str, str], read_seconds: float) -> Iterator[Pieces]:
        assert url == UP.url
        self.asked += 1
        if self.is_down:
            raise Unreachable("no")
        if headers.get("If-None-Match") == self.etag:
            self.conditional += 1
            yield Pieces(304, {}, url)
        else:
            yield Pieces(self.status, {"Content-Type": self.content_type, "ETag": self.etag}, url, self.body)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread would do is done when it would begin."""

    def once(name: str, work: Callable[[], object]) -> bool:
        work()
        return True

    monkeypatch.setattr(supervisor, "once", once)


class Days:
    """The time of day, which files get too."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def names(tmp_path: Path, lists: Lists, days: Days) -> KnownNames:
    return KnownNames(UP, lists, tmp_path, now=days)


def renewed(tmp_path: Path, days: Days) -> None:
    """The list was confirmed now."""
    os.utime(tmp_path / "up.names", (days.now, days.now))


def test_names_that_are_listed_are_known_in_any_order_and_spelling(tmp_path: Path) -> None:
    lists, days = Lists(), Days()
    lists.has("zebra", "Raven_Tools", "a", "raven", "raven2", "rav")
    known = names(tmp_path, lists, days)
    with pytest.raises(Unavailable):
        known.has(normalize("nothing"))
    renewed(tmp_path, days)
    listed = {name for name in ("zebra", "raven-tools", "a", "raven", "raven2", "rav") if known.has(normalize(name))}
    assert listed == {"zebra", "raven-tools", "a", "raven", "raven2", "rav"}
    assert not any(known.has(normalize(name)) for name in ("rave", "ravenx", "0", "zz", "raven-tool", "b"))
    assert lists.asked == 1


def test_any_list_has_its_own_names_and_no_others(tmp_path: Path) -> None:
    dice = random.Random(7)
    every = [f"{dice.choice('abz')}{dice.randrange(3000)}" for _ in range(4000)]
    lists, days = Lists(), Days()
    lists.has(*every)
    known = names(tmp_path, lists, days)
    with pytest.raises(Unavailable):
        known.has(normalize("x"))
    renewed(tmp_path, days)
    listed = set(every)
    for number in range(0, 3000, 3):
        for letter in "abz":
            name = f"{letter}{number}"
            assert known.has(normalize(name)) is (name in listed)


def test_a_list_is_renewed_once_a_day_by_its_validator(tmp_path: Path) -> None:
    lists, days = Lists(), Days()
    lists.has("raven")
    known = names(tmp_path, lists, days)
    with pytest.raises(Unavailable):
        known.has(normalize("raven"))
    renewed(tmp_path, days)
    assert known.has(normalize("raven"))
    days.now += DAY + 1
    assert known.has(normalize("raven"))
    assert (lists.asked, lists.conditional) == (2, 1)
    renewed(tmp_path, days)
    lists.has("raven", "crow")
    days.now += DAY + 1
    assert not known.has(normalize("crow"))
    renewed(tmp_path, days)
    assert known.has(normalize("crow"))


def test_a_list_that_cannot_be_renewed_counts_for_one_more_day(tmp_path: Path) -> None:
    lists, days = Lists(), Days()
    lists.has("raven")
    known = names(tmp_path, lists, days)
    with pytest.raises(Unavailable):
        known.has(normalize("raven"))
    renewed(tmp_path, days)
    lists.is_down = True
    days.now += 2 * DAY - 10
    assert known.has(normalize("raven"))
    assert not known.has(normalize("crow"))
    days.now += 20
    assert known.has(normalize("raven"))
    with pytest.raises(Unavailable):
        known.has(normalize("crow"))
    # It is asked for once a minute at most.
    asked = lists.asked
    for _ in range(10):
        days.now += 10
        with pytest.raises(Unavailable):
            known.has(normalize("crow"))
    assert lists.asked - asked <= 2


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{}", JSON),
        (b'{"projects": []}', JSON),
        (b'{"projects": [{"name": "raven"}, {"na', JSON),
        (b'{"projects": [{"name": "raven"}', JSON),
        (b'{"projects": ' + b"[" * 5000, JSON),
        (b"<html></html>", "text/html"),
        (b"nonsense", "text/plain"),
    ],
)
def test_a_list_that_is_cut_or_empty_replaces_nothing(tmp_path: Path, body: bytes, content_type: str) -> None:
    lists, days = Lists(), Days()
    lists.has("raven", "crow")
    known = names(tmp_path, lists, days)
    with pytest.raises(Unavailable):
        known.has(normalize("raven"))
    renewed(tmp_path, days)
    lists.body, lists.content_type, lists.etag = body, content_type, '"other"'
    days.now += DAY + 1
    for _ in range(2):
        assert known.has(normalize("crow"))
    assert [path.name for path in tmp_path.iterdir()] == ["up.names"]


def test_a_list_in_html_is_understood(tmp_path: Path) -> None:
    lists, days = Lists(content_type="text/html; charset=utf-8"), Days()
    lists.body = (
        b"<html><body><a href='/simple/raven/'>Raven</a> <a href=\"crow%2Dtools/\">x</a><a>no</a></body></html>"
    )
    known = names(tmp_path, lists, days)
    with pytest.raises(Unavailable):
        known.has(normalize("raven"))
    renewed(tmp_path, days)
    assert known.has(normalize("raven"))
    assert known.has(normalize("crow-tools"))
    assert not known.has(normalize("no"))


def test_memory_does_not_grow_with_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.proxy.known_names.BATCH", 200)
    monkeypatch.setattr("pypiserver.proxy.name_lists.PIECE_BYTES", 1000)
    peaks = []
    for count in (2000, 2000, 6000):
        lists, days = Lists(), Days()
        lists.has(*(f"project-{number}" for number in range(count)))
        known = names(tmp_path / str(len(peaks)), lists, days)
        tracemalloc.start()
        try:
            with pytest.raises(Unavailable):
                known.has(normalize("x"))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    # The first pays for what is imported; each batch is an open file with a buffer.
    assert peaks[2] - peaks[1] < 150_000, "4,000 names in memory take 500,000 bytes"


@pytest.mark.parametrize("piece_bytes", [500, 1 << 16])
@pytest.mark.parametrize(
    ("content_type", "begin"),
    [
        *(("text/html", begin) for begin in ("<!--", "<a href='", "<a ", "<", "<!", "<?", "<![CDATA[", "</a ")),
        ("text/html", "<script>"),
        *((JSON, begin) for begin in ("", '{"x": "', '{"projects": ["', '{"projects": [{"name": "')),
    ],
)
def test_what_does_not_end_is_given_up_soon(
    content_type: str, begin: str, piece_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To search all of it again for each piece would take hours for a list of the greatest size."""
    taken = 0

    def chunks(self: Answer, decode: bool = True) -> Iterator[bytes]:
        nonlocal taken
        yield begin.encode()
        for _ in range(200_000_000 // piece_bytes):
            taken += piece_bytes
            yield b"a" * piece_bytes

    monkeypatch.setattr(Pieces, "chunks", chunks)
    known = names(tmp_path, Lists(content_type=content_type), Days())
    with pytest.raises(Unavailable):
        known.has(normalize("raven"))
    assert taken < 2 << 20
    assert not list(tmp_path.iterdir())


def test_an_index_is_never_asked_for_a_name_that_it_does_not_list(tmp_path: Path) -> None:
    lists, index = Lists(), Index(projects={"raven": ["raven-1.0.tar.gz"], "secret": ["secret-1.0.tar.gz"]})
    here = World((index,), names={})
    known: Any = KnownNames(UP, lists, tmp_path, now=here.clock.now)
    here.names["up"] = known
    lists.is_down = True
    pages = here.pages()
    # Without a list, no name is asked for, and none is unknown.
    for name in ("raven", "secret"):
        with pytest.raises(Unavailable):
            pages.get(normalize(name))
    assert index.asked == []
    lists.is_down = False
    lists.has("raven")
    here.clock.pass_by(61)
    with pytest.raises(Unavailable):
        pages.get(normalize("raven"))
    os.utime(tmp_path / "up.names", (here.clock.now(), here.clock.now()))
    assert pages.get(normalize("raven")).kept.page.files
    with pytest.raises(NotFound):
        pages.get(normalize("secret"))
    assert index.asked == ["raven"]
    # A project that leaves the list is asked for as long as its page is kept: only its index can say that it is gone.
    lists.has("other")
    here.clock.pass_by(DAY + 1)
    assert pages.get(normalize("raven")).kept.page.files
