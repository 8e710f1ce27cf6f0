"""Patterns of projects: what they cover, what is refused, and that no name takes long."""

from __future__ import annotations

import fnmatch

import pytest
from packaging.utils import canonicalize_name

from pypiserver.access.patterns import Patterns, read_patterns

NAMES = ["acme", "acme-sdk", "acme-sdk-x", "acmesdk", "b", "x-acme", "zz-acme-sdk-9"]
PATTERNS = ["*", "acme", "acme-*", "acme*", "a?me", "*-sdk*", "?", "*e*d*", "acme-??k", "-*"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_what_a_shell_takes_it_for(pattern: str) -> None:
    patterns = read_patterns([pattern])
    assert [patterns.matches(canonicalize_name(name)) for name in NAMES] == [
        fnmatch.fnmatchcase(name, pattern) for name in NAMES
    ]


def test_patterns_are_of_any_spelling() -> None:
    assert read_patterns(["Acme_SDK.*", "!ACME.sdk_X"]) == Patterns(("acme-sdk-*",), ("acme-sdk-x",))


def test_an_exclamation_mark_takes_away_what_its_own_list_covers() -> None:
    patterns = read_patterns(["!acme-sdk", "acme*", "!*-x"])
    assert [name for name in NAMES if patterns.matches(canonicalize_name(name))] == ["acme", "acmesdk"]


@pytest.mark.parametrize("words", [["[a-c]*"], ["a/b"], ["!"], [""], ["é"], ["!acme"], [], ["a" * 256]])
def test_what_is_no_pattern_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_patterns(words)


def test_many_stars_take_no_time_that_grows_with_their_number() -> None:
    # A pattern that steps back would take longer than the tests may.
    patterns = read_patterns(["*a" * 60 + "*b?"])
    assert not patterns.matches(canonicalize_name("a" * 250))
