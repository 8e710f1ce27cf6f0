"""Secrets in lines of the log, and what cannot be printed."""

from __future__ import annotations

import pytest

from pypiserver.observability import clean_lines


@pytest.mark.parametrize(
    "text", ["http://ada:pass\rword@pypi.example/", "token=pass\x1b[0mword", "//pass\u2028word@x"], ids=repr
)
def test_a_secret_with_what_cannot_be_printed_in_it_is_one(text: str) -> None:
    assert "ord" not in clean_lines.clean(text)
