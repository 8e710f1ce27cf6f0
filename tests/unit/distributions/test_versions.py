"""The order of versions, and which spellings are the same."""

from __future__ import annotations

import random

import pytest

from pypiserver.distributions.versions import is_final, same_version, version_key


def test_versions_sort_as_pep_440_with_unparseable_ones_lowest() -> None:
    ordered = [
        "",
        "0.5-brainbot-1",
        "2012x-y",
        "1.0.dev1",
        "1.0a1",
        "1.0rc1",
        "1.0",
        "1.0.0",
        "1.0.post1",
        "1.1",
        "1.10",
        "1!0.1",
    ]
    shuffled = ordered[:]
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=version_key) == ordered


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0.0", True),
        ("1.0-1", "1.0.post1", True),
        ("1.0_rc1", "1.0rc1", True),
        ("1.0", "1.1", False),
        ("0.5-x_y", "0.5-x-y", True),
        ("1.0+a-b", "1.0+a.b", True),
        ("", "1.0", False),
    ],
)
def test_two_spellings_of_a_version(one: str, other: str, same: bool) -> None:
    assert same_version(one, other) is same


@pytest.mark.parametrize(
    ("version", "final"), [("1.0", True), ("1.0.post1", True), ("1.0rc1", False), ("1.0.dev1", False), ("x", False)]
)
def test_final_releases(version: str, final: bool) -> None:
    assert is_final(version) is final
