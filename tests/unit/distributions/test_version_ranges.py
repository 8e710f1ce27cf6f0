"""Ranges of versions, also of versions as file names spell them."""

from __future__ import annotations

import pytest

from pypiserver.distributions.version_ranges import MAX_RANGE, is_in, is_range


@pytest.mark.parametrize(
    ("version", "text", "expected"),
    [
        ("2.6.1", "==2.6.1", True),
        ("2.6.1.0", "==2.6.1", True),
        ("2.6.1+cu118", "==2.6.1", True),
        ("2.7", ">=2,<3", True),
        ("3.0", ">=2,<3", False),
        ("2.0rc1", ">=1", True),
        ("2.0rc1", "<2", False),
        ("1.0_1", ">=1.0", True),
        ("latest", ">=1.0", None),
        ("1.0", "nonsense", None),
    ],
)
def test_what_is_in_a_range(version: str, text: str, expected: bool | None) -> None:
    assert is_in(version, text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("<2", True), (">=1, !=1.5", True), ("", False), (" ", False), ("2", False), ("<<2", False)],
)
def test_what_is_a_range(text: str, expected: bool) -> None:
    assert is_range(text) is expected
    assert not is_range(text + ",<3" * MAX_RANGE)
