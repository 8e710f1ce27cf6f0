"""Filters of names: what they admit in Python and in SQL, and which of them are the same class."""

from __future__ import annotations

import itertools
import random
import sqlite3

import pytest
from packaging.utils import NormalizedName

from pypiserver.access.patterns import Patterns
from pypiserver.catalog import name_filter
from pypiserver.catalog.admitted_names import admitted
from pypiserver.catalog.name_filter import EVERYTHING, NOTHING, NameFilter

NAMES = sorted(
    {
        NormalizedName("-".join(parts))
        for count in (1, 2, 3)
        for parts in itertools.product(("acme", "acm", "secret", "sdk", "a", "x9", "0"), repeat=count)
    }
)


def admitted_by_sql(names: NameFilter) -> list[str]:
    looked_up, scanned = (_selected(names.sql("name", is_scanned=is_scanned)) for is_scanned in (False, True))
    assert looked_up == scanned
    return looked_up


def _selected(where: str) -> list[str]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE project (name TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO project VALUES (?)", ((name,) for name in NAMES))
        return [name for (name,) in connection.execute(f"SELECT name FROM project WHERE {where} ORDER BY name")]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("lines", "admitted", "hidden"),
    [
        ([], [], ["acme", "a"]),
        ([(("*",), ())], ["acme", "secret-sdk"], []),
        ([(("acme-sdk", "acme-sdk-*"), ())], ["acme-sdk", "acme-sdk-x9"], ["acme", "acme-secret", "acme-sd"]),
        ([(("*",), ("secret-*", "*-secret"))], ["acme", "secret"], ["secret-sdk", "acme-secret"]),
        ([(("*",), ("acme-*",)), (("acme-sdk",), ())], ["acme-sdk", "secret"], ["acme-secret"]),
        ([(("acm?",), ())], ["acme"], ["acm", "acme-sdk"]),
        ([(("a*-secret",), ())], ["a-secret", "acme-sdk-secret"], ["secret", "x9-secret", "a-secret-a"]),
        ([(("??",), ())], ["x9"], ["a", "acm"]),
        ([(("-*", "*-"), ())], [], ["acme"]),
    ],
)
def test_a_filter_admits_what_one_of_its_lines_admits(
    lines: list[tuple[tuple[str, ...], tuple[str, ...]]], admitted: list[str], hidden: list[str]
) -> None:
    names = NameFilter.of(Patterns(*line) for line in lines)
    assert [name for name in admitted + hidden if names.admits(NormalizedName(name))] == admitted
    assert admitted_by_sql(names) == [name for name in NAMES if names.admits(NormalizedName(name))]


@pytest.mark.parametrize("few", [1, 8])
def test_python_and_sql_agree_about_any_patterns(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_filter, "FEW", few)
    chance = random.Random(19)
    for _ in range(150):
        texts = [
            "".join(chance.choice(("*", "?", "a", "-", "acme", "secret", "x9", "-sdk")) for _ in range(4))
            for _ in range(6)
        ]
        lines = [Patterns(tuple(texts[:2]), tuple(texts[2:3])), Patterns(tuple(texts[3:5]), tuple(texts[5:]))]
        names = NameFilter.of(lines)
        wanted = [name for name in NAMES if names.admits(NormalizedName(name))]
        assert admitted_by_sql(names) == sorted(admitted(names, sorted(NAMES))) == wanted, texts


def test_equal_lines_are_one_class_whatever_their_order() -> None:
    one = NameFilter.of([Patterns(("a-*", "b"), ("a-x",)), Patterns(("c", "a-*"))])
    other = NameFilter.of([Patterns(("a-*",)), Patterns(("c",)), Patterns(("b", "a-*", "b"), ("a-x",))])
    assert (one, one.key) == (other, other.key)
    assert len({one.key, NameFilter.of([Patterns(("a-*",))]).key, NOTHING.key, EVERYTHING.key}) == 4


@pytest.mark.parametrize("patterns", [("*",), ("a", "**"), ("*", "b-*")])
def test_a_line_of_everything_is_the_class_without_a_key(patterns: tuple[str, ...]) -> None:
    names = NameFilter.of([Patterns(("x",), ("y",)), Patterns(patterns)])
    assert names is EVERYTHING
    assert (names.key, names.is_all(), names.sql("name")) == ("", True, "1 = 1")


@pytest.mark.parametrize("pattern", ["", "A", "a_b", "a%", "a'b", "a.b", "ä", "a b", "a:b", "a\n"])
def test_a_pattern_of_other_characters_is_refused(pattern: str) -> None:
    for line in (Patterns((pattern,)), Patterns(("a",), (pattern,))):
        with pytest.raises(ValueError, match="pattern"):
            NameFilter.of([line])


def test_joined_filters_admit_what_both_admit() -> None:
    one = NameFilter.of([Patterns(("acme-*",), ("acme-secret",)), Patterns(("sdk-*",))])
    other = NameFilter.of([Patterns(("*-a", "*-secret"))])
    names = one.within(other)
    assert admitted_by_sql(names) == [name for name in NAMES if one.admits(name) and other.admits(name)]
    assert admitted(names, sorted(NAMES)) == set(admitted_by_sql(names))
    assert [name for name in NAMES if names.admits(name)] == admitted_by_sql(names) != []
    assert names == other.within(one)
    assert len({names.key, one.key, other.key}) == 3
    assert (one.within(EVERYTHING), EVERYTHING.within(one), one.within(one)) == (one, one, one)
    assert admitted_by_sql(one.within(NOTHING)) == []


def test_ten_thousand_patterns_are_one_condition() -> None:
    texts = tuple(f"p{number}-{end}" for number in range(5000) for end in ("*", "x*y", "name"))
    names = NameFilter.of([Patterns((*texts, "acme*"), ("acme-secret",))])
    assert admitted_by_sql(names) == [name for name in NAMES if name.startswith("acme") and name != "acme-secret"]


def test_a_condition_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many patterns that takes long, and every search asks for it."""
    written: list[str] = []
    real = name_filter._any_of
    names = NameFilter.of([Patterns(("acme-*",), ("acme-secret",))])
    monkeypatch.setattr(
        name_filter, "_any_of", lambda column, *some, **more: written.append(column) or real(column, *some, **more)
    )
    assert [names.sql(column) for column in ("name", "l.project", "name")].count(names.sql("name")) == 2
    assert names.sql("l.project") == names.sql("name").replace("name", "l.project")
    assert len(written) == 1
